"""The jobs of a sweep on the workers of a Dask cluster (``distributed``, an extra).

Each worker writes a job's result to the sweep's folder before the job's future ends, so what a worker has done is not
lost with it. The folder has to be the same on all machines. Dask runs the jobs of a worker that died on another one.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from port25lab.errors import InputError, MachineError, OutputError, Port25labError
from port25lab.machine import doctor
from port25lab.machine.versions import own_version
from port25lab.sweep.jobs import Jobs, SweepJob
from port25lab.sweep.run import TRIES, Part, Progress, missing
from port25lab.sweep.store import ABOUT, Store
from port25lab.sweep.work import JobError, Work
from port25lab.sweep.worker import DONE, FAILED, FATAL, FatalError

LOCAL = "local"
"""In place of an address: a cluster of processes on this machine."""

CONNECT_SECONDS = 10.0

MOST_WAITS = 10
"""How often a job may wait for a worker that dies, before that is an error of its own."""

WORKER_SECONDS = 60.0
"""How long a scheduler may have no worker before that is an error."""

LOOK_SECONDS = 1.0
"""How often the command asks for the number of workers, at most."""


def run_on_cluster(
    store: Store, jobs: Jobs, part: Part, progress: Progress, scheduler: str, *, workers: int, retry_failed: bool
) -> None:
    """Run the jobs of a part that have no result yet, on the workers of a cluster.

    ``scheduler``: its address, or ``local``. ``workers``: how many processes a local cluster has. ``retry_failed``:
    whether jobs that were set aside get another try. Raises InputError where there is no scheduler, MachineError where
    a worker can run no lab or is of another version, OutputError, and FatalError where nothing can go on.
    """
    try:
        import distributed
    except ImportError:
        allowed = "pip install 'port25lab[dask]'"
        raise InputError("--scheduler needs distributed, which is not installed", allowed=allowed) from None
    with _client(distributed, scheduler, workers) as client:
        known = _Workers(client, store)
        known.require()
        todo = missing(store, jobs, part, progress, retry_failed)
        _Submission(distributed, client, store, progress, known, own=scheduler == LOCAL).run(todo)


DIED = "died"
"""What became of a job whose worker ended before it answered."""


class _Submission:
    """Jobs that are at the cluster, and what became of them."""

    def __init__(
        self, distributed: Any, client: Any, store: Store, progress: Progress, workers: _Workers, *, own: bool
    ) -> None:
        """``own``: whether the scheduler is this command's, which leaves second tries to it."""
        self._distributed, self._client, self._own = distributed, client, own
        self._store, self._progress, self._workers = store, progress, workers
        self._tries: dict[str, tuple[SweepJob, int, int]] = {}
        """By the key of a future: its job, the number of the try, and how often it waited for a worker that died."""

    def run(self, jobs: Iterator[SweepJob]) -> None:
        """Run all jobs, as many at a time as there are workers."""
        ended = self._distributed.as_completed(self._submit(job) for job in islice(jobs, self._workers.count()))
        for future in ended:
            job, tries, waits = self._tries.pop(future.key)
            answer = self._answer(job, future)
            future.release()
            began = self._forget(future.key)
            if answer["what"] == FATAL:
                raise FatalError(answer["reason"], answer["code"])
            if answer["what"] == DONE:
                self._progress.job_done(answer["attempts"])
            elif answer["what"] == DIED and not began and waits < MOST_WAITS:
                ended.add(self._submit(job, tries, waits + 1))
            elif answer["again"] and tries < TRIES:
                self._progress.job_failed(job, answer["reason"], again=True)
                ended.add(self._submit(job, tries + 1))
            else:
                self._store.set_aside(job, answer["reason"], tries)
                self._progress.job_failed(job, answer["reason"], again=False)
            for job in islice(jobs, max(0, self._workers.count() - len(self._tries))):
                ended.add(self._submit(job))
            self._progress.tick()

    def _submit(self, job: SweepJob, tries: int = 1, waits: int = 0) -> Any:
        key = "-".join([job.id, *[str(tries)] * (tries > 1), *[f"w{waits}"] * (waits > 0)])
        self._tries[key] = job, tries, waits
        return self._client.submit(run_job, str(self._store.folder.absolute()), job.number, key, key=key, pure=False)

    def _forget(self, key: str) -> bool:
        """Whether a worker had begun this try. Dask holds a death also against the jobs that waited for the worker."""
        try:
            self._store.begun(key).unlink()
        except FileNotFoundError:
            return False
        return True

    def _answer(self, job: SweepJob, future: Any) -> dict[str, Any]:
        try:
            found: dict[str, Any] = future.result()
        except self._distributed.KilledWorker:
            return self._after_death(job)
        except self._distributed.CancelledError:
            return {"what": FATAL, "reason": "the scheduler has gone; what is done is done", "code": 4}
        except Exception as error:  # whatever the worker's Python raised
            return {"what": FAILED, "reason": f"{type(error).__name__}: {error}", "again": True}
        return found

    def _after_death(self, job: SweepJob) -> dict[str, Any]:
        """A worker that has written a job's result can die of the next job before it has reported the first."""
        try:
            lines = self._store.result(job.id).read_bytes().count(b"\n")
        except FileNotFoundError:
            return {"what": DIED, "reason": "the worker that ran it died", "again": self._own}
        return {"what": DONE, "attempts": lines - 1}


