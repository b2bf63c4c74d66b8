"""Packets of ARP and neighbour discovery for tests, as a trace event has them."""

from __future__ import annotations

import struct
from ipaddress import ip_address

HEADER = 20
"""Bytes of a transport header that an event has."""


def discovery(kind: int, source: str, other: str, *, unicast: bool = False) -> tuple[bytes, bytes]:
    """Network and transport header: a solicitation for ``other``, or an advertisement of ``source`` to ``other``."""
    asked = ip_address(source if kind == 136 else other).packed
    multicast = kind == 135 and not unicast
    to = ip_address("ff02::1:ff00:0").packed[:13] + asked[13:] if multicast else ip_address(other).packed
    network = struct.pack(">IHBB", 6 << 28, 32, 58, 255) + ip_address(source).packed + to
    return network, (struct.pack(">BBHI", kind, 0, 0, 0) + asked)[:HEADER]


def arp(operation: int, sender: str, target: str) -> bytes:
    """What stands behind the Ethernet header."""
    macs = b"\x02\0\0\x01\0\x02", bytes(6)
    addresses = ip_address(sender).packed, ip_address(target).packed
    return struct.pack(">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, operation, macs[0], addresses[0], macs[1], addresses[1])
