"""A server of the user's: a Python file, run as a program in its node, so that it can delay and break itself alone.

The lab accepts each connection, so it knows who took it, and hands it to the program over a Unix socket. The file has a
stream handler, ``async def handle(reader, writer, service)``, or a class for aiosmtpd with methods such as
``handle_DATA``. An exception that the handler lets through is a failure of the service, with file and line.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import linecache
import os
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from port25lab.kernel import own_python

PROGRAM = f"from {__name__} import serve\nserve()\n"

LONGEST_TEXT = 150_000
"""Bytes of a file: it goes to the program in one message."""

LONGEST_WORDS = 2000

READY, FAILED, NOTED = b"r", b"f", b"n"
"""What goes over the Unix socket beside connections: the file is loaded; the handler failed, with the error's words;
and the lab's answer to that, after which the client may see that the connection ends."""

_ENDS = (ConnectionError, asyncio.IncompleteReadError, TimeoutError)
"""What a client may do at any time."""


def command() -> list[str]:
    """The argv of the program. Its standard input is its end of the Unix socket."""
    return own_python.command(PROGRAM)


def hello(service: Mapping[str, Any]) -> bytes:
    """The first message to the program: the service, with the text of its file."""
    return json.dumps(dict(service)).encode()


def hand_over(channel: socket.socket, connection: socket.socket) -> None:
    """Give the program an accepted connection, and close it here."""
    try:
        socket.send_fds(channel, [b"c"], [connection.fileno()])
    finally:
        connection.close()


def serve() -> None:
    """The program's side. It ends when the lab does."""
    channel = socket.socket(fileno=0)
    service = json.loads(channel.recv(1 << 20))
    program = service.pop("program")
    try:
        handler = _handler(program)
        channel.send(READY)
        asyncio.run(_serve(channel, handler, service, program["file"]))
    except BaseException as error:  # also SystemExit: the file is the user's
        os.write(2, (_words(error, program["file"]) + "\n").encode("utf-8", "backslashreplace"))
        os._exit(1)


def _handler(program: Mapping[str, Any]) -> Any:
    file, text = program["file"], program["text"]
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    sys.path += [folder for folder in program["folders"] if folder not in sys.path]
    names: dict[str, Any] = {"__name__": "own_service", "__file__": file}
    exec(compile(text, file, "exec"), names)  # noqa: S102
    return names[program["name"]]


async def _serve(channel: socket.socket, handler: Any, service: Mapping[str, Any], file: str) -> None:
    channel.setblocking(False)
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    tasks: set[asyncio.Task[None]] = set()

    def take() -> None:
        data, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        if data in (b"", NOTED):  # the lab has ended, or knows that the handler failed
            over.set_result(None)
        for descriptor in descriptors:
            task = loop.create_task(_converse(socket.socket(fileno=descriptor), handler, service, failed))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def failed(error: BaseException) -> None:
        channel.send(FAILED + _words(error, file).encode("utf-8", "backslashreplace")[:LONGEST_WORDS])
        await over

    loop.add_reader(channel, take)
    await over


async def _converse(
    connection: socket.socket,
    handler: Any,
    service: Mapping[str, Any],
    failed: Callable[[BaseException], Awaitable[None]],
) -> None:
    if inspect.isclass(handler):
        from aiosmtpd.smtp import SMTP

        hostname = service.get("hostname")
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: SMTP(handler(), hostname=hostname, loop=loop), connection)
        return
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        with suppress(*_ENDS):
            await handler(reader, writer, service)
    except Exception as error:
        await failed(error)
    finally:
        writer.close()


def _words(error: BaseException, file: str) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    place = f"{file}:{lines[-1]}" if lines else file
    return f"{place}: {type(error).__name__}: {error}"
