"""The packets of a lab: captured at every node, matched to attempts, and written to a file where there is one.

A light capture is always on: packets that open, refuse or end a connection, at all nodes that attempts may pass. In a
large lab those at its edge, such as homes, are captured from the first attempt on that comes from there or goes there.
Nodes whose policy brings programs are captured with all of TCP, so that the two sides of a middlebox can be compared. A
capture file gets everything at hosts and at nodes with rules.

``connections`` tells which packets belong to which attempt.
"""

from __future__ import annotations

import asyncio
import select
import socket
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import itemgetter
from typing import BinaryIO

from port25lab.errors import LabError
from port25lab.evidence.capture_file import Recording
from port25lab.evidence.connections import Connections, Made, Sightings
from port25lab.evidence.deciding_packets import Sighting, deciding, icmp_errors
from port25lab.evidence.divergence import first_difference
from port25lab.kernel.headers import ETHERNET, opens_or_ends, parse
from port25lab.kernel.packet_ring import EVERYTHING, LIGHT, SESSIONS, Depth, Frame, Ring
from port25lab.model.evidence import CaptureSummary, IcmpError, PacketSeen, StreamDifference
from port25lab.model.ways import Ways
from port25lab.network.builder import LabNode

DRAIN_SECONDS = 0.02
"""Time between two readings of the rings; they are also read at the beginning and at the end of each attempt."""

BURST_SECONDS = 0.005
"""The same where many attempts begin in one turn of the event loop."""

OPENED_AT_ONCE = 32
"""Threads that open rings."""

FEW_NODES = 4
"""A node that packets of no more nodes pass, itself included, has a small ring."""


@dataclass
class Captured:
    """What the capture has of one attempt."""

    packets: list[PacketSeen] = field(default_factory=list)
    icmp: list[IcmpError] = field(default_factory=list)
    difference: StreamDifference | None = None
    lost: int = 0
    """Packets that the capture has lost in the whole lab so far."""
    connections: Connections = field(default_factory=Connections)


