"""The loop of a lab: what its clock counts, and what it does not."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from port25lab.kernel.patient_loop import TURN_SECONDS, PatientLoop, starved_seconds


def run(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        return runner.run(work)


def test_a_wait_without_starvation_takes_as_long_as_it_says() -> None:
    async def wait() -> tuple[float, float]:
        started = time.monotonic()
        await asyncio.sleep(0.2)
        return time.monotonic() - started, starved_seconds()

    took, _ = run(wait())
    assert took >= 0.2


def test_a_limit_waits_for_turns_and_not_for_the_clock() -> None:
    """A process that is stopped for long finds the answer, which came meanwhile, before its limit is over."""

    async def talk() -> str:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        loop.call_later(2 * TURN_SECONDS, answer.set_result, "220")
        loop.call_later(TURN_SECONDS / 2, time.sleep, 0.5)
        async with asyncio.timeout(6 * TURN_SECONDS):
            return await answer

    assert run(talk()) == "220"


def test_the_limit_of_a_silent_server_ends_nevertheless() -> None:
    async def wait() -> None:
        async with asyncio.timeout(0.1):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run(wait())


def test_what_the_clock_did_not_count_is_starvation() -> None:
    async def starve() -> float:
        time.sleep(0.3)  # in place of other processes that have the processor
        await asyncio.sleep(0)
        return starved_seconds()

    assert run(starve()) >= 0.2


def test_a_wait_without_a_limit_is_no_starvation() -> None:
    async def wait() -> float:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        signal.signal(signal.SIGALRM, lambda *_: None)
        asyncio.get_running_loop().add_signal_handler(signal.SIGALRM, answer.set_result, None)
        signal.setitimer(signal.ITIMER_REAL, 4 * TURN_SECONDS)
        await answer
        return starved_seconds()

    assert run(wait()) < TURN_SECONDS


def test_other_loops_do_not_tell() -> None:
    async def ask() -> float:
        return starved_seconds()

    assert asyncio.run(ask()) == 0.0
