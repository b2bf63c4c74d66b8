"""Accepting connections, and noticing when that ends: a service that died must not look like a blocked path.

One task accepts on each listening socket; every task of a service is looked after, and the first one of a node that
ends with an error is written down as the node's failure.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Coroutine
from typing import Any

PASSING = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENONET,
        errno.EOPNOTSUPP,
        errno.EPERM,
    }
)
"""What accept(2) says about the connection that it would have returned, not about the listening socket."""

Peer = tuple[str, int]
"""A client's address and port, as its server sees them."""

OnConnection = Callable[[socket.socket, Peer], Coroutine[Any, Any, None]]
"""Takes an accepted connection, which it closes, and the client at its other end."""


class TaskSupervisor:
    """Looks after the tasks of all services. ``failures``: node → why its service died."""

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def start(
        self, node: str, what: str, work: Coroutine[Any, Any, None], holding: socket.socket | None = None
    ) -> None:
        """Run ``work`` as a task; an error that ends it is the node's failure.

        Work that is cut short, perhaps before it began, has ``holding`` closed for it.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if holding is not None and (task.cancelled() or error is not None):
                holding.close()
            if error is not None:
                self.failed(node, what, error)

        task.add_done_callback(ended)

    def failed(self, node: str, what: str, error: BaseException) -> None:
        """Write down why a node's service died. The first reason counts: others follow from it."""
        if not self._closing:
            self.failures.setdefault(node, f"{what}: {_words(error)}")

    async def close(self) -> None:
        """End all tasks, and wait until they have put away what they held."""
        self._closing = True
        while tasks := tuple(self._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def accept(listener: socket.socket, keeper: TaskSupervisor, node: str, what: str, serve: OnConnection) -> None:
    """Accept connections for ever, each served in a task of its own. Raises OSError when the socket is of no use."""
    loop = asyncio.get_running_loop()
    # Connections inherit it. asyncio sees to it only where a socket was made with IPPROTO_TCP, and without it a client
    # that acknowledges late waits 40 ms for the second line of each EHLO reply.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        try:
            connection, peer = await loop.sock_accept(listener)
        except OSError as error:
            if error.errno not in PASSING:
                raise
        else:
            keeper.start(node, what, serve(connection, (peer[0].partition("%")[0], peer[1])), holding=connection)


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}"
