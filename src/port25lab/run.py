"""A run: from questions to a report. Which labs are needed, which paths each of them tries, and what came of it.

Questions that share a topology, its parameters and its policies share one lab, and equal paths in it are tried once.
The lab without policies is the control of all others with the same topology, and answers for the scenarios' open
variants as well.
"""

from __future__ import annotations

import os
import platform
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from port25lab.errors import LabError
from port25lab.evidence import Evidence, Observation, Stage
from port25lab.lab import Lab
from port25lab.mailpath import MailPath
from port25lab.policy import load_policy
from port25lab.sandbox.nursery import Nursery
from port25lab.scenario import LabConfig, Question
from port25lab.topology import Plan, load_topology
from port25lab.verdict import Report, Verdict, judge

JOBS = 2 * (os.cpu_count() or 1)
"""Labs side by side: most of a lab's time is waiting for SYNs that nobody answers."""


class Progress(Protocol):
    """What a run tells while it goes on."""

    def lab_started(self, name: str) -> None: ...
    def lab_ready(self, name: str, seconds: float) -> None: ...
    def attempt_done(self, name: str) -> None: ...
    def lab_done(self, name: str) -> None: ...


Hold = Callable[[Lab, Sequence[Verdict]], None]
"""Called with each lab that is still up and the verdicts from it: for `--pause` and `--shell-on-failure`."""

Answers = dict[MailPath, Evidence]


@dataclass(frozen=True)
class Job:
    """One lab and the paths to try in it."""

    config: LabConfig
    paths: tuple[MailPath, ...]
    alone: str | None = None
    """Scenario whose attempts depend on one another: it shares its lab with nobody, and they go one by one."""

    @property
    def name(self) -> str:
        """Topology and policies, for people."""
        stacks = (f"{node}: {' + '.join(names)}" for node, names in self.config.policy_names.items())
        return f"{self.config.topology.stem} ({', '.join(stacks) or 'no policy'})"


def run(
    questions: Sequence[Question],
    *,
    progress: Progress,
    jobs: int = JOBS,
    hold: Hold | None = None,
) -> Report:
    """Answer all questions. Raises InputError and MachineError; a lab that fails makes its paths `error`."""
    started, clock = datetime.now(UTC), time.perf_counter()
    planned = plan_jobs(questions)
    answers: dict[tuple[LabConfig, str | None], Answers] = {}
    with Nursery() as nursery:
        runner = _Runner(nursery, progress)
        if hold is None:
            _side_by_side(runner, planned, answers, jobs)
        else:
            for job in planned:
                with_lab = _Held(hold, questions, answers, job)
                answers[job.config, job.alone] = runner.answer(job, with_lab)
    verdicts = [_verdict(question, answers) for question in questions]
    environment = _environment() | {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 3),
        "labs": len(planned),
        "jobs": jobs,
    }
    return Report(tool={"name": "port25lab", "version": _version()}, environment=environment, verdicts=verdicts)


def plan_jobs(questions: Iterable[Question]) -> list[Job]:
    """The labs that the questions need, controls included and first: everything else is judged against them."""
    wanted: dict[tuple[LabConfig, str | None], dict[MailPath, None]] = {}
    for question in questions:
        own = question.config, _alone(question)
        wanted.setdefault(own, {})[question.path] = None
        control = _control(question)
        if control != own:
            wanted.setdefault(control, {})[question.path] = None
    jobs = [Job(config, tuple(paths), alone) for (config, alone), paths in wanted.items()]
    return sorted(jobs, key=lambda job: bool(job.config.policies))


def _alone(question: Question) -> str | None:
    return question.scenario if question.sequential else None


def _control(question: Question) -> tuple[LabConfig, str | None]:
    return replace(question.config, policies=()), None


