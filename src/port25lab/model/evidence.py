"""Evidence: what one attempt leaves, in three views: the client's, the kernel's and the recipient's.

The lab's process sends these models to the engine as JSON. ``verdict`` judges them. Texts that the JSON of results has
beside the facts (``packet``, ``at``, ``divergence``) are made from them and never read back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

from port25lab.model.addresses import IpVersion

LONGEST_REPLY = 4096
"""Characters of a reply that are kept; RFC 5321 section 4.5.3.1.5 allows 512 octets for a line."""


class Stage(StrEnum):
    """How far the client got. The order is that of an SMTP session."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DONE = "done"


class Observation(BaseModel):
    """The client's view: the stage at which it ended, and the error or reply that ended it."""

    model_config = ConfigDict(extra="forbid")

    stage: Stage
    errno: str | None = None
    """Symbol of the socket error, such as ``ETIMEDOUT``."""
    smtp_code: int | None = None
    enhanced_code: str | None = None
    """RFC 3463 status such as ``5.7.1``."""
    reply: str | None = None
    """The server's last reply, or the text of the error where no server replied."""
    timed_out: bool = False
    """The client gave up because no reply came in time; ``reply`` has its own words then, and no server's."""
    seconds: float = 0.0
    proven_early: bool = False
    """The client did not wait for an answer: a rule dropped two SYNs, and would drop every further one. A client that
    waits until it gives up ends with the same ``errno``, after its own time."""
    address: str | None = None
    """The address to which the client connected last."""
    banner: str | None = None
    tls: str | None = None
    """TLS version in use at the end, such as ``TLSv1.3``."""
    missing: Literal["STARTTLS", "AUTH"] | None = None
    """The extension that the client needed and the server did not offer, so that the client gave up."""
    keywords: tuple[str, ...] = ()
    """EHLO keywords that the server offered last, in capitals (RFC 5321 section 4.1.1.1)."""
    certificate: str | None = None
    """SHA-256 of the server's certificate, in hexadecimal; None without TLS, or where the client does not report it."""
    times: dict[str, float] = {}
    """Seconds from the first SYN to each stage that was reached, as far as the client reports them."""


def silence(seconds: float) -> str:
    """The text for a reply timeout, in place of a reply. smtplib_script.py cannot import it, and has its own copy."""
    return f"no reply within {seconds:g} s"


def enhanced_code(reply: str) -> str | None:
    """The RFC 3463 status at the beginning of a reply's text (RFC 2034)."""
    found = re.match(r"([245]\.\d{1,3}\.\d{1,3})(?!\S)", reply)
    return found[1] if found else None


class TrailRule(BaseModel):
    """One of the rules that led to a decision."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    chain: str
    rule_number: int | None
    """Counted from 1 within the chain; None: the chain's policy."""
    rule: str
    file: str | None = None
    line: int | None = None
    comment: str | None = None


class Blame(BaseModel):
    """The rule that decided, as its author wrote it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node: str
    family: Literal["ip", "ip6", "inet", "arp"]
    table: str
    chain: str
    rule_number: int | None
    """Counted from 1 within the chain, as ``iptables -L --line-numbers`` does; None: the chain's policy."""
    rule: str
    policy: str | None = None
    file: str | None = None
    line: int | None = None
    comment: str | None = None
    """The text of the rule's own ``--comment``."""
    trail: tuple[TrailRule, ...] = ()
    """The rules of this node that led here: those that changed the packet in a way that mattered, the jumps that were
    open, the deciding rule last."""


class Effect(StrEnum):
    """What the deciding rule does to the packet. The trace shows REJECT as a drop; the rule's target says which."""

    DROP = "drop"
    REJECT_ICMP = "reject-icmp"
    REJECT_RESET = "reject-reset"
    THROTTLE = "throttle"
    """Dropped or rejected because a limit was exceeded: the rule matches on a rate or on a number of connections."""
    DIVERT = "divert"
    """Sent to another address, or given to a program of the node."""
    CHANGE = "change"
    """Sent on with another source address or TTL."""


ICMP_ERROR = "ICMP error"
"""The kind of a packet that says why another one did not arrive."""


