"""What a run needs: limited resources of this machine, features of its kernel, and the files that it reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from port25lab.engine.jobs import Job
from port25lab.machine import capacity, doctor
from port25lab.model.client_kinds import CLIENT_KINDS, PROGRAMS_AT_ONCE
from port25lab.model.path import MX_PREFIX, PathSpec
from port25lab.model.policy import Policy
from port25lab.model.question import LabConfig, Question
from port25lab.model.service_kinds import SERVICE_KINDS
from port25lab.model.ways import EVERY_NODE, ends_of, ways_of
from port25lab.scenario import catalogue
from port25lab.scenario.policy import load_policy
from port25lab.scenario.topology import modules_beside


def need_of(job: Job) -> capacity.Need:
    """The limited resources of this machine that a lab takes."""
    programs = sum(CLIENT_KINDS[path.client].program is not None for path in job.paths)
    ruled = [node for node, stack in _stacks(job.config) if any(policy.sees_neighbours for policy in stack)]
    return capacity.Need.of(job.config.plan, len(job.paths), min(programs, PROGRAMS_AT_ONCE), ruled, _observed(job))


def _observed(job: Job) -> int:
    """How many nodes of a job's lab are observed, as long as no rules send packets to other nodes."""
    plan = job.config.plan
    if len(plan.nodes) <= EVERY_NODE:
        return len(plan.nodes)
    found = ways_of(plan, (node for node, stack in _stacks(job.config) if stack))
    ends = {end for path in job.paths for end in ends_of(plan, path)}
    return len(found.core.union(*map(found.of, ends)))


def _stacks(config: LabConfig) -> Iterator[tuple[str, list[Policy]]]:
    """The policies of each node: the network's own, then those under test."""
    yield from policies_of(config).items()
    for node in config.plan.nodes.values():
        yield node.name, [load_policy(name, config.plan.file, "network") for name in node.policies]


def input_files(questions: Iterable[Question]) -> Iterator[Path]:
    """Every file that a run of these questions reads: scenarios, topologies, what those import, and policies."""
    for name in dict.fromkeys(question.scenario for question in questions if question.place is not None):
        yield catalogue.find("scenarios", name)
    for config in dict.fromkeys(question.config for question in questions):
        yield config.topology
        plan = config.plan
        own = (load_policy(name, plan.file).folder for node in plan.nodes.values() for name in node.policies)
        folders = {*own, *(one for _, stack in config.policies for one in stack if isinstance(one, Path))}
        yield from (file for folder in folders if folder.is_dir() for file in folder.iterdir())
    # Modules that a topology imports from its own folder. A file too many does no harm.
    folders = {question.config.topology.absolute().parent for question in questions}
    for folder in folders | {folder.resolve() for folder in folders}:
        yield from modules_beside(folder).values()


def require_ipv6(questions: Sequence[Question]) -> None:
    """Raise MachineError where a path is asked over IPv6 and the kernel has no IPv6."""
    asked = [question for question in questions if over_ipv6(question.path)]
    if asked:
        doctor.require_ip(6, f"{len(asked)} of {len(questions)} paths are asked")


def over_ipv6(path: PathSpec) -> bool:
    """Whether a path can be tried over IPv6 alone."""
    return path.ip_version == 6 or ":" in path.to.removeprefix(MX_PREFIX)


def require_features(config: LabConfig) -> None:
    """Raise MachineError where this machine lacks what the links or a policy's middlebox need."""
    if any(link.conditions for link in config.plan.links):
        doctor.require_kernel("netem", f"delay or loss on links of {config.plan.name}")
    for stack in policies_of(config).values():
        for policy in stack:
            for service in policy.services:
                if feature := SERVICE_KINDS[service["kind"]].needs:
                    doctor.require_kernel(feature, f"policy {policy.name}")


def policies_of(config: LabConfig) -> dict[str, list[Policy]]:
    """The policies under test of each node, read and checked."""
    return {
        node: [one if isinstance(one, Policy) else load_policy(str(one)) for one in stack]
        for node, stack in config.policies
    }
