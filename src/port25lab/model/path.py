"""A path: from which node, to which server, and how."""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePath
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from port25lab.model.addresses import IpVersion

Port = Annotated[int, Field(ge=1, le=65535)]

MX_PREFIX = "mx:"
"""``to: mx:example.net`` asks the DNS for the domain's MX, as a mail server does (RFC 5321 section 5.1)."""

LARGEST_MESSAGE = 10_000_000
"""Bytes. The lab's servers accept a little more."""

DEFAULT_RECIPIENT = "recipient@example.net"

DEFAULT_CLIENT = "aiosmtplib"


class Security(StrEnum):
    """How TLS is used: not at all, by STARTTLS (RFC 3207), or from the first byte (RFC 8314)."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class Auth(BaseModel):
    """SMTP AUTH (RFC 4954) as ``user``. ``password`` is None for the user's password in the lab."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str
    password: str | None = None


class PacketFunction(BaseModel):
    """A Python function of the user's that makes packets. Its file was read when the scenario was."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    name: str
    text: str = Field(repr=False)
    """Of the whole file."""
    folders: tuple[str, ...] = Field((), repr=False)
    """Where it finds modules of the user's."""

    def __str__(self) -> str:
        return f"{PurePath(self.file).name}:{self.name}"


class PathSpec(BaseModel):
    """One path. Frozen, so that equal paths can share one attempt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    """Name of the node that sends."""
    to: str
    """A node, a DNS name, or ``mx:DOMAIN``."""
    port: Port = 25
    security: Security = Security.NONE
    auth: Annotated[
        Auth | None, BeforeValidator(lambda value: {"user": value} if isinstance(value, str) else value)
    ] = None
    """A user's name alone stands for that user with the password in the lab."""
    client: str = DEFAULT_CLIENT
    ip_version: IpVersion | None = None
    """None: the client tries every address in the resolver's order until one connects, as real clients do."""
    recipient: str = DEFAULT_RECIPIENT
    sender: str | None = None
    """Envelope sender; None: ``NODE@port25lab.example``."""
    size: int = Field(0, ge=0, le=LARGEST_MESSAGE)
    """Bytes to which the message is padded."""
    attempt: int = Field(1, ge=1)
    """The number of this attempt, of a path that is tried several times."""
    hold: bool = False
    """Each attempt is made while the earlier ones' connections are still open."""
    packet: str | None = None
    """A kind of hand-made packet (``packet_kinds``), sent in place of mail; or the name of ``made_by``."""
    made_by: PacketFunction | None = None
    """What makes the packets of a kind that is the user's own."""
    spoof: str | None = None
    """The node whose address the packet has as its source; None: the sender itself."""
