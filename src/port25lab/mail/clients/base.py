"""A client: a mail program that tries one path. What it is told, and what the others may ask of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from port25lab.mail.smtp_session import Submission
from port25lab.model.addresses import IpVersion
from port25lab.model.evidence import Hop, Observation

if TYPE_CHECKING:
    from port25lab.network.host import LabHost


@dataclass(frozen=True)
class Target:
    """Whom to dial: a name, its addresses in the resolver's order, and a port."""

    host: str
    addresses: tuple[str, ...]
    port: int
    ip_version: IpVersion | None
    """None: the client picks for itself, as real clients do."""
    domain: str | None = None
    """Where the path asks for the MX of a domain: an MTA looks it up by itself."""


class Client(Protocol):
    """A mail program that submits a message to a server."""

    async def send(
        self, host: LabHost, target: Target, submission: Submission, source_port: int, ca_file: Path
    ) -> Observation:
        """Try to send one message from ``host``; ``source_port`` is the first of its ports.

        Raises LabError where the program itself fails.
        """


@runtime_checkable
class Mta(Protocol):
    """A mail server of the sender's own: it takes the message into its queue at once, and then delivers by itself."""

    async def deliver(
        self, host: LabHost, target: Target, submission: Submission, ca_file: Path
    ) -> tuple[Observation, list[Hop]]:
        """Hand a message to it in ``host``, and wait until it has delivered, bounced or deferred it.

        Returns what it says of the message, and each of its tries. Raises LabError where the program itself fails.
        """
