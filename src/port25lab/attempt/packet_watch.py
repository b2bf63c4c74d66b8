"""The hand-made packets that arrive at a node, from a packet socket in its namespace.

In: bytes as the node's interfaces receive them, before any rule of the node. Out: each ``Expected`` packet that came.
The kernel passes on what may be a hand-made packet or an answer to it: the socket costs little while mail is sent.
"""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from port25lab.kernel.bpf import (
    ACCEPT,
    AND,
    IF_ANY_BIT,
    IF_EQUAL,
    IPV4_LENGTH_TO_X,
    LOAD_BYTE,
    LOAD_BYTE_AT_X,
    LOAD_HALF,
    REFUSE,
    Step,
    assemble,
    attach,
)
from port25lab.kernel.headers import RST, SYN, fixed_header, ip_header

PACKET_OUTGOING = 4
"""A packet that the node itself sends (packet(7))."""

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
    number: int | None = None
    """Identification or flow label of a packet that need not have the bytes."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    whole: Reassembled | None = None
    """The packet, once it has arrived."""

    def fits(self, whole: Reassembled) -> bool:
        """Whether this is the packet."""
        if self.flags is not None and (whole.protocol != _TCP or whole.payload[13:14] != bytes([self.flags])):
            return False
        if self.protocol not in (None, whole.protocol):
            return False
        return self.token in whole.payload or (self.number is not None and self.number == _number(whole.packet))


def _number(packet: bytes) -> int | None:
    header = fixed_header(packet)
    return header.number if header else None


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
        self._known: dict[tuple[bytes, bytes, int], dict[int, tuple[bytes, bool]]] = defaultdict(dict)

    def add(self, packet: bytes) -> Reassembled | None:
        """The whole packet, if this is one or completes one; None while fragments are missing, and for other bytes."""
        ip = ip_header(packet)
        if ip is None:
            return None
        payload = packet[ip.begin : ip.end]
        if ip.offset == 0 and not ip.more:
            return Reassembled(ip.protocol, payload, packet)
        name = ip.source, ip.destination, ip.identification
        pieces = self._known[name]
        pieces[ip.offset] = payload, ip.more
        joined = b""
        while len(joined) in pieces:
            data, more = pieces[len(joined)]
            joined += data
            if not more:
                del self._known[name]
                return Reassembled(ip.protocol, joined, packet)
            if not data:
                break
        return None


FILTER = assemble(
    [
        Step(LOAD_BYTE, 0),
        Step(AND, 0xF0),
        Step(IF_EQUAL, 0x40, "ipv4"),
        Step(IF_EQUAL, 0x60, "ipv6", REFUSE),
        "ipv4",
        Step(LOAD_BYTE, 9),
        Step(IF_EQUAL, _TCP, None, ACCEPT),
        Step(LOAD_HALF, 6),
        Step(IF_ANY_BIT, 0x3FFF, ACCEPT),
        Step(IPV4_LENGTH_TO_X, 0),
        Step(LOAD_BYTE_AT_X, 13),
        Step(IF_ANY_BIT, SYN | RST, ACCEPT, REFUSE),
        "ipv6",
        Step(LOAD_BYTE, 6),
        Step(IF_EQUAL, _TCP, None, ACCEPT),
        Step(LOAD_BYTE, 40 + 13),
        Step(IF_ANY_BIT, SYN | RST, ACCEPT, REFUSE),
    ]
)
"""Leaves out the segments of open TCP sessions, on a socket whose packets begin with the IP header."""


def attach_filter(kernel: socket.socket) -> None:
    """Let the kernel leave out the segments of open sessions."""
    attach(kernel, FILTER)
