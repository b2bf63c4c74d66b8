"""Sessions altered packet by packet, in place: the length stays the same, so that sequence numbers stay right.

A middlebox of this kind does not reassemble the stream: it alters a line only where the line comes in one packet, as
SMTP's short lines do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from port25lab.kernel.headers import Packet, ip_header, parse_ip, tcp_checksum
from port25lab.mail.middleboxes.smtp_inspection import Alteration, State

MOST_FLOWS = 1024
"""Sessions whose state is kept; the oldest is dropped first."""

End = tuple[bytes, int]
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
    """A TCP segment with its IP header."""

    packet: bytes
    headers: Packet
    source: End
    destination: End

    @classmethod
    def read(cls, packet: bytes) -> Segment | None:
        """The segment; None for a packet that is not TCP, or is a fragment without a TCP header."""
        headers = parse_ip(packet)
        if headers is None or headers.source_port is None or headers.destination_port is None:
            return None
        source, destination = (headers.source, headers.source_port), (headers.destination, headers.destination_port)
        return None if headers.kind == "fragment" else cls(packet, headers, source, destination)

    @property
    def sequence(self) -> int:
        return self.headers.sequence or 0

    @property
    def opens(self) -> bool:
        return self.headers.kind in ("SYN", "SYN-FIN")

    @property
    def resets(self) -> bool:
        return self.headers.kind == "RST"

    @property
    def payload(self) -> bytes:
        return self.packet[self.headers.payload : self.headers.payload + self.headers.length]

    def with_payload(self, payload: bytes) -> bytes:
        """The same packet with another payload of the same length, and the right checksum."""
        if len(payload) != len(self.payload):
            raise ValueError(f"{len(payload)} bytes in place of {len(self.payload)}")
        ip = ip_header(self.packet)
        assert ip is not None
        head, tail = self.packet[: self.headers.payload], self.packet[self.headers.payload + len(payload) :]
        segment = bytearray(head[ip.begin :] + payload)
        segment[16:18] = b"\0\0"
        segment[16:18] = tcp_checksum(ip.source, ip.destination, bytes(segment)).to_bytes(2)
        return self.packet[: ip.begin] + bytes(segment) + tail
