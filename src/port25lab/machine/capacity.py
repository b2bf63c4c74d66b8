"""Room for labs: how many namespaces and open files each takes, and how many labs fit side by side.

Limits on namespaces (``user.max_net_namespaces`` and its kin) count for everything that the user runs. Where a limit is
near, or may be hidden, ``fit`` makes the namespaces that the labs would take, to see whether the kernel allows them.
The limit on open files counts for one process, and each lab is one. The tables of neighbours are the machine's: one for
IPv4 and one for IPv6, for all namespaces together.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from port25lab.errors import MachineError
from port25lab.kernel import namespaces
from port25lab.kernel.neighbour_tables import NeighbourTables
from port25lab.machine import sandbox_trial
from port25lab.model.client_kinds import ATTEMPTS_AT_ONCE
from port25lab.model.plan import Plan

PROC = Path("/proc")

DESCRIPTORS = 16384
"""The value to which the limit on open files is raised, as far as the machine allows."""

FREED_SECONDS = 0.5
"""How long to wait for namespaces of earlier trials to be freed."""

LEAST = 64
"""Open files that the engine itself takes."""

_ENGINE, _FOR_EACH_LAB = 32, 3
"""Open files of the engine's process: for itself, and for each lab."""

NEIGHBOURS = 1024
"""The kernel's own limit on entries in a table of neighbours (``gc_thresh3``), where it cannot be read."""

OTHERS_NEIGHBOURS = 128
"""Entries that are left to everything else on this machine."""

SPARE = 4
"""A limit is near where it allows less than this many times the need: the user's other processes take some as well."""


@dataclass(frozen=True)
class Need:
    """What one lab takes."""

    name: str
    networks: int
    """Network namespaces: the sandbox's and one for each node."""
    mounts: int
    """Mount namespaces: the sandbox's and one for each program that runs at the same time."""
    descriptors: int
    """Open files of its process."""
    neighbours: int = 0
    """Entries in the table of neighbours of either IP version."""

    @classmethod
    def of(cls, plan: Plan, paths: int, programs: int, ruled: Iterable[str] = (), observed: int | None = None) -> Need:
        """What a lab of this plan takes.

        ``paths``: how many paths are tried. ``programs``: how many client programs may run at the same time.
        ``ruled``: the nodes with rules, whose neighbours are resolved. ``observed``: how many nodes are observed; None:
        all. A node has its namespace, and an observed one a ring and a trace socket. Measured: a service has 8
        descriptors at most, and an attempt 2 for the ends of its connection; a lookup may go on beside it. A link has
        an entry at both ends, and over IPv6 another one for each end's link-local address.
        """
        services = sum(len(node.services) for node in plan.nodes.values())
        observed = len(plan.nodes) if observed is None else observed
        files = 64 + len(plan.nodes) + 2 * observed + 8 * services + 3 * min(paths, ATTEMPTS_AT_ONCE)
        links = sum(len(segment) - 1 for segment in plan.resolving(ruled))
        return cls(f"a lab of {plan.name}", 1 + len(plan.nodes), 1 + programs, files, 4 * links)


LARGEST = Need("the largest lab of the catalogue", 28, 9, 1024)
"""The most that a scenario of the catalogue takes of each."""


