"""DNS packets over UDP (RFC 1035), from the headers in a trace event.

A trace event has the first 20 bytes of a UDP packet: its header, and the header of the DNS message. The number of the
message (ID) is the same in a query and its answer, and no address translation changes it. A lookup over TCP is a
connection like any other.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal, NamedTuple

from port25lab.kernel.headers import fixed_header, text
from port25lab.model.evidence import PacketSummary

DNS_PORT = 53

_UDP = 17

_HEADERS = struct.Struct(">HHxxxxHB")

_ANSWER = 0x80


class Lookup(NamedTuple):
    """By what the packets of a lookup are found, at any node."""

    number: int


@dataclass(frozen=True)
class NamePacket:
    """A query or an answer, as a trace event shows it."""

    kind: Literal["DNS query", "DNS answer"]
    source: str
    source_port: int
    destination: str
    destination_port: int
    number: int

    @property
    def opens(self) -> bool:
        """Whether it is the first packet of an exchange: NAT decides on it."""
        return self.kind == "DNS query"

    def key(self, _: str) -> Lookup:
        """By what the packet is found again."""
        return Lookup(self.number)

    @property
    def summary(self) -> PacketSummary:
        """The packet as evidence."""
        return PacketSummary(
            kind=self.kind,
            source=self.source,
            source_port=self.source_port,
            destination=self.destination,
            destination_port=self.destination_port,
        )


def name_packet(network: bytes, transport: bytes) -> NamePacket | None:
    """The DNS packet with these headers; None for every other packet, and where they are cut short."""
    ip = fixed_header(network)
    if ip is None or ip.protocol != _UDP or ip.fragment or len(transport) < _HEADERS.size:
        return None
    source_port, destination_port, number, flags = _HEADERS.unpack_from(transport)
    if DNS_PORT not in (source_port, destination_port):
        return None
    kind: Literal["DNS query", "DNS answer"] = "DNS answer" if flags & _ANSWER else "DNS query"
    return NamePacket(kind, text(ip.source), source_port, text(ip.destination), destination_port, number)
