"""Packets out of bytes: TCP, ICMP errors about it, and what is neither. Whatever arrives, nothing breaks."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from packet_factory import (
    CLIENT,
    RECORD_ROUTE,
    ROUTER,
    ROUTER6,
    SERVER6,
    SYN,
    ethernet,
    fragment6,
    frames,
    icmp4,
    icmp6,
    ipv4,
    ipv6,
    tcp,
)
from port25lab.kernel.headers import (
    Packet,
    fixed_header,
    ip_header,
    opens_or_ends,
    parse,
    parse_ip,
    tcp_checksum,
    tcp_header,
)


def known(packet: bytes) -> Packet:
    """Parsed with and without its Ethernet header, which must be the same."""
    found = parse_ip(packet)
    assert found == parse(ethernet(packet))
    assert found
    return found


# -- TCP ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("flags", "payload", "kind"),
    [
        (0x02, b"", "SYN"),
        (0x02, b"data", "SYN"),
        (0x12, b"", "SYN-ACK"),
        (0x03, b"", "SYN-FIN"),
        (0x04, b"", "RST"),
        (0x14, b"", "RST"),
        (0x11, b"", "FIN"),
        (0x18, b"EHLO", "data"),
        (0x10, b"", "ACK"),
        (0x00, b"", "other"),
    ],
)
def test_flags_and_payload_make_the_kind(version: int, flags: int, payload: bytes, kind: str) -> None:
    packet = (ipv4 if version == 4 else ipv6)(tcp(flags, payload, options=b"\1" * 12), socket.IPPROTO_TCP)
    found = known(packet)
    assert (found.kind, found.ip_version, found.ttl) == (kind, version, 64)
    assert (found.source_port, found.destination_port, found.sequence) == (20_000, 25, 1)
    assert found.acknowledged == (2 if flags & 0x10 else None)
    assert packet[found.payload :] == payload
    assert found.length == len(payload)


def test_ipv4_options_are_skipped() -> None:
    assert known(ipv4(tcp(0x02), 6, options=b"\x94\x04\0\0")).kind == "SYN"


def test_extension_headers_are_skipped() -> None:
    options = bytes([6, 0, 1, 4, 0, 0, 0, 0])
    routing = bytes([60, 0, 4, 0, 0, 0, 0, 0])
    assert known(ipv6(routing + options + tcp(0x02), 43)).kind == "SYN"
    authentication = bytes([6, 4]) + bytes(22)
    assert known(ipv6(authentication + tcp(0x02), 51)).kind == "SYN"


def test_headers_without_end_are_given_up() -> None:
    assert parse_ip(ipv6(bytes(8) * 200, 0)) is None  # hop-by-hop, and again, and again
    assert parse_ip(ipv6(bytes([60, 0, 0, 0, 0, 0, 0, 0]) * 200, 60)) is None


def test_an_eight_byte_fragment_has_ports_and_no_flags() -> None:
    first = ipv4(tcp(0x02)[:8], 6, fragment=0x2000)
    assert known(first).kind == "fragment"
    assert known(first).source_port == 20_000
    assert parse_ip(ipv4(tcp(0x02)[8:], 6, fragment=1)) is None
    fragment_header = bytes([6, 0, 0, 1, 0, 0, 0, 9])
    assert known(ipv6(fragment_header + tcp(0x02)[:8], 44)).kind == "fragment"
    assert parse_ip(ipv6(bytes([6, 0, 0, 9, 0, 0, 0, 9]) + tcp(0x02)[8:], 44)) is None


def test_a_length_that_lies_makes_no_negative_payload() -> None:
    packet = bytearray(ipv4(tcp(0x10), 6))
    packet[2:4] = b"\0\x15"
    assert known(bytes(packet)).length == 0
    packet[32] = 0xF0  # a TCP header of 60 bytes
    assert known(bytes(packet)).length == 0


def test_what_is_no_tcp_is_none() -> None:
    assert parse(b"") is None
    assert parse(bytes(12) + b"\x08\x06" + bytes(28)) is None  # ARP
    assert parse(bytes(12) + b"\x81\0" + bytes(64)) is None  # VLAN
    assert parse_ip(ipv4(bytes(8), socket.IPPROTO_UDP)) is None


@pytest.mark.parametrize("flags", range(32))
@pytest.mark.parametrize("version", [4, 6])
def test_the_quick_look_misses_nothing_that_decides(version: int, flags: int) -> None:
    frame = ethernet((ipv4 if version == 4 else ipv6)(tcp(flags), 6))
    found = parse(frame)
    assert found
    assert opens_or_ends(frame) or found.kind in ("ACK", "data", "other")


def test_the_quick_look_lets_errors_and_odd_headers_pass() -> None:
    for packet in (
        icmp4(),
        icmp6(),
        ipv4(tcp(0x10), 6, options=bytes(4)),
        ipv4(tcp(2)[:8] + bytes(8), 6, fragment=0x2000),
        ipv4(tcp(2)[:8], 6, fragment=0x2000),
        ipv6(fragment6(tcp(2)[:8], 6, more=True), 44),
    ):
        assert opens_or_ends(ethernet(packet))
    assert not opens_or_ends(ethernet(ipv4(tcp(0x10, b"x" * 20), 6)))
    assert not opens_or_ends(ethernet(ipv6(bytes(40), socket.IPPROTO_UDP)))


# -- ICMP errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "code"), [(3, 0), (3, 3), (3, 13), (11, 0), (12, 0)])
def test_an_icmp_error_names_the_attempt_by_its_source_port(kind: int, code: int) -> None:
    found = known(icmp4(kind, code))
    assert (found.kind, found.icmp, found.about) == ("ICMP", (kind, code), (20_000, 25, 1))
    assert found.source == ip_address(ROUTER).packed


@pytest.mark.parametrize(("kind", "code"), [(1, 0), (1, 1), (1, 4), (2, 0), (3, 0), (4, 0)])
def test_an_icmpv6_error_names_the_attempt_by_its_source_port(kind: int, code: int) -> None:
    found = known(icmp6(kind, code))
    assert (found.kind, found.icmp, found.about) == ("ICMP", (kind, code), (20_000, 25, 1))
    assert found.source == ip_address(ROUTER6).packed


def test_headers_with_ip_options_are_skipped_whole() -> None:
    about = ipv4(SYN, socket.IPPROTO_TCP, options=b"\x94\x04\0\0")
    found = known(icmp4(3, 1, about, options=b"\x94\x04\0\0\1\1\1\1"))
    assert (found.about, found.icmp) == ((20_000, 25, 1), (3, 1))


def test_four_bytes_of_the_packet_are_enough() -> None:
    assert known(icmp4(about=ipv4(SYN[:8], socket.IPPROTO_TCP))).about == (20_000, 25, 1)
    assert known(icmp4(about=ipv4(SYN[:4], socket.IPPROTO_TCP))).about == (20_000, 25, None)


def test_messages_that_are_no_errors_are_none() -> None:
    for packet in (
        icmp4(0),
        icmp4(5),
        icmp6(134),
        icmp6(129),
    ):  # echo reply, redirect; router advertisement, echo reply
        assert parse_ip(packet) is None


def test_an_error_about_anything_but_tcp_is_none() -> None:
    assert parse_ip(icmp4(about=ipv4(SYN, socket.IPPROTO_UDP))) is None
    assert parse_ip(icmp6(about=ipv6(SYN, socket.IPPROTO_UDP))) is None
    assert parse_ip(icmp6(about=ipv4(SYN, socket.IPPROTO_TCP))) is None


def test_an_error_about_a_later_fragment_has_no_ports() -> None:
    assert parse_ip(icmp4(about=ipv4(SYN, socket.IPPROTO_TCP, fragment=0x2000)))  # the first one has
    for fragment in (0x2001, 0x0100):
        assert parse_ip(icmp4(about=ipv4(SYN, socket.IPPROTO_TCP, fragment=fragment))) is None


def test_an_error_about_a_header_that_lies_is_none() -> None:
    true = ipv4(SYN, socket.IPPROTO_TCP)
    for first in (0x40, 0x44, 0x4F, 0x65, 0x00, 0xFF):  # header length 0, 4 words, 15 words; other versions
        assert parse_ip(icmp4(about=bytes([first]) + true[1:])) is None, hex(first)


@pytest.mark.parametrize("packet", [icmp4(about=ipv4(SYN[:4], 6)), icmp6(about=ipv6(SYN[:4], 6))])
def test_every_truncation_of_an_error_is_none(packet: bytes) -> None:
    assert parse_ip(packet)
    for length in range(len(packet)):
        assert parse_ip(packet[:length]) is None
        opens_or_ends(ethernet(packet)[:length])


def test_noise_never_raises() -> None:
    noise = random.Random(25)
    for whole in (icmp4(), icmp6(), ipv4(tcp(0x18, b"EHLO"), 6), ipv6(bytes([6, 0, 0, 1, 0, 0, 0, 9]) + tcp(2), 44)):
        for _ in range(2000):
            packet = bytearray(ethernet(whole))
            for _ in range(noise.randint(1, 8)):
                packet[noise.randrange(12, len(packet))] = noise.randrange(256)
            frame = bytes(packet[: noise.randrange(len(packet) + 1)])
            parse(frame)
            opens_or_ends(frame)


# -- headers by themselves ---------------------------------------------------------------------------------------------


def test_the_fixed_header_has_what_a_sender_numbers_its_packets_with() -> None:
    four = fixed_header(ipv4(tcp(2), 6, service=0b101011_01))
    six = fixed_header(ipv6(b"", 44, service=0b101011_10, label=0xABCDE))
    assert four and six
    assert (four.ip_version, four.protocol, four.number, four.ttl, four.fragment) == (4, 6, 1, 64, False)
    assert (six.ip_version, six.protocol, six.number, six.ttl, six.fragment) == (6, 44, 0xABCDE, 64, True)
    assert [ip_address(one).compressed for one in (four.source, four.destination)] == [ROUTER, CLIENT]
    assert [ip_address(one).compressed for one in (six.source, six.destination)] == [ROUTER6, SERVER6]


def test_a_later_fragment_has_a_header_and_no_extensions() -> None:
    later = ip_header(ipv4(b"x" * 8, 17, fragment=0x2002))
    assert later
    assert (later.protocol, later.begin, later.end, later.offset, later.more, later.identification) == (
        *(17, 20, 28, 16),
        True,
        1,
    )
    # What stands behind this fragment header is payload, though the protocol says that a header follows.
    later = ip_header(ipv6(fragment6(b"x" * 8, 60, offset=3, more=False), 44))
    assert later
    assert (later.protocol, later.begin, later.end, later.offset, later.more, later.identification) == (
        *(60, 48, 56, 24),
        False,
        9,
    )


def test_a_tcp_header_is_known_up_to_its_flags() -> None:
    found = tcp_header(tcp(0x12, options=b"\1" * 4)[:14])
    assert found == (20_000, 25, 1, 2, 24, 0x12)
    assert tcp_header(tcp(0x12)[:13]) is None


@pytest.mark.parametrize("packet", [ipv4, ipv6])
def test_a_segment_with_its_checksum_sums_up_to_zero(packet: Callable[[bytes, int], bytes]) -> None:
    for payload in (b"", b"EHLO\r\n", b"odd"):
        segment = bytearray(tcp(0x18, payload))
        ip = ip_header(packet(bytes(segment), 6))
        assert ip
        segment[16:18] = tcp_checksum(ip.source, ip.destination, bytes(segment)).to_bytes(2)
        assert tcp_checksum(ip.source, ip.destination, bytes(segment)) == 0
        segment[-1] ^= 1
        assert tcp_checksum(ip.source, ip.destination, bytes(segment)) != 0


def test_no_frame_of_any_length_raises() -> None:
    for frame in frames().values():
        for length in range(0, len(frame), 3):
            for read in (parse, opens_or_ends):
                read(frame[:length])
            for read_ip in (parse_ip, ip_header, fixed_header, tcp_header):
                read_ip(frame[14:length])


def test_a_tcp_packet_has_the_number_that_its_sender_chose() -> None:
    for options in (b"", RECORD_ROUTE):
        assert known(ipv4(SYN, socket.IPPROTO_TCP, options=options)).number == 1
    assert known(ipv6(SYN, socket.IPPROTO_TCP, label=0x12345)).number == 0x12345