def raise_descriptors() -> int:
    """Raise the limit on open files of this process and its children as far as allowed. Returns the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        with contextlib.suppress(ValueError, OSError):  # root alone may
            resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
            return DESCRIPTORS
    limit = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return max(soft, limit)


def require_descriptors(needs: Sequence[Need], limit: int) -> None:
    """Raise MachineError where a lab takes more open files than ``limit``."""
    for need in sorted(needs, key=lambda need: -need.descriptors):
        if need.descriptors > limit:
            raise descriptors_problem(f"{need.name} takes {need.descriptors}", limit, need.descriptors)


def descriptors_problem(what: str, limit: int, number: int) -> MachineError:
    """The error that open files are too few. ``what``: who takes how many; ``limit``; ``number``: how many it takes."""
    enough = max(4096, 1 << (number - 1).bit_length())
    return MachineError(
        f"{what} open files, and the limit (ulimit -n) is {limit}", f"sudo prlimit --pid=$$ --nofile={enough}"
    )


def fit(
    needs: Sequence[Need], at_once: int, way: sandbox_trial.Way, descriptors: int = DESCRIPTORS, *, up: int = 0
) -> int:
    """How many of these labs can be up at the same time: ``at_once``, or fewer.

    ``needs``: what each lab takes. ``at_once``: the most that the user asked for. ``way``: how sandboxes are made.
    ``descriptors``: how many open files the engine may have. ``up``: how many labs are up already.
    Raises MachineError where there is no room for one lab.
    """
    labs = max(1, min(at_once, len(needs), (descriptors - _ENGINE) // _FOR_EACH_LAB))
    labs = min(labs, _by_neighbours(needs))
    most = max(needs, key=lambda need: need.networks)
    largest = replace(most, mounts=max(need.mounts for need in needs))
    if not _near(labs + up, largest):
        return labs
    result = sandbox_trial.by(way, make, labs, largest.networks, largest.mounts, way.user_namespace)
    return judge(result, largest)


def _by_neighbours(needs: Sequence[Need]) -> int:
    """How many of these labs the tables of neighbours have room for, whichever of them are up at the same time.

    Labs that are up and idle do not count: in a full table, the kernel discards entries of more than 5 s ago.
    """
    largest = sorted(needs, key=lambda need: -need.neighbours)
    limit = neighbour_limit()
    left = limit - OTHERS_NEIGHBOURS
    fitting = 0
    for need in largest:
        left -= need.neighbours
        if left < 0:
            break
        fitting += 1
    if not fitting:
        enough = 1 << (limit - left).bit_length()
        raise MachineError(
            f"{largest[0].name} takes {largest[0].neighbours} entries in the table of neighbours, and the limit "
            f"(gc_thresh3) for all namespaces is {limit}",
            f"sudo sysctl -w net.ipv4.neigh.default.gc_thresh3={enough} net.ipv6.neigh.default.gc_thresh3={enough}",
        )
    return fitting


def neighbour_limit() -> int:
    """Entries of the smaller table of neighbours."""
    tables = NeighbourTables()
    try:
        return tables.read().limit or NEIGHBOURS
    finally:
        tables.close()


def judge(result: Mapping[str, Any], need: Need) -> int:
    """How many labs there was room for, from the result of ``make``. Raises MachineError where there was none."""
    if result["labs"]:
        return int(result["labs"])
    short = result["short"]
    if short not in sandbox_trial.LIMITS:
        raise MachineError(f"no namespaces for {need.name}: {short}", sandbox_trial.CONTAINER_REMEDY)
    number = {"net": need.networks, "mnt": need.mounts}.get(short, 1)
    raise sandbox_trial.limit_problem(f"{need.name} takes", short, PROC, number)


def _near(labs: int, largest: Need) -> bool:
    """Whether a limit is near, or may be hidden: those of outer user namespaces count, and cannot be read from here."""
    try:
        if (PROC / "self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
            return True
    except OSError:
        return True
    takes = {"net": largest.networks, "mnt": largest.mounts}
    values = {kind: limit.value(PROC / "sys") for kind, limit in sandbox_trial.LIMITS.items()}
    return any(int(value) < SPARE * labs * takes.get(kind, 1) for kind, value in values.items() if value is not None)


def make(labs: int, networks: int, mounts: int, user_namespace: bool) -> Mapping[str, Any]:
    """Make the namespaces of labs, each lab's in a process of its own, and release them.

    ``labs``: how many labs. ``networks``, ``mounts``: how many namespaces of these kinds each takes.
    ``user_namespace``: whether each has one. Returns ``labs``, how many could be up at the same time, and ``short``,
    the kind of namespaces that the next one could not get, or None.
    """
    holders: list[int] = []
    short = None
    waiting, ends = os.pipe()
    try:
        while short is None and len(holders) < labs:
            reading, writing = os.pipe()
            child = sandbox_trial.fork()
            if child == 0:
                os.close(ends)
                _hold(waiting, writing, networks, mounts, user_namespace)
            holders.append(child)
            os.close(writing)
            with os.fdopen(reading) as pipe:
                said = pipe.readline().strip()
            short = None if said == "made" else said or "the process died"
    finally:
        os.close(waiting)
        os.close(ends)  # the processes read the end of the pipe, and exit
        for child in holders:
            os.waitpid(child, 0)
    return {"labs": len(holders) - (short is not None), "short": short}


def _hold(waiting: int, writing: int, networks: int, mounts: int, user_namespace: bool) -> None:
    """Hold a lab's namespaces until the other end of ``waiting`` closes, and exit. Never returns."""
    kind, held = "user", []
    try:
        namespaces.die_with_parent(signal.SIGKILL)
        if user_namespace:
            namespaces.unshare(namespaces.NEWUSER)
        for kind, number in (("pid", 1), ("ipc", 1), ("uts", 1), ("mnt", mounts), ("net", networks)):
            for _ in range(number):
                namespaces.unshare(sandbox_trial.KINDS[kind], FREED_SECONDS)
                if number > 1:
                    held.append(os.open(f"/proc/self/ns/{kind}", os.O_RDONLY))
        said = "made"
    except OSError as error:
        said = kind if error.errno == errno.ENOSPC else sandbox_trial.words(error)
    os.write(writing, f"{said}\n".encode())
    os.close(writing)
    if said == "made":
        os.read(waiting, 1)
    os._exit(0)
