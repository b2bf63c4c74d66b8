"""One lab's packets, written into a pcapng file while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import BinaryIO

from port25lab.evidence import pcapng
from port25lab.kernel.headers import Packet
from port25lab.kernel.packet_ring import FULL_SNAPLEN, Frame
from port25lab.network.builder import LOOPBACK_INDEX, LabNode


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
        """Nodes whose packets are written."""
        self.comments: dict[int, tuple[Sequence[int], str]] = {}
        """Source port → all ports of its attempt, and what to write at the first packet from any of them."""

    def begin(self, nodes: Iterable[LabNode], names: Mapping[tuple[str, int], str]) -> None:
        """Write the blocks that come before all packets."""
        self._names = names
        self._write(pcapng.section(self._comment, "port25lab"))
        addresses = {own.ip.packed: node.name for node in nodes for own in node.plan.addresses}
        self._write(pcapng.names(addresses))
        for place in names:
            if place[0] in self.nodes and place[1] != LOOPBACK_INDEX:
                self._interface(place)

    def write(self, frame: Frame, packet: Packet | None) -> int:
        """Write a packet. Returns its number, from 1."""
        nanoseconds, node, interface, leaving, length, data = frame
        place = (node, interface)
        if place not in self._numbers:
            self._interface(place)
        comment = self._comment_on(packet) if self.comments and packet is not None else None
        self._write(pcapng.packet(self._numbers[place], nanoseconds, leaving, data, length, comment))
        self._last = nanoseconds
        self._packets += 1
        return self._packets

    def _comment_on(self, packet: Packet) -> str | None:
        """The comment on the first packet of an attempt; None for the others."""
        if packet.source_port not in self.comments:
            return None
        ports, comment = self.comments[packet.source_port]
        for port in ports:
            self.comments.pop(port, None)
        return comment

    def finish(self, lost: Mapping[str, int]) -> int:
        """Write which packets were lost, by node, and close the file. Returns its packets.

        Raises the first OSError of any write.
        """
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
        node, interface = place[0], self._names.get(place, place[1])
        self._write(pcapng.interface(f"{node}/{interface}", f"{node}, interface {interface}", FULL_SNAPLEN))
        self._numbers[place] = len(self._numbers)
        return self._numbers[place]

    def _write(self, block: bytes) -> None:
        if self._failed is None:
            try:
                self._file.write(block)
            except OSError as error:  # the disk is full: the attempts go on
                self._failed = error
