"""Mailboxes, and the delivery log of each message until it is in one.

A message is known by its token. Servers report what becomes of it; an attempt asks for the delivery log of its token,
and waits until no more entries are to come.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from port25lab.mail.resolver import Query
from port25lab.model.evidence import Hop


@dataclass(frozen=True)
class RelayTry:
    """One try of a relay, and by what the rule trace knows it."""

    hop: Hop
    source_port: int | None = None
    """None: no address was dialled."""
    queries: tuple[Query, ...] = ()
    """Those that were sent in vain, where the name could not be resolved."""


@dataclass
class DeliveryLog:
    """What became of the message with one token."""

    delivered_to: str | None = None
    """The node whose mailbox was the first to get it."""
    tries: list[RelayTry] = field(default_factory=list)
    _pending: int = 0
    """Copies of which a relay has not reported yet whether it delivered or deferred them."""
    _settled: asyncio.Event = field(default_factory=asyncio.Event)

    async def settled(self, seconds: float) -> None:
        """Return when every copy is settled, or after so many seconds.

        A copy is settled when it is in a mailbox and the try that put it there is logged, when it has bounced, or when
        it is deferred: a relay has failed its first try and its first retry. The relay goes on trying.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._settled.wait()

    def _add_pending(self, copies: int) -> None:
        self._pending += copies
        if self._pending:
            self._settled.clear()
        else:
            self._settled.set()


class Mailboxes:
    """All mailboxes of a lab: in which one each message arrived. Messages without a token cannot be followed."""

    def __init__(self) -> None:
        self._deliveries: dict[str, DeliveryLog] = {}

    def delivery(self, token: str) -> DeliveryLog:
        """The delivery log of the message with this token; it may be asked for before the message is sent."""
        return self._deliveries.setdefault(token, DeliveryLog())

    def deliver(self, node: str, token: str | None) -> None:
        """A message has arrived in a node's mailbox."""
        if token is not None:
            delivery = self.delivery(token)
            delivery.delivered_to = delivery.delivered_to or node
            delivery._add_pending(0)

    def queued(self, token: str | None) -> None:
        """A relay has taken a copy, and is about to try."""
        if token is not None:
            self.delivery(token)._add_pending(+1)

    def tried(self, token: str | None, relay_try: RelayTry) -> None:
        """A relay has tried one address."""
        if token is not None:
            self.delivery(token).tries.append(relay_try)

    def settled(self, token: str | None) -> None:
        """A relay has delivered a copy, given it up, or deferred it. Called once for each copy that was queued."""
        if token is not None:
            self.delivery(token)._add_pending(-1)
