"""The kernel's trace, made by hand: which rule decided the fate of which attempt's packet."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from bpf_interpreter import run
from neighbour_factory import arp, discovery
from port25lab.errors import LabError
from port25lab.evidence.neighbours import Resolution
from port25lab.evidence.packet_trace import PacketTrace
from port25lab.evidence.rule_map import LoadedRules
from port25lab.evidence.rule_trace import Tracer
from port25lab.kernel import bpf
from port25lab.kernel.netlink import attribute
from port25lab.kernel.nftrace import EVENT_BYTES, _silent_events
from port25lab.model.evidence import Decision, Effect
from port25lab.rules import Family, parse

CUSTOMER, MX, NATTED = "198.51.100.7", "203.0.113.25", "192.0.2.1"
PORT, SEQUENCE = 20_000, 0x01020304
SYN, ACK, FIN = 0x02, 0x10, 0x01

IPV4, INET, IPV6, ARP = 2, 1, 10, 3
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
    packet: tuple[bytes, bytes | None] | None = None,
    *,
    kind: int = RULE,
    handle: int | None = 7,
    verdict: int = ACCEPT,
    policy: int | None = None,
    family: int = IPV4,
    table: str = "filter",
    chain: str = "op25b",
) -> bytes:
    """One trace message. Its headers come with the first rule of a base chain that the packet meets."""
    parts = [
        attribute(1, table.encode() + b"\0"),
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
        parts.append(attribute(8, packet[0]))
        if packet[1] is not None:
            parts.append(attribute(9, packet[1]))
    body = struct.pack(">BBH", family, 0, 0) + b"".join(parts)
    return struct.pack("=IHHII", 16 + len(body), (10 << 8) | 17, 0, 0, 0) + body


class Node:
    """A node that is traced: its kernel's end of the socket is ours."""

    def __init__(self, name: str, kernel: Any, *returncodes: int) -> None:
        """``returncodes``: of nft, each time that it is run."""
        self.name = name
        ran = [subprocess.CompletedProcess(["nft"], code, "", "no such thing\n") for code in returncodes or (0,)]
        self._answers = [*ran, kernel]

    def run_inside(self, _: Callable[[], object]) -> Any:
        return self._answers.pop(0)


RULES: dict[Family, str] = {
    "ip": """\
*filter
:FORWARD DROP [0:0]
:op25b - [0:0]
-A op25b -j LOG
-A op25b -j LOG
-A op25b -p tcp --dport 587 -j ACCEPT
-A op25b -p tcp --dport 25 -j DROP
-A op25b -p tcp -j REJECT --reject-with tcp-reset
-A FORWARD -p tcp --dport 25 -j op25b
COMMIT
*nat
:redirect - [0:0]
-A redirect -p tcp -j REDIRECT --to-ports 2525
COMMIT
*mangle
:hops - [0:0]
-A hops -p tcp -j TTL --ttl-set 1
COMMIT
""",
    "ip6": "*filter\n:op25b - [0:0]\n-A op25b -j LOG\n-A op25b -j LOG\n-A op25b -j DROP\nCOMMIT\n",
}

HANDLES = {
    ("ip", "filter", "FORWARD"): [1],
    ("ip", "filter", "op25b"): [4, 5, 6, 7, 8],
    ("ip", "nat", "redirect"): [9],
    ("ip", "mangle", "hops"): [11],
    ("ip6", "filter", "op25b"): [5, 6, 7],
}


def loaded(node: str) -> LoadedRules:
    """The rules of a node, as its kernel has them."""
    rules = LoadedRules(node)
    for family, text in RULES.items():
        rules.learn(parse(text, family, file=f"rules.{family}"), HANDLES)
    return rules


