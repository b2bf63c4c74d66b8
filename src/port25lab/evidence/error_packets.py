"""ICMP errors about TCP (RFC 792, RFC 4443), from the headers in a trace event.

A trace event has the first 20 bytes of an ICMP packet: its header, and 12 bytes of the IP header that it quotes. That
is neither ports nor sequence number. The identification of the quoted IPv4 packet and the flow label of a quoted IPv6
packet are there, which its sender chose at random; and the checksum of IPv4 tells the sum of both addresses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

from port25lab.kernel.headers import IPV4_ERRORS, IPV6_ERRORS, fixed_header, text
from port25lab.model.evidence import ICMP_ERROR, PacketSummary

_ICMP, _ICMPV6, _TCP = 1, 58, 6

_ICMP_HEADER = 8

_QUOTED_IPV4 = struct.Struct(">4xHxxxBH")

_QUOTED_IPV6 = struct.Struct(">IxxB")

_WORDS = struct.Struct(">6H")


class Quoted(NamedTuple):
    """By what an ICMP error is found, at any node: its receiver, and what it quotes."""

    receiver: str
    number: int
    """IPv4: the identification. IPv6: the flow label."""
    addresses: int
    """IPv4: the sum of both addresses in words of 16 bits. IPv6: 0."""


@dataclass(frozen=True)
class ErrorPacket:
    """An ICMP error about a TCP packet, as a trace event shows it."""

    source: str
    destination: str
    number: int
    addresses: int

    def key(self, _: str) -> Quoted:
        """By what the packet is found again."""
        return Quoted(self.destination, self.number, self.addresses)

    @property
    def summary(self) -> PacketSummary:
        """The packet as evidence."""
        return PacketSummary(kind=ICMP_ERROR, source=self.source, destination=self.destination)


def error_packet(network: bytes, transport: bytes) -> ErrorPacket | None:
    """The ICMP error with these headers; None for every other packet, and where they are cut short."""
    ip = fixed_header(network)
    if ip is None or ip.fragment or len(transport) < _ICMP_HEADER + _WORDS.size:
        return None
    if ip.ip_version == 4:
        number, protocol, checksum = _QUOTED_IPV4.unpack_from(transport, _ICMP_HEADER)
        if ip.protocol != _ICMP or transport[0] not in IPV4_ERRORS or protocol != _TCP:
            return None
        # The checksum is the complement of the sum of all words of the header; without options five are not addresses.
        others = sum(_WORDS.unpack_from(transport, _ICMP_HEADER)) - checksum
        addresses = ((checksum ^ 0xFFFF) - others) % 0xFFFF
    else:
        first, protocol = _QUOTED_IPV6.unpack_from(transport, _ICMP_HEADER)
        if ip.protocol != _ICMPV6 or transport[0] not in IPV6_ERRORS or protocol != _TCP:
            return None
        number, addresses = first & 0xFFFFF, 0
    return ErrorPacket(text(ip.source), text(ip.destination), number, addresses)


def errors_about(numbers: Iterable[int], ends: Iterable[tuple[str, str]]) -> Iterator[Quoted]:
    """By what the errors about a packet are found.

    Args:
        numbers: Its identifications or flow labels: each transmission has its own.
        ends: The addresses of its sender and its receiver, as they were at each node.
    """
    for source, destination in ends:
        for number in numbers:
            yield Quoted(source, number, _sum(source, destination))


def _sum(*addresses: str) -> int:
    packed = [ip_address(address).packed for address in addresses]
    if len(packed[0]) != 4:
        return 0
    words: list[int] = [word for one in packed for word in struct.unpack(">2H", one)]
    return sum(words) % 0xFFFF