class PacketSummary(BaseModel):
    """A packet, as far as its headers tell which one it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    """``SYN``, ``SYN-ACK``, ``RST``, ``segment`` or ``ICMP error``; or what another packet is, in words."""
    source: str | None = None
    source_port: int | None = None
    destination: str | None = None
    destination_port: int | None = None
    neighbour: str | None = None
    """Of a packet of ARP or neighbour discovery: the address that is asked for."""

    def __str__(self) -> str:
        """``SYN 198.51.100.7:20000 > 203.0.113.25:25``, or ``neighbour solicitation for 2001:db8::1``."""
        if self.neighbour is not None:
            return f"{self.kind} for {self.neighbour}"
        if self.source is None or self.destination is None:
            return self.kind
        source, destination = _end(self.source, self.source_port), _end(self.destination, self.destination_port)
        return f"{self.kind} {source} > {destination}"


def _end(address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


OPENING_ANSWERS = ("SYN-ACK", "RST")
"""Kinds of packets that answer a SYN."""


class Decision(BaseModel):
    """The kernel's view: one packet of the attempt that a rule kept from passing, or sent elsewhere."""

    model_config = ConfigDict(extra="forbid")

    blame: Blame
    effect: Effect
    traced: PacketSummary
    """The packet, with its addresses where the rule matched it."""
    in_session: bool = False
    """Whether the packet belongs to an open session. These are traced where a policy says ``watch: session``."""
    target: str | None = None
    """The name of the rule's target, such as ``DNAT``; None for a chain's policy."""
    modules: tuple[str, ...] = ()
    """The modules of all matches on the blame's trail, such as ``string``."""
    by_chance: bool = False
    """A ``statistic`` match decided: another packet like this one may pass, or go where it should."""

    @property
    def of_neighbour(self) -> bool:
        """Whether the packet is one of ARP or neighbour discovery, for which the attempt's own packets waited."""
        return self.traced.neighbour is not None

    @computed_field  # type: ignore[prop-decorator]  # python/mypy#14461
    @property
    def packet(self) -> str:
        """The packet in words."""
        return str(self.traced)


def on_the_way_to(address: str, decisions: Iterable[Decision]) -> list[Decision]:
    """The decisions on packets to one address: those of its family, and those in a table of both families."""
    families = ("ip6", "inet") if ":" in address else ("ip", "inet", "arp")
    return [found for found in decisions if found.blame.family in families]


class IcmpError(BaseModel):
    """An ICMP or ICMPv6 error that reached the client's host."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sender: str
    ip_version: IpVersion
    type: int
    code: int


class PacketSeen(BaseModel):
    """A packet of an attempt where it was captured first (there it was made), or where it was captured last."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node: str
    interface: str
    seconds: float
    """Since the first packet of the attempt."""
    leaving: bool
    """True: it left the node there; False: it came in."""
    kind: str
    """``SYN``, ``SYN-ACK``, ``SYN-FIN``, ``RST``, ``FIN``, ``fragment`` or ``ICMP``."""
    source: str
    source_port: int | None = None
    destination: str
    destination_port: int | None = None
    ttl: int
    """TTL or hop limit; shows how many hops away the sender is."""
    sequence: int | None = None
    """TCP sequence number; of an ICMP error, that of the packet in it."""
    icmp: tuple[int, int] | None = None
    """Type and code."""
    length: int = 0
    """Bytes of payload."""
    retransmission: bool = False
    """Whether its sender had sent the same before."""

    @computed_field  # type: ignore[prop-decorator]  # python/mypy#14461
    @property
    def at(self) -> str:
        """Node and interface: ``isp-edge/access0``."""
        return f"{self.node}/{self.interface}"


class Ended(BaseModel):
    """Where an attempt ended that no rule and no answer ended, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    packet: PacketSeen
    """The last packet, where it was seen last."""
    how: Literal["no-route", "no-answer"]
    """``no-route``: that node has no way for it, or the destination none for its answer. ``no-answer``: the
    destination or the next node does not answer."""


class StreamSide(BaseModel):
    """The data of one side of a node, at the place where the two sides first differ."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    line: str | None = None
    """The line around the place, as far as it is quoted; None where it is no printable text."""
    shortened: bool = False
    """The line goes on after what is quoted."""
    octets: str | None = None
    """Where it is no text: the bytes from the place on, in hexadecimal."""
    ended: bool = False
    """This side had said something, and has nothing more to say."""

    def __str__(self) -> str:
        if self.line is not None:
            return f'"{self.line}"' + ("..." if self.shortened else "")
        if self.octets is not None:
            return f"bytes {self.octets}"
        return "nothing more" if self.ended else "nothing"


