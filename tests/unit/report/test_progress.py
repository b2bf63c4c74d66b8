"""The live line: which labs are up, how many paths are done; nothing of it in a pipe or in CI."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from port25lab.report.console import open_console
from port25lab.report.progress import Progress

RESIDENTIAL, HOTEL = "residential_isp (isp-edge: op25b)", "hotel (no policy)"


def terminal(width: int = 200) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system="standard", legacy_windows=False)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def clock(*times: float) -> Callable[[], float]:
    return iter(times).__next__


def test_the_line_counts_labs_and_paths_and_names_the_labs_that_are_up() -> None:
    progress = Progress(labs=2, paths=3, console=terminal(), clock=lambda: 0.0)
    assert progress.line().plain == "0.0 s  0/2 labs  0/3 paths"
    progress.lab_started(RESIDENTIAL)
    assert progress.line().plain == f"0.0 s  0/2 labs  0/3 paths  {RESIDENTIAL} building"
    progress.lab_ready(RESIDENTIAL, 0.25)
    progress.lab_started(HOTEL)
    progress.attempt_done(RESIDENTIAL)
    progress.attempt_done(RESIDENTIAL)
    assert progress.line().plain == f"0.0 s  0/2 labs  2/3 paths  {RESIDENTIAL} up in 250 ms, {HOTEL} building"
    progress.lab_done(RESIDENTIAL)
    progress.lab_done(HOTEL)
    assert progress.line().plain == "0.0 s  2/2 labs  2/3 paths"


def test_a_lab_that_broke_before_it_started_is_done_all_the_same() -> None:
    progress = Progress(labs=1, paths=0, console=terminal())
    progress.lab_done(HOTEL)
    assert progress.labs_done == 1


def test_time_runs_from_the_beginning_of_the_run() -> None:
    with Progress(labs=1, paths=1, console=open_console(io.StringIO()), clock=clock(0.0, 10.0, 12.5)) as progress:
        assert progress.line().plain.startswith("2.5 s")


def test_a_terminal_shows_the_line_while_labs_run_and_clears_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    console = terminal()
    with Progress(labs=1, paths=1, console=console) as progress:
        progress.lab_started(HOTEL)
    text = written(console)
    assert f"{HOTEL} building" in text
    assert text.endswith("\x1b[2K")


def test_the_line_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    console = terminal(width=40)
    progress = Progress(labs=1, paths=1, console=console)
    progress.lab_started(RESIDENTIAL)
    console.print(progress)
    lines = written(console).splitlines()
    assert len(lines) == 1
    assert "…" in lines[0]


def test_a_pipe_gets_nothing() -> None:
    console = open_console(io.StringIO())
    with Progress(labs=1, paths=1, console=console) as progress:
        progress.lab_started(HOTEL)
        progress.attempt_done(HOTEL)
    assert written(console) == ""


def test_ci_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    console = terminal()
    with Progress(labs=1, paths=1, console=console):
        pass
    assert written(console) == ""


def test_a_labs_name_cannot_reach_the_terminal_as_a_command() -> None:
    progress = Progress(labs=1, paths=1, console=terminal())
    progress.lab_started("\x1b[2J")
    assert r"\x1b[2J building" in progress.line().plain


def test_the_line_is_set_aside_while_somebody_else_has_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    console = terminal()
    with Progress(labs=1, paths=1, console=console) as progress:
        progress.lab_started(HOTEL)
        with progress.set_aside():
            before = written(console)
            time.sleep(0.3)
            assert written(console) == before
        time.sleep(0.3)
        assert written(console) != before


def test_where_there_is_no_line_there_is_nothing_to_set_aside() -> None:
    console = open_console(io.StringIO())
    with Progress(labs=1, paths=1, console=console) as progress, progress.set_aside():
        assert written(console) == ""
