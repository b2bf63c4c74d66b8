"""Where mail ends, and the journey of each message until it is there.

A message is known by its token. Servers say what becomes of it; an attempt follows the token, and waits until its
journey has settled.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from port25lab.mail.message import token_of
from port25lab.model.evidence import Hop


@dataclass(frozen=True)
class Message:
    """A message in a node's mailbox, with its envelope."""

    node: str
    mail_from: str
    rcpt_tos: tuple[str, ...]
    token: str | None
    raw: bytes


@dataclass(frozen=True)
class RelayTry:
    """One try of a relay, with the source port by which the kernel's trace knows it (0: nobody was dialled)."""

    hop: Hop
    source_port: int


@dataclass
class DeliveryLog:
    """What became of the message with one token."""

    delivered_to: str | None = None
    """The node whose mailbox was the first to get it."""
    hops: list[RelayTry] = field(default_factory=list)
    _on_the_way: int = 0
    _settled: asyncio.Event = field(default_factory=asyncio.Event)

    async def settled(self, seconds: float) -> None:
        """Return when no relay has anything more to say soon, or when the time is over.

        That is when each copy has been delivered, with the hop that did it written down, or has bounced, or is
        deferred: a relay has failed its first try and its first retry. It goes on trying.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._settled.wait()

    def _step(self, more_on_the_way: int) -> None:
        self._on_the_way += more_on_the_way
        if self._on_the_way:
            self._settled.clear()
        else:
            self._settled.set()


class Mailboxes:
    """All mailboxes of a lab. Messages without a token are kept as well, but nobody can follow them."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._journeys: dict[str, DeliveryLog] = {}

    def follow(self, token: str) -> DeliveryLog:
        """The journey of the message with this token, also before it begins."""
        return self._journeys.setdefault(token, DeliveryLog())

    def messages(self, node: str | None = None, recipient: str | None = None) -> list[Message]:
        """What has arrived, in order; all of it, or that of one node, or for one recipient."""
        return [
            message
            for message in self._messages
            if node in (None, message.node)
            and (recipient is None or recipient.lower() in map(str.lower, message.rcpt_tos))
        ]

    def deliver(self, node: str, mail_from: str, rcpt_tos: tuple[str, ...], raw: bytes) -> None:
        """Put a message into a node's mailbox."""
        message = Message(node, mail_from, rcpt_tos, token_of(raw), raw)
        self._messages.append(message)
        if message.token is not None:
            journey = self.follow(message.token)
            journey.delivered_to = journey.delivered_to or node
            journey._step(0)

    def queued(self, token: str | None) -> None:
        """A relay has taken a copy, and is about to try."""
        if token is not None:
            self.follow(token)._step(+1)

    def tried(self, token: str | None, record: RelayTry) -> None:
        """A relay has tried one address."""
        if token is not None:
            self.follow(token).hops.append(record)

    def told(self, token: str | None) -> None:
        """A relay has handed a copy on, given it up, or deferred it: said once of each that was queued."""
        if token is not None:
            self.follow(token)._step(-1)
