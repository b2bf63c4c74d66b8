"""A run: from questions to a report. Which labs are needed, which paths each of them tries, and what came of it.

Questions that share a topology, its parameters and its policies share one lab, and equal paths in it are tried once.
The lab without policies is the control of all others with the same topology, and answers for the scenarios' open
variants as well.

Paths whose attempts proved nothing, because the kernel's trace of them was incomplete, are tried once more: one by one
in a new lab, in which nothing has happened yet. Servers and rules remember, so that an attempt that is repeated in the
same lab may meet a greylist or a limit that the first one did not.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol, Self

from port25lab import catalogue, doctor, room
from port25lab.clients import CLIENTS, PROGRAMS_AT_ONCE
from port25lab.errors import LabError, MachineError
from port25lab.evidence import Evidence, Observation, Stage
from port25lab.lab import Lab
from port25lab.mailpath import MX_PREFIX, MailPath
from port25lab.nursery import Nursery
from port25lab.outcome import Outcome
from port25lab.pcapfiles import CaptureFile, CaptureFolder, comment
from port25lab.policy import load_policy
from port25lab.rawpackets import KINDS
from port25lab.sandbox.ownpython import search_path
from port25lab.scenario import LabConfig, Question
from port25lab.services.kinds import KINDS as SERVICES
from port25lab.topology import Plan, load_topology
from port25lab.verdict import Report, Verdict, judge

JOBS = 4 * (os.cpu_count() or 1)
"""Labs side by side: most of a lab's time is waiting for SYNs that nobody answers."""

WAITS = {Outcome.DROPPED: 1.5, Outcome.DEFERRED: 6.0}
PROGRAM_WAITS = {Outcome.DROPPED: 3.0, Outcome.DEFERRED: 6.0}
WORK, PROGRAM_WORK = 0.02, 0.12
"""Seconds that a path is likely to wait, and to keep a processor busy; only the order of labs depends on them."""

LISTEN_SECONDS = 0.5
"""How often the wait for labs is left: a signal that comes just before a wait without end would be slept through."""


class Progress(Protocol):
    """What a run tells while it goes on."""

    def lab_started(self, name: str) -> None: ...
    def lab_ready(self, name: str, seconds: float) -> None: ...
    def attempt_done(self, name: str) -> None: ...
    def lab_done(self, name: str) -> None: ...


class Quiet:
    """A progress that tells nothing."""

    def lab_started(self, name: str) -> None: ...
    def lab_ready(self, name: str, seconds: float) -> None: ...
    def attempt_done(self, name: str) -> None: ...
    def lab_done(self, name: str) -> None: ...


Hold = Callable[[Lab, Sequence[Verdict]], None]
"""Called with each lab that is still up and the verdicts from it: for `--pause` and `--shell-on-failure`."""

Answers = dict[MailPath, Evidence]

LabKey = tuple[LabConfig, str | None]
"""What is in a lab, and the scenario that has it for itself where attempts depend on one another."""


@dataclass(frozen=True)
class Job:
    """One lab and the paths to try in it."""

    config: LabConfig
    paths: tuple[MailPath, ...]
    alone: str | None = None
    """Scenario whose attempts depend on one another: it shares its lab with nobody, and they go one by one."""
    again: bool = False
    """These paths were tried in another lab before, and it proved nothing."""

    @property
    def batches(self) -> list[list[MailPath]]:
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


