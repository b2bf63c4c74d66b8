"""The steps by which a forked process becomes a sandbox: PID 1 of namespaces of its own.

Two processes. The outer one calls unshare(2); since a PID namespace takes effect for children only, it then forks the
inner one, which is PID 1. The outer process dies with its parent, and the inner one with the outer one. With PID 1 the
kernel removes everything in its namespaces: processes, interfaces, mounts, rules.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from port25lab.kernel import confinement, namespaces

PRIVATE = ("/run", "/tmp", "/var/tmp")  # noqa: S108
"""Folders that each sandbox has of its own: ``xtables.lock`` is in /run, certificates are in /tmp."""

_MODES = {"/run": "0755"}

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

LINKS = {
    "ptmx": "pts/ptmx",
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
"""Symbolic links in a sandbox's /dev."""

_INERT = namespaces.MS_NOSUID | namespaces.MS_NODEV | namespaces.MS_NOEXEC

NETWORK_SETTINGS = "/proc/sys/net"

SECRETS = ("kcore", "kmsg", "keys", "key-users", "kpagecount", "kpageflags", "kpagecgroup", "timer_list", "vmcore")
"""Files of /proc from which root reads the whole machine's memory, log or keys."""

OWN = namespaces.NEWNS | namespaces.NEWUTS | namespaces.NEWIPC | namespaces.NEWPID | namespaces.NEWNET


def enter(user_namespace: bool) -> int:
    """Unshare, and fork PID 1. ``user_namespace``: in a user namespace of its own.

    Returns 0 in PID 1; in the outer process PID 1's process id in the outer PID namespace. Raises OSError.
    """
    namespaces.die_with_parent(signal.SIGKILL)
    if user_namespace:
        _unshare_with_identities()
    else:
        namespaces.unshare(OWN)
    inner = os.fork()
    if inner == 0:
        namespaces.die_with_parent(signal.SIGKILL)
    return inner


def _unshare_with_identities() -> None:
    """Unshare, and become root inside. An ordinary user maps its own id alone; root maps all ids.

    A process may map its own id itself. To map more ids takes a process outside of the new namespace: hence the fork.
    """
    uid, gid, me = os.geteuid(), os.getegid(), Path("/proc", str(os.getpid()))
    if uid != 0:
        namespaces.unshare(OWN | namespaces.NEWUSER)
        (me / "setgroups").write_text("deny")
        (me / "uid_map").write_text(f"0 {uid} 1")
        (me / "gid_map").write_text(f"0 {gid} 1")
        return
    unshared, tell = os.pipe()
    mapper = os.fork()
    if mapper == 0:
        try:
            os.close(tell)
            if not os.read(unshared, 1):
                os._exit(1)  # unshare failed
            for kind in ("uid_map", "gid_map"):
                (me / kind).write_text(_all_of(kind))
            os._exit(0)
        finally:
            os._exit(1)
    namespaces.unshare(OWN | namespaces.NEWUSER)
    os.write(tell, b".")
    os.close(tell)
    os.close(unshared)
    if os.waitpid(mapper, 0)[1]:
        raise OSError(errno.EPERM, "root's ids cannot be mapped into a user namespace")


def _all_of(kind: str) -> str:
    """Maps every id of this user namespace to the same number."""
    lines = Path("/proc/self", kind).read_text().splitlines()
    return "\n".join(f"{inner} {inner} {count}" for inner, _, count in (line.split() for line in lines))


def furnish(keep: Iterable[Path], *, confined: bool = True) -> None:
    """Mount PID 1's file systems, and limit what it and its children can do (``confinement``).

    The host's files are read-only and without devices. Writable are PRIVATE, /dev/shm and /dev/pts, which are the
    sandbox's own, and its network settings in /proc/sys/net.

    ``keep``: paths inside of private folders that stay visible. ``confined``: False mounts the private folders alone
    and sets no limits, for benchmarks, which make sandboxes in sandboxes. Raises OSError.
    """
    namespaces.mount("none", "/", None, namespaces.MS_REC | namespaces.MS_PRIVATE)
    here = _working_folder()
    kept = _outermost(path for path in keep if any(_within(path, private) for private in PRIVATE) and path.exists())
    handles = {path: _handle(path) for path in kept}
    places = [Path("/dev", name) for name in DEVICES] if confined else []
    devices = {place: _handle(place) for place in places if place.exists()}
    if confined:
        namespaces.restrict_all_mounts()
    namespaces.mount("proc", "/proc", "proc", _INERT)
    mount_sysfs(read_only=confined)
    if confined:
        _make_devices(devices)
        _restrict_proc()
    for folder in PRIVATE:
        if Path(folder).is_dir() and not Path(folder).is_symlink():
            namespaces.mount(
                "tmpfs",
                folder,
                "tmpfs",
                namespaces.MS_NOSUID | namespaces.MS_NODEV,
                f"mode={_MODES.get(folder, '1777')}",
            )
    for path, handle in handles.items():
        path.mkdir(parents=True, exist_ok=True) if _is_folder(handle) else _touch(path)
        namespaces.mount(f"/proc/self/fd/{handle}", str(path), None, namespaces.MS_BIND | namespaces.MS_REC)
        os.close(handle)
    _go_to(here)
    if confined:
        confinement.confine(confinement.LAB)


