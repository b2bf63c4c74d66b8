"""A path: the one question that port25lab asks. From which node, to which server, how."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Port = Annotated[int, Field(ge=1, le=65535)]

MX_PREFIX = "mx:"
"""``to: mx:example.net`` asks the DNS for the domain's MX, as a mail server does (RFC 5321 section 5.1)."""

LARGEST_MESSAGE = 10_000_000
"""Bytes; the lab's servers take a little more."""

DEFAULT_RECIPIENT = "recipient@example.net"


class Security(StrEnum):
    """How TLS is used: not at all, by STARTTLS (RFC 3207), or from the first byte (RFC 8314)."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class Auth(BaseModel):
    """SMTP AUTH (RFC 4954) as ``user``; the right password of the lab unless another is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str
    password: str | None = None


class PathSpec(BaseModel):
    """One path. Frozen, so that equal questions can share one answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    """Name of the node that sends."""
    to: str
    """A node, a DNS name, or ``mx:DOMAIN``."""
    port: Port = 25
    security: Security = Security.NONE
    auth: Annotated[
        Auth | None, BeforeValidator(lambda given: {"user": given} if isinstance(given, str) else given)
    ] = None
    """In short: the user's name alone."""
    client: str = "aiosmtplib"
    ip_version: Literal[4, 6] | None = None
    """None: as real clients do, every address in the resolver's order until one connects."""
    recipient: str = DEFAULT_RECIPIENT
    sender: str | None = None
    """Envelope sender; None: ``NODE@port25lab.example``."""
    size: int = Field(0, ge=0, le=LARGEST_MESSAGE)
    """Bytes to which the message is padded."""
    attempt: int = Field(1, ge=1)
    """Counts the attempts of a path that is tried again and again."""
    hold: bool = False
    """Each attempt is made while the earlier ones' connections are still open."""
    packet: str | None = None
    """A hand-made packet in place of a client: a kind of ``packet_kinds``."""
    spoof: str | None = None
    """Node whose address the hand-made packet has as its source, in place of the sender's own."""
