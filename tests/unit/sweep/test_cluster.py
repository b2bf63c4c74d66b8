"""Jobs on a Dask cluster, without one: what is made of a worker's death."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from port25lab.sweep.cluster import _Submission
from port25lab.sweep.jobs import SweepJob
from port25lab.sweep.store import Store


class DiedError(Exception):
    """In place of KilledWorker of distributed."""


class Progress:
    def __init__(self) -> None:
        self.done: list[int] = []
        self.failed: list[bool] = []

    def job_done(self, attempts: int) -> None:
        self.done.append(attempts)

    def job_failed(self, job: SweepJob, reason: str, *, again: bool) -> None:
        self.failed.append(again)

    def tick(self) -> None: ...


class Ended(list[Any]):
    """Futures as they end: all at once."""

    add = list.append

    def __iter__(self) -> Any:
        while self:
            yield self.pop(0)


@pytest.mark.parametrize("written", [True, False], ids=["after it was written", "before"])
def test_a_job_whose_worker_died_is_done_where_its_result_is_written(tmp_path: Path, written: bool) -> None:
    store, progress, job = Store(tmp_path), Progress(), SweepJob(0, "ab12", {})

    def submit(*_: object, key: str, pure: bool) -> Any:
        store.begun(key).parent.mkdir(exist_ok=True)
        store.begun(key).touch()
        if written:
            store.result(job.id).parent.mkdir(parents=True, exist_ok=True)
            store.result(job.id).write_text("head\nfirst\nsecond\n")

        def die() -> None:
            raise DiedError

        return SimpleNamespace(key=key, result=die, release=lambda: None)

    distributed = SimpleNamespace(KilledWorker=DiedError, CancelledError=asyncio.CancelledError, as_completed=Ended)
    client, workers = SimpleNamespace(submit=submit), SimpleNamespace(count=lambda: 1)
    _Submission(distributed, client, store, progress, workers, own=True).run(iter([job]))  # type: ignore[arg-type]
    assert progress.done == ([2] if written else [])
    assert progress.failed == ([] if written else [True, False])
    assert store.failure(job.id).exists() is not written
