"""Jobs: the labs that questions need, their controls included, and the paths to try in each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from port25lab.model.client_kinds import CLIENT_KINDS
from port25lab.model.outcome import AnyOf, Outcome
from port25lab.model.path import PathSpec
from port25lab.model.question import LabConfig, Question

WAITS = {Outcome.DROPPED: 1.5, Outcome.DEFERRED: 6.0}

PROGRAM_WAITS = {Outcome.DROPPED: 3.0, Outcome.DEFERRED: 6.0}

WORK, PROGRAM_WORK = 0.02, 0.12
"""Estimated seconds for which a path waits (above, by outcome) and computes. They decide the order of labs only."""

LabKey = tuple[LabConfig, str | None]
"""The contents of a lab; and the scenario that uses it alone, because the attempts depend on one another."""


@dataclass(frozen=True)
class Job:
    """One lab and the paths to try in it."""

    config: LabConfig
    paths: tuple[PathSpec, ...]
    alone: str | None = None
    """The scenario that uses this lab alone, because its attempts depend on one another. They are made one by one."""
    again: bool = False
    """Whether these paths were tried in another lab before, without any proof."""

    @property
    def batches(self) -> list[list[PathSpec]]:
        """Groups of paths; those of a group are tried side by side."""
        return [[path] for path in self.paths] if self.alone or self.again else [list(self.paths)]

    @property
    def key(self) -> LabKey:
        """Identifies the lab."""
        return self.config, self.alone

    @property
    def name(self) -> str:
        """Topology and policies, for display."""
        stacks = (f"{node}: {' + '.join(names)}" for node, names in self.config.policy_names.items())
        return f"{self.config.topology.stem} ({', '.join(stacks) or 'no policy'})"


def plan_jobs(questions: Iterable[Question]) -> list[Job]:
    """The labs that the questions need, controls included. The lab that is expected to take longest comes first."""
    paths_of: dict[LabKey, dict[PathSpec, None]] = {}
    waits: dict[LabKey, list[float]] = defaultdict(list)
    for question in questions:
        waits[lab_key(question)].append(_wait(question))
        paths_of.setdefault(lab_key(question), {}).update(dict.fromkeys(_up_to(question)))
        paths_of.setdefault(control_key(question), {})[first(question.path)] = None
    jobs = [Job(config, tuple(paths), alone) for (config, alone), paths in paths_of.items()]
    return sorted(jobs, key=lambda job: _seconds(job, waits[job.key]), reverse=True)


def _wait(question: Question) -> float:
    """Seconds for which an attempt is expected to wait, by its expected outcome."""
    if question.expected is None:
        return 0.0
    waits = WAITS if CLIENT_KINDS[question.path.client].program is None else PROGRAM_WAITS
    return 0.0 if isinstance(question.expected, AnyOf) else waits.get(question.expected, 0.0)


def _seconds(job: Job, waits: Sequence[float]) -> float:
    """Seconds that a lab is expected to take. Its paths wait side by side, unless they depend on one another."""
    programs = sum(CLIENT_KINDS[path.client].program is not None for path in job.paths)
    busy = len(job.paths) * WORK + programs * PROGRAM_WORK
    return busy + (sum(waits) if job.alone else max(waits, default=0.0))


def _up_to(question: Question) -> list[PathSpec]:
    """The path, preceded by its earlier attempts where they matter: a fourth attempt needs the first three."""
    earlier = range(1, question.path.attempt) if question.sequential else ()
    return [*(question.path.model_copy(update={"attempt": number}) for number in earlier), question.path]


def first(path: PathSpec) -> PathSpec:
    """The first attempt of a path: the control of all its attempts, because without a policy no limit counts them."""
    return path.model_copy(update={"attempt": 1})


def lab_key(question: Question) -> LabKey:
    """The lab in which a question is answered."""
    return question.config, question.scenario if question.sequential else None


def control_key(question: Question) -> LabKey:
    """The lab of its control: the same topology without the policies."""
    return replace(question.config, policies=(), alone=None), None
