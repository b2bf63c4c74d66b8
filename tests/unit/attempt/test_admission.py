"""How many attempts go on at once: as many as there is room for, and always one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from port25lab.attempt.admission import SEGMENTS, Admission


class Buffers:
    """Room for so many attempts, and for so many packets of their sessions."""

    def __init__(self, attempts: int, segments: int = 1_000_000) -> None:
        self.attempts, self.segments, self.drained = attempts, segments, 0

    def drain(self) -> None:
        self.drained += 1

    def has_room(self, attempts: int, segments: int) -> bool:
        return attempts <= self.attempts and segments <= self.segments


class Street:
    """Attempts that begin when they are admitted, and end when a test says so."""

    def __init__(self, buffers: Buffers) -> None:
        self._admission = Admission(buffers)
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.under_way: list[str] = []

    async def begin(self, *names: str, size: int = 0) -> None:
        self._tasks += [asyncio.create_task(self._attempt(name, size)) for name in names]
        await self._settle()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self._settle()

    async def cancel(self, number: int) -> None:
        self._tasks[number].cancel()
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def _attempt(self, name: str, size: int) -> None:
        self._ends[name] = asyncio.Event()
        async with self._admission.admitted(size):
            self.under_way.append(name)
            try:
                await self._ends[name].wait()
            finally:
                self.under_way.remove(name)


Play = Callable[[Street], Awaitable[None]]


def play(buffers: Buffers, steps: Play) -> None:
    async def all_of_it() -> None:
        await steps(Street(buffers))

    asyncio.run(all_of_it())


def test_attempts_wait_for_room_in_the_order_in_which_they_came() -> None:
    async def steps(street: Street) -> None:
        await street.begin("a", "b", "c", "d")
        assert street.under_way == ["a", "b"]
        await street.end("a")
        assert street.under_way == ["b", "c"]
        await street.end("b")
        await street.end("c")
        assert street.under_way == ["d"]

    play(Buffers(2), steps)


def test_one_attempt_alone_always_has_room() -> None:
    async def steps(street: Street) -> None:
        await street.begin("a", "b")
        assert street.under_way == ["a"]
        await street.end("a")
        assert street.under_way == ["b"]

    play(Buffers(0), steps)


def test_the_trace_is_read_before_each_further_attempt() -> None:
    buffers = Buffers(3)

    async def steps(street: Street) -> None:
        await street.begin("a", "b", "c")

    play(buffers, steps)
    assert buffers.drained == 2


def test_room_that_turns_out_to_be_less_holds_back_those_that_wait() -> None:
    buffers = Buffers(2)

    async def steps(street: Street) -> None:
        await street.begin("a", "b", "c")
        buffers.attempts = 1
        await street.end("a")
        assert street.under_way == ["b"]
        await street.end("b")
        assert street.under_way == ["c"]

    play(buffers, steps)


def test_a_large_message_takes_more_room_and_a_small_one_may_go_before_it() -> None:
    async def steps(street: Street) -> None:
        await street.begin("a")
        await street.begin("large", size=140_000)
        await street.begin("b")
        assert street.under_way == ["a", "b"]
        await street.end("a")
        assert street.under_way == ["b"]
        await street.end("b")
        assert street.under_way == ["large"]

    play(Buffers(10, segments=3 * SEGMENTS), steps)


@pytest.mark.parametrize("number", [0, 1])
def test_an_attempt_that_is_cancelled_takes_no_room(number: int) -> None:
    async def steps(street: Street) -> None:
        await street.begin("a", "b", "c")
        await street.cancel(number)
        if number == 1:
            await street.end("a")
        assert street.under_way == ["b" if number == 0 else "c"]

    play(Buffers(1), steps)
