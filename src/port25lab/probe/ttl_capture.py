"""The TTL of each answer to a SYN, read from the packets, where this process may read packets (CAP_NET_RAW).

An ordinary user's sockets report everything else. The kernel passes on SYN-ACKs and RSTs alone, so that the traffic of
a busy machine costs nothing.
"""

from __future__ import annotations

import asyncio
import socket

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
from port25lab.kernel.headers import ETH_P_ALL, RST, SYN, parse_ip

SNAPLEN = 128
"""Bytes kept of a packet: enough for its headers."""

FILTER = assemble(
    [
        Step(LOAD_BYTE, 0),
        Step(AND, 0xF0),
        Step(IF_EQUAL, 0x40, "ipv4"),
        Step(IF_EQUAL, 0x60, "ipv6", REFUSE),
        "ipv4",
        Step(LOAD_BYTE, 9),
        Step(IF_EQUAL, 6, None, REFUSE),
        Step(LOAD_HALF, 6),
        Step(IF_ANY_BIT, 0x1FFF, REFUSE),  # a later fragment, which has no TCP header
        Step(IPV4_LENGTH_TO_X, 0),
        Step(LOAD_BYTE_AT_X, 13),
        Step(IF_ANY_BIT, SYN | RST, ACCEPT, REFUSE),
        "ipv6",
        Step(LOAD_BYTE, 6),
        Step(IF_EQUAL, 6, None, REFUSE),
        Step(LOAD_BYTE, 53),
        Step(IF_ANY_BIT, SYN | RST, ACCEPT, REFUSE),
    ],
    SNAPLEN,
)
"""Accepts TCP packets with SYN or RST, on a socket whose packets begin with the IP header."""

_MOST_ANSWERS = 4096


class TtlCapture:
    """Notes the TTL of the first answer to each source port of this machine, from ``start`` to ``close``."""

    def __init__(self) -> None:
        self.ttls: dict[int, int] = {}
        self._sock: socket.socket | None = None

    @property
    def open(self) -> bool:
        """Whether this process may read packets."""
        return self._sock is not None

    def start(self) -> None:
        """Begin to capture, where this process has CAP_NET_RAW."""
        try:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL))
        except OSError:
            return
        attach(sock, FILTER)
        self._sock = sock
        asyncio.get_running_loop().add_reader(sock, self._read)

    def ttl(self, source_port: int) -> int | None:
        """The TTL of the first answer to a connection attempt; None: no answer came, or no packet could be read."""
        self._read()
        return self.ttls.get(source_port)

    def close(self) -> None:
        """End the capture."""
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
            self._sock = None

    def _read(self) -> None:
        while self._sock is not None:
            try:
                data, where = self._sock.recvfrom(SNAPLEN)
            except OSError:
                return
            packet = parse_ip(data)
            answer = packet is not None and packet.kind in ("SYN-ACK", "RST")
            if not answer or where[2] == socket.PACKET_OUTGOING or len(self.ttls) >= _MOST_ANSWERS:
                continue
            assert packet is not None
            if packet.destination_port is not None:
                self.ttls.setdefault(packet.destination_port, packet.ttl)
