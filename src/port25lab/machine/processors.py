"""How many processors this process really has: by affinity, by the quotas of its cgroups, less what others use.

``os.cpu_count`` counts the machine's processors. A container or a CI job often has a quota of a fraction of one
(cgroups(7): ``cpu.max`` of version 2, ``cpu.cfs_quota_us`` of version 1), and a virtual machine may wait for its host
(proc_stat(5): steal).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LABS_EACH = 4
"""Labs side by side for each processor. Most of a lab's time is spent waiting for packets that do not come."""

_STEAL, _BUSY = 7, (0, 1, 2, 5, 6, 7)
"""Fields of the line ``cpu`` in /proc/stat: stolen by the host; and all in which something ran or wanted to run."""


def labs_at_once(proc: Path = Path("/proc")) -> int:
    """How many labs should be up at the same time: at least one."""
    return max(1, round(LABS_EACH * free(available(proc), proc)))


def available(proc: Path = Path("/proc")) -> float:
    """Processors that this process may use: a fraction where a quota allows less than one."""
    return min([float(len(os.sched_getaffinity(0))), *quotas(proc)])


def free(processors: float, proc: Path = Path("/proc")) -> float:
    """The part of these processors that is left beside other work, if all who want to run get equal shares.

    The load of the last minute is what others use; where fewer want to run at this moment, it has passed.
    """
    stat = _lines(proc / "stat")
    with suppress(OSError, ValueError, IndexError, StopIteration):
        load = float((proc / "loadavg").read_text().split()[0])
        running = int(next(words[1] for words in stat if words[0] == "procs_running")) - 1  # this process runs
        others = max(0.0, min(load, float(running)))
        times = [int(word) for word in next(words for words in stat if words[0] == "cpu")[1:]]
        stolen = times[_STEAL] / max(1, sum(times[field] for field in _BUSY))
        return processors * processors / (processors + others) * (1 - stolen)
    return processors


def quotas(proc: Path = Path("/proc")) -> list[float]:
    """The quotas of all cgroups that this process is in, in processors. None where they cannot be read."""
    found = []
    for mount, version in _mounts(proc):
        for folder in _folders(proc, mount, version):
            with suppress(OSError, ValueError):
                if version == 2:
                    quota, period = (folder / "cpu.max").read_text().split()
                else:
                    quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
                if quota != "max" and int(quota) > 0:
                    found.append(int(quota) / int(period))
    return found


def _mounts(proc: Path) -> Iterator[tuple[list[str], int]]:
    """The mounts of cgroups that have the controller of processors: fields of /proc/self/mountinfo, and the version."""
    for words in _lines(proc / "self/mountinfo"):
        kind = words[words.index("-") + 1]
        if kind == "cgroup2":
            yield words, 2
        elif kind == "cgroup" and "cpu" in words[-1].split(","):
            yield words, 1


def _folders(proc: Path, mount: list[str], version: int) -> Iterator[Path]:
    """The folder of this process's cgroup below a mount, and those of the cgroups around it."""
    root, point = Path(mount[3]), Path(mount[4])
    for line in _lines(proc / "self/cgroup"):
        _, controllers, path = " ".join(line).split(":", 2)
        if controllers == "" if version == 2 else "cpu" in controllers.split(","):
            own = Path(path)
            below = own.relative_to(root) if own.is_relative_to(root) else Path()
            yield from (point / folder for folder in (below, *below.parents))
            return


def _lines(file: Path) -> list[list[str]]:
    with suppress(OSError):
        return [line.split() for line in file.read_text().splitlines() if line]
    return []
