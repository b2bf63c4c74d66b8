"""DNS packets in trace events: by their number they are one lookup, on either side of NAT."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from port25lab.evidence.name_packets import Lookup, name_packet

ENDS = {4: ("192.168.1.2", "192.0.2.53"), 6: ("2001:db8::2", "2001:db8::53")}
UDP, TCP = 17, 6


def network(version: int, protocol: int = UDP, fragment: int = 0) -> bytes:
    ends = b"".join(ip_address(end).packed for end in ENDS[version])
    if version == 4:
        return struct.pack(">BBHHHBBH", 0x45, 0, 60, 1, fragment, 64, protocol, 0) + ends
    return struct.pack(">IHBB", 6 << 28, 40, protocol, 64) + ends


def datagram(source: int, destination: int, number: int = 0xBEEF, flags: int = 0x0100) -> bytes:
    return struct.pack(">HHHHHHHHHH", source, destination, 40, 0, number, flags, 1, 0, 0, 0)


@pytest.mark.parametrize("version", [4, 6])
def test_a_query_and_its_answer_are_one_lookup(version: int) -> None:
    query = name_packet(network(version), datagram(40000, 53))
    answer = name_packet(network(version), datagram(53, 1024, flags=0x8180))
    assert query and answer
    assert (query.kind, query.opens, answer.kind, answer.opens) == ("DNS query", True, "DNS answer", False)
    assert query.key("edge") == answer.key("far") == Lookup(0xBEEF)
    source, destination = ENDS[version]
    assert (query.summary.source, query.summary.destination_port) == (source, 53)
    assert query.summary.destination == destination


@pytest.mark.parametrize(
    ("headers", "transport"),
    [
        (network(4), datagram(40000, 5353)),
        (network(4, TCP), datagram(40000, 53)),
        (network(4, fragment=0x2000), datagram(40000, 53)),
        (network(4), datagram(40000, 53)[:10]),
        (b"", datagram(40000, 53)),
    ],
)
def test_everything_else_is_no_lookup(headers: bytes, transport: bytes) -> None:
    assert name_packet(headers, transport) is None
