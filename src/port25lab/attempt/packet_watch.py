"""What arrives at a node: a packet socket in its namespace, and those who wait for a packet there.

In: bytes as the node's interfaces take them in, before any rule of its own. Out: each ``Sight`` that was waited for.
The kernel filters for the probes' mark, so that the socket costs nothing while mail is sent.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from port25lab.evidence.traced_packet import MARK

PACKET_OUTGOING = 4
"""A packet that the node itself sends (packet(7))."""

_SO_ATTACH_FILTER = 26

_FRAGMENT, _HOP_BY_HOP, _ROUTING, _DESTINATION = 44, 0, 43, 60

_TCP = 6


@dataclass(frozen=True)
class Reassembled:
    """A packet as its receiver sees it, put together again where it came in fragments."""

    protocol: int
    payload: bytes
    """From the transport header on."""
    packet: bytes
    """From the IP header on; of a fragmented one, its last fragment."""


@dataclass(eq=False)
class Expected:
    """A packet that somebody waits for: one with these bytes in it, and if given, of this protocol or these flags."""

    token: bytes
    flags: int | None = None
    protocol: int | None = None
    seen: asyncio.Event = field(default_factory=asyncio.Event)
    whole: Reassembled | None = None
    """The packet, once it was seen."""

    def fits(self, whole: Reassembled) -> bool:
        """Whether this is the packet."""
        if self.flags is not None and (whole.protocol != _TCP or whole.payload[13:14] != bytes([self.flags])):
            return False
        return self.protocol in (None, whole.protocol) and self.token in whole.payload


class Listener:
    """One node's packet socket. Be ``expecting`` a sight before its packet is sent; the event loop calls ``read``."""

    def __init__(self, node: str, kernel: socket.socket) -> None:
        self.node = node
        self._kernel = kernel
        self._pieces = Pieces()
        self._sights: list[Expected] = []

    @contextmanager
    def expecting(self, sight: Expected) -> Iterator[Expected]:
        """Look out for a packet while the block runs."""
        self._sights.append(sight)
        try:
            yield sight
        finally:
            self._sights.remove(sight)

    def read(self) -> None:
        """Take all that the kernel has."""
        while True:
            try:
                packet, address = self._kernel.recvfrom(1 << 16)
            except BlockingIOError:
                return
            if address[2] == PACKET_OUTGOING:
                continue
            whole = self._pieces.add(packet)
            if whole is None:
                continue
            for sight in self._sights:
                if sight.whole is None and sight.fits(whole):
                    sight.whole = whole
                    sight.seen.set()


class Pieces:
    """Fragments on their way to becoming packets (RFC 791 section 3.2, RFC 8200 section 4.5)."""

    def __init__(self) -> None:
        self._known: dict[bytes, dict[int, tuple[bytes, bool]]] = defaultdict(dict)

    def add(self, packet: bytes) -> Reassembled | None:
        """The whole packet, if this is one or completes one; None as well for what is no IP packet."""
        parsed = _parse(packet)
        if parsed is None:
            return None
        protocol, payload, name, offset, more = parsed
        if offset == 0 and not more:
            return Reassembled(protocol, payload, packet)
        pieces = self._known[name]
        pieces[offset] = payload, more
        joined = b""
        while len(joined) in pieces:
            data, more = pieces[len(joined)]
            joined += data
            if not more:
                del self._known[name]
                return Reassembled(protocol, joined, packet)
            if not data:
                break
        return None


def attach_filter(kernel: socket.socket) -> None:
    """Let the kernel pass on marked packets alone: classic BPF (bpf(4)) on DSCP, for a socket that begins at IP."""
    tos, label = MARK << 2, MARK << 6
    program = [
        (0x30, 0, 0, 0),  # A = first byte
        (0x54, 0, 0, 0xF0),  # its upper half: the version
        (0x15, 0, 3, 0x40),
        (0x30, 0, 0, 1),  # IPv4: A = type of service
        (0x54, 0, 0, 0xFC),
        (0x15, 4, 5, tos),
        (0x15, 0, 4, 0x60),
        (0x28, 0, 0, 0),  # IPv6: A = version, traffic class, flow label
        (0x54, 0, 0, 0x0FC0),
        (0x15, 0, 1, label),
        (0x06, 0, 0, 0xFFFFFFFF),  # take it whole
        (0x06, 0, 0, 0),  # leave it
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    described = struct.pack("@HP", len(program), ctypes.addressof(code))
    kernel.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def _parse(packet: bytes) -> tuple[int, bytes, bytes, int, bool] | None:
    """Protocol, payload, what the fragments of one packet have in common, offset, and whether more follow."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        return _parse4(packet)
    return _parse6(packet) if version == 6 and len(packet) >= 40 else None


def _parse4(packet: bytes) -> tuple[int, bytes, bytes, int, bool]:
    length, fragment = struct.unpack_from(">2xHxxH", packet)
    header = (packet[0] & 0x0F) * 4
    return (
        packet[9],
        packet[header:length],
        packet[12:20] + packet[4:6],
        (fragment & 0x1FFF) * 8,
        bool(fragment & 0x2000),
    )


def _parse6(packet: bytes) -> tuple[int, bytes, bytes, int, bool] | None:
    protocol, start, name, offset, more = packet[6], 40, b"", 0, False
    end = 40 + struct.unpack_from(">4xH", packet)[0]
    while protocol in (_FRAGMENT, _HOP_BY_HOP, _ROUTING, _DESTINATION) and offset == 0:
        if start + 8 > len(packet):
            return None
        if protocol == _FRAGMENT:
            fragment = struct.unpack_from(">H", packet, start + 2)[0]
            name, offset, more = packet[8:40] + packet[start + 4 : start + 8], fragment & 0xFFF8, bool(fragment & 1)
            length = 8
        else:
            length = (packet[start + 1] + 1) * 8
        protocol, start = packet[start], start + length
    return protocol, packet[start:end], name, offset, more
