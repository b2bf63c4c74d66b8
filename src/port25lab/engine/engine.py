"""A run, from questions to a report: start the labs, try the paths in them, and judge the evidence.

Questions with the same topology, parameters and policies share one lab, and equal paths in it are tried once. The lab
without policies is the control of all others with the same topology, and also answers variants without policies.

An attempt proves nothing where the kernel's trace is incomplete, or where a limit in seconds ended it while its lab got
too little processor time. Its path is tried once more when all other labs are done, alone in a new lab: a greylist or a
limit of the same lab may remember the first attempt.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime
from typing import Self

from port25lab.engine import needs, provenance
from port25lab.engine.jobs import Job, LabKey, control_key, first, lab_key, plan_jobs
from port25lab.engine.progress import Progress, Quiet
from port25lab.errors import LabError, MachineError, NewLabNeededError
from port25lab.evidence.capture_folder import CaptureFile, CaptureFolder, comment
from port25lab.lab.handle import Lab
from port25lab.lab.sandboxes import Sandboxes
from port25lab.machine import capacity, doctor, processors
from port25lab.machine.versions import describe_environment
from port25lab.model.evidence import Evidence, Observation, Stage
from port25lab.model.outcome import meets
from port25lab.model.packet_kinds import kind_of
from port25lab.model.path import PathSpec
from port25lab.model.question import LabConfig, Question
from port25lab.model.verdict import Report, Verdict
from port25lab.verdict.judge import judge
from port25lab.verdict.series import with_chance

LISTEN_SECONDS = 0.5
"""Seconds after which a wait for labs is interrupted, so that a signal that came just before the wait is handled."""

OnLabUp = Callable[[Lab, Sequence[Verdict]], None]
"""Called with each lab that is still up and the verdicts from it: for `--pause` and `--shell-on-failure`."""

Answers = dict[PathSpec, Evidence]


class Engine:
    """Sandboxes, and the evidence from them so far. A path that was tried once is not tried again.

    A context manager: leaving it ends every lab. ``progress`` receives the events; at most ``jobs`` labs are up;
    None: as many as the processors of this machine allow.
    ``on_lab_up`` is called with each lab while it is still up, one lab after another. ``keep_labs`` leaves labs up for
    the next questions. ``pcap`` gets a capture file of each lab's packets.
    """

    def __init__(
        self,
        progress: Progress,
        *,
        jobs: int | None = None,
        on_lab_up: OnLabUp | None = None,
        keep_labs: bool = False,
        pcap: CaptureFolder | None = None,
    ) -> None:
        self._progress, self._on_lab_up, self._keep_labs = progress, on_lab_up, keep_labs
        self.jobs = jobs or processors.labs_at_once()
        """The most labs that are up at the same time."""
        self._pcap = pcap
        self._captures: dict[tuple[LabKey, bool], CaptureFile] = {}
        """By lab, and whether paths are tried a second time in it."""
        self._labels: dict[LabKey, dict[PathSpec, str]] = defaultdict(dict)
        self._up: dict[LabKey, Lab] = {}
        self._lent: set[LabKey] = set()
        """Labs that ``lab`` returned: a caller may have changed something in them."""
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
        """A running lab to work in. It is up until the engine is closed."""
        key: LabKey = config, None
        self._lent.add(key)
        if key not in self._up:
            needs.require_features(config)
            self.labs += 1
            self._sandboxes = self._sandboxes or Sandboxes()
            self._make_room([Job(config, ())], self._sandboxes, 1)
            self._up[key] = self._start(Job(config, ()))
        self._lent.add(key)
        return self._up[key]

    def renew(self, config: LabConfig) -> None:
        """The files of a lab's policies have changed: load them, and ask again what is asked next.

        Where attempts depend on one another, or the rules need another lab, the next question starts one. Raises
        InputError for a rule that iptables refuses; the lab then has the rules of before, and its answers stay.
        """
        key: LabKey = config, None
        if key in self._up:
            try:
                for node, stack in needs.policies_of(config).items():
                    self._up[key].reload(node, stack)
            except NewLabNeededError:
                self._up.pop(key).close()
        for one in [one for one in (*self._up, *self._answers) if one[0] == config and one != key]:
            if one in self._up:
                self._up.pop(one).close()
            self._answers.pop(one, None)
        self._answers.pop(key, None)

    def replace(self, old: LabConfig, new: LabConfig) -> None:
        """Give a lab that is up the policies of another configuration; what is asked of that is then asked in it.

        A lab that cannot take them stays as it is, and the next question starts another one. Raises InputError for a
        rule that iptables refuses; the lab then has the rules of before.
        """
        if old.plan == new.plan and (new, None) not in self._up and (old, None) in self._up:
            lab, before = self._up[old, None], needs.policies_of(old)
            changed = {node: stack for node, stack in needs.policies_of(new).items() if before.get(node) != stack}
            with contextlib.suppress(NewLabNeededError):
                for node, stack in changed.items():
                    lab.reload(node, stack)
                self._up[new, None] = self._up.pop((old, None))
                self._answers.pop((new, None), None)
                if (old, None) in self._lent:
                    self._lent.add((new, None))

    def forget_other_answers(self, configs: Iterable[LabConfig]) -> None:
        """Forget what was found in other labs than the controls of these: for callers that ask without end."""
        kept = [replace(config, policies=(), alone=None) for config in configs]
        self._answers = {key: found for key, found in self._answers.items() if key[0] in kept}

    def keep_only(self, configs: Iterable[LabConfig]) -> None:
        """End the labs of all other configurations but the controls of these."""
        wanted = {one for config in configs for one in (config, replace(config, policies=(), alone=None))}
        for key in [key for key in self._up if key[0] not in wanted]:
            self._up.pop(key).close()

    def verdicts(self, questions: Sequence[Question]) -> list[Verdict]:
        """Answer questions, controls included. The paths of a lab that fails end in `error`.

        Raises InputError for a rule that iptables refuses, and MachineError.
        """
        needs.require_ipv6(questions)
        missing = [job for job in map(self._not_yet, plan_jobs(questions)) if job.paths]
        for job in missing:
            needs.require_features(job.config)
        if self._pcap is not None:
            self._name_attempts(questions)
        at_once = 1
        if missing:
            self._sandboxes = self._sandboxes or Sandboxes()
            at_once = self._make_room(missing, self._sandboxes, self.jobs if self._on_lab_up is None else 1)
        self.labs += sum(job.key not in self._up for job in missing)
        if self._on_lab_up is None and missing:
            self._side_by_side(missing, at_once)
        elif missing:
            # One by one, controls first: ``on_lab_up`` gets verdicts, and a blocked path has none without its control.
            for job in sorted(missing, key=lambda job: bool(job.config.policies)):
                self._keep(job, self._answer(job, questions))
        verdicts = with_chance([_verdict(question, self._answers) for question in questions])
        return verdicts if self._pcap is None else self._with_captures(questions, verdicts)

    def _name_attempts(self, questions: Iterable[Question]) -> None:
        """Label each attempt in the capture files with the ids of the questions that it answers."""
        for question in questions:
            own, control = self._labels[lab_key(question)], self._labels[control_key(question)]
            own[question.path] = "\n".join(filter(None, (own.get(question.path), question.id)))
            if lab_key(question) != control_key(question):
                control.setdefault(first(question.path), f"control of {question.id}")

    def _with_captures(self, questions: Sequence[Question], verdicts: Sequence[Verdict]) -> list[Verdict]:
        """Add the name of its capture file to each verdict, and to each file the outcomes of its paths."""
        lines: dict[LabKey, list[str]] = defaultdict(list)
        done = []
        for question, verdict in zip(questions, verdicts, strict=True):
            again = verdict.evidence.retried is not None
            file = self._captures.get((lab_key(question), again))
            done.append(replace(verdict, pcap=file.path.name if file else None))
            met = meets(verdict.outcome, question.expected)
            expected = "" if met else f" (expected {question.expected})"
            lines[lab_key(question)].append(f"{question.id}: {verdict.outcome}{expected}")
        for (key, _), file in self._captures.items():
            comment(file, [f"port25lab, lab {Job(key[0], (), key[1]).name}", *lines[key]])
        return done

    def _not_yet(self, job: Job) -> Job:
        known = self._answers.get(job.key, {})
        missing = tuple(path for path in job.paths if path not in known)
        # Attempts that depend on one another need the earlier ones in the same lab. It is gone, so make all again.
        again = bool(missing) and job.alone is not None and job.key not in self._up
        return replace(job, paths=job.paths if again else missing)

    def _keep(self, job: Job, found: Answers) -> None:
        self.labs += any(evidence.retried for evidence in found.values())
        self._answers.setdefault(job.key, {}).update(found)

    def _make_room(self, jobs: Sequence[Job], sandboxes: Sandboxes, at_once: int) -> int:
        """How many of these labs can be up at the same time. Raises MachineError where it has no room for one."""
        wanted = [needs.need_of(job) for job in jobs]
        capacity.require_descriptors(wanted, sandboxes.descriptors)
        while True:
            kept = [key for key in self._up if key not in self._lent and all(key != job.key for job in jobs)]
            try:
                fits = capacity.fit(wanted, at_once, sandboxes.way, sandboxes.own_descriptors, up=len(self._up))
            except MachineError:
                if not kept:
                    raise
                fits = 0
            if fits or not kept:
                return fits
            for key in kept:  # kept to save time; other labs need the room now
                self._up.pop(key).close()

    def _side_by_side(self, jobs: Sequence[Job], at_once: int) -> None:
        pool = ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="lab")
        try:
            futures = [(job, pool.submit(self._answer, job)) for job in jobs]
            for job, future in futures:
                while not wait([future], timeout=LISTEN_SECONDS).done:
                    pass
                self._keep(job, future.result())
            for job in jobs:  # now that no other lab takes processor time
                self._keep_again(job)
        except BaseException:
            # Ctrl-C or a bad rule ended the wait. End the labs: their threads then read the end of their sockets.
            pool.shutdown(wait=False, cancel_futures=True)
            self.close()
            raise
        finally:
            pool.shutdown(wait=True)

    @contextlib.contextmanager
    def _lab(self, job: Job) -> Iterator[Lab]:
        """Yield the job's lab. On an exception, close it instead of keeping it."""
        lab = self._up.pop(job.key, None)
        if lab is not None and any(path.packet and kind_of(path.packet).early for path in job.paths):
            lab.close()  # the sessions have to be opened before the policies are loaded
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
            raise LabError("the run was ended")  # by another thread, before this one got here
        try:
            return self._build(job, sandboxes)
        except LabError:
            if self._sandboxes is not None:  # the run has not ended
                doctor.require_lab(sandboxes.way)
            raise

    def _build(self, job: Job, sandboxes: Sandboxes) -> Lab:
        plan, policies = job.config.plan, needs.policies_of(job.config)
        if self._pcap is None:
            return Lab(sandboxes, plan, policies, job.paths)
        try:
            name = " ".join(filter(None, (job.name, job.alone, "again" if job.again else None)))
            self._captures[job.key, job.again], pcap = self._pcap.open(name)
        except OSError as error:
            raise LabError(f"no capture file in {self._pcap.folder}: {error.strerror or error}") from error
        with pcap:
            return Lab(sandboxes, plan, policies, job.paths, pcap)

    def _answer(self, job: Job, questions: Sequence[Question] = ()) -> Answers:
        """Evidence for every path of the job; `error` for paths that were not tried before the lab failed."""
        answers: Answers = {}
        self._progress.lab_started(job.name)
        try:
            with self._lab(job) as lab:
                self._progress.lab_ready(job.name, lab.seconds)
                for path, evidence in self._tried(lab, job):
                    answers[path] = evidence
                    self._progress.attempt_done(job.name)
                if self._on_lab_up:
                    self._try_again(job, answers)
                    known = {**self._answers, job.key: answers}
                    self._on_lab_up(
                        lab, [_verdict(question, known) for question in questions if lab_key(question) == job.key]
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

    def _keep_again(self, job: Job) -> None:
        """Repeat attempts of a lab that is gone, where they proved nothing. A lab that fails changes no answer."""
        answers = dict(self._answers[job.key])
        with contextlib.suppress(LabError):
            self._try_again(job, answers)
            self._keep(job, answers)

    def _try_again(self, job: Job, answers: Answers) -> None:
        """Repeat the attempts that proved nothing. One that proves nothing again ends in `error`.

        Where attempts depend on one another, all of them are repeated. In a lab that a caller may have changed, none
        is: a new lab would be another network.
        """
        lost = {path: why for path in job.paths if (why := answers[path].unproven)}
        if not lost or job.key in self._lent:
            return
        any_reason = next(iter(lost.values()))
        again = replace(job, paths=job.paths if job.alone else tuple(lost), again=True)
        found: Answers = {}
        with contextlib.closing(self._start(again)) as lab:
            for path, evidence in self._tried(lab, again):
                found[path] = evidence.model_copy(update={"retried": lost.get(path, any_reason)})
            self._end_capture(lab, again)
        answers.update(found)  # all or, if the lab failed, none: the attempts of a sequence come from one lab

    def _end_capture(self, lab: Lab, job: Job) -> None:
        if file := self._captures.get((job.key, job.again)):
            file.ended(lab.end_capture())


def run(
    questions: Sequence[Question],
    *,
    progress: Progress | None = None,
    jobs: int | None = None,
    on_lab_up: OnLabUp | None = None,
    pcap: CaptureFolder | None = None,
) -> Report:
    """Answer all questions in labs that are up for this call alone. The parameters are those of ``Engine``.

    Returns a report with a verdict for each question, in their order. Raises InputError for a rule that iptables
    refuses, and MachineError where this machine lacks something.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    with Engine(progress or Quiet(), jobs=jobs, on_lab_up=on_lab_up, pcap=pcap) as engine:
        verdicts = engine.verdicts(questions)
        at_once = engine.jobs
    environment = describe_environment(question.path.client for question in questions) | {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 3),
        "labs": engine.labs,
        "jobs": at_once,
    }
    if pcap is not None:
        environment["pcap"] = pcap.as_data()
    return provenance.report_of(verdicts, environment)


def failed(why: str) -> Evidence:
    """The evidence of an attempt that the tool could not make."""
    return Evidence(observation=Observation(stage=Stage.RESOLVE), error=why)


def _verdict(question: Question, answers: Mapping[LabKey, Answers]) -> Verdict:
    path = question.path
    evidence = answers[lab_key(question)][path]
    control = answers.get(control_key(question), {}).get(first(path))
    found = judge(evidence, question.expected, question.by, control, question.how)
    return Verdict(question, evidence, found)
