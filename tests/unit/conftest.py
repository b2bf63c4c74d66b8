"""Every unit test sees the same terminal: none."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _nothing_of_the_terminal_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist hands its terminal's width to its workers
    monkeypatch.setenv("TERM", "xterm")
