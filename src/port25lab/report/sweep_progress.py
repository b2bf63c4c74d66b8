"""How far a sweep is: one live line on a terminal, a line each minute in a log.

In: events of a sweep. Out: jobs done, failed and left, jobs a second, and the time left.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from port25lab.report.console import open_console
from port25lab.report.text import duration, visible

LOG_SECONDS = 60.0


class _Job(Protocol):
    @property
    def id(self) -> str: ...


class SweepProgress:
    """Context manager with a method for each event of a sweep."""

    def __init__(
        self, jobs: int, *, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.jobs = jobs
        self.skipped = self.done = self.failed = self.attempts = 0
        self._console = console or open_console(stderr=True)
        self._clock, self._start = clock, clock()
        self._logged = self._start
        live = self._console.is_terminal and not self._console.is_dumb_terminal and not os.environ.get("CI")
        self._live = Live(console=self._console, transient=True, refresh_per_second=4) if live else None

    def __enter__(self) -> Self:
        self._start = self._logged = self._clock()
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def job_skipped(self) -> None:
        """A job has a result already, or was set aside before."""
        self.skipped += 1

    def job_done(self, attempts: int) -> None:
        """A job's result is on the disk. ``attempts``: how many paths were tried in it."""
        self.done += 1
        self.attempts += attempts

    def job_failed(self, job: _Job, reason: str, *, again: bool) -> None:
        """A job has failed. ``again``: whether it is tried once more."""
        self.failed += not again
        what = "tried again" if again else "set aside"
        self._console.print(Text(f"job {job.id}, {what}: {visible(reason)}"))

    def tick(self) -> None:
        """Show how far the sweep is."""
        now = self._clock()
        if self._live:
            self._live.update(self.line())
        elif now - self._logged >= LOG_SECONDS:
            self._logged = now
            self._console.print(self.line())

    def line(self) -> Text:
        """How far the sweep is now."""
        seconds, ended = self._clock() - self._start, self.done + self.failed
        left = self.jobs - self.skipped - ended
        rate = ended / seconds if seconds > 0 else 0.0
        words = [
            f"{self.skipped + ended:,}/{self.jobs:,} jobs",
            *([f"{self.failed:,} set aside"] if self.failed else []),
            f"{rate:.1f} jobs/s",
            f"{duration(left / rate)} left" if ended else "",
        ]
        return Text("  ".join(filter(None, words)), no_wrap=True, overflow="ellipsis")

    def summary(self) -> str:
        """What became of the jobs, when the sweep has ended."""
        before = f", {self.skipped:,} were done before" if self.skipped else ""
        aside = f", {self.failed:,} set aside" if self.failed else ""
        seconds = duration(self._clock() - self._start)
        return f"{self.done:,} of {self.jobs:,} jobs done in {seconds}{before}{aside}; {self.attempts:,} attempts"