class Capture:
    """The capture of a whole lab: ``open`` and ``start`` it, ``begin`` and ``collect`` each attempt, and ``finish``."""

    def __init__(self, file: BinaryIO | None = None, comment: str = "") -> None:
        """``file`` gets a pcapng of everything; the capture closes it."""
        self._nodes: dict[str, LabNode] = {}
        self._opening: dict[str, Future[None]] = {}
        self._rings: dict[str, Ring] = {}
        self._waiting = select.epoll()
        """Rings with packets that are not read."""
        self._ring_of: dict[int, Ring] = {}
        """By descriptor."""
        self._pool = ThreadPoolExecutor(OPENED_AT_ONCE, thread_name_prefix="ring")
        self._interfaces: dict[tuple[str, int], str] = {}
        self._compared: set[str] = set()
        self._ways: Ways | None = None
        self._held: list[Frame] = []
        self._drained = 0
        self._attempts = Sightings()
        self._recording = Recording(file, comment) if file is not None else None

    def open(
        self, nodes: Iterable[LabNode], passing_on: Iterable[str], ruled: Iterable[str], ways: Ways | None = None
    ) -> None:
        """Get ready in the background: the kernel needs milliseconds for each ring, so threads make them.

        ``nodes``: all of the lab. ``passing_on``: those with programs that sessions pass. ``ruled``: those with rules.
        ``ways``: the branches of the network that need no capture before the first attempt from there or to there
        (``reach``); None: there are none. A capture file gets everything, and then there are none either.
        Raises LabError where a node's packets cannot be captured.
        """
        self._nodes = {node.name: node for node in nodes}
        self._compared = set(passing_on)
        self._ways = ways
        if self._recording:
            hosts = {node.name for node in self._nodes.values() if not node.plan.forward}
            self._recording.nodes = hosts | self._compared | set(ruled)
        at_once = self._nodes if ways is None or self._recording else ways.core
        for name in self._nodes:
            if name in at_once:
                self._open(name)

    async def start(self) -> None:
        """Capture from now on."""
        await self._opened(list(self._rings))
        if self._recording:
            self._recording.begin(self._nodes.values(), self._interfaces)
        self._drain_again()

    async def reach(self, names: Iterable[str]) -> None:
        """Attempts may pass these nodes from now on, and those between them and the core of the network."""
        if self._ways is None:
            return
        wanted = [on_the_way for name in names for on_the_way in self._ways.of(name) if on_the_way in self._nodes]
        for name in wanted:
            if name not in self._rings:
                self._open(name)
        await self._opened(wanted)

    def _open(self, name: str) -> None:
        node = self._nodes[name]
        self._name_interfaces(node)
        ring = self._rings[name] = _ring(node, self._depth(name), self._is_small(node))
        self._opening[name] = self._pool.submit(ring.start)

    async def _opened(self, names: Iterable[str]) -> None:
        """Wait until the rings of these nodes are open."""
        for name in names:
            if name in self._opening:
                await asyncio.wrap_future(self._opening[name])
            if self._opening.pop(name, None) is not None:  # another attempt may have waited for it as well
                ring = self._rings[name]
                ring.read([])  # discards packets from before
                self._ring_of[ring.fileno()] = ring
                self._waiting.register(ring, select.EPOLLIN)

    def _is_small(self, node: LabNode) -> bool:
        if self._ways is not None and node.name in self._ways.behind:
            return self._ways.behind[node.name] <= FEW_NODES
        return len(node.plan.interfaces) <= 1

    def begin(self, ports: Sequence[int], label: str) -> None:
        """An attempt is about to be made from these source ports. ``label``: the comment at its first packet."""
        if time.time_ns() - self._drained > BURST_SECONDS * 1e9:
            self.drain()
        if self._recording:
            self._recording.comments |= dict.fromkeys(ports, (ports, label))

    def collect(self, ports: Iterable[int], client: str, made: Made | None = None) -> Captured:
        """All that was captured of an attempt that is over. May be called once for each attempt.

        ``ports``: its source ports. ``client``: the node that made it, whose ICMP errors count. ``made``: tells which
        SYNs a node sent from a port; see ``connections``.
        """
        self.drain()
        sightings, connections = self._attempts.take(ports, client, self._compared, made)
        nodes = {sighting.node for sighting in sightings} & self._compared
        differences = (
            first_difference(sighting for sighting in sightings if sighting.node == node) for node in sorted(nodes)
        )
        return Captured(
            packets=deciding(sightings),
            icmp=icmp_errors(sightings, client),
            difference=next((difference for difference in differences if difference), None),
            lost=sum(ring.lost for ring in self._rings.values()),
            connections=connections,
        )

    def sent(self, node: str, port: int) -> list[int]:
        """Initial sequence numbers of the SYNs that a node has sent from a port, as far as packets have been read."""
        return self._attempts.sent(node, port)

    def lost(self) -> dict[str, int]:
        """Packets that were not captured because a ring was full, by node."""
        counts = {node: ring.count_lost() for node, ring in self._rings.items()}
        return {node: count for node, count in counts.items() if count}

    def finish(self) -> CaptureSummary:
        """Write the packets that are left, and close the file."""
        self.drain(final=True)
        lost, packets, problem = self.lost(), 0, None
        try:
            packets = self._recording.finish(lost) if self._recording else 0
        except OSError as error:
            problem = f"not all packets could be written: {error.strerror or error}"
        return CaptureSummary(packets=packets, lost=lost, problem=problem)

    def close(self) -> None:
        """Release the kernel's memory, for which the end of the process would wait. Nothing can be captured after."""
        for opening in self._opening.values():
            opening.exception()
        list(self._pool.map(Ring.close, self._rings.values()))

    def drain(self, *, final: bool = False) -> None:
        """Read the packets that the kernel has queued, in order of time over all nodes.

        Packets that come in while the rings are read one after another are kept for the next time.
        """
        until = self._drained = time.time_ns()
        frames = self._held
        for descriptor, _ in self._waiting.poll(0):
            self._ring_of[descriptor].read(frames)
        if not frames:
            return
        frames.sort(key=itemgetter(0))
        taken = len(frames) if final else bisect_left(frames, until, key=itemgetter(0))
        self._held = frames[taken:]
        self._take(frames[:taken])

    def _take(self, frames: Iterable[Frame]) -> None:
        recording, compared, note = self._recording, self._compared, self._attempts.note
        for frame in frames:
            nanoseconds, node, interface, leaving, _, data = frame
            packet = parse(data) if opens_or_ends(data) or node in compared else None
            number = recording.write(frame, packet) if recording is not None and node in recording.nodes else None
            if packet is not None:
                name = self._interfaces.get((node, interface), "?")
                kept = data[ETHERNET:] if node in compared else b""
                note(Sighting(nanoseconds, node, name, leaving, packet, kept, number))

    def _depth(self, node: str) -> Depth:
        if self._recording and node in self._recording.nodes:
            return EVERYTHING
        return SESSIONS if node in self._compared else LIGHT

    def _name_interfaces(self, node: LabNode) -> None:
        self._interfaces |= {(node.name, number): name for name, number in node.interface_indexes().items()}

    def _drain_again(self) -> None:
        self.drain()
        asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._drain_again)


def _ring(node: LabNode, depth: Depth, is_small: bool) -> Ring:
    try:
        packets: socket.socket = node.run_inside(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
    except OSError as error:
        raise LabError(f"{node.name}: packets cannot be captured: {error.strerror or error}") from error
    return Ring(node.name, packets, depth, depth.host_frames if is_small else depth.router_frames)