class Lab:
    """A tracer that watches isp-edge and isp-core, whose kernels say what a test lets them say."""

    def __init__(self) -> None:
        self.tracer = Tracer()
        self._kernels: dict[str, socket.socket] = {}
        self._ours: list[socket.socket] = []
        for name in ("isp-edge", "isp-core"):
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            theirs.setblocking(False)
            self._kernels[name] = mine
            self._ours.append(theirs)
            self.tracer.watch(Node(name, theirs), loaded(name))  # type: ignore[arg-type]

    def says(self, *events: bytes, node: str = "isp-edge") -> None:
        self._kernels[node].send(b"".join(events))

    def decisions(self, *sequences: int) -> list[Decision]:
        self.tracer.drain()
        return self.tracer.decisions(sequences or [SEQUENCE])

    def blamed(self, *sequences: int) -> list[tuple[str, int | None]]:
        return [(found.blame.node, found.blame.rule_number) for found in self.decisions(*sequences)]

    def close(self) -> None:
        for kernel in (*self._kernels.values(), *self._ours):
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
    [found] = lab.decisions()
    assert found.effect is Effect.DROP
    assert found.packet == f"SYN {CUSTOMER}:20000 > {MX}:25"


def test_a_rule_that_rejects_traces_as_a_drop_and_keeps_its_effect(lab: Lab) -> None:
    lab.says(event(1, headers(), handle=8, verdict=DROP))
    assert [found.effect for found in lab.decisions()] == [Effect.REJECT_RESET]


def test_a_rule_that_sends_a_syn_elsewhere_is_told_apart_from_one_that_drops_it(lab: Lab) -> None:
    lab.says(
        event(1, headers(), table="nat", chain="redirect", handle=9, verdict=ACCEPT),
        event(1, headers(destination=NATTED), table="nat", chain="redirect", handle=9, verdict=ACCEPT),
        event(2, headers(ports=(PORT + 1, 25), sequence=5), table="nat", chain="redirect", handle=10, verdict=ACCEPT),
    )
    lab.tracer.drain()
    [found] = lab.tracer.diversions([SEQUENCE])
    assert (found.blame.chain, found.blame.rule_number, found.effect) == ("redirect", 1, Effect.DIVERT)
    assert found.packet == f"SYN {CUSTOMER}:20000 > {MX}:25"
    assert not lab.decisions()
    assert not lab.tracer.diversions([5])


def test_a_rule_that_changes_how_far_an_answer_comes_is_known(lab: Lab) -> None:
    answer = headers(MX, CUSTOMER, (25, PORT), 900, SEQUENCE + 1, SYN | ACK)
    lab.says(
        event(1, answer, table="mangle", chain="hops", handle=11),
        event(2, answer, table="nat", chain="redirect", handle=9),
    )
    lab.tracer.drain()
    [found] = lab.tracer.diversions([SEQUENCE])
    assert (found.blame.chain, found.effect, found.traced.kind) == ("hops", Effect.CHANGE, "SYN-ACK")


def test_a_rule_that_changes_how_far_the_packets_of_a_session_come_is_known(lab: Lab) -> None:
    lab.says(event(1, headers(flags=ACK), table="mangle", chain="hops", handle=11, verdict=-1))
    lab.tracer.drain()
    [found] = lab.tracer.diversions([], [("isp-edge", (CUSTOMER, PORT, MX, 25))])
    assert (found.blame.chain, found.in_session) == ("hops", True)


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
    assert lab.decisions()[0].packet == "SYN [2001:db8::7]:20000 > [2001:db8::25]:25"


def test_a_rule_that_nobody_loaded_is_named_by_its_handle(lab: Lab) -> None:
    lab.says(event(1, headers(), handle=99, verdict=DROP, family=INET))
    lab.tracer.drain()
    [found] = lab.decisions()
    assert (found.blame.family, found.blame.rule) == ("inet", "handle 99")


def test_a_dropped_answer_belongs_to_the_attempt_whose_sequence_it_acknowledges(lab: Lab) -> None:
    lab.says(event(1, headers()))
    answer = headers(MX, CUSTOMER, (25, PORT), 0xABCDEF, SEQUENCE + 1, SYN | ACK)
    lab.says(event(2, answer, verdict=DROP), node="isp-core")
    assert lab.blamed() == [("isp-core", 4)]
    assert lab.decisions()[0].packet == f"SYN-ACK {MX}:25 > {CUSTOMER}:20000"


