"""The tasks of services: a service that died must not look like a blocked path.

One task accepts connections on each listening socket. The supervisor records the first task of each node that ends with
an error.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from port25lab.errors import LabError
from port25lab.mail.services.journal import Journal

OF_THE_CONNECTION = frozenset(
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
"""Errors of accept(2) that concern the connection that it would have returned, not the listening socket."""

Peer = tuple[str, int]
"""A client's address and port, as its server sees them."""

OnConnection = Callable[[socket.socket, Peer], Coroutine[Any, Any, None]]
"""Takes an accepted connection, which it closes, and the client at its other end."""


class TaskSupervisor:
    """Runs the tasks of all services. ``failures``: node → why its service died."""

    def __init__(self, journal: Journal) -> None:
        self.failures: dict[str, str] = {}
        self._journal = journal
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self, node: str, what: str, work: Coroutine[Any, Any, None], holding: socket.socket | None = None
    ) -> None:
        """Run a task; an error that ends it is the node's failure.

        ``what``: the service, for the error's text. ``holding``: a socket that is closed where the task fails or is
        cancelled, perhaps before it began.
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
        """Record why a node's service died. The first reason counts: others follow from it."""
        words = _words(error)
        self.failures.setdefault(node, f"{what}: {words}")
        self._journal.note(node, what, f"failed: {words}")


async def accept(
    listener: socket.socket, supervisor: TaskSupervisor, node: str, what: str, serve: OnConnection
) -> None:
    """Accept connections for ever, and serve each in a task of its own.

    ``what``: the service, for the text of errors. Raises OSError where the listening socket is broken.
    """
    loop = asyncio.get_running_loop()
    # Connections inherit the option. asyncio sets it only on sockets made with IPPROTO_TCP, and without it a client
    # with delayed acknowledgements waits 40 ms for the second line of each EHLO reply.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        try:
            connection, peer = await loop.sock_accept(listener)
        except OSError as error:
            if error.errno not in OF_THE_CONNECTION:
                raise
        else:
            supervisor.start(node, what, serve(connection, (peer[0].partition("%")[0], peer[1])), holding=connection)


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
