"""One live line while labs run: time, labs, paths, and which labs are up now.

In: events from the engine. Out: a line on a terminal, removed when the run ends; nothing in a pipe or in CI.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from port25lab.report import text
from port25lab.report.console import open_console


class Progress:
    """Context manager with a method for each event of a run (``engine.progress``)."""

    def __init__(
        self,
        *,
        labs: int,
        paths: int,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.labs, self.paths = labs, paths
        self.labs_done = self.paths_done = 0
        self._console = console or open_console(stderr=True)
        self._clock, self._start = clock, clock()
        self._running: dict[str, str] = {}
        self._spinner = Spinner("dots", style="cyan")
        live = self._console.is_terminal and not self._console.is_dumb_terminal and not os.environ.get("CI")
        self._live = Live(self, console=self._console, transient=True, refresh_per_second=10) if live else None

    def __enter__(self) -> Self:
        self._start = self._clock()
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Stop the line while another program, such as a shell in a node, uses the terminal."""
        if self._live:
            self._live.stop()
        try:
            yield
        finally:
            if self._live:
                self._live.start()

    def lab_started(self, name: str) -> None:
        """A lab is being built."""
        self._running[name] = "building"

    def lab_ready(self, name: str, seconds: float) -> None:
        """All services of the lab answer. ``seconds``: how long its start took."""
        self._running[name] = f"up in {text.duration(seconds)}"

    def attempt_done(self, name: str) -> None:
        """A path was tried in this lab."""
        self.paths_done += 1

    def lab_done(self, name: str) -> None:
        """The lab is gone."""
        self._running.pop(name, None)
        self.labs_done += 1

    def line(self) -> Text:
        """The line as it is now, without its spinner."""
        now = [f"{text.visible(name)} {state}" for name, state in list(self._running.items())]
        return Text.assemble(
            (f"{self._clock() - self._start:.1f} s", "cyan"),
            f"  {self.labs_done}/{self.labs} labs  {self.paths_done}/{self.paths} paths",
            (f"  {', '.join(now)}", "dim") if now else "",
            no_wrap=True,
            overflow="ellipsis",
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        spinner = self._spinner.render(console.get_time())
        head = spinner if isinstance(spinner, Text) else Text()
        line = Text.assemble(head, " ", self.line(), no_wrap=True, overflow="ellipsis")
        line.truncate(options.max_width, overflow="ellipsis")
        yield line
