"""The limits of a lab's processes, as far as a test can see them without setting them: the filter, interpreted."""

from __future__ import annotations

import errno
import struct

import pytest

from bpf_interpreter import run
from port25lab.kernel.confinement import FORBIDDEN, LAB, MACHINES, PROGRAM, SYS_ADMIN, Machine, system_call_filter

ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
REFUSED = ERROR | errno.EPERM
NEWUSER, NEWNET, UNIX, INET, VSOCK, TIOCSTI, TIOCGWINSZ = 0x10000000, 0x40000000, 1, 2, 40, 0x5412, 0x5413

each_machine = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)


def answer(machine: Machine, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter says of a system call: classic BPF over struct seccomp_data."""
    call = struct.pack("<IIQ6Q", number, audit or machine.audit, 0, *arguments, *[0] * (6 - len(arguments)))
    return run(struct.iter_unpack("=HBBI", system_call_filter(machine)), call, "little")


@each_machine
def test_calls_that_reach_past_namespaces_are_refused_and_others_are_not(machine: Machine) -> None:
    refused = {machine.calls[name] for name in FORBIDDEN if name in machine.calls}
    special = {machine.calls["clone3"]}
    for number in range(600):
        expected = REFUSED if number in refused else ERROR | errno.ENOSYS if number in special else ALLOW
        assert answer(machine, number) == expected, number


@each_machine
def test_some_calls_are_refused_by_their_arguments(machine: Machine) -> None:
    for name, arguments, expected in (
        ("unshare", (NEWUSER,), REFUSED),
        ("unshare", (NEWUSER | NEWNET,), REFUSED),
        ("unshare", (NEWNET,), ALLOW),
        ("clone", (NEWUSER | 17,), REFUSED),
        ("clone", (17,), ALLOW),
        ("socket", (VSOCK, 1, 0), REFUSED),
        ("socket", (UNIX, 1, 0), ALLOW),
        ("socket", (INET, VSOCK, 0), ALLOW),
        ("ioctl", (0, TIOCSTI, 0), REFUSED),
        ("ioctl", (TIOCSTI, TIOCGWINSZ, 0), ALLOW),
        ("ioctl", (0, TIOCSTI | 1 << 32, 0), REFUSED),  # the kernel looks at the lower half alone
    ):
        assert answer(machine, machine.calls[name], *arguments) == expected, (name, arguments)


@each_machine
def test_calls_under_other_numbers_do_not_pass(machine: Machine) -> None:
    assert answer(machine, 0x40000000 + machine.calls["unshare"], NEWUSER) == REFUSED
    assert answer(machine, 0, audit=0x40000003) == KILL, "a program for 32 bits"


def test_a_program_in_a_node_cannot_mount_and_the_labs_own_process_can() -> None:
    assert {SYS_ADMIN} == LAB - PROGRAM
