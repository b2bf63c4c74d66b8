"""A client: a mail program that tries one path. What it is told, and what the others may ask of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from port25lab.dialogue import Submission
from port25lab.evidence import Hop, Observation

if TYPE_CHECKING:  # it brings Mininet along, which a look at the command line does not need
    from port25lab.labhost import LabHost


@dataclass(frozen=True)
class Target:
    """Whom to dial: a name, its addresses in the resolver's order, and a port."""

    host: str
    addresses: tuple[str, ...]
    port: int
    ip_version: Literal[4, 6] | None
    """None: the client picks for itself, as real clients do."""
    domain: str | None = None
    """Where the path asks for the MX of a domain: an MTA looks it up by itself."""


class Ports(IntEnum):
    """How many source ports an attempt has, by which it is known all over the lab, and who picks one of them."""

    ONE = 1
    """The program binds the one that it is told."""
    SOME = 16
    """It tries those of a range, several at a time where it dials several addresses at once."""
    KERNELS = 32
    """It cannot be told: the kernel picks from the node's ephemeral range, which is the attempt's own meanwhile. So
    these attempts go one by one in a node. Some are for whatever else runs there and leaves its port to the kernel."""


class Client(Protocol):
    """A mail program that submits a message to a server."""

    @property
    def program(self) -> str | None:
        """The program on PATH that it needs; None where it runs in the lab's own process."""

    @property
    def ports(self) -> Ports:
        """Which source ports it dials from."""

    async def send(
        self, host: LabHost, target: Target, submission: Submission, source_port: int, ca_file: Path
    ) -> Observation:
        """Try to send one message from ``host``; ``source_port`` is the first of its ports.

        Raises LabError where the program itself fails.
        """


@runtime_checkable
class Mta(Protocol):
    """A mail server of the sender's own: it takes the message into its queue at once, and then delivers by itself."""

    @property
    def program(self) -> str | None:
        """The program on PATH that it needs."""

    @property
    def ports(self) -> Ports:
        """Which source ports it dials from."""

    async def deliver(
        self, host: LabHost, target: Target, submission: Submission, ca_file: Path
    ) -> tuple[Observation, list[Hop]]:
        """Hand a message to it in ``host``, and wait until it has delivered, bounced or deferred it.

        Returns what it says of the message, and each of its tries. Raises LabError where the program itself fails.
        """
