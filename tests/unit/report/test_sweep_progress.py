"""The progress of a sweep: how far it is, and how long it still takes."""

from __future__ import annotations

import io

from rich.console import Console

from port25lab.report.sweep_progress import LOG_SECONDS, SweepProgress
from port25lab.sweep.jobs import SweepJob


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_time_left_follows_from_the_jobs_that_this_command_ran() -> None:
    clock, text = Clock(), io.StringIO()
    with SweepProgress(100, console=Console(file=text, width=200), clock=clock) as progress:
        for _ in range(60):
            progress.job_skipped()
        for _ in range(9):
            progress.job_done(4)
        progress.job_failed(SweepJob(0, "ab12", {}), "the disk\x1b", again=True)
        progress.job_failed(SweepJob(0, "ab12", {}), "the disk\x1b", again=False)
        clock.now += 5
        progress.tick()
        assert "left" not in text.getvalue()
        clock.now += LOG_SECONDS - 55
        assert progress.line().plain == "70/100 jobs  1 set aside  1.0 jobs/s  30.0 s left"
        clock.now += 100
        progress.tick()
    lines = text.getvalue().splitlines()
    assert lines[:2] == [r"job ab12, tried again: the disk\x1b", r"job ab12, set aside: the disk\x1b"]
    assert lines[2].startswith("70/100 jobs")
    assert progress.summary() == "9 of 100 jobs done in 110.0 s, 60 were done before, 1 set aside; 36 attempts"