def test_sequence_numbers_wrap_around(lab: Lab) -> None:
    lab.says(event(1, headers(sequence=0xFFFFFFFF)))
    lab.says(event(2, headers(MX, CUSTOMER, (25, PORT), 5, 0, SYN | ACK), verdict=DROP))
    assert lab.blamed(0xFFFFFFFF) == [("isp-edge", 4)]


def test_a_syn_is_followed_behind_nat(lab: Lab) -> None:
    lab.says(event(1, headers()))
    lab.says(event(1, headers(source=NATTED, ports=(1025, 25)), verdict=DROP), node="isp-core")
    assert lab.blamed() == [("isp-core", 4)]


def test_attempts_are_told_apart(lab: Lab) -> None:
    lab.says(event(1, headers()), event(2, headers(ports=(PORT + 1, 25), sequence=99)), event(2, verdict=DROP))
    assert lab.blamed() == []
    assert lab.blamed(99) == [("isp-edge", 4)]


def test_the_same_id_means_another_packet_on_another_node(lab: Lab) -> None:
    lab.says(event(1, headers()))
    lab.says(event(1, headers(ports=(PORT + 1, 25), sequence=99)), node="isp-core")
    lab.says(event(1, verdict=DROP))
    assert lab.blamed() == [("isp-edge", 4)]
    assert lab.blamed(99) == []


def test_an_id_that_is_used_again_means_the_new_packet(lab: Lab) -> None:
    lab.says(event(1, headers()), event(1, verdict=ACCEPT))
    lab.says(event(1, headers(ports=(PORT + 1, 25), sequence=99)), event(1, verdict=DROP))
    assert lab.blamed() == []
    assert lab.blamed(99) == [("isp-edge", 4)]


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
    assert lab.blamed(99, 1) == [("isp-edge", 5), ("isp-edge", 4)]


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


# -- lost events, and room for them ------------------------------------------------------------------------------------


class Overrun:
    """A kernel that drops events when a test says so: the next reading fails once."""

    def __init__(self, buffer: int = 100 * EVENT_BYTES) -> None:
        self._buffer, self._waiting = buffer, list[bytes | Exception]()
        self._mine, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def says(self, what: bytes | Exception) -> None:
        if not self._waiting:
            self._mine.send(b"!")
        self._waiting.append(what)

    def drops(self) -> None:
        self.says(OSError(errno.ENOBUFS, "No buffer space"))

    def fileno(self) -> int:
        return self._theirs.fileno()

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVBUF)
        return self._buffer

    def recv(self, size: int) -> bytes:
        if not self._waiting:
            self._theirs.recv(size)
            raise BlockingIOError
        said = self._waiting.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    def close(self) -> None:
        self._mine.close()
        self._theirs.close()


@pytest.fixture
def edge() -> Iterator[Overrun]:
    with contextlib.closing(Overrun()) as kernel:
        yield kernel


@pytest.fixture
def core() -> Iterator[Overrun]:
    with contextlib.closing(Overrun()) as kernel:
        yield kernel


def watching(
    sessions: bool = False, neighbours: int = 0, rules: LoadedRules | None = None, **kernels: Overrun
) -> Tracer:
    tracer = Tracer()
    for name, kernel in kernels.items():
        node: Any = Node(name, kernel)
        tracer.watch(node, rules or LoadedRules(name), sessions=sessions, neighbours=neighbours)
    return tracer


def test_a_loss_concerns_the_attempts_that_were_under_way_and_no_later_one(edge: Overrun) -> None:
    tracer = watching(edge=edge)
    ended_before = tracer.losses()
    assert tracer.lost_since(ended_before) is None
    first, second = tracer.losses(), tracer.losses()
    edge.drops()
    assert tracer.lost_since(first) == "the kernel lost trace events of edge (ENOBUFS)"
    later = tracer.losses()
    assert tracer.lost_since(second) == "the kernel lost trace events of edge (ENOBUFS)"
    assert tracer.lost_since(later) is None


def test_a_loss_before_an_attempt_that_is_found_at_its_beginning_does_not_concern_it(edge: Overrun) -> None:
    tracer = watching(edge=edge)
    edge.drops()
    assert tracer.lost_since(tracer.losses()) is None


