"""Namespaces and mounts by system calls: what `unshare`, `nsenter` and `mount` do, without a process for each.

Python 3.11 has no unshare(2) or setns(2), so they are called through the C library (namespaces(7), mount(2)).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    16384,
    1 << 18,
)

MS_NOATIME, MS_NODIRATIME, MS_RELATIME = 1024, 2048, 1 << 21

_MNT_DETACH = 2

_PR_SET_PDEATHSIG = 1

_SYS_MOUNT_SETATTR = 442  # the same number on all architectures, as of every system call since Linux 5.1

_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000

_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4

_FLAGS = {"noexec": MS_NOEXEC, "noatime": MS_NOATIME, "nodiratime": MS_NODIRATIME, "relatime": MS_RELATIME}
"""Words of /proc/PID/mountinfo."""

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


FREED_SECONDS = 3.0
"""How long the kernel may take to free namespaces whose last process has ended: it does so in the background."""


def unshare(flags: int, patience: float = 0.0) -> None:
    """Move this thread into new namespaces. Raises OSError.

    ``flags``: CLONE_NEW…. ``patience``: seconds for which it tries again while the user has as many namespaces as
    allowed, since the kernel may be freeing some.
    """
    end = time.monotonic() + patience
    while True:
        try:
            return _checked(_libc.unshare(flags), "unshare")
        except OSError as error:
            if error.errno != errno.ENOSPC or time.monotonic() > end:
                raise
            time.sleep(0.01)


def setns(namespace: int, kind: int = NEWNET) -> None:
    """Move this thread into the namespace behind a file descriptor."""
    _checked(_libc.setns(namespace, kind), "setns")


def mount(source: str, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    encoded = [text.encode() if text is not None else None for text in (source, target, kind)]
    _checked(_libc.mount(*encoded, ctypes.c_ulong(flags), data.encode() if data else None), f"mount {target}")


def unmount(target: str) -> None:
    """Take a mount away at once; what still uses it keeps it until then. Raises OSError."""
    _checked(_libc.umount2(target.encode(), _MNT_DETACH), f"umount {target}")


def restrict_all_mounts() -> None:
    """Make every mount of this mount namespace read-only, nodev and nosuid. Raises OSError.

    Since Linux 5.12 one call does that (mount_setattr(2)); on older kernels each mount is remounted.
    """
    attributes = struct.pack("=QQQQ", _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, 0, 0, 0)
    done = _libc.syscall(
        _SYS_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, attributes, ctypes.c_size_t(len(attributes))
    )
    if done == 0:
        return
    # EPERM: a seccomp filter that does not know the system call, such as an old Docker's.
    if ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM):
        _checked(done, "mount_setattr /")
    restrict_each_mount()


def restrict_each_mount() -> None:
    """As ``restrict_all_mounts``, mount by mount."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        place = fields[4].encode().decode("unicode_escape").encode("latin-1").decode(errors="surrogateescape")
        # In a user namespace, inherited flags cannot be cleared: a remount has to repeat them.
        kept = sum(_FLAGS.get(word, 0) for word in fields[5].split(","))
        flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | kept
        try:
            mount("none", place, None, flags)
        except OSError as error:
            # Under another mount, or in a folder that even root may not enter (FUSE): unreachable for programs too.
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EINVAL):
                raise


def die_with_parent(signal: int) -> None:
    """Ask the kernel for a signal when the thread that forked this process ends (PR_SET_PDEATHSIG)."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl")


def new_network() -> int:
    """Make a network namespace. Returns a file descriptor that keeps it alive; the thread stays in its own."""
    here = current_network()
    try:
        unshare(NEWNET, FREED_SECONDS)
        return current_network()
    finally:
        setns(here)
        os.close(here)


def current_network() -> int:
    """A file descriptor of this thread's network namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def inside(network: int, home: int) -> Iterator[None]:
    """Move the thread into a network namespace for the block. A socket that is created in the block belongs to it.

    The block must not ``await``. ``network``, ``home``: file descriptors of the namespace, and of the one to return to.
    """
    setns(network)
    try:
        yield
    finally:
        setns(home)
