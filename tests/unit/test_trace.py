"""The kernel's trace, made by hand: which rule decided the fate of which attempt's packet."""

from __future__ import annotations

import errno
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from making import rule

from port25lab.errors import LabError
from port25lab.evidence import Effect
from port25lab.netfilter import LoadedRules, Place
from port25lab.netlink import attribute
from port25lab.trace import MARK, Tracer, Trail

CUSTOMER, MX, NATTED = "198.51.100.7", "203.0.113.25", "192.0.2.1"
PORT, SEQUENCE = 20_000, 0x01020304
SYN, ACK, FIN = 0x02, 0x10, 0x01

IPV4, INET, IPV6 = 2, 1, 10
POLICY, RETURN, RULE = 1, 2, 3
DROP, ACCEPT, JUMP = 0, 1, -3


# -- events as the kernel writes them ---------------------------------------------------------------------------------


def headers(
    source: str = CUSTOMER,
    destination: str = MX,
    ports: tuple[int, int] = (PORT, 25),
    sequence: int = SEQUENCE,
    acknowledged: int = 0,
    flags: int = SYN,
) -> tuple[bytes, bytes]:
    """Network and transport header of a packet."""
    addresses = ip_address(source).packed + ip_address(destination).packed
    if ip_address(source).version == 4:
        network = struct.pack(">BBHHHBBH", 0x45, 0, 60, 0, 0, 64, 6, 0) + addresses
    else:
        network = struct.pack(">IHBB", 0x6 << 28, 40, 6, 64) + addresses
    return network, struct.pack(">HHIIBBHHH", *ports, sequence, acknowledged, 0x50, flags, 64_240, 0, 0)


def event(
    trace_id: int,
    packet: tuple[bytes, bytes] | None = None,
    *,
    kind: int = RULE,
    handle: int | None = 7,
    verdict: int = ACCEPT,
    policy: int | None = None,
    family: int = IPV4,
    chain: str = "op25b",
) -> bytes:
    """One trace message. Its headers come with the first rule of a base chain that the packet meets."""
    parts = [
        attribute(1, b"filter\0"),
        attribute(2, chain.encode() + b"\0"),
        attribute(4, struct.pack(">I", kind)),
        attribute(6, struct.pack(">I", trace_id)),
    ]
    if handle is not None:
        parts.append(attribute(3, struct.pack(">Q", handle)))
    if kind == RULE:
        parts.append(attribute(5 | 0x8000, attribute(1, struct.pack(">i", verdict))))
    if policy is not None:
        parts.append(attribute(16, struct.pack(">I", policy)))
    if packet is not None:
        parts += [attribute(8, packet[0]), attribute(9, packet[1])]
    body = struct.pack(">BBH", family, 0, 0) + b"".join(parts)
    return struct.pack("=IHHII", 16 + len(body), (10 << 8) | 17, 0, 0, 0) + body


class Node:
    """A node that is traced: its kernel's end of the socket is ours."""

    def __init__(self, name: str, kernel: Any, returncode: int = 0) -> None:
        self.name = name
        self._answers = [subprocess.CompletedProcess(["nft"], returncode, "", "no such thing\n"), kernel]

    def run_inside(self, _: Callable[[], object]) -> Any:
        return self._answers.pop(0)


class Lab:
    """A tracer that watches isp-edge and isp-core, whose kernels say what a test lets them say."""

    def __init__(self) -> None:
        self.tracer = Tracer()
        self._kernels: dict[str, socket.socket] = {}
        for name in ("isp-edge", "isp-core"):
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            theirs.setblocking(False)
            self._kernels[name] = mine
            rules = LoadedRules(name)
            rules.learn(Place("ip", "filter", "op25b", 7), rule(name, 4), Effect.DROP)
            rules.learn(Place("ip", "filter", "op25b", 8), rule(name, 5), Effect.REJECT_RESET)
            rules.learn(Place("ip", "filter", "FORWARD", None), rule(name, None, chain="FORWARD"), Effect.DROP)
            rules.learn(Place("ip6", "filter", "op25b", 7), rule(name, 3, family="ip6"), Effect.DROP)
            rules.diversions[Place("ip", "filter", "redirect", 9)] = rule(name, 1, chain="redirect")
            self.tracer.watch(Node(name, theirs), rules)  # type: ignore[arg-type]

    def says(self, *events: bytes, node: str = "isp-edge") -> None:
        self._kernels[node].send(b"".join(events))

    def blamed(self, port: int = PORT) -> list[tuple[str, int | None]]:
        self.tracer.drain()
        return [(found.blame.node, found.blame.rule_number) for found in self.tracer.decisions(port)]

    def close(self) -> None:
        for kernel in (*self._kernels.values(), *self.tracer.sockets().values()):
            kernel.close()


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.close()


