"""What a client sees from its own machine: everything that ``probe`` measures, and all that ``classify`` may use.

Plain data, written as JSON. It has no rules, no packets of other nodes and no mailboxes: a client has none of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from port25lab.model.addresses import IpVersion
from port25lab.model.evidence import IcmpError, Stage

INITIAL_TTLS = (64, 128, 255)
"""The TTLs that operating systems send packets with. The next one above a packet's TTL gives its number of hops."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Certificate(_Model):
    """A server's certificate, trusted or not."""

    sha256: str
    subject: str = ""
    issuer: str = ""
    names: tuple[str, ...] = ()
    """Its subject alternative names."""
    problem: str | None = None
    """Why the certificate does not prove that this is the dialled server; None: it proves that."""


class Session(_Model):
    """One attempt to connect, and the SMTP session on the connection: its last stage, and what ended it."""

    host: str
    address: str
    port: int
    ip_version: IpVersion
    stage: Stage
    errno: str | None = None
    """Symbol of the socket error; ``ETIMEDOUT`` also where the prober's own time limit ended the session."""
    icmp: IcmpError | None = None
    """The ICMP error that ended it, with its sender: the kernel passes it on to every user (IP_RECVERR)."""
    ttl: int | None = None
    """TTL or hop limit of the answer to the SYN; over IPv4 it takes CAP_NET_RAW."""
    seconds: float = 0.0
    times: dict[str, float] = {}
    """Seconds from the SYN to each stage that was reached."""
    heard: int = 0
    """Bytes that the server sent, in all."""
    banner: str | None = None
    """The text of the greeting, or of the part of it that came."""
    smtp_code: int | None = None
    enhanced_code: str | None = None
    reply: str | None = None
    """The text of the reply that ended the session, or of the error."""
    closed: bool = False
    """Whether the server's side closed the connection in an orderly way, with a reply still due."""
    endless: bool = False
    """Whether a reply was longer than the prober reads."""
    keywords: tuple[str, ...] = ()
    """EHLO keywords in clear."""
    keywords_tls: tuple[str, ...] = ()
    """EHLO keywords after STARTTLS, or on a port with TLS from the first byte."""
    starttls: int | None = None
    """The code of the reply to STARTTLS, which is sent whether the server offers it or not."""
    tls: str | None = None
    certificate: Certificate | None = None
    nameless_tls: bool | None = None
    """After a TLS handshake that failed: whether one without the server's name (SNI) succeeded."""
    unacknowledged: bool | None = None
    """After silence: whether the client's last packets were not acknowledged either."""
    small_segments: Literal["passed", "failed"] | None = None
    """After a message without a reply: the result of the same message in small packets."""
    second_try: int | None = None
    """After a temporary refusal: the code of the reply to the same message a moment later."""
    local_peer: bool | None = None
    """Whether the other end of the connection is a socket of this machine; None: the kernel does not say."""
    unsent: bool | None = None
    """After silence: whether this machine itself dropped the SYNs (the kernel could not send them)."""
    local_answer: bool | None = None
    """After a refusal: whether it came from this machine itself (over ``lo``); None: that cannot be told."""
    discarded: bool | None = None
    """After silence: whether answers came, and this machine itself dropped them; None: that cannot be told."""

    @property
    def connected(self) -> bool:
        """Whether the connection was established, with the destination or with a middlebox."""
        return self.stage not in (Stage.RESOLVE, Stage.CONNECT)


class Answer(StrEnum):
    """The answer to a SYN with a limited TTL."""

    EXPIRED = "expired"
    """ICMP time exceeded: the SYN came as far as the router that sent it."""
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
    """The sender of the ICMP error."""


class Trace(_Model):
    """A TCP traceroute: SYNs to one port, each allowed to come one hop further."""

    host: str
    address: str
    port: int
    ip_version: IpVersion
    steps: tuple[Step, ...]

    @property
    def answered_at(self) -> int | None:
        """The least TTL with which the destination answers or a refusal comes: the sender is that many hops away."""
        return min((step.ttl for step in self.steps if step.answer in _ANSWERS), default=None)

    @property
    def spoken_at(self) -> int | None:
        """As ``answered_at``, for answers by TCP alone."""
        return min((s.ttl for s in self.steps if s.answer in (Answer.ACCEPTED, Answer.RESET)), default=None)

    @property
    def refused_by_itself_at(self) -> int | None:
        """The least TTL at which the dialled address itself sends an ICMP error, behind all routers that sent one."""
        own = min((s.ttl for s in self.steps if s.answer is Answer.REFUSED and s.sender == self.address), default=None)
        return own if own is not None and own > self.last_hop else None

    @property
    def last_hop(self) -> int:
        """The hop of the furthest router that reported that a TTL ran out; 0: no router did."""
        return max((step.ttl for step in self.steps if step.answer is Answer.EXPIRED), default=0)

    @property
    def routers(self) -> dict[int, str]:
        """Hop → the router's address."""
        passed = (step for step in self.steps if step.answer is Answer.EXPIRED)
        return {step.ttl: step.sender for step in passed if step.sender and step.sender != self.address}

    @property
    def diverted_at(self) -> int | None:
        """The first router whose ICMP error has the dialled address as its sender: there the SYN meets DNAT.

        NAT writes the dialled address as the sender of all that comes back, ICMP errors of routers behind it included.
        """
        passed = (step for step in self.steps if step.answer is Answer.EXPIRED)
        return min((step.ttl for step in passed if step.sender == self.address), default=None)

    @property
    def furthest(self) -> int:
        """The greatest TTL that was tried."""
        return max((step.ttl for step in self.steps), default=0)


