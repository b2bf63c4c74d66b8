"""A client: a mail program that tries one path. What it is told, and what the others may ask of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from port25lab.dialogue import Submission
from port25lab.evidence import Observation
from port25lab.labhost import LabHost


@dataclass(frozen=True)
class Target:
    """Whom to dial: a name, its addresses in the resolver's order, and a port."""

    host: str
    addresses: tuple[str, ...]
    port: int
    ip_version: Literal[4, 6] | None
    """None: the client picks for itself, as real clients do."""


class Client(Protocol):
    """A mail program. It dials from ``source_port``, by which the attempt is known all over the lab."""

    @property
    def program(self) -> str | None:
        """The program on PATH that it needs; None where it runs in the lab's own process."""

    async def send(
        self, host: LabHost, target: Target, submission: Submission, source_port: int, ca_file: Path
    ) -> Observation:
        """Try to send one message from ``host``. Raises LabError where the program itself fails."""
