"""Hand-made packets without a mark: by what they and their answers are known."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from port25lab.evidence.packet_trace import MadePackets, PacketTrace

SEQUENCE, NUMBER, PORT = 0xCAFE_F00D, 0x1234, 20001
ENDS = {4: ("198.51.100.249", "192.0.2.25"), 6: ("2001:db8::7", "2001:db8::25")}
SYN, RST, ACK = 0x02, 0x04, 0x10
TCP, UDP, ICMP, ICMPV6, FRAGMENT, SCTP = 6, 17, 1, 58, 44, 132
VERSIONS = pytest.mark.parametrize("version", [4, 6])


def network(version: int, protocol: int = TCP, number: int = NUMBER, fragment: int = 0) -> bytes:
    ends = b"".join(ip_address(end).packed for end in ENDS[version])
    if version == 4:
        return struct.pack(">BBHHHBBH", 0x45, 0, 60, number, fragment, 64, protocol, 0) + ends
    return struct.pack(">IHBB", 6 << 28 | number, 40, protocol, 64) + ends


def segment(sequence: int, acknowledged: int = 0, flags: int = SYN, ports: tuple[int, int] = (PORT, 25)) -> bytes:
    return struct.pack(">HHIIBBHHH", *ports, sequence, acknowledged, 0x50, flags, 64_240, 0, 0)


@pytest.fixture
def made() -> MadePackets:
    made = MadePackets()
    made.track(PacketTrace("a packet", NUMBER, SEQUENCE))
    return made


def kind(made: MadePackets, *headers: bytes) -> str | None:
    found = made.find(*headers)
    return found.summary.kind if found else None


@VERSIONS
def test_tcp_is_known_by_its_sequence_number_alone(made: MadePackets, version: int) -> None:
    assert kind(made, network(version, number=9), segment(SEQUENCE)) == "a packet"
    assert kind(made, network(version), segment(5)) is None


@VERSIONS
@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("SYN-ACK", segment(99, SEQUENCE + 1, SYN | ACK)),
        ("RST", segment(SEQUENCE + 1, 0, RST)),
        ("RST", segment(SEQUENCE + 1, 1, RST | ACK)),
    ],
)
def test_answers_are_known_by_what_they_acknowledge(made: MadePackets, version: int, what: str, answer: bytes) -> None:
    assert kind(made, network(version, number=9), answer) == what


@VERSIONS
@pytest.mark.parametrize("place", [4, 8, 12, 16])
def test_other_protocols_are_known_by_the_number_in_their_first_bytes(
    made: MadePackets, version: int, place: int
) -> None:
    payload = bytes(place) + SEQUENCE.to_bytes(4) + bytes(16 - place)
    assert kind(made, network(version, SCTP, number=9), payload) == "a packet"
    assert kind(made, network(version, SCTP, number=9), bytes(20)) is None


@VERSIONS
def test_what_has_no_number_there_is_known_by_the_one_in_its_ip_header(made: MadePackets, version: int) -> None:
    assert kind(made, network(version, UDP), struct.pack(">HHHH", PORT, 4789, 60, 0) + bytes(12)) == "a packet"
    assert kind(made, network(version, UDP, 9), struct.pack(">HHHH", PORT, 4789, 60, 0) + bytes(12)) is None


@pytest.mark.parametrize("fragment", [0x2000, 0x0002])
def test_fragments_of_ipv4(made: MadePackets, fragment: int) -> None:
    assert kind(made, network(4, fragment=fragment), b"\0" * 8) == "a packet"
    assert kind(made, network(4, number=9, fragment=fragment), b"\0" * 8) is None


def test_fragments_of_ipv6(made: MadePackets) -> None:
    assert kind(made, network(6, FRAGMENT), b"\0" * 8) == "a packet"
    assert kind(made, network(6, FRAGMENT, 9), segment(SEQUENCE)) == "a packet"  # the first one has the sequence number


@VERSIONS
@pytest.mark.parametrize("ports", [(53, 40000), (40000, 53)])
def test_a_dns_packet_with_the_same_number_is_an_ordinary_one(
    made: MadePackets, version: int, ports: tuple[int, int]
) -> None:
    assert kind(made, network(version, UDP), struct.pack(">HHHH", *ports, 60, 0) + bytes(12)) is None


@VERSIONS
def test_a_hand_made_packet_to_the_port_of_dns_is_known_by_its_payload(made: MadePackets, version: int) -> None:
    payload = SEQUENCE.to_bytes(4) + bytes(8)
    assert kind(made, network(version, UDP), struct.pack(">HHHH", 40000, 53, 20, 0) + payload) == "a packet"


def test_neighbour_discovery_with_the_same_number_is_ordinary(made: MadePackets) -> None:
    assert kind(made, network(6, ICMPV6), bytes([135]) + bytes(19)) is None
    assert kind(made, network(6, ICMPV6), bytes([128]) + bytes(19)) == "a packet"


def test_a_session_from_before_is_known_by_its_port_alone() -> None:
    made = MadePackets()
    made.track(PacketTrace("a session", NUMBER, SEQUENCE, PORT))
    assert kind(made, network(4), segment(7, 8, ACK)) == "a session"
    assert kind(made, network(4), segment(7, 8, ACK, (25, PORT))) == "a session"
    assert kind(made, network(4), segment(SEQUENCE, 8, ACK, (25, 26))) is None


@pytest.mark.parametrize("headers", [(b"", b""), (b"\x45", b""), (network(4), b""), (network(6, UDP), b"")])
def test_what_is_cut_short_is_no_error(made: MadePackets, headers: tuple[bytes, bytes]) -> None:
    assert kind(made, *headers) in (None, "a packet")


def test_what_is_over_is_forgotten() -> None:
    made, trail = MadePackets(), PacketTrace("a packet", NUMBER, SEQUENCE)
    made.track(trail)
    made.forget(trail)
    assert kind(made, network(4), segment(SEQUENCE)) is None
