"""What the services of a lab did: a line for each connection, command, reply, query and delivery."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from port25lab.model.log_line import LogLine

KEPT = 2000
"""Lines of a whole lab; older ones are forgotten."""


class Journal:
    """The last lines of all services of a lab."""

    def __init__(self) -> None:
        self._lines: deque[tuple[float, str, str, str]] = deque(maxlen=KEPT)
        self._written = 0

    def note(self, node: str, what: str, text: str) -> None:
        """Write a line. ``what``: the service. ``text``: what it did."""
        self._written += 1
        self._lines.append((time.time(), node, what, text))

    def forget(self) -> None:
        """Forget all lines: those of the checks whether the services answer tell a user nothing."""
        self._lines.clear()
        self._written = 0

    def since(self, number: int, nodes: Sequence[str] = ()) -> tuple[list[LogLine], int]:
        """The lines after the first ``number`` ones, of these nodes or of all; and how many were written so far."""
        first = self._written - len(self._lines)
        lines = [
            LogLine(time=when, node=node, what=what, text=text)
            for place, (when, node, what, text) in enumerate(self._lines, first)
            if place >= number and (not nodes or node in nodes)
        ]
        return lines, self._written
