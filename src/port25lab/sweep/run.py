"""A whole sweep on this machine: workers get jobs, failures a second try, and what fails twice is set aside."""

from __future__ import annotations

import selectors
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from port25lab.errors import LabError
from port25lab.sweep.jobs import Jobs, SweepJob
from port25lab.sweep.store import Store
from port25lab.sweep.worker import DONE, Worker

JOBS_OF_A_WORKER = 500
"""Then a new process takes its place, so that nothing that a long sweep gathers stays in memory."""

TRIES = 2

LISTEN_SECONDS = 1.0


class Progress(Protocol):
    """Receives the events of a sweep."""

    def job_skipped(self) -> None: ...
    def job_done(self, attempts: int) -> None: ...
    def job_failed(self, job: SweepJob, reason: str, *, again: bool) -> None: ...
    def tick(self) -> None: ...


@dataclass(frozen=True)
class Part:
    """One part of a sweep's jobs: every ``of``-th, from ``index``, which counts from 1."""

    index: int = 1
    of: int = 1

    def has(self, job: SweepJob) -> bool:
        """Whether a job is in this part."""
        return job.number % self.of == self.index - 1

    def size(self, jobs: int) -> int:
        """How many of this many jobs are in this part."""
        return (jobs - self.index) // self.of + 1 if jobs >= self.index else 0

    def __str__(self) -> str:
        return f"{self.index}-of-{self.of}"


def run_local(
    store: Store,
    jobs: Jobs,
    part: Part,
    progress: Progress,
    *,
    workers: int,
    retry_failed: bool = False,
    most_seconds: float = 600.0,
) -> None:
    """Run the jobs of a part that have no result yet, in several processes of this machine.

    ``workers``: how many processes. ``retry_failed``: whether jobs that were set aside get another try.
    ``most_seconds``: after which a job counts as failed. Raises OutputError, and FatalError where nothing can go on.
    """
    Pool(store, progress, most_seconds).run(missing(store, jobs, part, progress, retry_failed), workers)


def missing(store: Store, jobs: Jobs, part: Part, progress: Progress, retry_failed: bool) -> Iterator[SweepJob]:
    """The jobs of a part that have no result, and were not set aside."""
    for number in range(part.index - 1, jobs.count, part.of):
        job = jobs.job(number)
        if store.result(job.id).exists() or (not retry_failed and store.failure(job.id).exists()):
            progress.job_skipped()
        else:
            yield job


class Pool:
    """Worker processes, and the jobs that they run."""

    def __init__(self, store: Store, progress: Progress, most_seconds: float) -> None:
        self._store, self._progress, self._most_seconds = store, progress, most_seconds
        self._tries: dict[str, int] = {}
        """Of the jobs that run or wait for a second try."""
        self._again: list[SweepJob] = []
        self._busy: list[Worker] = []
        self._idle: list[Worker] = []

    def run(self, jobs: Iterator[SweepJob], workers: int) -> None:
        """Run all jobs, by at most this many workers."""
        try:
            while True:
                while len(self._busy) < workers and (job := self._next(jobs)) is not None:
                    self._begin(job)
                if not self._busy:
                    return
                self._listen()
        finally:
            for worker in (*self._busy, *self._idle):
                worker.end(kill=True)

    def _next(self, jobs: Iterator[SweepJob]) -> SweepJob | None:
        return self._again.pop() if self._again else next(jobs, None)

    def _begin(self, job: SweepJob) -> None:
        worker = self._idle.pop() if self._idle else Worker(self._store)
        self._tries[job.id] = self._tries.get(job.id, 0) + 1
        self._busy.append(worker)
        worker.begin(job)

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            for worker in self._busy:
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            ready = [key.data for key, _ in selector.select(LISTEN_SECONDS)]
        for worker in ready:
            self._ended(worker)
        for worker in [one for one in self._busy if monotonic() - one.since > self._most_seconds]:
            job = self._free(worker)
            worker.end(kill=True)
            self._failed(job, f"no result after {self._most_seconds:g} s", again=True)
        self._progress.tick()

    def _ended(self, worker: Worker) -> None:
        """A worker has answered, or died."""
        answer = worker.answer()
        job = self._free(worker)
        if answer is None:
            self._failed(job, f"the worker {worker.end()}", again=True)
            return
        if worker.jobs < JOBS_OF_A_WORKER:
            self._idle.append(worker)
        else:
            worker.end()
        if answer["what"] == DONE:
            self._tries.pop(job.id)
            self._progress.job_done(answer["attempts"])
        else:
            self._failed(job, answer["reason"], again=answer["again"])

    def _free(self, worker: Worker) -> SweepJob:
        if worker.job is None:
            raise LabError("a worker answered without a job")
        job, worker.job = worker.job, None
        with suppress(ValueError):
            self._busy.remove(worker)
        return job

    def _failed(self, job: SweepJob, reason: str, *, again: bool) -> None:
        """A second try, or none."""
        again = again and self._tries[job.id] < TRIES
        if again:
            self._again.append(job)
        else:
            self._store.set_aside(job, reason, self._tries.pop(job.id))
        self._progress.job_failed(job, reason, again=again)
