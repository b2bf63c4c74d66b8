"""ICMP errors about an attempt, and what is not one: whatever bytes arrive, nothing breaks."""

from __future__ import annotations

import random
import socket
import struct
from ipaddress import ip_address

import pytest

from port25lab.evidence import IcmpError
from port25lab.icmp import parse

ROUTER, ROUTER6 = "198.51.100.1", "2001:db8::1"
SYN = struct.pack(">HHIIBBHHH", 20_000, 25, 1, 0, 0x50, 0x02, 64_240, 0, 0)


def ipv4(payload: bytes, protocol: int, *, options: bytes = b"", fragment: int = 0) -> bytes:
    words = 5 + len(options) // 4
    head = struct.pack(">BBHHHBBH", 0x40 | words, 0, 4 * words + len(payload), 1, fragment, 64, protocol, 0)
    return head + ip_address(ROUTER).packed + ip_address("198.51.100.7").packed + options + payload


def ipv6(payload: bytes, following: int) -> bytes:
    head = struct.pack(">IHBB", 0x6 << 28, len(payload), following, 64)
    return head + ip_address("2001:db8::7").packed + ip_address("2001:db8::25").packed + payload


def error(kind: int, code: int, about: bytes) -> bytes:
    return struct.pack(">BBHI", kind, code, 0, 0) + about


def icmp4(kind: int = 3, code: int = 13, about: bytes | None = None) -> bytes:
    return ipv4(error(kind, code, ipv4(SYN, socket.IPPROTO_TCP) if about is None else about), socket.IPPROTO_ICMP)


def icmp6(kind: int = 1, code: int = 1, about: bytes | None = None) -> bytes:
    return error(kind, code, ipv6(SYN, socket.IPPROTO_TCP) if about is None else about)


@pytest.mark.parametrize(("kind", "code"), [(3, 0), (3, 3), (3, 13), (11, 0), (12, 0)])
def test_an_icmp_error_names_the_attempt_by_its_source_port(kind: int, code: int) -> None:
    assert parse(icmp4(kind, code), ROUTER, 4) == (
        20_000,
        IcmpError(sender=ROUTER, ip_version=4, type=kind, code=code),
    )


@pytest.mark.parametrize(("kind", "code"), [(1, 0), (1, 1), (1, 4), (2, 0), (3, 0), (4, 0)])
def test_an_icmpv6_error_names_the_attempt_by_its_source_port(kind: int, code: int) -> None:
    found = IcmpError(sender=ROUTER6, ip_version=6, type=kind, code=code)
    assert parse(icmp6(kind, code), ROUTER6, 6) == (20_000, found)


def test_a_link_local_sender_is_named_without_its_interface() -> None:
    found = parse(icmp6(), "fe80::1%h-eth0", 6)
    assert found
    assert found[1].sender == "fe80::1"


def test_a_header_with_ip_options_is_skipped_whole() -> None:
    about = ipv4(SYN, socket.IPPROTO_TCP, options=b"\x94\x04\0\0")
    packet = ipv4(error(3, 1, about), socket.IPPROTO_ICMP, options=b"\x94\x04\0\0\1\1\1\1")
    found = parse(packet, ROUTER, 4)
    assert found
    assert (found[0], found[1].code) == (20_000, 1)


def test_eight_bytes_of_the_packet_are_enough() -> None:
    assert parse(icmp4(about=ipv4(SYN[:8], socket.IPPROTO_TCP)), ROUTER, 4)


def test_messages_that_are_no_errors_are_none() -> None:
    assert parse(icmp4(0), ROUTER, 4) is None  # echo reply
    assert parse(icmp4(5), ROUTER, 4) is None  # redirect
    assert parse(icmp6(134), ROUTER6, 6) is None  # router advertisement
    assert parse(icmp6(129), ROUTER6, 6) is None  # echo reply


def test_an_error_about_anything_but_tcp_is_none() -> None:
    assert parse(icmp4(about=ipv4(SYN, socket.IPPROTO_UDP)), ROUTER, 4) is None
    assert parse(icmp6(about=ipv6(SYN, socket.IPPROTO_UDP)), ROUTER6, 6) is None


def test_an_error_about_a_later_fragment_has_no_ports() -> None:
    assert parse(icmp4(about=ipv4(SYN, socket.IPPROTO_TCP, fragment=0x2000)), ROUTER, 4)  # the first one has
    for fragment in (0x2001, 0x0100):
        assert parse(icmp4(about=ipv4(SYN, socket.IPPROTO_TCP, fragment=fragment)), ROUTER, 4) is None


def test_an_error_about_a_header_that_lies_is_none() -> None:
    true = ipv4(SYN, socket.IPPROTO_TCP)
    for first in (0x40, 0x44, 0x4F, 0x65, 0x00, 0xFF):  # header length 0, 4 words, 15 words; other versions
        about = bytes([first]) + true[1:]
        found = parse(icmp4(about=about), ROUTER, 4)
        assert found is None, hex(first)
    assert parse(icmp6(about=true + bytes(40)), ROUTER6, 6) is None


@pytest.mark.parametrize(
    ("packet", "version"), [(icmp4(about=ipv4(SYN[:2], 6)), 4), (icmp6(about=ipv6(SYN[:2], 6)), 6)]
)
def test_every_truncation_is_none(packet: bytes, version: int) -> None:
    assert parse(packet, ROUTER, 4 if version == 4 else 6)
    for length in range(len(packet)):
        assert parse(packet[:length], ROUTER, 4 if version == 4 else 6) is None


def test_noise_never_raises() -> None:
    noise = random.Random(25)
    for whole in (icmp4(), icmp6()):
        for _ in range(2000):
            packet = bytearray(whole)
            for _ in range(noise.randint(1, 8)):
                packet[noise.randrange(len(packet))] = noise.randrange(256)
            for version in (4, 6):
                parse(bytes(packet[: noise.randrange(len(packet) + 1)]), ROUTER, 4 if version == 4 else 6)