class StreamDifference(BaseModel):
    """The first difference between the two sides of a node that forwards sessions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    direction: Literal["client to server", "server to client"]
    offset: int
    """Bytes that both sides have in common before it."""
    client_side: StreamSide
    server_side: StreamSide
    packets: tuple[int, ...] = ()
    """Numbers in the lab's capture file, where there is one."""

    def __str__(self) -> str:
        numbers = " and ".join(map(str, self.packets))
        where = f"{self.direction}, byte {self.offset}" + (f", packets {numbers}" if numbers else "")
        return f"client side: {self.client_side}, server side: {self.server_side} ({where})"


class Arrival(BaseModel):
    """Where a hand-made packet arrived, as captured."""

    model_config = ConfigDict(extra="forbid")

    packet: str
    """The packet's kind, such as ``syn-fin``."""
    reached: str | None = None
    """The node at whose interface it arrived."""
    answer: str | None = None
    """The first answer that came back to the sender: ``SYN-ACK``, ``RST``, ``ICMP``."""


class Hop(BaseModel):
    """One delivery try of a relay that had accepted the message."""

    model_config = ConfigDict(extra="forbid")

    node: str
    to: str
    observation: Observation
    decisions: list[Decision] = []
    diverted: list[Decision] = []
    """As of an attempt."""
    packets: list[PacketSeen] = []
    """Of a try that failed."""
    answered_by: str | None = None
    """The node whose service took the relay's connection."""
    dialled: str | None = None
    """The node that owns the address that the relay dialled."""
    ended: Ended | None = None
    """As of an attempt."""


class Evidence(BaseModel):
    """All that one attempt leaves."""

    model_config = ConfigDict(extra="forbid")

    observation: Observation
    decisions: list[Decision] = []
    diverted: list[Decision] = []
    """Rules of a policy that sent the attempt elsewhere: to another server, or through a program."""
    icmp: list[IcmpError] = []
    answered_by: str | None = None
    """The node whose service took the connection, as that service itself recorded it."""
    dialled: str | None = None
    """The node that owns the dialled address."""
    delivered_to: str | None = None
    """The node in whose mailbox the token was found."""
    hops: list[Hop] = []
    packets: list[PacketSeen] = []
    """Those that opened, refused or ended its connections, each where it was captured first and where last."""
    packets_lost: int = 0
    """Packets that the capture lost in this lab so far. If it lost any, a packet missing here proves nothing."""
    ended: Ended | None = None
    """Where its last packet ended, if there is no connection and no rule is the reason."""
    difference: StreamDifference | None = None
    """The first difference between the two sides of a node that forwards sessions."""
    arrival: Arrival | None = None
    """Of a hand-made packet, which has no session."""
    unanswered: bool = False
    """No DNS server answered the client's lookups, or the client does not tell whether one did."""
    trace_lost: str | None = None
    """Why the kernel's trace is incomplete. Such an attempt proves nothing, and is made again."""
    starved: str | None = None
    """Why a limit in seconds that ended this attempt, or a rule's limit in seconds, proves nothing."""
    retried: str | None = None
    """Why an earlier attempt of the same path proved nothing, so that this one was made, alone in a new lab."""
    error: str | None = None
    """Why the tool failed, where it did."""

    @property
    def unproven(self) -> str | None:
        """Why this attempt proves nothing, and has to be made again; None where it proves something."""
        return self.trace_lost or self.starved

    @computed_field  # type: ignore[prop-decorator]  # python/mypy#14461
    @property
    def divergence(self) -> str | None:
        """The first difference in words."""
        return None if self.difference is None else str(self.difference)


class CaptureSummary(BaseModel):
    """What a lab's capture file holds, and what it lacks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    packets: int
    lost: dict[str, int] = {}
    """Packets that the capture missed, by node."""
    problem: str | None = None
    """Why packets could not be written."""