@contextmanager
def _client(distributed: Any, scheduler: str, workers: int) -> Iterator[Any]:
    """A connection to a scheduler; for ``local``, also its processes. Raises InputError where there is none."""
    with ExitStack() as stack:
        address: Any = scheduler
        if scheduler == LOCAL:
            import dask

            stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 0}))
            cluster = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )
            address = stack.enter_context(cluster)
        try:
            client = stack.enter_context(distributed.Client(address, timeout=CONNECT_SECONDS))
        except (OSError, TimeoutError, ValueError) as error:
            what = f"no scheduler at {scheduler}: {' '.join(str(error).split()) or 'no answer'}"
            raise InputError(what, allowed="tcp://HOST:PORT of a dask-scheduler that runs, or local") from None
        yield client


@dataclass(frozen=True)
class _WorkerReport:
    """What a worker says of itself."""

    version: str
    problem: str
    """What its machine lacks; empty: nothing."""
    about: str
    """Of the sweep's folder, as this worker sees it; empty: it does not."""


class _Workers:
    """The workers of a cluster, each checked once. A batch queue starts them one after another, also during a sweep."""

    def __init__(self, client: Any, store: Store) -> None:
        self._client, self._store = client, store
        self._checked: set[str] = set()
        self._most, self._looked = 1, 0.0

    def require(self) -> None:
        """Wait for the first worker, and check those that are there. Raises MachineError where none comes, or one
        cannot run the jobs.
        """
        try:
            self._client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError:
            raise MachineError("the scheduler has no workers", "start some: dask worker tcp://HOST:PORT") from None
        self.count()

    def count(self) -> int:
        """How many there are, or were: a job of more waits for a worker. Raises MachineError for a new one that cannot
        run the jobs.
        """
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            try:
                there = set(self._client.nthreads())
                self._check(there - self._checked)
            except OSError:
                return self._most  # the scheduler has gone, which the jobs' futures will say
            self._most, self._looked = max(self._most, len(there)), time.monotonic()
        return self._most

    def _check(self, new: set[str]) -> None:
        if not new:
            return
        folder = self._store.folder.absolute()
        reports: dict[str, _WorkerReport | Exception] = self._client.run(
            report_of_worker, str(folder), workers=sorted(new), on_error="return"
        )
        own, about = own_version(), (folder / ABOUT).read_text(encoding="utf-8")
        for worker, report in sorted(reports.items()):
            if isinstance(report, OSError):
                continue  # it has gone meanwhile; if it comes back, it is checked then
            if isinstance(report, Exception):
                what = f"worker {worker} cannot run port25lab: {type(report).__name__}: {report}"
                raise MachineError(what, "install the same version of port25lab where it runs")
            if report.version != own:
                what = f"worker {worker} has port25lab {report.version}, and this is {own}"
                raise MachineError(what, "install the same version on both")
            if report.problem:
                raise MachineError(f"worker {worker}: {report.problem}", "port25lab doctor, on its machine, says more")
            if report.about != about:
                what = f"worker {worker} does not see the folder {folder}"
                raise MachineError(what, "a folder that all machines share, under the same name")
            self._checked.add(worker)


def report_of_worker(folder: str) -> _WorkerReport:
    """What a worker is, found where it runs. ``folder``: of the sweep."""
    problem = ""
    try:
        doctor.require()
    except MachineError as error:
        problem = str(error)
    try:
        about = (Path(folder) / ABOUT).read_text(encoding="utf-8")
    except OSError:
        about = ""
    return _WorkerReport(own_version(), problem, about)


_one_at_a_time = threading.Lock()
"""Of a worker process: however many threads it has, one job runs in it."""

_works: dict[str, tuple[str, Jobs, Work]] = {}
"""Of a worker process, by the sweep's folder: what it is, its jobs, and the labs for them."""


def run_job(folder: str, number: int, key: str) -> dict[str, Any]:
    """Run a job where a worker is, and write its result. ``key``: of its future. Returns what became of it."""
    with _one_at_a_time:
        store = Store(Path(folder))
        mark = store.begun(key)
        mark.parent.mkdir(exist_ok=True)
        mark.touch()
        try:
            jobs, work = _work(store)
            job = jobs.job(number)
            result = work.run(job)
            store.keep(job, result.head, result.verdicts, result.origin)
        except JobError as error:
            return {"what": FAILED, "reason": error.reason, "again": error.again}
        except (InputError, MachineError, OutputError) as error:
            return _fatal(error)
        return {"what": DONE, "attempts": len(result.verdicts)}


def _work(store: Store) -> tuple[Jobs, Work]:
    about = json.dumps(store.about(), sort_keys=True)
    known = _works.get(str(store.folder))
    if known is None or known[0] != about:
        for _, _, work in _works.values():
            work.close()
        _works.clear()
        spec = store.spec()
        _works[str(store.folder)] = known = about, Jobs(spec), Work(spec)
    return known[1], known[2]


def _fatal(error: Port25labError) -> dict[str, Any]:
    return {"what": FATAL, "reason": str(error), "code": error.exit_code}
