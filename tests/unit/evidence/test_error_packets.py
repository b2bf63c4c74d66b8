"""ICMP errors in trace events: known by 20 bytes, which have neither ports nor sequence number."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address

import pytest

from packet_factory import CLIENT, ROUTER, ROUTER6, SERVER6, SYN, error, icmp4, icmp6, ipv4, ipv6
from port25lab.evidence.error_packets import ErrorPacket, error_packet, errors_about

NUMBER, LABEL = 0xBEEF, 0x12345


def quoted4(source: str, destination: str, *, number: int = NUMBER, ttl: int = 61, service: int = 0) -> bytes:
    """An IPv4 header with a right checksum."""
    ends = ip_address(source).packed + ip_address(destination).packed
    head = struct.pack(">BBHHHBB", 0x45, service, 60, number, 0x4000, ttl, socket.IPPROTO_TCP)
    total = sum(struct.unpack(">9H", head + ends))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return head + struct.pack(">H", total ^ 0xFFFF) + ends


def of_event(packet: bytes) -> ErrorPacket | None:
    """From the bytes of a packet that a trace event has."""
    begin = 20 if packet[0] >> 4 == 4 else 40
    return error_packet(packet[:begin], packet[begin : begin + 20])


@pytest.mark.parametrize("kind", [3, 11, 12])
@pytest.mark.parametrize("more", [{}, {"ttl": 1}, {"service": 0x28}])
def test_an_error_about_ipv4_is_known_whatever_routers_did_to_ttl_and_service(kind: int, more: dict[str, int]) -> None:
    for source, destination in ((CLIENT, "192.0.2.25"), ("255.255.255.254", "255.255.0.1"), ("0.0.0.1", "0.0.0.2")):
        about = quoted4(source, destination, **more) + SYN
        ends = ("10.0.0.1", destination), (source, destination)
        found = of_event(icmp4(kind, 1, about))
        assert found and (found.summary.kind, found.source, found.destination) == ("ICMP error", ROUTER, CLIENT)
        assert (found.key("edge") in errors_about([1, NUMBER], ends)) is (source == CLIENT)
        assert found.key("edge").addresses == next(errors_about([NUMBER], ends[1:])).addresses


def test_another_server_or_another_number_is_another_packet() -> None:
    found = of_event(icmp4(about=quoted4(CLIENT, "192.0.2.25") + SYN))
    assert found
    assert found.key("edge") not in errors_about([NUMBER], [(CLIENT, "192.0.2.26")])
    assert found.key("edge") not in errors_about([NUMBER - 1], [(CLIENT, "192.0.2.25")])


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_an_error_about_ipv6_is_known_by_the_flow_label(kind: int) -> None:
    found = of_event(icmp6(kind, 1, ipv6(SYN, socket.IPPROTO_TCP, label=LABEL, service=0x28)))
    assert found and (found.source, found.destination) == (ROUTER6, SERVER6)
    assert found.key("edge") in errors_about([LABEL], [(SERVER6, ROUTER6)])
    assert found.key("edge") not in errors_about([LABEL + 1], [(SERVER6, ROUTER6)])


@pytest.mark.parametrize(
    "packet",
    [
        icmp4(8, 0),
        icmp6(128, 0),
        icmp4(about=ipv4(SYN, socket.IPPROTO_UDP)),
        icmp6(about=ipv6(SYN, socket.IPPROTO_UDP)),
        ipv4(error(3, 1, ipv4(SYN, socket.IPPROTO_TCP)), socket.IPPROTO_TCP),
        ipv6(error(1, 1, ipv6(SYN, socket.IPPROTO_TCP)), socket.IPPROTO_TCP),
        ipv4(error(3, 1, ipv4(SYN, socket.IPPROTO_TCP)), socket.IPPROTO_ICMP, fragment=1),
        icmp4()[:39],
    ],
)
def test_everything_else_is_no_error_about_tcp(packet: bytes) -> None:
    assert of_event(packet) is None
