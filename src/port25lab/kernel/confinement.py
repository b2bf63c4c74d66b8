"""The limits of a lab's processes: capabilities, no_new_privs, a system call filter, a keyring of its own.

Two sets of capabilities (capabilities(7)). A program in a node has ``PROGRAM``: what a router's programs and mail
servers need. None of them reaches past the lab's own namespaces. The lab's own process has ``SYS_ADMIN`` as well: it
moves between the namespaces of its nodes, and mounts their files. All other capabilities are dropped for good, also for
root.

Run as a program (``python -I -S confinement.py ARGV…``), this file sets the limits of a program in a node and becomes
that program. A shell in a node is started so. This file therefore imports the standard library alone: with ``-S``,
port25lab cannot be imported, and to add a folder to the path of a program that runs as root would be unsafe. So the
system call filter is assembled here, and not by ``kernel.bpf``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from dataclasses import dataclass

CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP = 0, 1, 3, 4, 5, 6, 7, 8

NET_BIND_SERVICE, NET_BROADCAST, NET_ADMIN, NET_RAW, SYS_CHROOT, SYS_ADMIN = 10, 11, 12, 13, 18, 21

FILES = frozenset({CHOWN, DAC_OVERRIDE, FOWNER, FSETID})

USERS = frozenset({KILL, SETGID, SETUID, SETPCAP, SYS_CHROOT})

NETWORK = frozenset({NET_BIND_SERVICE, NET_BROADCAST, NET_ADMIN, NET_RAW})

PROGRAM = FILES | USERS | NETWORK
"""For programs in nodes. A mail server changes its user ids and, in some configurations, its root folder."""

LAB = PROGRAM | {SYS_ADMIN}
"""For the lab's own process: setns(2) and mount(2) need SYS_ADMIN."""

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4

_CAPABILITY_VERSION_3 = 0x20080522

_KEYCTL_JOIN_SESSION_KEYRING = 1

_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_SPEC_ALLOW = 1, 4

_CLONE_NEWUSER = 0x10000000

_AF_VSOCK = 40

_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C


@dataclass(frozen=True)
class Machine:
    """The system call numbers of an architecture."""

    audit: int
    """The architecture's number in a filter's data (AUDIT_ARCH_…)."""
    calls: dict[str, int]

    def number(self, name: str) -> int | None:
        """The number of a system call; None: this architecture does not have it."""
        return self.calls.get(name)


# fmt: off
MACHINES = {
    "x86_64": Machine(0xC000003E, {
        "seccomp": 317, "keyctl": 250, "add_key": 248, "request_key": 249, "kexec_load": 246, "kexec_file_load": 320,
        "init_module": 175, "finit_module": 313, "delete_module": 176, "open_by_handle_at": 304, "bpf": 321,
        "perf_event_open": 298, "reboot": 169, "swapon": 167, "swapoff": 168, "settimeofday": 164,
        "clock_settime": 227, "clock_adjtime": 305, "adjtimex": 159, "acct": 163, "iopl": 172, "ioperm": 173,
        "userfaultfd": 323, "syslog": 103, "quotactl": 179, "quotactl_fd": 443, "vhangup": 153, "io_uring_setup": 425,
        "io_uring_enter": 426, "io_uring_register": 427, "clone": 56, "clone3": 435, "unshare": 272, "ioctl": 16,
        "socket": 41,
    }),
    "aarch64": Machine(0xC00000B7, {
        "seccomp": 277, "keyctl": 219, "add_key": 217, "request_key": 218, "kexec_load": 104, "kexec_file_load": 294,
        "init_module": 105, "finit_module": 273, "delete_module": 106, "open_by_handle_at": 265, "bpf": 280,
        "perf_event_open": 241, "reboot": 142, "swapon": 224, "swapoff": 225, "settimeofday": 170,
        "clock_settime": 112, "clock_adjtime": 266, "adjtimex": 171, "acct": 89,
        "userfaultfd": 282, "syslog": 116, "quotactl": 60, "quotactl_fd": 443, "vhangup": 58, "io_uring_setup": 425,
        "io_uring_enter": 426, "io_uring_register": 427, "clone": 220, "clone3": 435, "unshare": 97, "ioctl": 29,
        "socket": 198,
    }),
}
# fmt: on
"""System call numbers of asm/unistd_64.h and asm-generic/unistd.h. On other architectures there is no filter."""

