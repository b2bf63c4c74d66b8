"""The packets of a lab: captured at every node, matched to attempts, and written to a file where one is wanted.

Always on is a light capture: what opens, refuses or ends a connection, at all nodes. Nodes whose policy brings
programs are captured with all of TCP, so that the two sides of a middlebox can be compared. Where a file is to be
written, it gets everything at hosts and at nodes with rules.

An attempt is known by its source port, as in ``trace``; where NAT gives it another one, by the initial sequence number
of its SYN, and by the addresses and ports that this SYN then had.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import itemgetter
from typing import BinaryIO

from port25lab import pcapng
from port25lab.divergence import divergence
from port25lab.evidence import IcmpError, PacketSeen
from port25lab.network import LOOPBACK_INDEX, SOURCE_PORTS, LabNode
from port25lab.packet import ETHERNET, Packet, opens_or_ends, parse
from port25lab.ring import EVERYTHING, FULL_SNAPLEN, LIGHT, SESSIONS, Depth, Frame, Ring
from port25lab.sightings import PASSING, Sighting, deciding, icmp_errors

DRAIN_SECONDS = 0.02
"""How often the rings are emptied; besides, at the beginning and at the end of each attempt."""

BURST_SECONDS = 0.005
"""Many attempts may begin in one turn of the event loop: then the rings are emptied so often meanwhile."""

LONGEST_SESSION = 1 << 20
"""Bytes that are kept of an attempt for comparison, both sides and directions together."""

_Ends = tuple[bytes, int | None, bytes, int | None]


@dataclass
class Seen:
    """What the capture tells of one attempt."""

    packets: list[PacketSeen] = field(default_factory=list)
    icmp: list[IcmpError] = field(default_factory=list)
    divergence: str | None = None
    lost: int = 0
    """Packets that the capture has lost in the whole lab so far."""


class Capture:
    """A whole lab's: ``open`` and ``start`` it, ``begin`` each attempt, ask what was ``seen`` of it, and ``finish``."""

    def __init__(self, file: BinaryIO | None = None, comment: str = "") -> None:
        """``file`` gets a pcapng of everything; the capture closes it."""
        self._nodes: list[LabNode] = []
        self._opening: list[Future[None]] = []
        self._rings: dict[str, Ring] = {}
        self._interfaces: dict[tuple[str, int], str] = {}
        self._compared: set[str] = set()
        self._held: list[Frame] = []
        self._drained = 0
        self._attempts = _Attempts()
        self._recording = Recording(file, comment) if file is not None else None

    def open(self, nodes: Iterable[LabNode], passing_on: Iterable[str], ruled: Iterable[str]) -> None:
        """Get ready in the background. ``passing_on``: nodes with programs that sessions pass; ``ruled``: with rules.

        The kernel takes its time over each ring, so they are made in threads while the lab goes on starting.
        """
        self._nodes = list(nodes)
        self._compared = set(passing_on)
        if self._recording:
            hosts = {node.name for node in self._nodes if not node.plan.forward}
            self._recording.nodes = hosts | self._compared | set(ruled)
        for node in self._nodes:
            self._name_interfaces(node)
            self._rings[node.name] = Ring(node, self._depth(node.name))
        pool = ThreadPoolExecutor(max(1, len(self._rings)), thread_name_prefix="ring")
        self._opening = [pool.submit(ring.start) for ring in self._rings.values()]
        pool.shutdown(wait=False)

    async def start(self) -> None:
        """Capture from now on."""
        for opening in self._opening:
            await asyncio.wrap_future(opening)
        for ring in self._rings.values():
            ring.read([])  # what is from before the start
        if self._recording:
            self._recording.begin(self._nodes, self._interfaces)
        self._drain_again()

    def begin(self, ports: Sequence[int], label: str) -> None:
        """An attempt is about to be made from these source ports."""
        if time.time_ns() - self._drained > BURST_SECONDS * 1e9:
            self.drain()
        if self._recording:
            self._recording.comments |= dict.fromkeys(ports, (ports, label))

    def seen(self, ports: Iterable[int], client: str) -> Seen:
        """All that was seen of an attempt that is over. May be asked once."""
        self.drain()
        sightings = [seen for port in ports for seen in self._attempts.take(port)]
        nodes = {seen.node for seen in sightings} & self._compared
        differences = [divergence(seen for seen in sightings if seen.node == node) for node in sorted(nodes)]
        return Seen(
            packets=deciding(sightings),
            icmp=icmp_errors(sightings, client),
            divergence=next((difference for difference in differences if difference), None),
            lost=sum(ring.lost for ring in self._rings.values()),
        )

    def lost(self) -> dict[str, int]:
        """Packets that were not captured because a ring was full, by node."""
        counts = {node: ring.count_lost() for node, ring in self._rings.items()}
        return {node: count for node, count in counts.items() if count}

    def finish(self) -> int:
        """Write all that is left, and close the file. Returns its packets; OSError if any was not written."""
        self.drain(final=True)
        return self._recording.finish(self.lost()) if self._recording else 0

    def drain(self, *, final: bool = False) -> None:
        """Take what the kernel has queued, in order of time over all nodes.

        What comes in while the rings are read one after another is held back until the next time.
        """
        until = self._drained = time.time_ns()
        frames = self._held
        for ring in self._rings.values():
            ring.read(frames)
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
        names = [*(port.name for port in node.plan.interfaces), *node.plan.bridges]
        self._interfaces |= {(node.name, node.index(name)): name for name in names}
        self._interfaces[node.name, LOOPBACK_INDEX] = "lo"

    def _drain_again(self) -> None:
        self.drain()
        asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._drain_again)


