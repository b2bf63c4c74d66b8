"""Whether a SYN that was dropped needs no wait for its retransmission, because that would be dropped as well.

The kernel's trace shows the rule that dropped a SYN as soon as it did. A client that waits for the retransmission
learns nothing more where no rule that the SYN met remembers anything (``rules.stateless``), at any node that it passed.
Everything that is not known for certain means: wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from port25lab.evidence.capture import Capture
from port25lab.evidence.rule_map import LoadedRules, Place
from port25lab.evidence.rule_trace import Tracer
from port25lab.evidence.syn_ways import DroppedAt
from port25lab.evidence.traced_packet import Passage
from port25lab.kernel import nftrace
from port25lab.kernel.headers import SYN
from port25lab.network.builder import LabNode
from port25lab.rules import repeats


@dataclass(eq=False)
class _Waiting:
    """A client that waits for an answer to the SYN that it is about to send."""

    before: frozenset[int]
    """Initial sequence numbers of earlier SYNs from the same port."""
    losses: int
    dropped: asyncio.Future[Hashable] = field(default_factory=asyncio.Future)


class EarlyDrops:
    """Tells waiting clients that their SYN was dropped for good. Implements ``network.host.Silence``."""

    def __init__(self, tracer: Tracer, capture: Capture, nodes: Mapping[str, LabNode]) -> None:
        """``nodes``: those that the tracer watches."""
        self._tracer, self._capture, self._nodes = tracer, capture, nodes
        self._generations: dict[str, int | None] = {}
        self._waiting: dict[tuple[str, int], _Waiting] = {}
        """By node and source port."""
        self._used: set[tuple[str, int]] = set()
        self._looking = False

    def arm(self) -> None:
        """The capture runs, and all rules are loaded and known. Whoever changes them afterwards makes clients wait."""
        self._generations = {name: node.run_inside(nftrace.generation) for name, node in self._nodes.items()}
        self._tracer.syns.on_drop = self._look_soon

    def before_connecting(self) -> None:
        """Make room in the buffers of the trace."""
        self._tracer.drain()

    @contextmanager
    def watch(self, node: str, source_port: int) -> Iterator[asyncio.Future[Hashable]]:
        """A client in a node is about to send a SYN from this port.

        Yields a future that is done when the SYN was dropped, and its retransmission would be by the same rule.
        """
        if (node, source_port) in self._used:
            self._capture.drain()
        self._used.add((node, source_port))
        waiting = _Waiting(frozenset(self._sent(node, source_port)), self._tracer.losses())
        self._waiting[node, source_port] = waiting
        try:
            yield waiting.dropped
        finally:
            waiting.dropped.cancel()
            del self._waiting[node, source_port]

    def _look_soon(self) -> None:
        """Look when all events that wait are read: those of the nodes that the SYN passed may come later."""
        if not self._looking and self._waiting:
            self._looking = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._looking = False
        self._tracer.drain()
        self._capture.drain()
        losses = self._tracer.losses()
        for (node, port), waiting in self._waiting.items():
            if waiting.dropped.done() or waiting.losses != losses:
                continue
            for sequence in self._sent(node, port):
                if sequence not in waiting.before and (found := self._for_good(sequence)) is not None:
                    waiting.dropped.set_result(found)
                    break

    def _sent(self, node: str, port: int) -> dict[int, None]:
        """Initial sequence numbers of the SYNs that a node has sent from a port, before its own NAT and after it."""
        return dict.fromkeys([*self._tracer.made(node, port), *self._capture.sent(node, port)])

    def _for_good(self, sequence: int) -> DroppedAt | None:
        """Where a SYN was dropped without a word, if its retransmission would be as well."""
        way = self._tracer.syns.ways.get(sequence)
        if way is None or len(way.dropped) != 1:
            return None
        (end,) = way.dropped
        if not self._tracer.rules_of(end.node).drops_silently(end.place):
            return None
        for node, passage in way.passages:
            here = end.place if node == end.node else None
            if self._changed(node) or not same_again(self._tracer.rules_of(node), passage, here):
                return None
        return end

    def _changed(self, node: str) -> bool:
        """Whether the rules of a node are others than those that are known."""
        known = self._generations.get(node)
        return known is None or self._nodes[node].run_inside(nftrace.generation) != known


def same_again(rules: LoadedRules, passage: Passage, dropped_at: Place | None) -> bool:
    """Whether a SYN's retransmission would meet the same fate in a node.

    ``rules``: the node's. ``passage``: the SYN's way through it. ``dropped_at``: what dropped it; None: it went on.
    """
    met = rules.met(passage)
    if met is None or met.packet.tcp_flags != SYN:  # a retransmission leaves out ECN
        return False
    if met.ruleset is None:
        return dropped_at is None
    ends = set()
    for way in possible_ways(passage):
        found = repeats(met.ruleset, met.packet, way, met=met.keys, fixed_sets=met.fixed_sets)
        if found is None:
            return False
        ends |= {
            (outcome.table, outcome.chain, outcome.decider.number if outcome.decider else None)
            for outcome in found.outcomes
        }
    return dropped_at is None or rules.key_at(dropped_at) in ends


def possible_ways(passage: Passage) -> tuple[str, ...]:
    """The ways through a node that a packet may have taken: only chains with a rule that it matched are known."""
    if passage.way != "forward":
        return (passage.way,)
    return ("forward",) if b"FORWARD\0" in passage.chains else ("forward", "input")