def mount_sysfs(*, read_only: bool = True) -> None:
    """Mount /sys, with the interfaces of this process's network namespace."""
    try:
        namespaces.mount("sysfs", "/sys", "sysfs", _INERT | (namespaces.MS_RDONLY if read_only else 0))
    except OSError as error:
        if error.errno != errno.EBUSY:  # that very file system is what is mounted there
            raise


def _working_folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return None


def _go_to(folder: str | None) -> None:
    """Change to a folder by its path; where it does not exist in the sandbox, to the root folder.

    The old working directory is under the new mounts: from there, a process could go up past them.
    """
    try:
        os.chdir(folder or "/")
    except OSError:
        os.chdir("/")


def _make_devices(devices: Mapping[Path, int]) -> None:
    """Mount a /dev with harmless devices and its own terminals. Bind mounts protect the devices' modes and owners."""
    namespaces.mount("tmpfs", "/dev", "tmpfs", namespaces.MS_NOSUID | namespaces.MS_NOEXEC, "mode=0755,size=64k")
    for place, handle in devices.items():
        place.touch()
        namespaces.mount(f"/proc/self/fd/{handle}", str(place), None, namespaces.MS_BIND)
        # The bind mount inherits nodev from the mount of the host's /dev: remount it without.
        namespaces.mount(
            "none",
            str(place),
            None,
            namespaces.MS_REMOUNT
            | namespaces.MS_BIND
            | namespaces.MS_RDONLY
            | namespaces.MS_NOSUID
            | namespaces.MS_NOEXEC,
        )
        os.close(handle)
    for name, target in LINKS.items():
        Path("/dev", name).symlink_to(target)
    for folder, kind, options in (("pts", "devpts", "newinstance,mode=0620,ptmxmode=0666"), ("shm", "tmpfs", "")):
        Path("/dev", folder).mkdir()
        namespaces.mount(
            kind, f"/dev/{folder}", kind, namespaces.MS_NOSUID | namespaces.MS_NOEXEC, options or "mode=1777"
        )
    namespaces.mount(
        "none",
        "/dev",
        None,
        namespaces.MS_REMOUNT | namespaces.MS_BIND | namespaces.MS_RDONLY | namespaces.MS_NOSUID | namespaces.MS_NOEXEC,
    )


def _restrict_proc() -> None:
    """Make /proc read-only except for network settings, of which each network namespace has its own.

    The other settings are the machine's, and their files belong to root: root in a sandbox could write them.
    """
    namespaces.mount(NETWORK_SETTINGS, NETWORK_SETTINGS, None, namespaces.MS_BIND)
    namespaces.mount(
        "none",
        "/proc",
        None,
        namespaces.MS_REMOUNT
        | namespaces.MS_BIND
        | namespaces.MS_RDONLY
        | namespaces.MS_NOSUID
        | namespaces.MS_NODEV
        | namespaces.MS_NOEXEC,
    )
    for name in SECRETS:
        with suppress(FileNotFoundError):
            namespaces.mount("/dev/null", f"/proc/{name}", None, namespaces.MS_BIND)


def _handle(path: Path) -> int:
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def _within(path: Path, folder: str) -> bool:
    return path != Path(folder) and path.is_relative_to(folder)


def _outermost(paths: Iterable[Path]) -> list[Path]:
    chosen: list[Path] = []
    for path in sorted(set(paths), key=lambda p: len(p.parts)):
        if not any(path.is_relative_to(other) for other in chosen):
            chosen.append(path)
    return chosen


def _is_folder(handle: int) -> bool:
    return Path(f"/proc/self/fd/{handle}").is_dir()


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
