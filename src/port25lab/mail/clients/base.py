"""The interface of client programs: a mail program that tries one path."""

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
    """The server to dial: a name, its addresses in the resolver's order, and a port."""

    host: str
    addresses: tuple[str, ...]
    port: int
    ip_version: IpVersion | None
    """None: the client picks an address by itself, as real clients do."""
    domain: str | None = None
    """Where the path asks for the MX of a domain: an MTA looks it up by itself."""


class Client(Protocol):
    """A mail program that submits a message to a server."""

    async def send(
        self, host: LabHost, target: Target, submission: Submission, source_port: int, ca_file: Path
    ) -> Observation:
        """Try to send one message.

        ``host``: the node that sends. ``target``: the server. ``submission``: what to send, and how.
        ``source_port``: the first of the attempt's ports. ``ca_file``: the certificate to trust.
        Returns the client's view. Raises LabError where the program itself fails.
        """


@runtime_checkable
class Mta(Protocol):
    """A mail server on the sender's own node: it queues the message at once, and then delivers it by itself."""

    async def deliver(
        self, host: LabHost, target: Target, submission: Submission, ca_file: Path
    ) -> tuple[Observation, list[Hop]]:
        """Hand a message to the server, and wait until the server has delivered, bounced or deferred it.

        ``host``: the node on which it runs. ``target``: where the message goes. ``submission``: what to send, and how.
        ``ca_file``: the certificate to trust. Returns the end of the message as its log has it, and each of its tries.
        Raises LabError where the program itself fails.
        """
