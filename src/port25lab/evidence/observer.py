"""All views of one attempt beside the client's, asked for at once: the rule trace, the capture, the servers' records.

``begin`` before the attempt's first packet, ``collect`` when it is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from port25lab.evidence.capture import Capture, Captured
from port25lab.evidence.last_seen import ended, last_seen, last_syn
from port25lab.evidence.name_packets import Lookup
from port25lab.evidence.neighbours import Neighbours
from port25lab.evidence.packet_trace import PacketTrace
from port25lab.evidence.rule_trace import Tracer
from port25lab.kernel.neighbour_tables import NeighbourTables
from port25lab.model.evidence import (
    Decision,
    Ended,
    IcmpError,
    Observation,
    PacketSeen,
    Stage,
    StreamDifference,
    on_the_way_to,
)
from port25lab.network.builder import SOURCE_PORTS, LabNode


@dataclass(frozen=True)
class Observed:
    """What was observed of one attempt."""

    decisions: list[Decision]
    """Rules that kept its packets from passing."""
    diverted: list[Decision]
    """Rules that sent it elsewhere."""
    answered_by: str | None
    """The node whose service took its connection."""
    packets: list[PacketSeen]
    icmp: list[IcmpError]
    difference: StreamDifference | None
    packets_lost: int
    """Packets that the capture has lost in the whole lab so far."""
    dialled: str | None
    """The address that was dialled last, for clients that do not report it."""
    trace_lost: str | None
    """Why the rule trace is incomplete, where it is."""


class Losses(NamedTuple):
    """What was lost up to a time."""

    events: int
    """How often the kernel has dropped events of the rule trace."""
    neighbours: int
    """How often a neighbour found no room in the machine's tables: then packets get lost that no rule met."""


TABLE_FULL = "the machine's table of neighbours was full, so that packets were lost (gc_thresh3)"


class Observer:
    """Observes the attempts of a lab."""

    def __init__(
        self,
        tracer: Tracer,
        capture: Capture,
        answered_by: Callable[[Iterable[tuple[str, str, int]]], str | None],
        neighbours: Neighbours,
        tables: NeighbourTables | None,
        nodes: Mapping[str, LabNode],
    ) -> None:
        """``answered_by``: the node whose service took a connection first, by the servers' records.

        It is asked about the SYNs that arrived: node, source address and source port of each. ``neighbours``: who
        resolves whom. ``tables``: of the machine. ``nodes``: of the lab, by name.
        """
        self._tracer, self._capture, self._answered_by = tracer, capture, answered_by
        self._neighbours, self._tables, self._nodes = neighbours, tables, nodes

    def begin(self, ports: Sequence[int], label: str = "") -> Losses:
        """An attempt is about to be made from these source ports.

        ``label``: the comment at its first packet in a capture file. Returns what was lost so far: ``collect`` needs
        it to tell what this attempt has lost.
        """
        losses = self.losses()
        self._capture.begin(ports, label)
        return losses

    def track(self, packet: PacketTrace) -> Losses:
        """A hand-made packet is about to be sent: trace it from now on. Returns what ``begin`` returns."""
        self._tracer.track(packet)
        return self.losses()

    def losses(self) -> Losses:
        """What was lost so far."""
        return Losses(self._tracer.losses(), self._overflows(0.1))

    def lost_since(self, losses: Losses) -> str | None:
        """Why an attempt that began with these ``losses`` proves nothing, in words; None where nothing was lost."""
        if lost := self._tracer.lost_since(losses.events):
            return lost
        return TABLE_FULL if self._overflows(0.002) > losses.neighbours else None

    def _overflows(self, age: float) -> int:
        """How often the machine's tables of neighbours were full; at most ``age`` seconds ago."""
        return self._tables.lately(age).overflows if self._tables is not None else 0

    def collect(
        self,
        ports: Sequence[int],
        client: str,
        losses: Losses | None = None,
        packet: PacketTrace | None = None,
        to: Iterable[str] = (),
    ) -> Observed:
        """What was observed of an attempt that is over. May be called once for each attempt.

        ``ports``: its source ports. ``client``: the node that made it. ``losses``: what ``begin`` or ``track``
        returned; None where a loss counts for another attempt, as with a relay's try.
        ``packet``: the hand-made packet, where it was one. ``to``: the addresses that may have been dialled.
        """
        trace_lost = None if losses is None else self.lost_since(losses)
        # The capture matches by the source ports of attempts; a hand-made packet may have another port, such as 25.
        own = [port for port in ports if port in SOURCE_PORTS]
        captured = self._capture.collect(own, client, self._tracer.made) if own else Captured()
        connections = captured.connections
        if packet is None:
            decisions = self._tracer.decisions(connections.opening, connections.ends)
            diverted = self._tracer.diversions(connections.sequences, connections.ends)
        else:
            # NAT may have given a session that it continues another port.
            decisions = self._tracer.drops_of(packet) or self._tracer.decisions((), connections.ends)
            diverted = self._tracer.diversions([packet], connections.ends)
        # Where a rule met a packet of the attempt itself, that rule decided.
        waiting = [address for address in to if not on_the_way_to(address, decisions)]
        if waiting and self._tracer.neighbours_dropped:
            if packet is None:
                diverting = {decision.blame.node for decision in diverted}
                needed = self._neighbours.waited_for(client, waiting, captured.packets, connections, diverting)
            else:
                needed = [hop for address in waiting for hop in self._neighbours.there_and_back(client, address)]
            decisions += self._tracer.unresolved(needed)
        return Observed(
            decisions=decisions,
            diverted=diverted,
            answered_by=self._answered_by(connections.arrivals),
            packets=captured.packets,
            icmp=captured.icmp,
            difference=captured.difference,
            packets_lost=captured.lost,
            dialled=connections.dialled,
            trace_lost=trace_lost,
        )

    def ended(self, client: str, observation: Observation, observed: Observed) -> Ended | None:
        """Where an attempt ended that got no connection, if no rule and no RST is the reason.

        None where there is another reason, or what was observed does not show where it ended.
        """
        if observation.stage is not Stage.CONNECT or observation.errno == "ECONNREFUSED":
            return None
        address, decisions = observation.address, observed.decisions
        if (
            observed.trace_lost
            or observed.packets_lost
            or (on_the_way_to(address, decisions) if address else decisions)
        ):
            return None
        if any(seen.kind == "SYN-ACK" and seen.node == client and not seen.leaving for seen in observed.packets):
            return None  # the connection was open when its later packets met an error
        silent = observation.errno in (None, "ETIMEDOUT")
        seen = last_seen(observed.packets, client) if silent else last_syn(observed.packets, client)
        return None if seen is None else ended(seen, self._nodes[seen.node])

    def lookups(
        self, numbers: Iterable[int], ports: Iterable[int], client: str, losses: Losses | None = None
    ) -> Observed:
        """What was observed of DNS lookups that failed.

        ``numbers``: of the queries. ``ports``: source ports of the connections for those that were sent over TCP.
        ``client``: the node that asked. ``losses``: what the method of that name returned before the first query; None
        as in ``collect``.
        """
        over_tcp = self.collect(list(ports), client, losses)
        keys = [Lookup(number) for number in numbers]
        return replace(
            over_tcp,
            decisions=[*self._tracer.decisions(keys), *over_tcp.decisions],
            diverted=[*self._tracer.diversions(keys), *over_tcp.diverted],
        )