def test_a_loss_names_each_node_once(edge: Overrun, core: Overrun) -> None:
    tracer = watching(edge=edge, core=core)
    since = tracer.losses()
    for kernel in (core, core):
        kernel.drops()
        tracer.drain()
    edge.drops()
    assert tracer.lost_since(since) == "the kernel lost trace events of core and edge (ENOBUFS)"


def test_what_waits_in_the_kernel_is_read_before_an_attempt_is_judged(lab: Lab) -> None:
    losses = lab.tracer.losses()
    lab.says(event(1, headers(), verdict=DROP))
    assert lab.tracer.lost_since(losses) is None
    assert [found.blame.rule_number for found in lab.tracer.decisions([SEQUENCE])] == [4]


def test_events_after_a_loss_are_read(edge: Overrun) -> None:
    tracer = watching(edge=edge)
    edge.drops()
    edge.says(event(1, headers(), verdict=DROP))
    tracer.drain()
    assert [found.blame.rule for found in tracer.decisions([SEQUENCE])] == ["handle 7"]


def test_any_other_error_of_the_socket_is_told(edge: Overrun) -> None:
    tracer = watching(edge=edge)
    edge.says(OSError(errno.ENOMEM, "Cannot allocate memory"))
    with pytest.raises(OSError, match="Cannot allocate memory"):
        tracer.drain()


def opening(trace_id: int, **more: Any) -> bytes:
    """The event of our own table, which comes first of every packet."""
    return event(trace_id, headers(**more), table="port25lab_trace", chain="arriving", family=INET)


def test_attempts_have_room_while_two_packets_of_each_fit_into_the_buffer(edge: Overrun) -> None:
    tracer = watching(edge=edge)
    assert tracer.has_room(50, 0)
    assert not tracer.has_room(51, 0)


def test_the_packet_with_most_events_says_how_many_attempts_have_room(edge: Overrun) -> None:
    tracer = watching(edge=edge)
    edge.says(opening(1) + event(1) + event(1) + event(1) + event(1))
    edge.says(opening(1) + event(1))
    tracer.drain()
    assert tracer.has_room(10, 0)
    assert not tracer.has_room(11, 0)


def test_the_node_with_least_room_decides(edge: Overrun) -> None:
    with contextlib.closing(Overrun(4 * EVENT_BYTES)) as small:
        tracer = watching(edge=edge, small=small)
        assert tracer.has_room(2, 0)
        assert not tracer.has_room(3, 0)


def test_packets_of_sessions_take_room_where_they_are_traced(edge: Overrun) -> None:
    assert watching(edge=edge).has_room(10, 1000)
    tracer = watching(sessions=True, edge=edge)
    assert tracer.has_room(10, 80)
    assert not tracer.has_room(10, 81)
    edge.says(event(1, headers(flags=ACK)) + event(1, verdict=ACCEPT))
    tracer.drain()
    assert tracer.has_room(10, 40)
    assert not tracer.has_room(10, 41)


SEES_NEIGHBOURS = "*filter\n:INPUT DROP [0:0]\nCOMMIT\n"


def test_requests_for_neighbours_take_room_where_rules_may_meet_them(edge: Overrun) -> None:
    tracer = watching(edge=edge, neighbours=3)
    assert tracer.has_room(50, 0)
    tracer.update_rules("edge", sees := LoadedRules("edge"))
    sees.learn(parse(SEES_NEIGHBOURS, "ip6", file="rules.v6"), {})
    assert tracer.has_room(41, 0)
    assert not tracer.has_room(42, 0)
    assert watching(edge=edge, neighbours=0, rules=sees).has_room(50, 0)
    edge.says(event(1, discovery(135, CPE, EDGE), family=IPV6, verdict=JUMP) + event(1, family=IPV6, verdict=DROP))
    tracer.drain()
    assert tracer.has_room(32, 0)
    assert not tracer.has_room(33, 0)


