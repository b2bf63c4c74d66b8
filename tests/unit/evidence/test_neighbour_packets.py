"""Packets of ARP and neighbour discovery, from the bytes that a trace event has of them."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address, ip_address

import pytest

from neighbour_factory import arp, discovery
from port25lab.evidence.neighbour_packets import Asked, arp_packet, discovery_packet, is_discovery, known_bytes
from port25lab.evidence.traced_packet import packet_for_rules

CPE, EDGE, LINK_LOCAL = "2001:db8:110:1ff::2", "2001:db8:110:1ff::1", "fe80::ff:fe02:3"


def known(address: str) -> bytes:
    return known_bytes(ip_address(address).packed)


@pytest.mark.parametrize("asker", [CPE, LINK_LOCAL])
@pytest.mark.parametrize("asked", [EDGE, "2001:db8:110:1ff:a:b:c:d"])
def test_request_and_answer_of_one_resolution_have_the_same_key(asker: str, asked: str) -> None:
    key = Asked("isp-edge", asker, known(asked))
    for packet in (
        discovery(135, asker, asked),
        discovery(136, asked, asker),
        discovery(135, asker, asked, unicast=True),
    ):
        found = discovery_packet(*packet)
        assert found is not None
        assert found.key("isp-edge") == key


def test_addresses_that_differ_in_a_byte_that_events_have_have_other_keys() -> None:
    last, first = discovery_packet(*discovery(135, CPE, EDGE)), discovery_packet(*discovery(135, CPE, CPE))
    assert last is not None
    assert first is not None
    assert last.key("isp-edge") != first.key("isp-edge") != first.key("cpe")
    assert len({known(f"2001:db8::{host:x}") for host in range(1, 2000)}) == 1999


@pytest.mark.parametrize(
    ("kind", "words"), [(135, "neighbour solicitation"), (136, "neighbour advertisement")], ids=["NS", "NA"]
)
def test_a_packet_says_in_words_what_it_is(kind: int, words: str) -> None:
    source, other = (CPE, EDGE) if kind == 135 else (EDGE, CPE)
    found = discovery_packet(*discovery(kind, source, other))
    assert found is not None
    assert (found.summary.kind, found.summary.source) == (words, source)


@pytest.mark.parametrize(
    "packet",
    [
        discovery(133, CPE, EDGE),
        discovery(128, CPE, EDGE),
        (discovery(135, CPE, EDGE)[0], b""),
        (discovery(135, CPE, EDGE)[0], discovery(135, CPE, EDGE)[1][:19]),
        (b"", b""),
        (b"\x60", b"\x87"),
        (struct.pack(">IHBB", 6 << 28, 20, 6, 64) + bytes(32), discovery(135, CPE, EDGE)[1]),
        (b"\x45" + bytes(5) + b"\x3a" + bytes(13), discovery(135, CPE, EDGE)[1]),
    ],
)
def test_other_packets_and_those_that_are_cut_short_are_none_of_it(packet: tuple[bytes, bytes]) -> None:
    assert discovery_packet(*packet) is None


def test_icmpv6_is_no_tcp_to_a_rule() -> None:
    network, transport = discovery(135, CPE, EDGE)
    assert is_discovery(network)
    assert packet_for_rules(network, transport, "a", "b") is None
    assert not is_discovery(b"\x45" + bytes(5) + b"\x3a")


def test_an_arp_request_and_its_reply_have_the_same_key() -> None:
    request, reply = arp_packet(arp(1, "192.0.2.1", "192.0.2.2")), arp_packet(arp(2, "192.0.2.2", "192.0.2.1"))
    assert request is not None
    assert reply is not None
    key = Asked("edge", "192.0.2.1", ip_address("192.0.2.2").packed)
    assert request.key("edge") == reply.key("edge") == key
    assert (request.summary.kind, reply.summary.kind) == ("ARP request", "ARP reply")
    assert known_bytes(key.address) == key.address


@pytest.mark.parametrize("network", [b"", arp(1, "192.0.2.1", "192.0.2.2")[:27], arp(3, "192.0.2.1", "192.0.2.2")])
def test_no_other_operation_and_nothing_cut_short_is_arp(network: bytes) -> None:
    assert arp_packet(network) is None


def test_an_address_without_the_byte_that_events_lack_keeps_all_others() -> None:
    whole = IPv6Address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").packed
    assert known_bytes(whole).count(b"\xff") == 15
