"""How many attempts go on at the same time in a lab: as many as the buffers of the rule trace have room for.

The kernel retransmits by itself, whether the lab's process reads the trace or not. So only the number of attempts
limits what is in the buffers at a time, on a machine of any speed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

SEGMENTS = 8
"""Packets of a session in flight at a time: a command, its answer and acknowledgements, and the same for a relay."""

SEGMENT_BYTES = 1400
"""Bytes of a message in one packet, about."""


class Buffers(Protocol):
    """The buffers of the rule trace: ``rule_trace.Tracer``."""

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
        """Wait for room, and use it until the end of the context. A single attempt always has room.

        ``size``: bytes of its message. All of them may be in flight at a time, and each packet be acknowledged.
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
                self._change.notify_all()  # an attempt that waits longer may need more room than the one behind it

    def _has_room(self, segments: int) -> bool:
        """Read the trace first: the first packets of a lab show how many events a packet brings."""
        if not self._attempts:
            return True
        self._buffers.drain()
        return self._buffers.has_room(self._attempts + 1, self._segments + segments)
