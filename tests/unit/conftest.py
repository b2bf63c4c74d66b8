"""Every unit test sees the same terminal: none."""

from __future__ import annotations

import gc

import pytest

from port25lab.cli.entry import OBJECTS

gc.set_threshold(OBJECTS)  # as in the command; with thousands of tests in memory, Python looks for garbage for long


@pytest.fixture(autouse=True)
def _nothing_of_the_terminal_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist hands its terminal's width to its workers
    monkeypatch.setenv("TERM", "xterm")
