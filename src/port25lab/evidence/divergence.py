"""The first difference between the two sides of a node that passes sessions on.

In: the packets of one attempt at one node, with payload. Out: a ``StreamDifference``, or None. The client side is the
connection whose SYN came in, the server side the one whose SYN left: the same connection where the node rewrites
packets in place, another one where it is a proxy. Each direction's bytes are put in order by sequence number (RFC 9293)
and compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from port25lab.evidence.deciding_packets import Sighting
from port25lab.kernel.headers import Packet
from port25lab.model.evidence import StreamDifference, StreamSide

LONGEST_STREAM = 1 << 18
"""Bytes compared in each direction."""

LONGEST_LINE = 78
"""Characters quoted of each side."""

_MODULO = 1 << 32

_FAREWELL = re.compile(rb"(QUIT|221[ -][^\r\n]*|221)\r?\n", re.IGNORECASE)
"""Lines that one side may lack without a difference: the end of a session."""

_Direction = Literal["client to server", "server to client"]


@dataclass
class _Stream:
    """The bytes of one direction of a connection, as far as they have come without a gap."""

    first: int
    """Sequence number of the first byte."""
    data: bytearray = field(default_factory=bytearray)
    packets: list[tuple[int, Sighting]] = field(default_factory=list)
    """Offset at which each packet's new bytes begin."""
    _early: dict[int, tuple[bytes, Sighting]] = field(default_factory=dict)

    def take(self, sequence: int, payload: bytes, sighting: Sighting) -> None:
        """Add the payload of a segment that has this sequence number."""
        offset = (sequence - self.first) % _MODULO
        if offset >= _MODULO // 2:
            return  # before the first byte: a keepalive
        if offset > LONGEST_STREAM:
            return
        self._early.setdefault(offset, (payload, sighting))
        while ready := [place for place in self._early if place <= len(self.data)]:
            for place in sorted(ready):
                data, packet = self._early.pop(place)
                new = data[len(self.data) - place :]
                if new and len(self.data) < LONGEST_STREAM:
                    self.packets.append((len(self.data), packet))
                    self.data += new

    def packet(self, offset: int) -> Sighting | None:
        """The packet that brought the byte at this offset."""
        return next((packet for begin, packet in reversed(self.packets) if begin <= offset < len(self.data)), None)


@dataclass
class _Side:
    """A connection as it passes one interface of the node."""

    interface: str
    leaving: bool
    """Whether its SYN left the node here."""
    ends: tuple[bytes, int | None, bytes, int | None]
    """Addresses and ports, the client's first."""
    from_client: _Stream
    from_server: _Stream | None = None


def first_difference(sightings: Iterable[Sighting]) -> StreamDifference | None:
    """The first difference in time; None where both sides say the same, or where there is only one side."""
    sides = _sides(sightings)
    client = next((side for side in reversed(sides) if not side.leaving), None)
    server = next((side for side in reversed(sides) if side.leaving), None)
    if client is None or server is None:
        return None
    directions = (
        _compared("client to server", client.from_client, server.from_client),
        _compared("server to client", client.from_server, server.from_server),
    )
    found = [difference for difference in directions if difference is not None]
    return min(found, key=lambda difference: difference[0])[1] if found else None


def _compared(
    direction: _Direction, client: _Stream | None, server: _Stream | None
) -> tuple[int, StreamDifference] | None:
    """The first difference of one direction, with the time of its first packet in nanoseconds."""
    if client is None or server is None:
        return None
    offset = _offset_of_difference(bytes(client.data), bytes(server.data))
    if offset is None:
        return None
    packets = [packet for stream in (client, server) if (packet := stream.packet(offset)) is not None]
    difference = StreamDifference(
        direction=direction,
        offset=offset,
        client_side=_stream_side(bytes(client.data), offset),
        server_side=_stream_side(bytes(server.data), offset),
        packets=tuple(packet.number for packet in packets if packet.number is not None),
    )
    return min(packet.nanoseconds for packet in packets), difference


def _sides(sightings: Iterable[Sighting]) -> list[_Side]:
    sides: list[_Side] = []
    for sighting in sorted(sightings, key=lambda sighting: sighting.nanoseconds):
        packet = sighting.packet
        if packet.sequence is None:
            continue
        ends = (packet.source, packet.source_port, packet.destination, packet.destination_port)
        if packet.kind == "SYN" and not _side(sides, sighting, ends, forward=True):
            sides.append(_Side(sighting.interface, sighting.leaving, ends, _Stream((packet.sequence + 1) % _MODULO)))
        elif side := _side(sides, sighting, ends, forward=True):
            _take(side.from_client, packet, sighting)
        elif side := _side(sides, sighting, (*ends[2:], *ends[:2]), forward=False):
            if packet.kind == "SYN-ACK":
                side.from_server = side.from_server or _Stream((packet.sequence + 1) % _MODULO)
            elif side.from_server is not None:
                _take(side.from_server, packet, sighting)
    return sides


def _side(sides: Sequence[_Side], sighting: Sighting, ends: tuple[object, ...], *, forward: bool) -> _Side | None:
    """The connection that a packet belongs to, where it passes at that connection's own interface."""
    return next(
        (
            side
            for side in reversed(sides)
            if side.ends == ends
            and side.interface == sighting.interface
            and (side.leaving == sighting.leaving) is forward
        ),
        None,
    )


def _take(stream: _Stream, packet: Packet, sighting: Sighting) -> None:
    assert packet.sequence is not None
    if packet.length:
        payload = sighting.data[packet.payload : packet.payload + packet.length]
        if payload:
            stream.take(packet.sequence, payload, sighting)


def _offset_of_difference(client: bytes, server: bytes) -> int | None:
    common = min(len(client), len(server))
    if client[:common] != server[:common]:
        return next(offset for offset in range(common) if client[offset] != server[offset])
    rest = client[common:] or server[common:]
    return common if rest and not _FAREWELL.fullmatch(rest) else None


def _stream_side(data: bytes, offset: int) -> StreamSide:
    """The line around an offset; bytes that are no text in hexadecimal."""
    if offset >= len(data):
        return StreamSide(ended=bool(data))
    begin = max(data.rfind(b"\n", 0, offset) + 1, offset - LONGEST_LINE // 2)
    end = data.find(b"\n", offset)
    line = data[begin : end if end >= 0 else len(data)].rstrip(b"\r")
    if not line.isascii() or not line.decode("ascii").isprintable():
        return StreamSide(octets=data[offset : offset + 16].hex(" "))
    return StreamSide(line=line[:LONGEST_LINE].decode("ascii"), shortened=len(line) > LONGEST_LINE)
