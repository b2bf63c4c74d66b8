"""Hand-made packets in the kernel's trace: known by numbers that their sender chose, and by no mark that a rule sees.

TCP is known by its initial sequence number, and so are the answers to it (RFC 9293 section 3.4.1); other protocols by a
number in the first 20 bytes of their payload, which an event has; fragments, and what has no such number there, by the
IPv4 identification or the IPv6 flow label. Routers and address translation leave all of these alone. A rule may change
the last two: then the packet cannot be followed.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from port25lab.kernel.headers import ACK, RST, SYN, FixedHeader, fixed_header, tcp_header, text
from port25lab.model.evidence import PacketSummary

_UDP, _ICMPV6 = 17, 58

_DNS_PORT = 53

_NEIGHBOURS = range(133, 138)
"""Types of ICMPv6 that resolve neighbours (RFC 4861)."""


@dataclass(eq=False)
class PacketTrace:
    """A hand-made packet on its way: by what it is known."""

    what: str
    number: int
    """Identification of its IPv4 packets, flow label of its IPv6 packets."""
    sequence: int
    """32 bits: the initial sequence number, or what stands for it in other protocols."""
    session_port: int | None = None
    """The source port of an open session that it continues."""
    dropped: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a rule has kept one of its packets from passing."""


@dataclass(frozen=True)
class Made:
    """What a trace event tells of a hand-made packet, or of an answer to it."""

    trail: PacketTrace
    summary: PacketSummary

    @property
    def opens(self) -> bool:
        """Whether it is the packet itself: NAT decides on it."""
        return self.summary.kind == self.trail.what

    def key(self, _: str) -> PacketTrace:
        """By what the packet is found again, at any node."""
        return self.trail


class MadePackets:
    """The hand-made packets that are under way."""

    def __init__(self) -> None:
        self._trails: dict[tuple[str, int], PacketTrace] = {}

    def track(self, trail: PacketTrace) -> None:
        """Look out for a packet from now on."""
        self._trails.update(dict.fromkeys(_names(trail), trail))

    def forget(self, trail: PacketTrace) -> None:
        """A packet has arrived, or was lost: ordinary packets may have its number from now on."""
        for name in _names(trail):
            self._trails.pop(name, None)

    def find(self, network: bytes, transport: bytes) -> Made | None:
        """The hand-made packet that these headers belong to; None where they belong to none."""
        ip = fixed_header(network) if self._trails else None
        if ip is None:
            return None
        what, names = None, [("number", ip.number)]
        if ip.may_be_tcp:
            tcp = tcp_header(transport)
            if tcp is None:
                return None
            sequence, flags = tcp.sequence, tcp.flags & (SYN | ACK | RST)
            if flags == SYN | ACK:
                what, sequence = "SYN-ACK", tcp.acknowledged - 1
            elif flags & RST:
                what, sequence = "RST", sequence - 1
            names = [("sequence", sequence & 0xFFFFFFFF), ("port", tcp.source_port), ("port", tcp.destination_port)]
        elif not ip.fragment:
            # An ordinary packet may have the same 16 bits.
            names = [("sequence", word) for word in _words(transport)] + names * (not _is_ordinary(ip, transport))
        elif (tcp := tcp_header(transport)) is not None:
            names = [("sequence", tcp.sequence), *names]
        trail = next((self._trails[name] for name in names if name in self._trails), None)
        if trail is None:
            return None
        summary = PacketSummary(kind=what or trail.what, source=text(ip.source), destination=text(ip.destination))
        return Made(trail, summary)


def _names(trail: PacketTrace) -> list[tuple[str, int]]:
    if trail.session_port is not None:
        return [("port", trail.session_port)]
    return [("number", trail.number), ("sequence", trail.sequence)]


def _is_ordinary(ip: FixedHeader, transport: bytes) -> bool:
    """Whether it may be a packet of DNS or of neighbour discovery, which a lab sends beside hand-made ones."""
    if ip.protocol == _UDP and len(transport) >= 4:
        return _DNS_PORT in struct.unpack_from(">HH", transport)
    return ip.protocol == _ICMPV6 and transport[:1] != b"" and transport[0] in _NEIGHBOURS


def _words(transport: bytes) -> Iterator[int]:
    """The numbers of 32 bits in the first bytes of a transport header and its payload."""
    for start in range(4, len(transport) - 3, 4):
        yield struct.unpack_from(">I", transport, start)[0]
