"""Where a node that passes a session on says something else than it was told: the first difference of its two sides.

In: the packets of one attempt at one node, with payload. Out: words, or None. The client side is the connection whose
SYN came in, the server side the one whose SYN left: the same connection where the node rewrites packets in place,
another one where it is a proxy. Each direction's bytes are put in order by sequence number (RFC 9293) and compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from port25lab.evidence.deciding_packets import Sighting
from port25lab.kernel.headers import Packet

LONGEST_STREAM = 1 << 18
"""Bytes compared in each direction."""

LONGEST_LINE = 78
"""Characters quoted of each side."""

_MODULO = 1 << 32

_FAREWELL = re.compile(rb"(QUIT|221[ -][^\r\n]*|221)\r?\n", re.IGNORECASE)
"""What may be lost on the way without a difference to anybody."""


@dataclass
class _Stream:
    """The bytes of one direction of a connection, as far as they have come without a gap."""

    first: int
    """Sequence number of the first byte."""
    data: bytearray = field(default_factory=bytearray)
    packets: list[tuple[int, Sighting]] = field(default_factory=list)
    """Offset at which each packet's new bytes begin."""
    _early: dict[int, tuple[bytes, Sighting]] = field(default_factory=dict)

    def take(self, sequence: int, payload: bytes, seen: Sighting) -> None:
        offset = (sequence - self.first) % _MODULO
        if offset >= _MODULO // 2:
            return  # before the first byte: a keepalive
        if offset > LONGEST_STREAM:
            return
        self._early.setdefault(offset, (payload, seen))
        while ready := [place for place in self._early if place <= len(self.data)]:
            for place in sorted(ready):
                data, packet = self._early.pop(place)
                new = data[len(self.data) - place :]
                if new and len(self.data) < LONGEST_STREAM:
                    self.packets.append((len(self.data), packet))
                    self.data += new

    def packet(self, offset: int) -> Sighting | None:
        """The packet that brought the byte at this offset."""
        return next((seen for begin, seen in reversed(self.packets) if begin <= offset < len(self.data)), None)


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


def divergence(sightings: Iterable[Sighting]) -> str | None:
    """The first difference, with its offset and packets; None where both sides say the same, or there is but one."""
    sides = _sides(sightings)
    client = next((side for side in reversed(sides) if not side.leaving), None)
    server = next((side for side in reversed(sides) if side.leaving), None)
    if client is None or server is None:
        return None
    found = []
    for what, ours, theirs in (
        ("client to server", client.from_client, server.from_client),
        ("server to client", client.from_server, server.from_server),
    ):
        if ours is not None and theirs is not None:
            offset = _first_difference(bytes(ours.data), bytes(theirs.data))
            if offset is not None:
                seen = [stream.packet(offset) for stream in (ours, theirs)]
                when = min(packet.nanoseconds for packet in seen if packet is not None)
                found.append((when, _words(what, offset, ours, theirs, seen)))
    return min(found)[1] if found else None


def _sides(sightings: Iterable[Sighting]) -> list[_Side]:
    sides: list[_Side] = []
    for seen in sorted(sightings, key=lambda seen: seen.nanoseconds):
        packet = seen.packet
        if packet.sequence is None:
            continue
        ends = (packet.source, packet.source_port, packet.destination, packet.destination_port)
        if packet.kind == "SYN" and not _side(sides, seen, ends, forward=True):
            sides.append(_Side(seen.interface, seen.leaving, ends, _Stream((packet.sequence + 1) % _MODULO)))
        elif side := _side(sides, seen, ends, forward=True):
            _take(side.from_client, packet, seen)
        elif side := _side(sides, seen, (*ends[2:], *ends[:2]), forward=False):
            if packet.kind == "SYN-ACK":
                side.from_server = side.from_server or _Stream((packet.sequence + 1) % _MODULO)
            elif side.from_server is not None:
                _take(side.from_server, packet, seen)
    return sides


def _side(sides: Sequence[_Side], seen: Sighting, ends: tuple[object, ...], *, forward: bool) -> _Side | None:
    """The connection that a packet belongs to, where it passes at that connection's own interface."""
    return next(
        (
            side
            for side in reversed(sides)
            if side.ends == ends and side.interface == seen.interface and (side.leaving == seen.leaving) is forward
        ),
        None,
    )


def _take(stream: _Stream, packet: Packet, seen: Sighting) -> None:
    assert packet.sequence is not None
    if packet.length:
        payload = seen.data[packet.payload : packet.payload + packet.length]
        if payload:
            stream.take(packet.sequence, payload, seen)


def _first_difference(ours: bytes, theirs: bytes) -> int | None:
    common = min(len(ours), len(theirs))
    if ours[:common] != theirs[:common]:
        return next(place for place in range(common) if ours[place] != theirs[place])
    rest = ours[common:] or theirs[common:]
    return common if rest and not _FAREWELL.fullmatch(rest) else None


def _words(what: str, offset: int, ours: _Stream, theirs: _Stream, seen: Sequence[Sighting | None]) -> str:
    numbers = " and ".join(_numbers(seen))
    packets = f", packets {numbers}" if numbers else ""
    sides = (f"{name} side: {_line(bytes(s.data), offset)}" for name, s in (("client", ours), ("server", theirs)))
    return f"{', '.join(sides)} ({what}, byte {offset}{packets})"


def _numbers(seen: Sequence[Sighting | None]) -> Iterator[str]:
    for packet in seen:
        if packet is not None and packet.number is not None:
            yield str(packet.number)


def _line(data: bytes, offset: int) -> str:
    """The line around an offset, in quotes; bytes that are no text in hexadecimal."""
    if offset >= len(data):
        return "nothing more" if data else "nothing"
    begin = max(data.rfind(b"\n", 0, offset) + 1, offset - LONGEST_LINE // 2)
    end = data.find(b"\n", offset)
    line = data[begin : end if end >= 0 else len(data)].rstrip(b"\r")
    if not line.isascii() or not line.decode("ascii").isprintable():
        return f"bytes {data[offset : offset + 16].hex(' ')}"
    shown = line[:LONGEST_LINE].decode("ascii")
    return f'"{shown}"' + ("..." if len(line) > LONGEST_LINE else "")
