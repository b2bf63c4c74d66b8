"""What arrives at a node: a packet socket in its namespace, and those who wait for a packet there.

In: bytes as the node's interfaces take them in, before any rule of its own. Out: each ``Sight`` that was waited for.
The kernel filters for the probes' mark, so that the socket costs nothing while mail is sent.
"""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from port25lab.evidence.rule_trace import MARK
from port25lab.kernel.bpf import ACCEPT, AND, IF_EQUAL, LOAD_BYTE, LOAD_HALF, REFUSE, Step, assemble, attach
from port25lab.kernel.headers import ip_header

PACKET_OUTGOING = 4
"""A packet that the node itself sends (packet(7))."""

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
        self._known: dict[tuple[bytes, bytes, int], dict[int, tuple[bytes, bool]]] = defaultdict(dict)

    def add(self, packet: bytes) -> Reassembled | None:
        """The whole packet, if this is one or completes one; None as well for what is no IP packet."""
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
        Step(LOAD_BYTE, 1),
        Step(AND, 0xFC),
        Step(IF_EQUAL, MARK << 2, ACCEPT, REFUSE),
        "ipv6",
        Step(LOAD_HALF, 0),
        Step(AND, 0x0FC0),
        Step(IF_EQUAL, MARK << 6, ACCEPT, REFUSE),
    ]
)
"""Accepts marked packets alone, by their DSCP, on a socket whose packets begin with the IP header."""


def attach_filter(kernel: socket.socket) -> None:
    """Let the kernel pass on marked packets alone."""
    attach(kernel, FILTER)
