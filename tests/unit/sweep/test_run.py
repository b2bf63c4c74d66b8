"""Parts of a sweep: each job is in exactly one of them."""

from __future__ import annotations

from port25lab.sweep.jobs import SweepJob
from port25lab.sweep.run import Part


def test_each_job_is_in_one_part() -> None:
    jobs = [SweepJob(number, str(number), {}) for number in range(10)]
    parts = [Part(index, 4) for index in (1, 2, 3, 4)]
    assert [[part.has(job) for part in parts].count(True) for job in jobs] == [1] * 10
    assert [part.size(10) for part in parts] == [3, 3, 2, 2]
    assert [Part(index, 4).size(2) for index in (1, 2, 3, 4)] == [1, 1, 0, 0]
