"""Packets of ARP (RFC 826) and neighbour discovery (RFC 4861), from the headers in a trace event."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from port25lab.kernel.headers import fixed_header, text
from port25lab.model.evidence import PacketSummary

SOLICITATION, ADVERTISEMENT, REQUEST, REPLY = (
    "neighbour solicitation",
    "neighbour advertisement",
    "ARP request",
    "ARP reply",
)

_ICMPV6 = 58

_ND = {135: SOLICITATION, 136: ADVERTISEMENT}

_ARP = {1: REQUEST, 2: REPLY}

_ARP_HEADER = struct.Struct(">HHBBH6s4s6s4s")

_HELD_BACK = 12
"""Of an address that is asked for by multicast, the one byte that a trace event lacks: the event has 20 bytes of
ICMPv6, which end behind the address's byte 11, and the multicast address has the bytes from 13 on (RFC 4291 2.7.1)."""


class Asked(NamedTuple):
    """By what the packets of a resolution are found: where they were traced, who asks, and for which address."""

    node: str
    asker: str
    address: bytes
    """Without the byte that events lack."""


@dataclass(frozen=True)
class NeighbourPacket:
    """A packet of ARP or neighbour discovery, as a trace event shows it."""

    kind: str
    source: str
    asker: str
    address: bytes
    """The address that is asked for, without the byte that events lack."""

    def key(self, node: str) -> Asked:
        """By what the packet is found again. ``node``: where it was traced."""
        return Asked(node, self.asker, self.address)

    @property
    def summary(self) -> PacketSummary:
        """The packet as evidence."""
        return PacketSummary(kind=self.kind, source=self.source)


def is_discovery(network: bytes) -> bool:
    """Whether a network header is that of ICMPv6."""
    return len(network) > 6 and network[0] >> 4 == 6 and network[6] == _ICMPV6


def discovery_packet(network: bytes, transport: bytes) -> NeighbourPacket | None:
    """A packet of neighbour discovery, from its IPv6 and ICMPv6 headers as events have them; None for another one."""
    ip = fixed_header(network) if is_discovery(network) else None
    kind = _ND.get(transport[0]) if ip is not None and len(transport) >= 20 else None
    if ip is None or kind is None:
        return None
    known = transport[8:20]
    if kind == ADVERTISEMENT:
        asker, whole = ip.destination, ip.source
    else:
        asker, whole = ip.source, ip.destination
    # The rest of the address is in the header: who answers for an address does so from it.
    address = known + bytes(1) + whole[_HELD_BACK + 1 :]
    return NeighbourPacket(kind, text(ip.source), text(asker), address)


def arp_packet(network: bytes) -> NeighbourPacket | None:
    """A packet of ARP for IPv4 over Ethernet; None for another one."""
    if len(network) < _ARP_HEADER.size:
        return None
    *kinds, operation, _, sender, _, target = _ARP_HEADER.unpack_from(network)
    kind = _ARP.get(operation) if kinds == [1, 0x0800, 6, 4] else None
    if kind is None:
        return None
    asker, asked = (sender, target) if kind == REQUEST else (target, sender)
    return NeighbourPacket(kind, text(sender), text(asker), asked)


def known_bytes(address: bytes) -> bytes:
    """An address that may be asked for, without the byte that events lack."""
    return address if len(address) == 4 else address[:_HELD_BACK] + bytes(1) + address[_HELD_BACK + 1 :]