@pytest.mark.parametrize(
    ("text", "sees"),
    [
        (SEES_NEIGHBOURS, True),
        ("*raw\n-A PREROUTING -j LOG\nCOMMIT\n", True),
        ("*filter\n:FORWARD DROP [0:0]\n:mine - [0:0]\n-A FORWARD -j mine\n-A mine -j DROP\nCOMMIT\n", False),
        ("*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n", False),
    ],
)
def test_rules_that_meet_what_is_not_forwarded_see_neighbours(text: str, sees: bool) -> None:
    rules = LoadedRules("edge")
    ruleset = parse(text, "ip6", file="rules.v6")
    chains = [(table.name, chain) for table in ruleset.tables.values() for chain in table.chains.values()]
    rules.learn(ruleset, {("ip6", table, chain.name): [*range(len(chain.rules))] for table, chain in chains})
    assert rules.sees_neighbours is sees


def test_a_lab_in_which_nothing_is_traced_has_room_for_all() -> None:
    assert Tracer().has_room(1_000_000, 1_000_000)


def test_the_event_loop_is_woken_by_events_of_any_node(lab: Lab) -> None:
    ready = select.poll()
    ready.register(lab.tracer, select.POLLIN)
    assert not ready.poll(0)
    lab.says(event(1, headers()), node="isp-core")
    assert ready.poll(0)
    lab.tracer.drain()
    assert not ready.poll(0)


# -- neighbours -------------------------------------------------------------------------------------------------------

CPE, EDGE = "2001:db8:ff::2", "2001:db8:ff::1"
HOP = Resolution("cpe", frozenset({CPE}), ip_address(EDGE), "isp-edge")


def arp_headers(operation: int = 1, address: str = "192.0.2.2") -> tuple[bytes, None]:
    """The headers of an event of ARP: it has no transport header."""
    return arp(operation, "192.0.2.1", address), None


@pytest.mark.parametrize("kind", [135, 136])
def test_a_rule_that_drops_neighbour_discovery_is_blamed_by_who_needs_it(lab: Lab, kind: int) -> None:
    packet = discovery(kind, *((CPE, EDGE) if kind == 135 else (EDGE, CPE)))
    lab.says(event(1, packet, handle=5, verdict=JUMP, family=IPV6), event(1, verdict=DROP, family=IPV6))
    assert lab.blamed() == []
    assert lab.tracer.neighbours_dropped
    [found] = lab.tracer.unresolved([HOP, HOP])
    assert (found.blame.node, found.blame.rule_number, found.effect) == ("isp-edge", 3, Effect.DROP)
    assert found.packet == f"neighbour {'solicitation' if kind == 135 else 'advertisement'} for {EDGE}"
    for other in (
        HOP._replace(owner="isp-core"),
        HOP._replace(asks_from=frozenset({EDGE})),
        HOP._replace(address=ip_address(CPE)),
    ):
        assert lab.tracer.unresolved([other]) == []


@pytest.mark.parametrize("operation", [1, 2])
def test_a_rule_that_drops_arp_is_blamed(lab: Lab, operation: int) -> None:
    network = arp(operation, *(("192.0.2.1", "192.0.2.2") if operation == 1 else ("192.0.2.2", "192.0.2.1")))
    lab.says(event(1, (network, None), handle=5, verdict=DROP, family=ARP, chain="in"))
    lab.tracer.drain()
    [found] = lab.tracer.unresolved([Resolution("pc", frozenset({"192.0.2.1"}), ip_address("192.0.2.2"), "isp-edge")])
    assert (found.blame.family, found.blame.rule) == ("arp", "handle 5")
    assert found.packet == f"ARP {'request' if operation == 1 else 'reply'} for 192.0.2.2"


def test_neighbours_that_rules_let_pass_are_no_ones_fault(lab: Lab) -> None:
    lab.says(event(1, discovery(135, CPE, EDGE), handle=5, verdict=JUMP, family=IPV6), event(1, family=IPV6))
    lab.tracer.drain()
    assert not lab.tracer.neighbours_dropped
    assert lab.tracer.unresolved([HOP]) == []


# -- which events the kernel leaves out --------------------------------------------------------------------------------


