"""Mail sessions that wait before MAIL, so that rules can be replaced while they are open."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field

from port25lab.errors import LabError
from port25lab.lab.runtime import LabRuntime
from port25lab.model.evidence import Evidence
from port25lab.model.path import PathSpec


@dataclass
class _Gate:
    """Where a session waits."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> None:
        self.reached.set()
        await self.opened.wait()


class HeldSessions:
    """The sessions of a lab that wait, by number."""

    def __init__(self, lab: LabRuntime) -> None:
        self._lab = lab
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[_Gate, asyncio.Task[Evidence]]] = {}

    def __bool__(self) -> bool:
        """Whether any session waits."""
        return bool(self._waiting)

    async def open(self, path: PathSpec) -> int | Evidence:
        """Open a session. Returns its number when it waits before MAIL; its evidence where it did not come so far."""
        gate = _Gate()
        attempt = asyncio.ensure_future(self._lab.attempt(path, before_mail=gate))
        reached = asyncio.ensure_future(gate.reached.wait())
        await asyncio.wait({attempt, reached}, return_when=asyncio.FIRST_COMPLETED)
        if not gate.reached.is_set():
            reached.cancel()
            return await attempt
        number = next(self._numbers)
        self._waiting[number] = gate, attempt
        return number

    async def go_on(self, number: int) -> Evidence:
        """Let a session go on. Returns its evidence when it is over. Raises LabError where there is none."""
        if number not in self._waiting:
            raise LabError(f"no session {number} waits in this lab")
        gate, attempt = self._waiting.pop(number)
        gate.opened.set()
        return await attempt
