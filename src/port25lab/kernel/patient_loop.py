"""An event loop whose clock stands still while its process does not run.

Client and server of a lab share one process. While other processes have the processors, or a cgroup's quota is used up,
neither speaks, and a limit in seconds of the machine's clock would take that for a silent network. So each turn of
this loop counts for ``TURN_SECONDS`` at most: every limit that asyncio keeps (``asyncio.timeout``, ``call_later``, TLS
handshakes) waits for so many turns in which all sockets were served, on a machine of any speed.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import Any

TURN_SECONDS = 0.05
"""The most that one turn of the loop counts. An answer of a server in the same loop takes a few turns."""


class _Selector(selectors.DefaultSelector):
    """Waits as selectors do, ``TURN_SECONDS`` at a time where the loop has a limit to watch."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self._last = time.monotonic()
        self.starved = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        timeout = None if timeout is None else min(timeout, TURN_SECONDS)
        before = time.monotonic()
        found = super().select(timeout)
        after = time.monotonic()
        late = 0.0 if timeout is None else after - before - max(timeout, 0.0)
        self.starved += max(0.0, before - self._last - TURN_SECONDS) + max(0.0, late - TURN_SECONDS)
        self.now += min(after - self._last, TURN_SECONDS)
        self._last = after
        return found


class PatientLoop(asyncio.SelectorEventLoop):
    """The event loop of a lab's process."""

    def __init__(self) -> None:
        self._patient = _Selector()
        super().__init__(self._patient)

    def time(self) -> float:
        """Seconds that the loop was served, counted at the last turn. The base of all its limits."""
        return self._patient.now

    @property
    def starved(self) -> float:
        """Seconds so far in which a turn took longer than ``TURN_SECONDS``: what the clock did not count.

        A wait without a limit is not counted. Programs and kernel timers did go on in these seconds.
        """
        return self._patient.starved


def starved_seconds(loop: Any = None) -> float:
    """Seconds for which the running loop was starved so far; 0 for a loop of another kind, as in tests."""
    loop = loop or asyncio.get_running_loop()
    return loop.starved if isinstance(loop, PatientLoop) else 0.0