PROGRAM = bpf.assemble(_silent_events())


def kept(message: bytes) -> bool:
    """Whether the kernel would queue this message."""
    return run(PROGRAM, message) > 0


@pytest.mark.parametrize("packet", [None, headers(), headers(flags=ACK)], ids=["no headers", "SYN", "segment"])
def test_a_chain_whose_policy_accepts_is_left_out_and_one_that_drops_is_not(packet: tuple[bytes, bytes] | None) -> None:
    assert not kept(event(1, packet, kind=POLICY, handle=None, policy=ACCEPT, chain="FORWARD"))
    assert kept(event(1, packet, kind=POLICY, handle=None, policy=DROP, chain="FORWARD"))


@pytest.mark.parametrize("verdict", [ACCEPT, DROP, JUMP, -1])
def test_every_rule_that_a_syn_or_its_answer_meets_is_kept(verdict: int) -> None:
    for packet in (headers(), headers(flags=SYN | ACK), headers("2001:db8::7", "2001:db8::25"), None):
        assert kept(event(1, packet, verdict=verdict))


@pytest.mark.parametrize(("verdict", "told"), [(ACCEPT, False), (DROP, True), (JUMP, True), (-1, True)])
def test_of_a_segment_only_the_first_rule_of_a_chain_that_accepts_is_left_out(verdict: int, told: bool) -> None:
    assert kept(event(1, headers(flags=ACK), verdict=verdict)) is told
    assert kept(event(1, None, verdict=verdict)), "its headers came with an earlier event of the same chain"


@pytest.mark.parametrize(("verdict", "told"), [(ACCEPT, False), (DROP, True), (JUMP, True), (-1, True)])
@pytest.mark.parametrize("address", ["2001:db8::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::"])
def test_of_neighbour_discovery_rules_that_accept_are_left_out_whatever_its_bytes(
    verdict: int, told: bool, address: str
) -> None:
    assert kept(event(1, discovery(135, CPE, address), verdict=verdict, family=IPV6)) is told
    assert kept(event(1, discovery(136, address, CPE), verdict=verdict, family=INET)) is told
    assert kept(event(1, arp_headers(address="192.0.2.2"), verdict=verdict, family=ARP)) is told


@pytest.mark.parametrize(("source", "destination"), [(CUSTOMER, MX), ("2001:db8::7", "2001:db8::25")])
@pytest.mark.parametrize("verdict", [ACCEPT, DROP, JUMP])
def test_every_rule_that_a_lookup_meets_is_kept(source: str, destination: str, verdict: int) -> None:
    """Address translation accepts: a rule that sends a lookup elsewhere has no other event."""
    network, _ = headers(source, destination)
    place = 9 if len(network) == 20 else 6
    query = struct.pack(">HHHHHHHHHH", PORT, 53, 40, 0, 7, 0x0100, 1, 0, 0, 0)
    assert kept(event(1, (network[:place] + b"\x11" + network[place + 1 :], query), verdict=verdict))


def test_ipv4_with_a_byte_like_that_of_icmpv6_is_tcp_all_the_same() -> None:
    network, segment = headers()
    fragmented = network[:6] + b"\x3a\0" + network[8:]
    assert kept(event(1, (fragmented, segment), verdict=ACCEPT))


def test_a_fragment_too_short_for_a_tcp_header_is_kept() -> None:
    assert kept(event(1, (headers()[0], b"\0" * 8)))
    assert kept(event(1, (headers()[0], b"")))


def test_a_return_is_kept() -> None:
    assert kept(event(1, None, kind=RETURN, handle=7))


def test_a_kernel_without_rules_for_arp_is_traced_all_the_same(edge: Overrun) -> None:
    tracer, node = Tracer(), Node("edge", edge, 1, 0)
    tracer.watch(node, LoadedRules("edge"))  # type: ignore[arg-type]
    edge.drops()
    assert tracer.losses() == 1


def test_a_node_that_cannot_be_traced_is_a_failure_of_the_lab() -> None:
    with pytest.raises(LabError, match="isp-edge: nft: no such thing"):
        Tracer().watch(Node("isp-edge", None, 1, 1), LoadedRules("isp-edge"))  # type: ignore[arg-type]