# -- who decided ------------------------------------------------------------------------------------------------------


def test_the_rule_that_drops_a_syn_is_blamed(lab: Lab) -> None:
    lab.says(event(1, headers(), handle=6), event(1, verdict=DROP))
    assert lab.blamed() == [("isp-edge", 4)]
    [found] = lab.tracer.decisions(PORT)
    assert found.effect is Effect.DROP
    assert found.packet == f"SYN {CUSTOMER}:20000 > {MX}:25"


def test_a_rule_that_rejects_traces_as_a_drop_and_keeps_its_effect(lab: Lab) -> None:
    lab.says(event(1, headers(), handle=8, verdict=DROP))
    lab.tracer.drain()
    assert [found.effect for found in lab.tracer.decisions(PORT)] == [Effect.REJECT_RESET]


def test_a_rule_that_sends_a_syn_elsewhere_is_told_apart_from_one_that_drops_it(lab: Lab) -> None:
    lab.says(
        event(1, headers(), chain="redirect", handle=9, verdict=ACCEPT),
        event(1, headers(destination=NATTED), chain="redirect", handle=9, verdict=ACCEPT),
        event(2, headers(ports=(PORT + 1, 25), sequence=5), chain="redirect", handle=10, verdict=ACCEPT),
    )
    lab.tracer.drain()
    [found] = lab.tracer.diversions(PORT)
    assert (found.blame.chain, found.blame.rule_number, found.effect) == ("redirect", 1, Effect.DIVERT)
    assert found.packet == f"SYN {CUSTOMER}:20000 > {MX}:25"
    assert not lab.tracer.decisions(PORT)
    assert not lab.tracer.diversions(PORT + 1)


def test_a_packet_that_every_rule_lets_pass_blames_none(lab: Lab) -> None:
    lab.says(
        event(1, headers(), verdict=JUMP),
        event(1, verdict=ACCEPT),
        event(1, kind=RETURN, handle=None),
        event(1, kind=POLICY, handle=None, policy=ACCEPT, chain="FORWARD"),
    )
    assert lab.blamed() == []


def test_a_chain_policy_that_drops_is_blamed_without_a_number(lab: Lab) -> None:
    lab.says(event(1, headers()), event(1, kind=POLICY, handle=None, policy=DROP, chain="FORWARD"))
    assert lab.blamed() == [("isp-edge", None)]


def test_a_drop_over_ipv6_is_blamed_on_the_rule_for_ipv6(lab: Lab) -> None:
    lab.says(event(1, headers("2001:db8::7", "2001:db8::25"), family=IPV6, verdict=DROP))
    assert lab.blamed() == [("isp-edge", 3)]
    assert lab.tracer.decisions(PORT)[0].packet == "SYN [2001:db8::7]:20000 > [2001:db8::25]:25"


def test_a_rule_that_nobody_loaded_is_named_by_its_handle(lab: Lab) -> None:
    lab.says(event(1, headers(), handle=99, verdict=DROP, family=INET))
    lab.tracer.drain()
    [found] = lab.tracer.decisions(PORT)
    assert (found.blame.family, found.blame.rule) == ("inet", "handle 99")


def test_a_dropped_answer_belongs_to_the_attempt_whose_sequence_it_acknowledges(lab: Lab) -> None:
    lab.says(event(1, headers()))
    answer = headers(MX, CUSTOMER, (25, PORT), 0xABCDEF, SEQUENCE + 1, SYN | ACK)
    lab.says(event(2, answer, verdict=DROP), node="isp-core")
    assert lab.blamed() == [("isp-core", 4)]
    assert lab.tracer.decisions(PORT)[0].packet == f"SYN-ACK {MX}:25 > {CUSTOMER}:20000"
    assert lab.blamed(25) == []


