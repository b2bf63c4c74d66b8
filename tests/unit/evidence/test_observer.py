"""What an attempt is told of itself by the trace, the capture and the servers' records, asked for at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import pytest

from evidence_factory import decision, difference, of_neighbour, wire
from port25lab.evidence.capture import Capture, Captured
from port25lab.evidence.connections import Connections, Made
from port25lab.evidence.neighbours import Neighbours
from port25lab.evidence.observer import Observer
from port25lab.evidence.rule_trace import PacketTrace, Tracer
from port25lab.kernel.neighbour_tables import NeighbourTables, Tables
from port25lab.model.evidence import Decision, Effect

PORTS = (20_000, 20_001)

CONNECTIONS = Connections((7, 8), frozenset(), frozenset({("mx", "198.51.100.7", 20_000)}), "192.0.2.25")

PASSED_ON = Captured(packets=wire("FIN mx"), difference=difference("a", "b"), lost=3, connections=CONNECTIONS)


class FakeTracer:
    def __init__(self) -> None:
        self.lost: list[str] = []
        self.tracked: list[PacketTrace] = []
        self.neighbours_dropped = False

    def losses(self) -> int:
        return len(self.lost)

    def lost_since(self, losses: int) -> str | None:
        return " and ".join(self.lost[losses:]) or None

    def track(self, packet: PacketTrace) -> None:
        self.tracked.append(packet)

    def decisions(self, sequences: Iterable[int], ends: Iterable[object]) -> list[Decision]:
        return [decision()] if 8 in sequences and ends is CONNECTIONS.ends else []

    def diversions(self, sequences: Iterable[int], ends: Iterable[object]) -> list[Decision]:
        known = {7, *self.tracked}
        return [decision(Effect.DIVERT)] if known & {*sequences} and ends is CONNECTIONS.ends else []

    def made(self, node: str, port: int) -> list[int]:
        return [7] if (node, port) == ("pc", PORTS[0]) else []

    def unresolved(self, resolutions: Iterable[str]) -> list[Decision]:
        return [of_neighbour("ip6") for _ in resolutions]

    def drops_of(self, packet: PacketTrace) -> list[Decision]:
        return [decision(Effect.REJECT_ICMP)]


class FakeCapture:
    def __init__(self) -> None:
        self.begun: list[tuple[tuple[int, ...], str]] = []
        self.asked: list[tuple[list[int], str]] = []

    def begin(self, ports: Sequence[int], label: str) -> None:
        self.begun.append((tuple(ports), label))

    def collect(self, ports: Sequence[int], client: str, made: Made) -> Captured:
        self.asked.append((list(ports), client))
        self.made = [*made("pc", PORTS[0])]
        return PASSED_ON


class FakeTables:
    def __init__(self) -> None:
        self.overflows = 7

    def lately(self, _: float) -> Tables:
        return Tables(1024, self.overflows)


class FakeNeighbours:
    def __init__(self) -> None:
        self.asked: list[object] = []

    def waited_for(self, client: str, targets: list[str], *about: object) -> list[str]:
        self.asked.append((client, targets, about))
        return ["hop"]

    def there_and_back(self, source: str, target: str) -> list[str]:
        self.asked.append((source, target))
        return ["first hop", "second hop"]


class Fakes:
    def __init__(self) -> None:
        self.tracer, self.capture = FakeTracer(), FakeCapture()

        def answered(arrivals: Iterable[tuple[str, str, int]]) -> str | None:
            return next((node for node, _, _ in arrivals), None)

        self.neighbours, self.tables = FakeNeighbours(), FakeTables()
        self.observer = Observer(
            cast(Tracer, self.tracer),
            cast(Capture, self.capture),
            answered,
            cast(Neighbours, self.neighbours),
            cast(NeighbourTables, self.tables),
            {},
        )


@pytest.fixture
def lab() -> Fakes:
    return Fakes()


def test_all_views_of_all_ports_come_at_once(lab: Fakes) -> None:
    losses = lab.observer.begin(PORTS, "S3")
    found = lab.observer.collect(PORTS, "pc", losses)
    assert lab.capture.begun == [(PORTS, "S3")]
    assert lab.capture.asked == [(list(PORTS), "pc")]
    assert (found.decisions, found.diverted) == ([decision()], [decision(Effect.DIVERT)])
    assert (found.answered_by, found.trace_lost) == ("mx", None)
    assert (found.packets, found.difference, found.packets_lost) == (PASSED_ON.packets, PASSED_ON.difference, 3)
    assert found.dialled == "192.0.2.25"
    assert lab.capture.made == [7]


def test_trace_events_count_as_lost_from_the_attempts_beginning_on(lab: Fakes) -> None:
    lab.tracer.lost.append("before")
    losses = lab.observer.begin(PORTS)
    lab.tracer.lost.append("edge")
    assert lab.observer.collect(PORTS, "pc", losses).trace_lost == "edge"


def test_a_full_table_of_neighbours_concerns_the_attempts_of_that_time(lab: Fakes) -> None:
    losses = lab.observer.begin(PORTS)
    assert lab.observer.collect(PORTS, "pc", losses).trace_lost is None
    lab.tables.overflows += 1
    lost = lab.observer.collect(PORTS, "pc", losses).trace_lost
    assert lost == "the machine's table of neighbours was full, so that packets were lost (gc_thresh3)"
    assert lab.observer.collect(PORTS, "pc", lab.observer.begin(PORTS)).trace_lost is None


def test_lost_trace_events_do_not_count_for_a_relays_try(lab: Fakes) -> None:
    lab.tracer.lost.append("edge")
    assert lab.observer.collect([PORTS[1]], "relay").trace_lost is None


def test_a_hand_made_packet_is_traced_by_itself_and_its_losses_count_from_then_on(lab: Fakes) -> None:
    packet = PacketTrace("a fragment", 7, 1000, PORTS[1])
    losses = lab.observer.track(packet)
    lab.tracer.lost.append("edge")
    lab.observer.begin([PORTS[1]])
    found = lab.observer.collect([PORTS[1]], "pc", losses, packet)
    assert lab.tracer.tracked == [packet]
    assert found.decisions == [decision(Effect.REJECT_ICMP)]
    assert found.diverted == [decision(Effect.DIVERT)]
    assert found.trace_lost == "edge"


def test_a_neighbour_that_was_not_found_decides_where_no_rule_met_a_packet_to_that_address(lab: Fakes) -> None:
    assert lab.observer.collect(PORTS, "pc", to=["2001:db8::1"]).decisions == [decision()]
    assert lab.neighbours.asked == []
    lab.tracer.neighbours_dropped = True
    found = lab.observer.collect(PORTS, "pc", to=["192.0.2.1", "2001:db8::1"])
    assert found.decisions == [decision(), of_neighbour("ip6")]
    assert lab.neighbours.asked == [("pc", ["2001:db8::1"], (PASSED_ON.packets, CONNECTIONS, {"isp-edge"}))]
    assert lab.observer.collect(PORTS, "pc", to=["192.0.2.1"]).decisions == [decision()]


def test_a_hand_made_packet_may_wait_for_any_hop_on_its_way(lab: Fakes) -> None:
    lab.tracer.neighbours_dropped = True
    packet = PacketTrace("a fragment", 7, 1000, PORTS[1])
    found = lab.observer.collect([PORTS[1]], "pc", lab.observer.begin(PORTS), packet, ["2001:db8::1"])
    assert found.decisions == [decision(Effect.REJECT_ICMP), of_neighbour("ip6"), of_neighbour("ip6")]
    assert lab.neighbours.asked == [("pc", "2001:db8::1")]


@pytest.mark.parametrize("port", [25, 0], ids=["source port 25", "no address was dialled"])
def test_a_port_that_no_attempt_owns_has_no_packets(lab: Fakes, port: int) -> None:
    found: Any = lab.observer.collect([port], "pc")
    assert lab.capture.asked == []
    assert (found.packets, found.icmp, found.difference, found.packets_lost) == ([], [], None, 0)
