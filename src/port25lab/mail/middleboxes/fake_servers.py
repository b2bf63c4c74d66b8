"""Programs that take a connection in the server's place and are no mail servers.

A row of ``FAKE_SERVERS`` is a coroutine that serves one connection. The last four are hostile: with them tests find out
whether each client ends its attempt in time.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

STUTTER_SECONDS = 1.0
"""Time between two bytes of a tarpit (as in OpenBSD's spamd)."""

LONG_LINE = 1_000_000

Service = Mapping[str, Any]


@dataclass(frozen=True)
class Connection:
    """An accepted connection, and the service that took it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    service: Service

    async def say(self, text: bytes) -> None:
        self.writer.write(text)
        await self.writer.drain()

    async def silence(self) -> None:
        """Send nothing more, and return when the client has closed."""
        while await self.reader.read(1 << 16):
            pass


async def greeting(connection: Connection) -> None:
    """Refuses in the greeting: with 5xx it then waits for QUIT (RFC 5321 section 3.1), with 4xx it hangs up."""
    reply = connection.service["reply"]
    await connection.say(f"{reply}\r\n".encode())
    while reply.startswith("5") and (command := await connection.reader.readline()):
        if command.strip().upper() == b"QUIT":
            await connection.say(b"221 2.0.0 Bye\r\n")
            return
        await connection.say(b"503 5.5.1 Bad sequence of commands\r\n")


async def hang_up(_: Connection) -> None:
    """Accepts the connection, and closes it at once."""


async def tarpit(connection: Connection) -> None:
    """A greeting that never ends, byte by byte."""
    for byte in itertools.cycle(b"220-Please wait.\r\n"):
        await connection.say(bytes([byte]))
        await asyncio.sleep(connection.service.get("seconds", STUTTER_SECONDS))


async def endless_banner(connection: Connection) -> None:
    """A greeting that never ends, as fast as the client reads."""
    while True:
        await connection.say(b"220-You are welcome, and you, and you, and you, and you\r\n" * 100)
        await asyncio.sleep(0)  # writing to a fast reader does not wait, and others want their turn


async def long_line(connection: Connection) -> None:
    """A greeting of one line, of which RFC 5321 section 4.5.3.1.5 allows 512 octets."""
    await connection.say(b"220 " + b"x" * LONG_LINE + b"\r\n")
    await connection.silence()


async def garbage(connection: Connection) -> None:
    """Random bytes, zeros and line ends among them; the same each time."""
    noise = random.Random(25).randbytes(4096)  # noqa: S311
    await connection.say(noise + b"\r\n\0\0\r\n")
    await connection.silence()


async def never_closing(connection: Connection) -> None:
    """A greeting, and no reply to any command, not even to QUIT."""
    await connection.say(b"220 in your own time\r\n")
    await connection.silence()


FAKE_SERVERS: Mapping[str, Callable[[Connection], Awaitable[None]]] = {
    "greeting": greeting,
    "hang-up": hang_up,
    "tarpit": tarpit,
    "endless-banner": endless_banner,
    "long-line": long_line,
    "garbage": garbage,
    "never-closing": never_closing,
}


class FakeServer:
    """One fake server at its port."""

    def __init__(self, service: Service) -> None:
        self.what = f"{service['kind']} on port {service['port']}"
        self._service, self._converse = service, FAKE_SERVERS[service["kind"]]

    async def serve(self, sock: socket.socket, _peer: tuple[str, int]) -> None:
        """Serve one connection, and close it. The client may close it at any time."""
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            with suppress(OSError, ValueError):  # ValueError: a line that is too long for the reader
                await self._converse(Connection(reader, writer, self._service))
        finally:
            writer.close()
