"""Fake servers, without a lab."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from port25lab.mail.middleboxes.fake_servers import Connection, endless_banner

WRITES = 20


class FastReader:
    """A client that takes everything at once, so that no write has to wait, and then closes."""

    def __init__(self) -> None:
        self.writes = 0

    def write(self, _: bytes) -> None:
        self.writes += 1
        if self.writes == WRITES:
            raise ConnectionResetError

    async def drain(self) -> None:
        pass


def test_an_endless_greeting_leaves_the_other_servers_their_turns() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def beside() -> None:
        writer: Any = FastReader()
        task = asyncio.ensure_future(other())
        with pytest.raises(ConnectionResetError):
            await endless_banner(Connection(asyncio.StreamReader(), writer, {}))
        task.cancel()

    asyncio.run(beside())
    assert turns >= WRITES - 1