FORBIDDEN = (
    *("keyctl", "add_key", "request_key"),  # keyrings belong to users, not to namespaces
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot"),
    *("open_by_handle_at", "bpf", "perf_event_open", "userfaultfd", "syslog", "acct", "iopl", "ioperm", "vhangup"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),  # they would open sockets past this filter
    *("swapon", "swapoff", "quotactl", "quotactl_fd"),
    *("settimeofday", "clock_settime", "clock_adjtime", "adjtimex"),
)
"""System calls that reach past namespaces. Most also need a capability that was dropped; the filter does not rely on
that."""

FORBIDDEN_ARGUMENTS = (
    ("unshare", 0, "has", _CLONE_NEWUSER),  # in a user namespace of its own a program would have all capabilities
    ("clone", 0, "has", _CLONE_NEWUSER),
    ("socket", 0, "is", _AF_VSOCK),  # leads to the hypervisor, past every network namespace
    ("ioctl", 1, "is", _TIOCSTI),  # types on the terminal from which the shell was opened
    ("ioctl", 1, "is", _TIOCLINUX),
)
"""System calls that are forbidden with a value, or a bit, in the argument of this number."""

_libc = ctypes.CDLL(None, use_errno=True)


def confine(capabilities: frozenset[int]) -> None:
    """Limit this process and all its children for good. ``capabilities``: those to keep. Raises OSError."""
    _leave_keyring()
    drop_capabilities(capabilities)
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _filter_system_calls()


def drop_capabilities(kept: frozenset[int]) -> None:
    """Drop all other capabilities, also from the bounding set: no set-user-ID program brings them back."""
    for number in range(64):
        if number not in kept and _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0):
            if ctypes.get_errno() == errno.EINVAL:
                break  # past the last one that this kernel has
            _checked(-1, "bounding set")
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    now = ctypes.create_string_buffer(24)
    _checked(_libc.capget(header, now), "capget")
    _, low, _, _, high, _ = struct.unpack("=6I", now.raw)
    bits = sum(1 << number for number in kept) & (low | high << 32)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    _checked(_libc.capset(header, struct.pack("=6I", low, low, 0, high, high, 0)), "capset")


def _this_machine() -> Machine | None:
    return MACHINES.get(platform.machine()) if sys.maxsize > 1 << 32 else None  # a Python of 32 bits has other numbers


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def _leave_keyring() -> None:
    """Join an empty session keyring (keyrings(7)). Errors, as of a used-up quota, are ignored."""
    machine = _this_machine()
    if machine:
        _libc.syscall(machine.calls["keyctl"], _KEYCTL_JOIN_SESSION_KEYRING, None)


_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06

_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

_X32 = 0x40000000


def system_call_filter(machine: Machine) -> bytes:
    """A classic BPF program. Forbidden calls fail with EPERM; a program of another architecture (32 bits) is killed.

    clone3(2) fails with ENOSYS, since a filter cannot read its flags: C libraries then use clone(2).
    """
    program = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, machine.audit, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        _step(_AT_LEAST, _X32, 0, 1),  # the same calls under other numbers
        _step(_RETURN, _ERROR | errno.EPERM),
    ]
    answers = [(name, errno.EPERM) for name in FORBIDDEN] + [("clone3", errno.ENOSYS)]
    for name, answer in answers:
        if (number := machine.number(name)) is not None:
            program += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _ERROR | answer)]
    for name, argument, test, value in FORBIDDEN_ARGUMENTS:
        program += [
            _step(_EQUAL, machine.calls[name], 0, 4),
            _step(_LOAD, _ARGUMENTS + 8 * argument),  # its lower half: both architectures are little-endian
            _step(_ANY_BIT if test == "has" else _EQUAL, value, 0, 1),
            _step(_RETURN, _ERROR | errno.EPERM),
            _step(_LOAD, _NUMBER),
        ]
    return b"".join([*program, _step(_RETURN, _ALLOW)])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


_FILTERS = {machine.audit: system_call_filter(machine) for machine in MACHINES.values()}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def _filter_system_calls() -> None:
    """Set the filter, where this file has the machine's system calls and the kernel has seccomp filters."""
    machine = _this_machine()
    if machine is None:
        return
    steps = _FILTERS[machine.audit]
    program = _Program(len(steps) // 8, steps)
    done = _libc.syscall(
        machine.calls["seccomp"],
        _SECCOMP_SET_MODE_FILTER,
        _SECCOMP_FILTER_FLAG_SPEC_ALLOW,  # without it, kernels before 5.16 slow the process down against Spectre
        ctypes.byref(program),
    )
    if done and ctypes.get_errno() not in (errno.ENOSYS, errno.EINVAL):
        _checked(done, "seccomp")


if __name__ == "__main__":
    confine(PROGRAM)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606
