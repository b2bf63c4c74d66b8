"""How many attempts go on at once in a lab: as many as the kernel's trace has room for.

The kernel by itself sends again what got no answer, whether the lab's process reads the trace or not. So only the
number of attempts bounds what is in the trace's buffers at once, on a machine of any speed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

SEGMENTS = 8
"""Packets of a session that may come at once: a command, its answer, and acknowledgements, the same for a relay."""

SEGMENT_BYTES = 1400
"""Of a message, about as many are in one packet."""


class Buffers(Protocol):
    """What fills up; ``trace.Tracer``."""

    def drain(self) -> None: ...
    def has_room(self, attempts: int, segments: int) -> bool: ...


class Admission:
    """Lets attempts begin one after another, each as soon as there is room for it."""

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers
        self._attempts = self._segments = 0
        self._change = asyncio.Condition()

    @asynccontextmanager
    async def admitted(self, size: int = 0) -> AsyncIterator[None]:
        """Wait for room, and take it until the end of the context. One attempt alone always has room.

        ``size``: bytes of its message. All of it may be sent at once, and each packet of it be acknowledged.
        """
        segments = SEGMENTS + 2 * (size // SEGMENT_BYTES)
        async with self._change:
            await self._change.wait_for(lambda: self._has_room(segments))
            self._attempts += 1
            self._segments += segments
        try:
            yield
        finally:
            self._attempts -= 1
            self._segments -= segments
            async with self._change:
                self._change.notify_all()  # the next in line may need more room than one behind it

    def _has_room(self, segments: int) -> bool:
        """Ask after reading: the first packets of a lab show how many events a packet brings."""
        if not self._attempts:
            return True
        self._buffers.drain()
        return self._buffers.has_room(self._attempts + 1, self._segments + segments)
