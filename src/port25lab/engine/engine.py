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
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from port25lab.engine.jobs import Job, LabKey, control_key, first, lab_key, plan_jobs
from port25lab.engine.progress import Progress, Quiet
from port25lab.errors import LabError, MachineError
from port25lab.evidence.capture_folder import CaptureFile, CaptureFolder, comment
from port25lab.lab.handle import Lab
from port25lab.lab.sandboxes import Sandboxes
from port25lab.machine import capacity, doctor
from port25lab.machine.versions import describe_environment, own_version
from port25lab.model.client_kinds import CLIENT_KINDS, PROGRAMS_AT_ONCE
from port25lab.model.evidence import Evidence, Observation, Stage
from port25lab.model.packet_kinds import PACKET_KINDS
from port25lab.model.path import MX_PREFIX, PathSpec
from port25lab.model.question import LabConfig, Question
from port25lab.model.service_kinds import SERVICE_KINDS as SERVICES
from port25lab.model.verdict import Report, Verdict
from port25lab.scenario import catalogue
from port25lab.scenario.policy import load_policy
from port25lab.verdict.judge import judge

JOBS = 4 * (os.cpu_count() or 1)
"""Labs side by side: most of a lab's time is waiting for SYNs that nobody answers."""

LISTEN_SECONDS = 0.5
"""How often the wait for labs is left: a signal that comes just before a wait without end would be slept through."""

OnLabUp = Callable[[Lab, Sequence[Verdict]], None]
"""Called with each lab that is still up and the verdicts from it: for `--pause` and `--shell-on-failure`."""

