"""The way of each SYN through the nodes that are traced, as far as it came."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from port25lab.evidence.rule_map import Place
from port25lab.evidence.traced_packet import Passage, TracedPacket


class DroppedAt(NamedTuple):
    """Where a SYN ended."""

    node: str
    place: Place


@dataclass(eq=False)
class SynWay:
    """The way of one SYN, its retransmissions included."""

    passages: list[tuple[str, Passage]] = field(default_factory=list)
    """Nodes that it entered, and its way through each."""
    dropped: list[DroppedAt] = field(default_factory=list)


class SynWays:
    """Collects the ways. The tracer reports what it reads; events of several nodes come in any order."""

    def __init__(self) -> None:
        self.ways: defaultdict[int, SynWay] = defaultdict(SynWay)
        """By initial sequence number."""
        self.on_drop: Callable[[], None] | None = None
        """Is called when a SYN was dropped."""

    def enters(self, node: str, packet: TracedPacket, passage: Passage) -> None:
        """A packet entered a node."""
        if packet.kind == "SYN":
            self.ways[packet.initial_sequence].passages.append((node, passage))

    def drops(self, node: str, place: Place, packet: TracedPacket) -> None:
        """A packet was dropped in a node."""
        if packet.kind == "SYN":
            self.ways[packet.initial_sequence].dropped.append(DroppedAt(node, place))
            if self.on_drop is not None:
                self.on_drop()