def test_sequence_numbers_wrap_around(lab: Lab) -> None:
    lab.says(event(1, headers(sequence=0xFFFFFFFF)))
    lab.says(event(2, headers(MX, CUSTOMER, (25, PORT), 5, 0, SYN | ACK), verdict=DROP))
    assert lab.blamed() == [("isp-edge", 4)]


def test_a_syn_is_followed_behind_nat(lab: Lab) -> None:
    lab.says(event(1, headers()))
    lab.says(event(1, headers(source=NATTED, ports=(1025, 25)), verdict=DROP), node="isp-core")
    assert lab.blamed() == [("isp-core", 4)]


def test_attempts_are_told_apart(lab: Lab) -> None:
    lab.says(event(1, headers()), event(2, headers(ports=(PORT + 1, 25), sequence=99)), event(2, verdict=DROP))
    assert lab.blamed() == []
    assert lab.blamed(PORT + 1) == [("isp-edge", 4)]


def test_the_same_id_means_another_packet_on_another_node(lab: Lab) -> None:
    lab.says(event(1, headers()))
    lab.says(event(1, headers(ports=(PORT + 1, 25), sequence=99)), node="isp-core")
    lab.says(event(1, verdict=DROP))
    assert lab.blamed() == [("isp-edge", 4)]
    assert lab.blamed(PORT + 1) == []


def test_an_id_that_is_used_again_means_the_new_packet(lab: Lab) -> None:
    lab.says(event(1, headers()), event(1, verdict=ACCEPT))
    lab.says(event(1, headers(ports=(PORT + 1, 25), sequence=99)), event(1, verdict=DROP))
    assert lab.blamed() == []
    assert lab.blamed(PORT + 1) == [("isp-edge", 4)]


def test_a_rule_that_drops_the_retransmission_too_is_named_once(lab: Lab) -> None:
    for trace_id in (1, 2, 3):
        lab.says(event(trace_id, headers(), verdict=DROP))
    assert lab.blamed() == [("isp-edge", 4)]


def test_decisions_stand_in_order_of_time(lab: Lab) -> None:
    lab.says(event(1, headers(), handle=8, verdict=DROP), event(2, headers(), handle=7, verdict=DROP))
    assert lab.blamed() == [("isp-edge", 5), ("isp-edge", 4)]


def test_decisions_on_the_address_dialled_last_stand_last(lab: Lab) -> None:
    for number, (sequence, handle) in enumerate(((99, 8), (1, 7))):
        lab.says(event(number, headers(sequence=sequence), handle=handle, verdict=DROP))
    assert lab.blamed() == [("isp-edge", 5), ("isp-edge", 4)]


# -- what is not to be trusted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [CUSTOMER, "2001:db8::7"])
def test_truncated_headers_blame_nobody_and_break_nothing(lab: Lab, source: str) -> None:
    network, transport = headers(source, MX if source == CUSTOMER else "2001:db8::25")
    cut = [(network[:length], transport) for length in range(len(network))]
    cut += [(network, transport[:length]) for length in range(14)]
    for packet in cut:
        lab.says(event(1, packet, verdict=DROP))
        assert lab.blamed() == []


def test_an_id_with_truncated_headers_is_no_longer_the_packet_before(lab: Lab) -> None:
    lab.says(event(1, headers()), event(1, (b"", b"")), event(1, verdict=DROP))
    assert lab.blamed() == []


def test_an_event_of_a_packet_whose_headers_never_came_blames_nobody(lab: Lab) -> None:
    lab.says(event(5, verdict=DROP))
    assert lab.blamed() == []


def test_messages_of_another_kind_are_passed_over(lab: Lab) -> None:
    other = struct.pack("=IHHII", 20, (10 << 8) | 6, 0, 0, 0) + b"\x02\0\0\0"
    lab.says(other, event(1, headers(), verdict=DROP), other)
    assert lab.blamed() == [("isp-edge", 4)]