# -- hand-made packets -------------------------------------------------------------------------------------------------


@pytest.fixture
def trail(lab: Lab) -> PacketTrace:
    trail = PacketTrace("a fragment", 7, SEQUENCE)
    lab.tracer.track(trail)
    return trail


def test_a_rule_that_drops_a_hand_made_packet_is_found_and_told_at_once(lab: Lab, trail: PacketTrace) -> None:
    lab.says(event(1, headers(), verdict=DROP))
    assert lab.blamed() == []  # it is no attempt's
    assert trail.dropped.is_set()
    assert [found.blame.rule_number for found in lab.tracer.drops_of(trail)] == [4]


def test_a_packet_that_is_over_is_an_ordinary_one(lab: Lab, trail: PacketTrace) -> None:
    assert lab.tracer.drops_of(trail) == []
    lab.says(event(1, headers(), verdict=DROP))
    assert lab.blamed() == [("isp-edge", 4)]


# -- rules that led to a decision, and what NAT leaves alone -----------------------------------------------------------


def test_the_jumps_that_are_open_at_the_decision_lead_to_it(lab: Lab) -> None:
    lab.says(
        event(1, headers(), table="filter", chain="FORWARD", handle=1, verdict=JUMP),
        event(1, handle=4, verdict=-1),
        event(1, handle=7, verdict=DROP),
    )
    [found] = lab.decisions()
    assert [(rule.chain, rule.rule_number) for rule in found.blame.trail] == [("FORWARD", 1), ("op25b", 4)]
    assert found.target == "DROP"


def test_a_packet_with_the_same_id_has_a_trail_of_its_own(lab: Lab) -> None:
    first = headers(sequence=9)
    lab.says(event(1, first, table="filter", chain="FORWARD", handle=1, verdict=JUMP))
    lab.says(event(1, headers(), verdict=DROP))
    [found] = lab.decisions()
    assert [rule.chain for rule in found.blame.trail] == ["op25b"]


def test_a_reset_that_answers_a_syn_belongs_to_its_attempt(lab: Lab) -> None:
    refusal = headers(MX, CUSTOMER, (25, PORT), 0, SEQUENCE + 1, 0x04 | ACK)
    lab.says(event(2, refusal, verdict=DROP))
    assert lab.decisions()[0].packet == f"RST {MX}:25 > {CUSTOMER}:20000"


def test_a_segment_is_known_by_the_addresses_and_ports_at_its_node(lab: Lab) -> None:
    segment = headers(NATTED, MX, (61_000, 25), 5, 6, ACK)
    lab.says(event(3, segment, verdict=DROP))
    lab.tracer.drain()
    ends = (NATTED, 61_000, MX, 25)
    [found] = lab.tracer.decisions([], [("isp-edge", ends)])
    assert found.in_session
    assert lab.tracer.decisions([], [("isp-core", ends)]) == []


def test_a_drop_in_the_session_stands_behind_the_one_at_its_opening(lab: Lab) -> None:
    """A limit may drop a SYN and let its retransmission pass: what ended the session decides."""
    lab.says(event(1, headers(), handle=8, verdict=DROP))
    lab.says(event(2, headers(sequence=5, acknowledged=6, flags=ACK), verdict=DROP))
    lab.tracer.drain()
    found = lab.tracer.decisions([SEQUENCE], [("isp-edge", (CUSTOMER, PORT, MX, 25))])
    assert [(one.blame.rule_number, one.in_session) for one in found] == [(5, False), (4, True)]


def test_what_a_node_sends_is_known_by_its_port_before_nat(lab: Lab) -> None:
    lab.says(event(1, headers(), table="port25lab_trace", chain="leaving", family=INET))
    lab.says(event(2, headers(sequence=9), table="port25lab_trace", chain="arriving", family=INET))
    lab.tracer.drain()
    assert lab.tracer.made("isp-edge", PORT) == [SEQUENCE]
    assert lab.tracer.made("isp-core", PORT) == []
