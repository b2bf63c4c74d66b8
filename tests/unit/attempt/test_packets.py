"""Hand-made packets without a lab: what is built, what is recognised on arrival, and what a scenario may ask."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from port25lab.attempt import packet_builders
from port25lab.attempt.packet_builders import BUILDERS, PacketSpec
from port25lab.attempt.packet_watch import Expected, Listener, Pieces, attach_filter
from port25lab.errors import InputError
from port25lab.model.packet_kinds import PACKET_KINDS
from port25lab.scenario.questions import load_questions

V4 = PacketSpec(4, "198.51.100.249", "192.0.2.25", 20001, 25, 7, 0xCAFE_F00D)
V6 = PacketSpec(6, "2001:db8:110:60ff::2", "2001:db8:25::25", 20001, 25, 7, 0xCAFE_F00D)
SHOTS = pytest.mark.parametrize("spec", [V4, V6], ids=["ipv4", "ipv6"])
SYN, FIN = 0x02, 0x01


def whole(built: list[bytes]) -> Any:
    pieces = Pieces()
    found = [one for packet in built if (one := pieces.add(packet)) is not None]
    assert len(found) == 1
    return found[0]


def number_of(packet: bytes) -> int:
    """The identification or flow label, read from the bytes."""
    if packet[0] >> 4 == 4:
        return int(struct.unpack_from(">H", packet, 4)[0])
    return int(struct.unpack_from(">I", packet)[0]) & 0xFFFFF


# -- what is built -----------------------------------------------------------------------------------------------------


def test_every_kind_has_a_builder_and_every_builder_a_kind() -> None:
    assert {kind.build for kind in PACKET_KINDS.values() if not kind.early} == set(BUILDERS)


@SHOTS
@pytest.mark.parametrize("name", BUILDERS)
def test_every_packet_is_numbered_and_addressed(name: str, spec: PacketSpec) -> None:
    for packet in BUILDERS[name](spec):
        assert number_of(packet) == 7
        ends = (packet[12:16], packet[16:20]) if spec.version == 4 else (packet[8:24], packet[24:40])
        family = socket.AF_INET if spec.version == 4 else socket.AF_INET6
        assert tuple(socket.inet_ntop(family, end) for end in ends) == (spec.source, spec.destination)


@SHOTS
@pytest.mark.parametrize("name", BUILDERS)
def test_every_probe_is_recognised_where_it_arrives(name: str, spec: PacketSpec) -> None:
    assert Expected(spec.token).fits(whole(BUILDERS[name](spec)))


@SHOTS
@pytest.mark.parametrize(
    ("name", "flags"),
    [("syn", SYN), ("syn_data", SYN), ("syn_fin", SYN | FIN), ("ip_options", SYN), ("fragments", SYN)],
)
def test_segments_have_their_ports_sequence_and_flags(name: str, flags: int, spec: PacketSpec) -> None:
    found = whole(BUILDERS[name](spec))
    assert found.protocol == socket.IPPROTO_TCP
    assert struct.unpack_from(">HHI", found.payload) == (20001, 25, 0xCAFE_F00D)
    assert found.payload[13] == flags


@SHOTS
def test_fragments_have_eight_bytes_each_and_no_flags_in_the_first(spec: PacketSpec) -> None:
    built = packet_builders.fragments(spec)
    head = 20 if spec.version == 4 else 48
    assert [len(packet) - head for packet in built] == [8, 8, 8]
    assert built[0][head : head + 4] == struct.pack(">HH", 20001, 25)


def test_ip_options_stand_before_the_segment() -> None:
    [four], [six] = packet_builders.ip_options(V4), packet_builders.ip_options(V6)
    assert four[0] & 0x0F == 10
    assert four[20:22] == b"\x01\x07"  # NOP, record route
    assert four[28] == 0x44  # timestamp
    assert (six[6], six[40]) == (0, 60)  # hop-by-hop, then destination options


@SHOTS
def test_other_protocols_are_what_they_say(spec: PacketSpec) -> None:
    echo = socket.IPPROTO_ICMP if spec.version == 4 else socket.IPPROTO_ICMPV6
    protocols = {"udp": 17, "sctp": 132, "gre": 47, "vxlan": 17, "wireguard": 17, "ping": echo}
    assert {name: whole(BUILDERS[name](spec)).protocol for name in protocols} == protocols


@SHOTS
def test_too_big_quotes_the_packet_as_it_arrived_and_goes_where_it_came_from(spec: PacketSpec) -> None:
    translated = PacketSpec(**{**vars(spec), "source": "198.51.100.131" if spec.version == 4 else "2001:db8:9::1"})
    [met] = packet_builders.syn(translated)
    [error] = packet_builders.too_big(spec, met)
    protocol = socket.IPPROTO_ICMP if spec.version == 4 else socket.IPPROTO_ICMPV6
    assert Expected(spec.token, protocol=protocol).fits(whole([error]))
    assert met[:28] in error
    assert translated.source.encode() and number_of(error) == 7


# -- what is recognised ------------------------------------------------------------------------------------------------


@SHOTS
def test_fragments_are_put_together_in_any_order(spec: PacketSpec) -> None:
    first, second, third = packet_builders.fragments(spec)
    assert whole([third, first, second]).payload == whole([first, second, third]).payload


@SHOTS
def test_a_packet_with_a_fragment_missing_has_not_arrived(spec: PacketSpec) -> None:
    pieces = Pieces()
    assert [pieces.add(packet) for packet in packet_builders.fragments(spec)[1:]] == [None, None]


@SHOTS
def test_two_packets_in_fragments_are_not_mixed_up(spec: PacketSpec) -> None:
    other = PacketSpec(**{**vars(spec), "number": 8})
    pieces, mixed = Pieces(), zip(packet_builders.fragments(spec), packet_builders.fragments(other), strict=True)
    found = [pieces.add(packet) for pair in mixed for packet in pair]
    assert [one is not None for one in found] == [False] * 4 + [True] * 2


@pytest.mark.parametrize("packet", [b"", b"\x45", b"\x60" + b"\0" * 10, b"\xff" * 60, b"\x60" + b"\0" * 39])
def test_garbage_is_no_packet(packet: bytes) -> None:
    found = Pieces().add(packet)
    assert found is None or not Expected(V4.token).fits(found)


@SHOTS
def test_an_answer_is_known_by_flags_and_what_it_acknowledges(spec: PacketSpec) -> None:
    [syn] = packet_builders.syn(spec)
    assert not Expected(spec.acknowledged, 0x12).fits(whole([syn]))
    assert Expected(spec.token, SYN).fits(whole([syn]))
    assert not Expected(spec.token, SYN, protocol=17).fits(whole([syn]))


def test_acknowledged_wraps_around() -> None:
    assert PacketSpec(**{**vars(V4), "sequence": 0xFFFF_FFFF}).acknowledged == b"\0\0\0\0"


class Kernel:
    """A packet socket that has these packets, each with its direction."""

    def __init__(self, *waiting: tuple[bytes, int]) -> None:
        self._waiting = list(waiting)

    def recvfrom(self, _: int) -> tuple[bytes, tuple[str, int, int]]:
        if not self._waiting:
            raise BlockingIOError
        packet, direction = self._waiting.pop(0)
        return packet, ("eth0", 0x0800, direction)


def test_what_a_node_sends_itself_has_not_arrived_there() -> None:
    [syn] = packet_builders.syn(V4)
    for direction, arrived in ((4, False), (0, True)):
        watch = Listener("mx", Kernel((syn, direction)))  # type: ignore[arg-type]
        with watch.expecting(Expected(V4.token)) as sight:
            watch.read()
        assert sight.arrived.is_set() is arrived


def test_the_filter_leaves_out_segments_of_open_sessions() -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        attach_filter(right)
        right.setblocking(False)
        [syn4], [syn6] = packet_builders.syn(V4), packet_builders.syn(V6)
        segment4, segment6 = (packet[:at] + b"\x10" + packet[at + 1 :] for packet, at in ((syn4, 33), (syn6, 53)))
        for packet in (segment4, segment6, b"\x45", b"", b"x" * 60):
            left.send(packet)
        [datagram] = packet_builders.udp(V6)
        pieces = packet_builders.fragments(V4)
        for packet in (syn4, syn6, datagram, *pieces):
            left.send(packet)
        assert [right.recv(2048) for _ in range(6)] == [syn4, syn6, datagram, *pieces]


@SHOTS
def test_a_syn_is_as_linux_sends_it(spec: PacketSpec) -> None:
    [syn] = packet_builders.syn(spec)
    segment = whole([syn]).payload
    assert struct.unpack_from(">H", segment, 14) == (64240,)
    assert [segment[20], segment[24], segment[26], segment[36], segment[37]] == [2, 4, 8, 1, 3]  # MSS to window scale
    assert syn[1] == 0 if spec.version == 4 else syn[:2] == b"\x60\0"  # no DSCP
    assert spec.version == 6 or syn[6] == 0x40  # don't fragment


# -- what a scenario may ask -------------------------------------------------------------------------------------------


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[str], str]:
    def load(path: str) -> str:
        file = tmp_path / "probe.yaml"
        file.write_text(f"title: t\ntopology: triangular\nvariants: {{open: {{}}}}\npaths:\n  - {path}\n")
        with pytest.raises(InputError) as caught:
            load_questions(str(file))
        return str(caught.value).removeprefix(str(file))

    return load


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("{from: bot, to: mx, packet: sin, expect: reached}", r":5:33: unknown packet 'sin'; did you mean 'syn'\?.*"),
        ("{from: bot, to: mx, spoof: mx, expect: delivered}", r":5:32: `spoof`, and no mail program can do that.*"),
        ("{from: bot, to: mx, packet: held, spoof: mx, expect: reached}", r".*`spoof`, and a session has two sides.*"),
        ("{from: bot, to: mx, packet: syn, spoof: bat, expect: reached}", r".*no node 'bat'.*did you mean 'bot'.*"),
        ("{from: bot, to: mx, packet: syn, client: swaks, expect: reached}", r".*`client` of a packet; `from`, .*"),
        ("{from: bot, to: mx, packet: syn, expect: delivered}", r".*delivered of a packet; reached, dropped, .*"),
        ("{from: bot, to: mx, expect: reached}", r".*reached of a message; delivered, or `packet: KIND`"),
    ],
)
def test_a_probe_that_makes_no_sense_is_refused(refused: Callable[[str], str], path: str, error: str) -> None:
    assert re.fullmatch(error, refused(path))


def test_probes_are_told_apart_by_their_ids() -> None:
    questions = load_questions("triangular")
    ids = {question.id for question in questions}
    assert len(ids) == len(questions)
    assert "triangular/out/spoofer-to-mx:example.net-25-answer-as-bot/ipv6" in ids


@pytest.mark.parametrize("name", ["conformance/op25b", "conformance/ip25b"])
def test_the_strict_preset_is_expected_to_do_all_that_it_should(name: str) -> None:
    passed: dict[Any, Literal[True, False]] = {"blocked": False, "allowed": True}
    strict = [question for question in load_questions(name) if question.variant == "strict"]
    for question in strict:
        got_through = str(question.expected) in ("reached", "delivered", "relay-denied")
        assert question.should == "not-covered" or got_through is passed[question.should]
    assert {question.should for question in strict} == {"blocked", "allowed", "not-covered"}


@pytest.mark.parametrize("name", ["conformance/op25b", "conformance/ip25b"])
def test_every_row_is_tried_under_every_preset(name: str) -> None:
    rows: dict[str, set[str]] = {}
    for question in load_questions(name):
        assert question.name
        rows.setdefault(question.name, set()).add(question.variant)
    assert len({frozenset(variants) for variants in rows.values()}) == 1
