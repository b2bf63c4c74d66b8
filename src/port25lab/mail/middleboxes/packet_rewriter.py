"""Sessions altered packet by packet, in place: the length stays the same, so that sequence numbers stay right.

scapy parses packets and computes their checksums. A rewriter of this kind does not reassemble the stream: it alters a
line only where the line comes in one packet, as SMTP's short lines do. Importing scapy takes half a second: import this
module only where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scapy.layers.inet import IP, TCP, in4_chksum
from scapy.layers.inet6 import IPv6, in6_chksum

from port25lab.mail.middleboxes.smtp_inspection import Alteration, State

SHORTEST_PACKET = 40
"""Bytes of the headers of IPv4 and TCP."""

MOST_FLOWS = 1024
"""Sessions whose state is kept; the oldest is dropped first."""

End = tuple[str, int]
"""An address and a port."""


@dataclass
class Flow:
    """One session, from its SYN on."""

    alteration: Alteration
    states: dict[tuple[End, int], State] = field(default_factory=dict)
    """Sender and sequence number of each segment → the state before it: a retransmission is altered as the original."""


class Inline:
    """Rewrites all sessions that pass one queue."""

    def __init__(self, alter: Callable[[], Alteration]) -> None:
        self._alter = alter
        self._flows: dict[tuple[End, End], Flow] = {}
        """By client and server."""

    def rewrite(self, packet: bytes) -> bytes | None:
        """The packet to send in place of this one; None where it passes unchanged."""
        segment = Segment.read(packet)
        if segment is None:
            return None
        here, there = segment.source, segment.destination
        if segment.opens:
            self._begin((here, there))
        flow = self._flows.get((here, there))
        if flow is not None:
            altered = self._altered(flow, segment, flow.alteration.from_client)
        else:
            flow = self._flows.get((there, here))
            altered = self._altered(flow, segment, flow.alteration.from_server) if flow else segment.payload
        if segment.resets:
            self._flows.pop((here, there), self._flows.pop((there, here), None))
        return None if altered == segment.payload else segment.with_payload(altered)

    def _begin(self, ends: tuple[End, End]) -> None:
        self._flows.pop(ends, None)
        self._flows[ends] = Flow(self._alter())
        while len(self._flows) > MOST_FLOWS:
            del self._flows[next(iter(self._flows))]

    def _altered(self, flow: Flow, segment: Segment, alter: Callable[[bytes], bytes]) -> bytes:
        if not segment.payload:
            return segment.payload
        key = segment.source, segment.sequence
        now = flow.alteration.state
        again = key in flow.states
        flow.alteration.state = flow.states.setdefault(key, now)
        altered = alter(segment.payload)
        if again:
            flow.alteration.state = now
        return altered


@dataclass(frozen=True)
class Segment:
    """A TCP segment as scapy reads it."""

    packet: bytes
    network: Any
    """scapy's IP or IPv6."""

    @classmethod
    def read(cls, packet: bytes) -> Segment | None:
        """The segment; None for a packet that is not TCP, or is a fragment."""
        if len(packet) < SHORTEST_PACKET:
            return None
        network = (IPv6 if packet[0] >> 4 == 6 else IP)(packet)
        return cls(packet, network) if TCP in network else None

    @property
    def tcp(self) -> Any:
        return self.network["TCP"]

    @property
    def source(self) -> End:
        return self.network.src, self.tcp.sport

    @property
    def destination(self) -> End:
        return self.network.dst, self.tcp.dport

    @property
    def sequence(self) -> int:
        return int(self.tcp.seq)

    @property
    def opens(self) -> bool:
        return "S" in self.tcp.flags and "A" not in self.tcp.flags

    @property
    def resets(self) -> bool:
        return "R" in self.tcp.flags

    @property
    def payload(self) -> bytes:
        return bytes(self.tcp.payload)

    def with_payload(self, payload: bytes) -> bytes:
        """The same packet with another payload of the same length, and the right checksum."""
        if len(payload) != len(self.payload):
            raise ValueError(f"{len(payload)} bytes in place of {len(self.payload)}")
        start = len(self.packet) - len(bytes(self.tcp))
        segment = bytearray(self.packet[start:])
        segment[len(segment) - len(payload) :] = payload
        segment[16:18] = b"\0\0"
        made = (in6_chksum if self.network.version == 6 else in4_chksum)(6, self.network, bytes(segment))
        segment[16:18] = made.to_bytes(2, "big")
        return self.packet[:start] + bytes(segment)