class Overrun:
    """A kernel that had more to say than its buffer holds."""

    def __init__(self) -> None:
        self._says: list[Exception] = [OSError(errno.ENOBUFS, "No buffer space"), BlockingIOError()]

    def recv(self, size: int) -> bytes:
        raise self._says.pop(0)


def test_lost_events_are_said_so_that_no_verdict_rests_on_the_trace() -> None:
    tracer = Tracer()
    tracer.watch(Node("isp-edge", Overrun()), LoadedRules("isp-edge"))  # type: ignore[arg-type]
    assert tracer.lost is None
    tracer.drain()
    assert tracer.lost == "the kernel lost trace events of isp-edge (ENOBUFS)"


def test_a_node_that_cannot_be_traced_is_a_failure_of_the_lab() -> None:
    with pytest.raises(LabError, match="isp-edge: nft: no such thing"):
        Tracer().watch(Node("isp-edge", None, returncode=1), LoadedRules("isp-edge"))  # type: ignore[arg-type]


# -- raw-packet probes ------------------------------------------------------------------------------------------------


def probed(source: str = CUSTOMER, *, number: int = 7, transport: bytes | None = None) -> tuple[bytes, bytes]:
    """The headers of a marked packet of the probe with this number."""
    network, segment = headers(source, MX if source == CUSTOMER else "2001:db8::25")
    if source == CUSTOMER:
        network = network[:1] + bytes([MARK << 2]) + network[2:4] + struct.pack(">H", number) + network[6:]
    else:
        network = struct.pack(">I", 6 << 28 | MARK << 22 | number) + network[4:]
    return network, segment if transport is None else transport


@pytest.fixture
def trail(lab: Lab) -> Trail:
    trail = Trail("a fragment", 7, SEQUENCE, PORT)
    lab.tracer.follow(trail)
    return trail


@pytest.mark.parametrize(("source", "family", "number"), [(CUSTOMER, IPV4, 4), ("2001:db8::7", IPV6, 3)])
def test_a_packet_without_ports_is_known_by_its_number(
    lab: Lab, trail: Trail, source: str, family: int, number: int
) -> None:
    lab.says(event(1, probed(source, transport=b"\0" * 8)), event(1, verdict=DROP, family=family))
    lab.tracer.drain()
    assert trail.dropped.is_set()
    [found] = lab.tracer.along(trail)
    assert (found.blame.rule_number, found.packet.split()[:2]) == (number, ["a", "fragment"])


def test_a_probe_is_not_taken_for_an_attempt(lab: Lab, trail: Trail) -> None:
    lab.says(event(1, probed(), verdict=DROP))
    assert lab.blamed() == []
    assert len(lab.tracer.along(trail)) == 1


@pytest.mark.parametrize(
    ("what", "sequence", "acknowledged", "flags"),
    [("SYN-ACK", 99, SEQUENCE + 1, SYN | ACK), ("RST", SEQUENCE + 1, 0, 0x04), ("RST", SEQUENCE + 1, 1, 0x14)],
)
def test_answers_to_a_probe_are_known_by_what_they_acknowledge(
    lab: Lab, trail: Trail, what: str, sequence: int, acknowledged: int, flags: int
) -> None:
    _, answer = headers(ports=(25, 25), sequence=sequence, acknowledged=acknowledged, flags=flags)
    lab.says(event(1, probed(number=60_000, transport=answer), verdict=DROP))
    lab.tracer.drain()
    assert [found.packet.split()[0] for found in lab.tracer.along(trail)] == [what]


def test_a_marked_packet_of_no_probe_is_an_ordinary_one(lab: Lab, trail: Trail) -> None:
    lab.says(event(1, probed(number=8, transport=headers(ports=(PORT + 1, 25), sequence=5)[1]), verdict=DROP))
    assert lab.blamed(PORT + 1) == [("isp-edge", 4)]
    assert not trail.dropped.is_set()


def test_an_unmarked_packet_with_a_probes_number_is_an_ordinary_one(lab: Lab, trail: Trail) -> None:
    network, segment = probed()
    lab.says(event(1, (network[:1] + b"\0" + network[2:], segment), verdict=DROP))
    assert lab.blamed() == [("isp-edge", 4)]
    assert lab.tracer.along(trail) == []