_ANSWERS = (Answer.ACCEPTED, Answer.RESET, Answer.REFUSED)


class NameAnswer(_Model):
    """What one DNS server says of the addresses of the target."""

    server: str
    """The server's address."""
    role: Literal["configured", "authoritative"]
    """A resolver of ``resolv.conf``, or a server of the name's own zone."""
    addresses: tuple[str, ...] = ()
    problem: str | None = None
    """Why there are no addresses."""


class OwnMachine(_Model):
    """What the machine says of itself, to an ordinary user."""

    addresses: tuple[str, ...] = ()
    """Those of its interfaces."""
    listeners: tuple[int, ...] = ()
    """Probed ports on which a program of this machine listens."""
    hosts_file: tuple[str, ...] = ()
    """The addresses of the target in ``/etc/hosts``."""
    physical: bool | None = None
    """Whether it is a real machine, and no virtual one; None: a container, or unknown."""
    metadata: bool = False
    """Whether the metadata service of a cloud platform answers (169.254.169.254)."""


class ClientView(_Model):
    """Everything that one probe measured."""

    host: str
    """What the user asked about."""
    target: str
    """The host that was dialled: for a mail domain, its MX."""
    mx: tuple[str, ...] = ()
    control: str | None = None
    """Another host whose port 25 was dialled for comparison."""
    unresolved: str | None = None
    """Why the name could not be resolved."""
    resolvers_silent: bool = False
    """Whether no resolver of this machine answered at all, so that the name may be fine."""
    raw: bool = False
    """Whether the prober could read packets (CAP_NET_RAW)."""
    sessions: tuple[Session, ...] = ()
    """With the target, one for each port and IP version."""
    controls: tuple[Session, ...] = ()
    """With port 25 of the control host."""
    deliveries: tuple[Session, ...] = ()
    """Sessions that were to send a message, with ``--send-to``."""
    traces: tuple[Trace, ...] = ()
    cut_traces: tuple[Trace, ...] = ()
    """Traceroutes inside of open connections, for sessions that were cut at the client's first data."""
    again: tuple[Session, ...] = ()
    """Port 25 dialled once more after a session on it."""
    neutral_port: int | None = None
    """A port of the target that serves nothing and that no mail rule is about."""
    neutral: tuple[Session, ...] = ()
    """Attempts to connect to that port."""
    neutral_traces: tuple[Trace, ...] = ()
    """Traceroutes to that port: they show how far away the target is."""
    datagram_traces: tuple[Trace, ...] = ()
    """Traceroutes by UDP: they show how far away the target is where TCP to every port is taken by another one."""
    as_user: tuple[Session, ...] = ()
    """As root: the silent and refused ports dialled once more by an ordinary user, whom other rules may be about."""
    own: OwnMachine = OwnMachine()
    name_answers: tuple[NameAnswer, ...] = ()
    banner_names: dict[str, tuple[str, ...]] = {}
    """Host names in greetings that are not the target's, with their addresses in the DNS."""
    seconds: float = 0.0

    def session(self, port: int, ip_version: IpVersion) -> Session | None:
        """The one session with the target on a port."""
        return _of(self.sessions, port, ip_version)

    def any_session(self, port: int, ip_version: IpVersion) -> Session | None:
        """The one session with the target on a port, be it the neutral one."""
        return _of((*self.sessions, *self.neutral), port, ip_version)

    def user_session(self, port: int, ip_version: IpVersion) -> Session | None:
        """As root: an ordinary user's attempt on a port."""
        return _of(self.as_user, port, ip_version)

    def control_session(self, ip_version: IpVersion) -> Session | None:
        """The session with the control host."""
        return _of(self.controls, 25, ip_version)

    def delivery(self, port: int, ip_version: IpVersion) -> Session | None:
        """The session that was to send a message."""
        return _of(self.deliveries, port, ip_version)

    def dialled_again(self, ip_version: IpVersion) -> list[Session]:
        """The later connections to port 25."""
        return [session for session in self.again if session.ip_version == ip_version]

    def trace(self, address: str, port: int) -> Trace | None:
        """The traceroute to a port."""
        return next((trace for trace in self.traces if (trace.address, trace.port) == (address, port)), None)

    def datagram_trace(self, address: str) -> Trace | None:
        """The traceroute by UDP."""
        return next((trace for trace in self.datagram_traces if trace.address == address), None)

    def cut_trace(self, address: str, port: int) -> Trace | None:
        """The traceroute of the data at which a session was cut."""
        return next((trace for trace in self.cut_traces if (trace.address, trace.port) == (address, port)), None)

    def other_traces(self, address: str, port: int) -> list[Trace]:
        """Traceroutes to the same address on other ports, the neutral one included."""
        known = (*self.traces, *self.neutral_traces)
        return [trace for trace in known if trace.address == address and trace.port != port]


def hops_of(ttl: int) -> int:
    """How many hops away the sender of a packet with this TTL is; the first router is 1."""
    return next(first for first in INITIAL_TTLS if first >= ttl) - ttl + 1


def _of(sessions: Iterable[Session], port: int, ip_version: IpVersion) -> Session | None:
    return next((one for one in sessions if one.port == port and one.ip_version == ip_version), None)