class Engine:
    """Sandboxes, and all that was found in them so far: a path that was tried once is not tried again.

    A context manager: leaving it ends every lab. ``hold`` gets each lab while it is still up, one after another;
    ``keep_labs`` leaves them up for the next question; ``pcap`` gets a file of each lab's packets.
    """

    def __init__(
        self,
        progress: Progress,
        *,
        jobs: int = JOBS,
        hold: Hold | None = None,
        keep_labs: bool = False,
        pcap: CaptureFolder | None = None,
    ) -> None:
        self._progress, self._jobs, self._hold, self._keep_labs = progress, jobs, hold, keep_labs
        self._pcap = pcap
        self._captures: dict[tuple[LabKey, bool], CaptureFile] = {}
        """By lab, and whether it is the one in which paths were tried again."""
        self._labels: dict[LabKey, dict[MailPath, str]] = defaultdict(dict)
        self._up: dict[LabKey, Lab] = {}
        self._lent: set[LabKey] = set()
        """Labs that were given out: what was changed in them is in no other lab."""
        self._nursery: Nursery | None = None
        self._answers: dict[LabKey, Answers] = {}
        self.labs = 0
        """How many labs were started."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every lab."""
        for lab in self._up.values():
            lab.close()
        self._up.clear()
        if self._nursery is not None:
            self._nursery.close()
            self._nursery = None
        if self._pcap is not None:
            self._pcap.close()

    def lab(self, config: LabConfig) -> Lab:
        """A running lab to work in, up until the engine is closed."""
        key: LabKey = config, None
        self._lent.add(key)
        if key not in self._up:
            _require(config)
            self.labs += 1
            self._nursery = self._nursery or Nursery()
            self._make_room([Job(config, ())], self._nursery, 1)
            self._up[key] = self._start(Job(config, ()))
        self._lent.add(key)
        return self._up[key]

    def verdicts(self, questions: Sequence[Question]) -> list[Verdict]:
        """Answer questions, controls included. A lab that fails makes its paths `error`.

        Raises InputError for a rule that iptables refuses, and MachineError.
        """
        require_ipv6(questions)
        missing = [job for job in map(self._not_yet, plan_jobs(questions)) if job.paths]
        for job in missing:
            _require(job.config)
        if self._pcap is not None:
            self._name_attempts(questions)
        at_once = 1
        if missing:
            self._nursery = self._nursery or Nursery()
            at_once = self._make_room(missing, self._nursery, self._jobs if self._hold is None else 1)
        self.labs += sum(job.key not in self._up for job in missing)
        if self._hold is None and missing:
            self._side_by_side(missing, at_once)
        elif missing:
            # One by one, controls first: a person is shown verdicts, and a blocked path has none without its control.
            for job in sorted(missing, key=lambda job: bool(job.config.policies)):
                self._keep(job, self._answer(job, questions))
        verdicts = [_verdict(question, self._answers) for question in questions]
        return verdicts if self._pcap is None else self._with_captures(questions, verdicts)

    def _name_attempts(self, questions: Iterable[Question]) -> None:
        """What a capture file says where an attempt begins: the ids of all that it answers."""
        for question in questions:
            own, control = self._labels[_key(question)], self._labels[_control(question)]
            own[question.path] = "\n".join(filter(None, (own.get(question.path), question.id)))
            if _key(question) != _control(question):
                control.setdefault(_first(question.path), f"control of {question.id}")

    def _with_captures(self, questions: Sequence[Question], verdicts: Sequence[Verdict]) -> list[Verdict]:
        """The verdicts with the names of their files, and in each file what became of its paths."""
        lines: dict[LabKey, list[str]] = defaultdict(list)
        done = []
        for question, verdict in zip(questions, verdicts, strict=True):
            again = self._answers[_key(question)][question.path].retried is not None
            file = self._captures.get((_key(question), again))
            done.append(verdict.model_copy(update={"pcap": file.path.name if file else None}))
            expected = f" (expected {verdict.expected})" if verdict.expected not in (None, verdict.outcome) else ""
            lines[_key(question)].append(f"{question.id}: {verdict.outcome}{expected}")
        for (key, _), file in self._captures.items():
            comment(file, [f"port25lab, lab {Job(key[0], (), key[1]).name}", *lines[key]])
        return done

    def _not_yet(self, job: Job) -> Job:
        known = self._answers.get(job.key, {})
        missing = tuple(path for path in job.paths if path not in known)
        # What attempts left behind in a lab of their own is gone with it: then all of them are made again.
        again = bool(missing) and job.alone is not None and job.key not in self._up
        return replace(job, paths=job.paths if again else missing)

    def _keep(self, job: Job, found: Answers) -> None:
        self.labs += any(evidence.retried for evidence in found.values())
        self._answers.setdefault(job.key, {}).update(found)

    def _make_room(self, jobs: Sequence[Job], nursery: Nursery, at_once: int) -> int:
        """How many of these labs can be up at the same time. Raises MachineError where there is no room for one."""
        needs = [need_of(job) for job in jobs]
        room.require_descriptors(needs, nursery.descriptors)
        while True:
            kept = [key for key in self._up if key not in self._lent and all(key != job.key for job in jobs)]
            try:
                fits = room.fit(needs, at_once, nursery.way, nursery.own_descriptors, up=len(self._up))
            except MachineError:
                if not kept:
                    raise
                fits = 0
            if fits or not kept:
                return fits
            for key in kept:  # they were to save time, not to take the place of others
                self._up.pop(key).close()

    def _side_by_side(self, jobs: Sequence[Job], at_once: int) -> None:
        pool = ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="lab")
        try:
            futures = [(job, pool.submit(self._answer, job)) for job in jobs]
            for job, future in futures:
                while not wait([future], timeout=LISTEN_SECONDS).done:
                    pass
                self._keep(job, future.result())
        except BaseException:
            # Whatever ended the wait (Ctrl-C, a bad rule) ends the labs: their threads see the end of their lines.
            pool.shutdown(wait=False, cancel_futures=True)
            self.close()
            raise
        finally:
            pool.shutdown(wait=True)

    @contextlib.contextmanager
    def _lab(self, job: Job) -> Iterator[Lab]:
        """The job's lab; one that broke is not kept."""
        lab = self._up.pop(job.key, None)
        if lab is not None and any(path.packet and KINDS[path.packet].early for path in job.paths):
            lab.close()  # its policies are loaded, and the sessions are to be older
            lab = None
        lab = lab or self._start(job)
        try:
            yield lab
        except BaseException:
            lab.close()
            raise
        if self._keep_labs:
            self._up[job.key] = lab
        else:
            lab.close()

    def _start(self, job: Job) -> Lab:
        nursery = self._nursery
        if nursery is None:
            raise LabError("the run was ended")  # in another thread, before this one came so far
        try:
            return self._build(job, nursery)
        except LabError:
            if self._nursery is not None:  # the run goes on
                doctor.require_lab(nursery.way)
            raise

    def _build(self, job: Job, nursery: Nursery) -> Lab:
        plan, policies = _plan(job.config), _policies(job.config)
        if self._pcap is None:
            return Lab(nursery, plan, policies, job.paths)
        try:
            name = " ".join(filter(None, (job.name, job.alone, "again" if job.again else None)))
            self._captures[job.key, job.again], pcap = self._pcap.open(name)
        except OSError as error:
            raise LabError(f"no capture file in {self._pcap.folder}: {error.strerror or error}") from error
        with pcap:
            return Lab(nursery, plan, policies, job.paths, pcap)

    def _answer(self, job: Job, held_for: Sequence[Question] = ()) -> Answers:
        """Evidence for every path of the job; `error` for those that a lab that broke had not answered."""
        answers: Answers = {}
        self._progress.lab_started(job.name)
        try:
            with self._lab(job) as lab:
                self._progress.lab_ready(job.name, lab.seconds)
                for path, evidence in self._tried(lab, job):
                    answers[path] = evidence
                    self._progress.attempt_done(job.name)
                self._try_again(job, answers)
                if self._hold:
                    known = {**self._answers, job.key: answers}
                    self._hold(lab, [_verdict(question, known) for question in held_for if _key(question) == job.key])
                self._end_capture(lab, job)
        except LabError as error:
            for path in job.paths:
                answers.setdefault(path, failed(str(error)))
        self._progress.lab_done(job.name)
        return answers

    def _tried(self, lab: Lab, job: Job) -> Iterator[tuple[MailPath, Evidence]]:
        for batch in job.batches:
            yield from lab.attempts(batch, self._labels.get(job.key))

    def _try_again(self, job: Job, answers: Answers) -> None:
        """Replace what proved nothing because trace events were lost. What is lost again stays an error.

        Where attempts depend on one another, all of them are made again. Paths of a lab in which a test may have
        changed something are not: a new lab would be another network.
        """
        lost = {path: why for path in job.paths if (why := answers[path].trace_lost)}
        if not lost or job.key in self._lent:
            return
        any_reason = next(iter(lost.values()))
        again = replace(job, paths=job.paths if job.alone else tuple(lost), again=True)
        found: Answers = {}
        with contextlib.closing(self._start(again)) as lab:
            for path, evidence in self._tried(lab, again):
                found[path] = evidence.model_copy(update={"retried": lost.get(path, any_reason)})
            self._end_capture(lab, again)
        answers.update(found)  # of a lab that broke none: a sequence comes from one lab

    def _end_capture(self, lab: Lab, job: Job) -> None:
        if file := self._captures.get((job.key, job.again)):
            file.ended(lab.end_capture())