class _Attempts:
    """Sightings by the source port of the attempt that they belong to."""

    def __init__(self) -> None:
        self._sightings: dict[int, list[Sighting]] = defaultdict(list)
        self._kept: defaultdict[int, int] = defaultdict(int)
        """Source port → bytes kept of its session."""
        self._over: set[int] = set()
        self._ports: dict[int, int] = {}
        """Initial sequence number → source port."""
        self._translated: dict[_Ends, int] = {}
        """Addresses and ports that NAT made → source port."""

    def note(self, seen: Sighting) -> None:
        """Keep a sighting, if it belongs to an attempt that is not over. A server may say more than memory holds."""
        port = self._port(seen.packet)
        if port is None or port in self._over:
            return
        if seen.packet.kind in PASSING:
            if not seen.packet.length or self._kept[port] > LONGEST_SESSION:
                return
            self._kept[port] += len(seen.data)
        self._sightings[port].append(seen)

    def take(self, port: int) -> list[Sighting]:
        """The sightings of an attempt, which is over."""
        self._over.add(port)
        self._kept.pop(port, None)
        return self._sightings.pop(port, [])

    def _port(self, packet: Packet) -> int | None:
        head = packet if packet.about is None else packet.about
        source_port, destination_port, sequence = head.source_port, head.destination_port, head.sequence
        if source_port is not None and source_port in SOURCE_PORTS:
            if packet.kind == "SYN" and sequence is not None:
                self._ports.setdefault(sequence, source_port)
            return source_port
        if destination_port in SOURCE_PORTS:
            return destination_port
        ends = (packet.source, packet.source_port, packet.destination, packet.destination_port)
        if packet.kind != "SYN" and packet.about is None:
            return self._translated.get(ends)
        port = None if sequence is None else self._ports.get(sequence)
        if port is not None and packet.about is None:
            self._translated[ends] = self._translated[*ends[2:], *ends[:2]] = port
        return port


class Recording:
    """A lab's capture file: an interface for each observation point, and a comment where an attempt begins."""

    def __init__(self, file: BinaryIO, comment: str) -> None:
        self._file = file
        self._comment = comment
        self._numbers: dict[tuple[str, int], int] = {}
        self._names: Mapping[tuple[str, int], str] = {}
        self._packets = 0
        self._failed: OSError | None = None
        self._last = 0
        self.nodes: set[str] = set()
        """Where packets are captured for it."""
        self.comments: dict[int, tuple[Sequence[int], str]] = {}
        """Source port → all ports of its attempt, and what to write at the first packet from any of them."""

    def begin(self, nodes: Iterable[LabNode], names: Mapping[tuple[str, int], str]) -> None:
        """Write what comes before all packets."""
        self._names = names
        self._write(pcapng.section(self._comment, "port25lab"))
        addresses = {own.ip.packed: node.name for node in nodes for own in node.plan.addresses}
        self._write(pcapng.names(addresses))
        for place in names:
            if place[0] in self.nodes and place[1] != LOOPBACK_INDEX:
                self._interface(place)

    def write(self, record: Frame, packet: Packet | None) -> int:
        """Write a packet. Returns its number, from 1."""
        nanoseconds, node, interface, leaving, length, data = record
        place = (node, interface)
        if place not in self._numbers:
            self._interface(place)
        comment = self._comment_on(packet) if self.comments and packet is not None else None
        self._write(pcapng.packet(self._numbers[place], nanoseconds, leaving, data, length, comment))
        self._last = nanoseconds
        self._packets += 1
        return self._packets

    def _comment_on(self, packet: Packet) -> str | None:
        """What to say of it, where it is the first of its attempt."""
        if packet.source_port not in self.comments:
            return None
        ports, comment = self.comments[packet.source_port]
        for port in ports:
            self.comments.pop(port, None)
        return comment

    def finish(self, lost: Mapping[str, int]) -> int:
        """Say what is missing, and close the file. Raises the first error that there was in writing."""
        for node, count in lost.items():
            number = next(number for (name, _), number in self._numbers.items() if name == node)
            self._write(pcapng.loss(number, self._last, count, f"lost at all interfaces of {node} together"))
        try:
            self._file.close()
        except OSError as error:
            self._failed = self._failed or error
        if self._failed:
            raise self._failed
        return self._packets

    def _interface(self, place: tuple[str, int]) -> int:
        name = f"{place[0]}/{self._names.get(place, place[1])}"
        self._write(pcapng.interface(name, f"{name.replace('/', ', interface ')}", FULL_SNAPLEN))
        self._numbers[place] = len(self._numbers)
        return self._numbers[place]

    def _write(self, block: bytes) -> None:
        if self._failed is None:
            try:
                self._file.write(block)
            except OSError as error:  # the disk is full: the attempts go on
                self._failed = error