@dataclass
class _Runner:
    """Runs one job at a time; several threads may call it."""

    nursery: Nursery
    progress: Progress

    def answer(self, job: Job, hold: Callable[[Lab, Answers], None] | None = None) -> Answers:
        """Evidence for every path of the job. A lab that breaks leaves `error` for those that it had not answered."""
        answers: Answers = {}
        self.progress.lab_started(job.name)
        try:
            with Lab(self.nursery, _plan(job.config), _policies(job.config)) as lab:
                self.progress.lab_ready(job.name, lab.seconds)
                batches = [[path] for path in job.paths] if job.alone else [list(job.paths)]
                for batch in batches:
                    for path, evidence in lab.attempts(batch):
                        answers[path] = evidence
                        self.progress.attempt_done(job.name)
                if hold:
                    hold(lab, answers)
        except LabError as error:
            for path in job.paths:
                answers.setdefault(path, failed(str(error)))
        self.progress.lab_done(job.name)
        return answers


@dataclass
class _Held:
    """Judges what a lab found while it is still up, and hands both over."""

    hold: Hold
    questions: Sequence[Question]
    answers: dict[tuple[LabConfig, str | None], Answers]
    job: Job

    def __call__(self, lab: Lab, found: Answers) -> None:
        known = {**self.answers, (self.job.config, self.job.alone): found}
        mine = [q for q in self.questions if (q.config, _alone(q)) == (self.job.config, self.job.alone)]
        self.hold(lab, [_verdict(question, known) for question in mine])


def failed(why: str) -> Evidence:
    """The evidence of an attempt that the tool could not make."""
    return Evidence(observation=Observation(stage=Stage.RESOLVE), error=why)


def _side_by_side(
    runner: _Runner, planned: Sequence[Job], answers: dict[tuple[LabConfig, str | None], Answers], jobs: int
) -> None:
    pool = ThreadPoolExecutor(max_workers=max(1, min(jobs, len(planned))), thread_name_prefix="lab")
    try:
        futures = [(job, pool.submit(runner.answer, job)) for job in planned]
        for job, future in futures:
            answers[job.config, job.alone] = future.result()
    except BaseException:
        # Whatever ended the wait (Ctrl-C, a bad rule) ends the labs: their threads see the end of their lines.
        pool.shutdown(wait=False, cancel_futures=True)
        runner.nursery.close()
        raise
    finally:
        pool.shutdown(wait=True)


def _verdict(question: Question, answers: Mapping[tuple[LabConfig, str | None], Answers]) -> Verdict:
    path = question.path
    evidence = answers[question.config, _alone(question)][path]
    control = answers.get(_control(question), {}).get(path)
    found = judge(evidence, question.expected, question.by, control)
    return Verdict(
        scenario=question.scenario,
        variant=question.variant,
        path=question.id,
        name=question.name,
        ref=question.ref,
        source=path.source,
        to=path.to,
        port=path.port,
        ip_version=path.ip_version,
        security=path.security,
        auth=path.auth.user if path.auth else None,
        client=path.client,
        policies={node: list(names) for node, names in question.config.policy_names.items()},
        outcome=found.outcome,
        expected=question.expected,
        expected_by=question.by,
        ok=found.ok,
        blame=found.blame,
        observation=evidence.observation,
        decisions=evidence.decisions,
        icmp=evidence.icmp,
        hops=evidence.hops,
        control=found.control,
        disagreement=found.disagreement,
        reason=found.reason,
    )


_plans: dict[tuple[object, ...], Plan] = {}
_plans_lock = threading.Lock()


def _plan(config: LabConfig) -> Plan:
    """Topology files are Python, run once for each set of parameters."""
    key = (config.topology, config.parameters)
    with _plans_lock:
        if key not in _plans:
            _plans[key] = load_topology(str(config.topology), dict(config.parameters))
        return _plans[key]


def _policies(config: LabConfig) -> dict[str, list[Any]]:
    return {node: [load_policy(str(ref)) for ref in refs] for node, refs in config.policies}


def _version() -> str:
    try:
        return version("port25lab")
    except PackageNotFoundError:
        return "0"


def _environment() -> dict[str, Any]:
    """What a reader needs to know to repeat the run elsewhere."""
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "mininet": _mininet(),
        "iptables": _says("iptables", "--version"),
        "nft": _says("nft", "--version"),
        "ipset": _says("ipset", "--version"),
    }


def _mininet() -> str:
    from mininet.net import VERSION

    return str(VERSION)


def _says(*argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=5, check=False)
    except OSError:
        return "not found"
    return (done.stdout or done.stderr).split("\n", 1)[0].strip()