def run(
    questions: Sequence[Question],
    *,
    progress: Progress,
    jobs: int = JOBS,
    hold: Hold | None = None,
    pcap: CaptureFolder | None = None,
) -> Report:
    """Answer all questions, and report. ``pcap`` gets a file of each lab's packets.

    Raises InputError and MachineError.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    with Engine(progress, jobs=jobs, hold=hold, pcap=pcap) as engine:
        verdicts = engine.verdicts(questions)
    environment = _environment() | {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 3),
        "labs": engine.labs,
        "jobs": jobs,
    }
    if pcap is not None:
        environment["pcap"] = pcap.as_data()
    return Report(tool={"name": "port25lab", "version": _version()}, environment=environment, verdicts=verdicts)


def plan_jobs(questions: Iterable[Question]) -> list[Job]:
    """The labs that the questions need, controls included; first the one that is likely to take longest."""
    wanted: dict[LabKey, dict[MailPath, None]] = {}
    waits: dict[LabKey, list[float]] = defaultdict(list)
    for question in questions:
        waits[_key(question)].append(_wait(question))
        wanted.setdefault(_key(question), {}).update(dict.fromkeys(_up_to(question)))
        wanted.setdefault(_control(question), {})[_first(question.path)] = None
    jobs = [Job(config, tuple(paths), alone) for (config, alone), paths in wanted.items()]
    return sorted(jobs, key=lambda job: _seconds(job, waits[job.key]), reverse=True)


def need_of(job: Job) -> room.Need:
    """What a lab takes of what this machine has in limited number."""
    programs = sum(CLIENTS[path.client].program is not None for path in job.paths)
    return room.Need.of(_plan(job.config), len(job.paths), min(programs, PROGRAMS_AT_ONCE))


def _wait(question: Question) -> float:
    """How long nothing happens in an attempt, as far as what is expected of it tells."""
    if question.expected is None:
        return 0.0
    waits = WAITS if CLIENTS[question.path.client].program is None else PROGRAM_WAITS
    return waits.get(question.expected, 0.0)


def _seconds(job: Job, waits: Sequence[float]) -> float:
    """How long a lab is likely to take: its paths wait side by side, unless they depend on one another."""
    programs = sum(CLIENTS[path.client].program is not None for path in job.paths)
    busy = len(job.paths) * WORK + programs * PROGRAM_WORK
    return busy + (sum(waits) if job.alone else max(waits, default=0.0))


def _up_to(question: Question) -> list[MailPath]:
    """The path, after all earlier attempts of it where they count: the fourth is none without the first three."""
    earlier = range(1, question.path.attempt) if question.sequential else ()
    return [*(question.path.model_copy(update={"attempt": number}) for number in earlier), question.path]


def _first(path: MailPath) -> MailPath:
    """The control of all attempts is the first one: without a policy nobody counts them."""
    return path.model_copy(update={"attempt": 1})


def _key(question: Question) -> LabKey:
    return question.config, question.scenario if question.sequential else None


def _control(question: Question) -> LabKey:
    return replace(question.config, policies=()), None


def failed(why: str) -> Evidence:
    """The evidence of an attempt that the tool could not make."""
    return Evidence(observation=Observation(stage=Stage.RESOLVE), error=why)


def _verdict(question: Question, answers: Mapping[LabKey, Answers]) -> Verdict:
    path = question.path
    evidence = answers[_key(question)][path]
    control = answers.get(_control(question), {}).get(_first(path))
    found = judge(evidence, question.expected, question.by, control, question.how)
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
        recipient=path.recipient,
        sender=path.sender,
        size=path.size,
        packet=path.packet,
        spoof=path.spoof,
        policies={node: list(names) for node, names in question.config.policy_names.items()},
        outcome=found.outcome,
        mechanism=found.mechanism,
        expected=question.expected,
        expected_by=question.by,
        expected_how=question.how,
        expected_from=question.expected_from,
        attempt=path.attempt,
        repeat=question.repeat,
        ok=found.ok,
        blame=found.blame,
        observation=evidence.observation,
        decisions=evidence.decisions,
        diverted=evidence.diverted,
        icmp=evidence.icmp,
        answered_by=evidence.answered_by,
        hops=evidence.hops,
        arrival=evidence.arrival,
        should=question.should,
        matrix=question.matrix,
        packets=evidence.packets,
        divergence=evidence.divergence,
        control=found.control,
        disagreement=found.disagreement,
        reason=found.reason,
        retried=evidence.retried,
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


def input_files(questions: Iterable[Question]) -> Iterator[Path]:
    """Every file that a run of these questions reads: scenarios, topologies, what those import, and policies."""
    for name in dict.fromkeys(question.scenario for question in questions):
        yield catalogue.find("scenarios", name)
    for config in dict.fromkeys(question.config for question in questions):
        yield config.topology
        plan = _plan(config)
        own = (load_policy(name, plan.file).folder for node in plan.nodes.values() for name in node.policies)
        folders = {*own, *(folder for _, stack in config.policies for folder in stack)}
        yield from (file for folder in folders for file in folder.iterdir())
    # A module that a topology imports from beside it. More than those would do no harm.
    folders = {question.config.topology.parent.resolve() for question in questions}
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    yield from (Path(file) for file in files if file and Path(file).parent.resolve() in folders)


def require_ipv6(questions: Sequence[Question]) -> None:
    """Raise MachineError where paths are asked over IPv6 and the kernel has none."""
    asked = [question for question in questions if over_ipv6(question.path)]
    if asked:
        doctor.require_ip(6, f"{len(asked)} of {len(questions)} paths are asked")


def over_ipv6(path: MailPath) -> bool:
    """Whether a path is asked over IPv6 alone."""
    return path.ip_version == 6 or ":" in path.to.removeprefix(MX_PREFIX)


def _require(config: LabConfig) -> None:
    """Raise MachineError where a policy brings a middlebox for which this machine lacks something."""
    for stack in _policies(config).values():
        for policy in stack:
            for service in policy.services:
                if feature := SERVICES[service["kind"]].needs:
                    doctor.require_kernel(feature, f"policy {policy.name}")


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


def _says(name: str, *arguments: str) -> str:
    program = shutil.which(name, path=search_path())
    if program is None:
        return "not found"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=5, check=False)
    return (done.stdout or done.stderr).split("\n", 1)[0].strip()
