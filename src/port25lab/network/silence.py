"""A dropped SYN without the wait for an answer that cannot come."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class SilenceProvenError(TimeoutError):
    """A SYN and a second one from the same port were dropped by a rule that will drop each further one.

    A client that goes on waiting ends with ETIMEDOUT.
    """

    def __init__(self) -> None:
        super().__init__(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


class Silence(Protocol):
    """Tells clients of a dropped SYN: ``evidence.early_drops.EarlyDrops``."""

    def before_connecting(self) -> None:
        """A SYN is about to be sent."""

    def watch(self, node: str, source_port: int) -> AbstractContextManager[asyncio.Future[Hashable]]:
        """A client in a node is about to send a SYN from this port.

        Gives a future that is done, with the place, when the SYN was dropped and its retransmission would be as well.
        """


class Unwatched:
    """Nothing is known of dropped SYNs: every client waits."""

    def before_connecting(self) -> None:
        """Nothing to do."""

    @contextmanager
    def watch(self, node: str, source_port: int) -> Iterator[asyncio.Future[Hashable]]:
        """A future that is never done."""
        yield asyncio.get_running_loop().create_future()
