"""Jobs: questions grouped into labs, the longest first, each with its control."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from port25lab.model.client_kinds import CLIENT_KINDS
from port25lab.model.outcome import Outcome
from port25lab.model.path import PathSpec
from port25lab.model.question import LabConfig, Question

WAITS = {Outcome.DROPPED: 1.5, Outcome.DEFERRED: 6.0}

PROGRAM_WAITS = {Outcome.DROPPED: 3.0, Outcome.DEFERRED: 6.0}

WORK, PROGRAM_WORK = 0.02, 0.12
"""Seconds that a path is likely to wait, and to keep a processor busy; only the order of labs depends on them."""

LabKey = tuple[LabConfig, str | None]
"""What is in a lab, and the scenario that has it for itself where attempts depend on one another."""


@dataclass(frozen=True)
class Job:
    """One lab and the paths to try in it."""

    config: LabConfig
    paths: tuple[PathSpec, ...]
    alone: str | None = None
    """Scenario whose attempts depend on one another: it shares its lab with nobody, and they go one by one."""
    again: bool = False
    """These paths were tried in another lab before, and it proved nothing."""

    @property
    def batches(self) -> list[list[PathSpec]]:
        """The paths that are tried side by side."""
        return [[path] for path in self.paths] if self.alone or self.again else [list(self.paths)]

    @property
    def key(self) -> LabKey:
        """What tells this lab from all others."""
        return self.config, self.alone

    @property
    def name(self) -> str:
        """Topology and policies, for people."""
        stacks = (f"{node}: {' + '.join(names)}" for node, names in self.config.policy_names.items())
        return f"{self.config.topology.stem} ({', '.join(stacks) or 'no policy'})"


def plan_jobs(questions: Iterable[Question]) -> list[Job]:
    """The labs that the questions need, controls included; first the one that is likely to take longest."""
    wanted: dict[LabKey, dict[PathSpec, None]] = {}
    waits: dict[LabKey, list[float]] = defaultdict(list)
    for question in questions:
        waits[lab_key(question)].append(_wait(question))
        wanted.setdefault(lab_key(question), {}).update(dict.fromkeys(_up_to(question)))
        wanted.setdefault(control_key(question), {})[first(question.path)] = None
    jobs = [Job(config, tuple(paths), alone) for (config, alone), paths in wanted.items()]
    return sorted(jobs, key=lambda job: _seconds(job, waits[job.key]), reverse=True)


def _wait(question: Question) -> float:
    """How long nothing happens in an attempt, as far as what is expected of it tells."""
    if question.expected is None:
        return 0.0
    waits = WAITS if CLIENT_KINDS[question.path.client].program is None else PROGRAM_WAITS
    return waits.get(question.expected, 0.0)


def _seconds(job: Job, waits: Sequence[float]) -> float:
    """How long a lab is likely to take: its paths wait side by side, unless they depend on one another."""
    programs = sum(CLIENT_KINDS[path.client].program is not None for path in job.paths)
    busy = len(job.paths) * WORK + programs * PROGRAM_WORK
    return busy + (sum(waits) if job.alone else max(waits, default=0.0))


def _up_to(question: Question) -> list[PathSpec]:
    """The path, after all earlier attempts of it where they count: the fourth is none without the first three."""
    earlier = range(1, question.path.attempt) if question.sequential else ()
    return [*(question.path.model_copy(update={"attempt": number}) for number in earlier), question.path]


def first(path: PathSpec) -> PathSpec:
    """The control of all attempts is the first one: without a policy nobody counts them."""
    return path.model_copy(update={"attempt": 1})


def lab_key(question: Question) -> LabKey:
    """The lab that answers a question."""
    return question.config, question.scenario if question.sequential else None


def control_key(question: Question) -> LabKey:
    """The lab that answers its control: the same topology without the policies."""
    return replace(question.config, policies=()), None
