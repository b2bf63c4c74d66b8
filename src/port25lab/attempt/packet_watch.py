"""The hand-made packets that arrive at a node, from a packet socket in its namespace.

In: bytes as the node's interfaces receive them, before any rule of the node. Out: each ``Expected`` packet that came.
The kernel filters for the mark of hand-made packets, so that the socket costs nothing while mail is sent.
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

from port25lab.evidence.rule_trace import MARK

PACKET_OUTGOING = 4
"""A packet that the node itself sends (packet(7))."""

_SO_ATTACH_FILTER = 26

_FRAGMENT, _HOP_BY_HOP, _ROUTING, _DESTINATION = 44, 0, 43, 60

_TCP = 6


@dataclass(frozen=True)
class Reassembled:
    """A packet as its receiver sees it: reassembled where it came in fragments."""

    protocol: int
    payload: bytes
    """From the transport header on."""
    packet: bytes
    """From the IP header on; of a fragmented one, its last fragment."""


@dataclass(eq=False)
class Expected:
    """A packet that may arrive: it has these bytes in it, and the protocol and TCP flags that are given here."""

    token: bytes
    flags: int | None = None
    protocol: int | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    whole: Reassembled | None = None
    """The packet, once it has arrived."""

    def fits(self, whole: Reassembled) -> bool:
        """Whether this is the packet."""
        if self.flags is not None and (whole.protocol != _TCP or whole.payload[13:14] != bytes([self.flags])):
            return False
        return self.protocol in (None, whole.protocol) and self.token in whole.payload


class Listener:
    """One node's packet socket. Call ``expecting`` before the packet is sent; the event loop calls ``read``."""

    def __init__(self, node: str, kernel: socket.socket) -> None:
        self.node = node
        self._kernel = kernel
        self._pieces = Pieces()
        self._expected: list[Expected] = []

    @contextmanager
    def expecting(self, expected: Expected) -> Iterator[Expected]:
        """Look for a packet while the block runs."""
        self._expected.append(expected)
        try:
            yield expected
        finally:
            self._expected.remove(expected)

    def read(self) -> None:
        """Read all packets that the kernel has queued."""
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
            for expected in self._expected:
                if expected.whole is None and expected.fits(whole):
                    expected.whole = whole
                    expected.arrived.set()


class Pieces:
    """Reassembles fragments (RFC 791 section 3.2, RFC 8200 section 4.5)."""

    def __init__(self) -> None:
        self._known: dict[bytes, dict[int, tuple[bytes, bool]]] = defaultdict(dict)

    def add(self, packet: bytes) -> Reassembled | None:
        """The whole packet, if this is one or completes one; None while fragments are missing, and for other bytes."""
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
    """Protocol, payload, the fields that fragments of one packet have in common, offset, and whether more follow."""
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
