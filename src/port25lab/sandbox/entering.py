"""Becoming a sandbox: the steps a forked process takes until it is PID 1 of namespaces of its own.

Two forks: the outer process unshares (a PID namespace takes effect for children only), stays behind as the one whom
the outside can kill, and dies with the nursery; the inner one is PID 1, dies with the outer one, and when it dies the
kernel reaps everything in its namespaces: processes, interfaces, mounts, rules.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from port25lab.sandbox import namespaces as ns

PRIVATE = ("/run", "/tmp")  # noqa: S108
"""Folders that each sandbox has for itself: ``xtables.lock`` lives in /run, certificates in /tmp."""

OWN = ns.NEWNS | ns.NEWUTS | ns.NEWIPC | ns.NEWPID | ns.NEWNET


def enter(user_namespace: bool) -> int:
    """Unshare, and fork PID 1. Returns 0 in PID 1; in the process left behind its process id, as seen from outside."""
    ns.die_with_parent(signal.SIGKILL)
    if user_namespace:
        _unshare_with_identities()
    else:
        ns.unshare(OWN)
    inner = os.fork()
    if inner == 0:
        ns.die_with_parent(signal.SIGKILL)
    return inner


def _unshare_with_identities() -> None:
    """Unshare, and become root inside: alone for an ordinary user, with all other ids for root.

    An ordinary user may map itself from within; more than one id only somebody outside may map, hence the fork.
    """
    uid, gid, me = os.geteuid(), os.getegid(), Path("/proc", str(os.getpid()))
    if uid != 0:
        ns.unshare(OWN | ns.NEWUSER)
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
                os._exit(1)  # there was nothing to map: unshare failed
            for kind in ("uid_map", "gid_map"):
                (me / kind).write_text(_all_of(kind))
            os._exit(0)
        finally:
            os._exit(1)
    ns.unshare(OWN | ns.NEWUSER)
    os.write(tell, b".")
    os.close(tell)
    os.close(unshared)
    if os.waitpid(mapper, 0)[1]:
        raise OSError(errno.EPERM, "root's ids cannot be mapped into a user namespace")


def _all_of(kind: str) -> str:
    """Every id that exists out here, under the same number."""
    lines = Path("/proc/self", kind).read_text().splitlines()
    return "\n".join(f"{inner} {inner} {count}" for inner, _, count in (line.split() for line in lines))


def furnish(keep: Iterable[Path]) -> None:
    """Give PID 1 its own /proc, /sys, /run and /tmp. ``keep``: what must stay visible though it lies in one."""
    ns.mount("none", "/", None, ns.MS_REC | ns.MS_PRIVATE)
    kept = _outermost(path for path in keep if any(_within(path, private) for private in PRIVATE) and path.exists())
    handles = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in kept}
    ns.mount("proc", "/proc", "proc", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
    ns.mount("sysfs", "/sys", "sysfs", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
    for folder in PRIVATE:
        ns.mount("tmpfs", folder, "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, "mode=0755")
    for path, handle in handles.items():
        path.mkdir(parents=True, exist_ok=True) if _is_folder(handle) else _touch(path)
        ns.mount(f"/proc/self/fd/{handle}", str(path), None, ns.MS_BIND | ns.MS_REC)
        os.close(handle)


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
