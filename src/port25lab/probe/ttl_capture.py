"""Reading packets, where the prober may (CAP_NET_RAW): the TTL of each answer to a SYN.

An ordinary user's sockets tell everything else. The kernel passes on SYN-ACKs and RSTs alone (bpf(4)), so that a busy
machine is none the busier.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct

from port25lab.kernel.headers import parse_ip

_ETH_P_ALL = 3

_SO_ATTACH_FILTER = 26

_MOST_ANSWERS = 4096

_FILTER = (
    (0x30, 0, 0, 0),  # A = first byte
    (0x54, 0, 0, 0xF0),  # its upper half: the version
    (0x15, 0, 5, 0x40),
    (0x30, 0, 0, 9),  # IPv4: protocol
    (0x15, 0, 9, 6),
    (0xB1, 0, 0, 0),  # X = length of the header
    (0x50, 0, 0, 13),  # A = TCP flags
    (0x45, 5, 6, 0x06),  # SYN or RST
    (0x15, 0, 5, 0x60),
    (0x30, 0, 0, 6),  # IPv6: next header
    (0x15, 0, 3, 6),
    (0x30, 0, 0, 53),
    (0x45, 0, 1, 0x06),
    (0x06, 0, 0, 128),  # take the headers
    (0x06, 0, 0, 0),  # leave it
)


class Wire:
    """While it is open, it notes the TTL of the first answer to each of this machine's source ports."""

    def __init__(self) -> None:
        self.ttls: dict[int, int] = {}
        self._sock: socket.socket | None = None

    @property
    def open(self) -> bool:
        """Whether this process may read packets."""
        return self._sock is not None

    def start(self) -> None:
        """Listen from now on, if the kernel lets us."""
        try:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ALL))
        except OSError:
            return
        code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in _FILTER))
        described = struct.pack("@HP", len(_FILTER), ctypes.addressof(code))
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
        self._sock = sock
        asyncio.get_running_loop().add_reader(sock, self._read)

    def ttl(self, source_port: int) -> int | None:
        """What arrived for a connection attempt."""
        self._read()
        return self.ttls.get(source_port)

    def close(self) -> None:
        """Listen no more."""
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
            self._sock = None

    def _read(self) -> None:
        while self._sock is not None:
            try:
                data, where = self._sock.recvfrom(128)
            except OSError:
                return
            packet = parse_ip(data)
            answer = packet is not None and packet.kind in ("SYN-ACK", "RST")
            if not answer or where[2] == socket.PACKET_OUTGOING or len(self.ttls) >= _MOST_ANSWERS:
                continue
            assert packet is not None
            if packet.destination_port is not None:
                self.ttls.setdefault(packet.destination_port, packet.ttl)
