"""What a client sees from its own machine: the whole of what ``probe`` measures, and all that ``classify`` may use.

Plain data, written as JSON. No rule, no packet of another node and no mailbox is in it: a client has none of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from port25lab.model.addresses import IpVersion
from port25lab.model.evidence import IcmpError, Stage

INITIAL_TTLS = (64, 128, 255)
"""What operating systems send packets with: the next one above a TTL tells how far the packet has come."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Certificate(_Model):
    """A server's certificate, whether anybody trusts it or not."""

    sha256: str
    subject: str = ""
    issuer: str = ""
    names: tuple[str, ...] = ()
    """Its subject alternative names."""
    problem: str | None = None
    """Why it does not prove that this is the dialled server; None: it does."""


class Session(_Model):
    """One connection, or the lack of one: how far the client came, and what ended it."""

    host: str
    address: str
    port: int
    ip_version: IpVersion
    stage: Stage
    errno: str | None = None
    """Symbol of the socket error; ``ETIMEDOUT`` also where the prober's patience ended."""
    icmp: IcmpError | None = None
    """The ICMP error that ended it, with its sender: the kernel tells it to everybody (IP_RECVERR)."""
    ttl: int | None = None
    """TTL or hop limit of the answer to the SYN; over IPv4 it takes CAP_NET_RAW."""
    seconds: float = 0.0
    times: dict[str, float] = {}
    """Seconds from the SYN to each stage that was reached."""
    heard: int = 0
    """Bytes that the server has said in all."""
    banner: str | None = None
    """The greeting, without its code; also a part of one."""
    smtp_code: int | None = None
    enhanced_code: str | None = None
    reply: str | None = None
    """The server's last words where they ended the session, or the error's text."""
    keywords: tuple[str, ...] = ()
    """EHLO keywords in clear."""
    keywords_tls: tuple[str, ...] = ()
    """EHLO keywords after STARTTLS, or on a port with TLS from the first byte."""
    starttls: int | None = None
    """What the server replied to STARTTLS, which is asked whether it is offered or not."""
    tls: str | None = None
    certificate: Certificate | None = None
    nameless_tls: bool | None = None
    """After a TLS handshake that failed: whether one without the server's name (SNI) came about."""
    unacknowledged: bool | None = None
    """Of a session that fell silent: whether the client's last packets had not even been acknowledged."""
    small_segments: Literal["passed", "failed"] | None = None
    """Of a message that hung: what became of it in small packets."""
    second_try: int | None = None
    """Of a recipient that was refused for now: the reply to the same a moment later."""

    @property
    def connected(self) -> bool:
        """Whether somebody took the connection."""
        return self.stage not in (Stage.RESOLVE, Stage.CONNECT)


class Answer(StrEnum):
    """What a SYN with a bounded TTL meets."""

    EXPIRED = "expired"
    """A router says that the TTL has run out: the SYN came that far (ICMP time exceeded)."""
    ACCEPTED = "accepted"
    RESET = "reset"
    REFUSED = "refused"
    """Another ICMP error."""
    SILENT = "silent"


class Step(_Model):
    """One SYN of a TCP traceroute."""

    ttl: int
    answer: Answer
    sender: str | None = None
    """Who sent the ICMP error."""


class Trace(_Model):
    """A TCP traceroute: SYNs to one port, each allowed to come one hop further."""

    host: str
    address: str
    port: int
    ip_version: IpVersion
    steps: tuple[Step, ...]

    @property
    def answered_at(self) -> int | None:
        """The least TTL with which somebody answers in the destination's name, or refuses: how far away that is."""
        return min((step.ttl for step in self.steps if step.answer in _ANSWERS), default=None)

    @property
    def spoken_at(self) -> int | None:
        """The same, of answers by TCP alone."""
        return min((s.ttl for s in self.steps if s.answer in (Answer.ACCEPTED, Answer.RESET)), default=None)

    @property
    def last_hop(self) -> int:
        """The furthest router that let a SYN come so far; 0 where none said so."""
        return max((step.ttl for step in self.steps if step.answer is Answer.EXPIRED), default=0)

    @property
    def routers(self) -> dict[int, str]:
        """Hop → the router's address."""
        passed = (step for step in self.steps if step.answer is Answer.EXPIRED)
        return {step.ttl: step.sender for step in passed if step.sender and step.sender != self.address}

    @property
    def diverted_at(self) -> int | None:
        """The first router that speaks with the dialled address: from there on, the SYN is for somebody else (DNAT).

        NAT puts the dialled address in place of another one in whatever comes back, ICMP errors included.
        """
        passed = (step for step in self.steps if step.answer is Answer.EXPIRED)
        return min((step.ttl for step in passed if step.sender == self.address), default=None)

    @property
    def furthest(self) -> int:
        """The greatest TTL that was tried."""
        return max((step.ttl for step in self.steps), default=0)


_ANSWERS = (Answer.ACCEPTED, Answer.RESET, Answer.REFUSED)


class ClientView(_Model):
    """Everything that one probe saw."""

    host: str
    """What the user asked about."""
    target: str
    """The host that was dialled: an MX where a mail domain was asked about."""
    mx: tuple[str, ...] = ()
    control: str | None = None
    """Another host whose port 25 was tried too."""
    unresolved: str | None = None
    """Why the name could not be resolved."""
    raw: bool = False
    """Whether the prober could read packets (CAP_NET_RAW)."""
    sessions: tuple[Session, ...] = ()
    """With the target, one for each port and IP version."""
    controls: tuple[Session, ...] = ()
    """With port 25 of the control host."""
    deliveries: tuple[Session, ...] = ()
    """Sessions in which a message was to be sent, because the user asked for it."""
    traces: tuple[Trace, ...] = ()
    cut_traces: tuple[Trace, ...] = ()
    """The same inside of open connections, of sessions that were cut at the client's first words."""
    again: tuple[Session, ...] = ()
    """Port 25 dialled once more after a session on it."""
    seconds: float = 0.0

    def session(self, port: int, ip_version: IpVersion) -> Session | None:
        """The one session with the target on a port."""
        return _of(self.sessions, port, ip_version)

    def control_session(self, ip_version: IpVersion) -> Session | None:
        """The session with the control host."""
        return _of(self.controls, 25, ip_version)

    def delivery(self, port: int, ip_version: IpVersion) -> Session | None:
        """The session in which a message was to be sent."""
        return _of(self.deliveries, port, ip_version)

    def dialled_again(self, ip_version: IpVersion) -> list[Session]:
        """Port 25, later."""
        return [session for session in self.again if session.ip_version == ip_version]

    def trace(self, address: str, port: int) -> Trace | None:
        """The traceroute to a port."""
        return next((trace for trace in self.traces if (trace.address, trace.port) == (address, port)), None)

    def cut_trace(self, address: str, port: int) -> Trace | None:
        """The traceroute of the words at which a session was cut."""
        return next((trace for trace in self.cut_traces if (trace.address, trace.port) == (address, port)), None)

    def other_traces(self, address: str, port: int) -> list[Trace]:
        """Traceroutes to the same address on other ports."""
        return [trace for trace in self.traces if trace.address == address and trace.port != port]


def hops_of(ttl: int) -> int:
    """How far away the sender of a packet is that arrives with this TTL; the first router is 1."""
    return next(first for first in INITIAL_TTLS if first >= ttl) - ttl + 1


def _of(sessions: Iterable[Session], port: int, ip_version: IpVersion) -> Session | None:
    return next((one for one in sessions if one.port == port and one.ip_version == ip_version), None)