Answers = dict[PathSpec, Evidence]


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
        hold: OnLabUp | None = None,
        keep_labs: bool = False,
        pcap: CaptureFolder | None = None,
    ) -> None:
        self._progress, self._jobs, self._hold, self._keep_labs = progress, jobs, hold, keep_labs
        self._pcap = pcap
        self._captures: dict[tuple[LabKey, bool], CaptureFile] = {}
        """By lab, and whether it is the one in which paths were tried again."""
        self._labels: dict[LabKey, dict[PathSpec, str]] = defaultdict(dict)
        self._up: dict[LabKey, Lab] = {}
        self._lent: set[LabKey] = set()
        """Labs that were given out: what was changed in them is in no other lab."""
        self._sandboxes: Sandboxes | None = None
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
        if self._sandboxes is not None:
            self._sandboxes.close()
            self._sandboxes = None
        if self._pcap is not None:
            self._pcap.close()

    def lab(self, config: LabConfig) -> Lab:
        """A running lab to work in, up until the engine is closed."""
        key: LabKey = config, None
        self._lent.add(key)
        if key not in self._up:
            _require(config)
            self.labs += 1
            self._sandboxes = self._sandboxes or Sandboxes()
            self._make_room([Job(config, ())], self._sandboxes, 1)
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
            self._sandboxes = self._sandboxes or Sandboxes()
            at_once = self._make_room(missing, self._sandboxes, self._jobs if self._hold is None else 1)
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
            own, control = self._labels[lab_key(question)], self._labels[control_key(question)]
            own[question.path] = "\n".join(filter(None, (own.get(question.path), question.id)))
            if lab_key(question) != control_key(question):
                control.setdefault(first(question.path), f"control of {question.id}")

    def _with_captures(self, questions: Sequence[Question], verdicts: Sequence[Verdict]) -> list[Verdict]:
        """The verdicts with the names of their files, and in each file what became of its paths."""
        lines: dict[LabKey, list[str]] = defaultdict(list)
        done = []
        for question, verdict in zip(questions, verdicts, strict=True):
            again = self._answers[lab_key(question)][question.path].retried is not None
            file = self._captures.get((lab_key(question), again))
            done.append(verdict.model_copy(update={"pcap": file.path.name if file else None}))
            expected = f" (expected {verdict.expected})" if verdict.expected not in (None, verdict.outcome) else ""
            lines[lab_key(question)].append(f"{question.id}: {verdict.outcome}{expected}")
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

    def _make_room(self, jobs: Sequence[Job], sandboxes: Sandboxes, at_once: int) -> int:
        """How many of these labs can be up at the same time. Raises MachineError where there is no room for one."""
        needs = [need_of(job) for job in jobs]
        capacity.require_descriptors(needs, sandboxes.descriptors)
        while True:
            kept = [key for key in self._up if key not in self._lent and all(key != job.key for job in jobs)]
            try:
                fits = capacity.fit(needs, at_once, sandboxes.way, sandboxes.own_descriptors, up=len(self._up))
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
        if lab is not None and any(path.packet and PACKET_KINDS[path.packet].early for path in job.paths):
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
        sandboxes = self._sandboxes
        if sandboxes is None:
            raise LabError("the run was ended")  # in another thread, before this one came so far
        try:
            return self._build(job, sandboxes)
        except LabError:
            if self._sandboxes is not None:  # the run goes on
                doctor.require_lab(sandboxes.way)
            raise

    def _build(self, job: Job, sandboxes: Sandboxes) -> Lab:
        plan, policies = job.config.plan, _policies(job.config)
        if self._pcap is None:
            return Lab(sandboxes, plan, policies, job.paths)
        try:
            name = " ".join(filter(None, (job.name, job.alone, "again" if job.again else None)))
            self._captures[job.key, job.again], pcap = self._pcap.open(name)
        except OSError as error:
            raise LabError(f"no capture file in {self._pcap.folder}: {error.strerror or error}") from error
        with pcap:
            return Lab(sandboxes, plan, policies, job.paths, pcap)

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
                    self._hold(
                        lab, [_verdict(question, known) for question in held_for if lab_key(question) == job.key]
                    )
                self._end_capture(lab, job)
        except LabError as error:
            for path in job.paths:
                answers.setdefault(path, failed(str(error)))
        self._progress.lab_done(job.name)
        return answers

    def _tried(self, lab: Lab, job: Job) -> Iterator[tuple[PathSpec, Evidence]]:
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
    progress: Progress | None = None,
    jobs: int = JOBS,
    hold: OnLabUp | None = None,
    pcap: CaptureFolder | None = None,
) -> Report:
    """Answer all questions in labs that are up for this call alone. Returns a verdict for each, in their order.

    ``progress`` is told how far the run is. ``jobs``: the most labs side by side. ``hold`` is called with each lab that
    is still up and its verdicts. ``pcap`` gets a file of each lab's packets.
    Raises InputError for a rule that iptables refuses, and MachineError where this machine lacks something.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    with Engine(progress or Quiet(), jobs=jobs, hold=hold, pcap=pcap) as engine:
        verdicts = engine.verdicts(questions)
    environment = describe_environment() | {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 3),
        "labs": engine.labs,
        "jobs": jobs,
    }
    if pcap is not None:
        environment["pcap"] = pcap.as_data()
    return Report(tool={"name": "port25lab", "version": own_version()}, environment=environment, verdicts=verdicts)


def need_of(job: Job) -> capacity.Need:
    """What a lab takes of what this machine has in limited number."""
    programs = sum(CLIENT_KINDS[path.client].program is not None for path in job.paths)
    return capacity.Need.of(job.config.plan, len(job.paths), min(programs, PROGRAMS_AT_ONCE))


def failed(why: str) -> Evidence:
    """The evidence of an attempt that the tool could not make."""
    return Evidence(observation=Observation(stage=Stage.RESOLVE), error=why)


def _verdict(question: Question, answers: Mapping[LabKey, Answers]) -> Verdict:
    path = question.path
    evidence = answers[lab_key(question)][path]
    control = answers.get(control_key(question), {}).get(first(path))
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


def input_files(questions: Iterable[Question]) -> Iterator[Path]:
    """Every file that a run of these questions reads: scenarios, topologies, what those import, and policies."""
    for name in dict.fromkeys(question.scenario for question in questions):
        yield catalogue.find("scenarios", name)
    for config in dict.fromkeys(question.config for question in questions):
        yield config.topology
        plan = config.plan
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


def over_ipv6(path: PathSpec) -> bool:
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
