"""A queue of the kernel's (NFQUEUE): packets wait in it until a program says what becomes of them.

Spoken over netlink itself (linux/netfilter/nfnetlink_queue.h): three messages, and no library to build.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable

from port25lab.kernel.netlink import attribute, attributes

_SUBSYSTEM = 3 << 8

_PACKET, _VERDICT, _CONFIG = _SUBSYSTEM | 0, _SUBSYSTEM | 1, _SUBSYSTEM | 2

_PACKET_HEADER, _VERDICT_HEADER, _PAYLOAD = 1, 2, 10

_COMMAND, _PARAMETERS = 1, 2

_BIND, _WHOLE_PACKETS = 1, 2

_ACCEPT = 1

_REQUEST, _ACK = 0x1, 0x4

_ERROR = 2

_SOL_NETLINK, _NO_ENOBUFS = 270, 5

LARGEST_PACKET = 0xFFFF

Rewrite = Callable[[bytes], bytes | None]
"""A packet from its IP header on → the one that takes its place; None: it passes as it is."""


class Queue:
    """One queue of a node. Every packet in it passes, as ``rewrite`` has it."""

    def __init__(self, kernel: socket.socket, number: int, rewrite: Rewrite) -> None:
        """``kernel``: a netlink socket to the node's netfilter. Raises OSError where there is no such queue to have."""
        self._kernel, self._number, self._rewrite = kernel, number, rewrite
        kernel.setsockopt(_SOL_NETLINK, _NO_ENOBUFS, 1)  # a packet that does not fit in is sent again by its sender
        kernel.setblocking(True)
        self._configure(attribute(_COMMAND, struct.pack(">BxH", _BIND, 0)))
        self._configure(attribute(_PARAMETERS, struct.pack(">IB", LARGEST_PACKET, _WHOLE_PACKETS)))
        kernel.setblocking(False)

    async def serve(self) -> None:
        """Deal with one packet after another, for ever. Raises what ``rewrite`` raises."""
        loop = asyncio.get_running_loop()
        while True:
            data = await loop.sock_recv(self._kernel, 1 << 17)
            length, kind = struct.unpack_from("=IH", data)
            if kind == _PACKET:
                self._let_pass(dict(attributes(data[20:length])))

    def _let_pass(self, packet: dict[int, bytes]) -> None:
        number = packet[_PACKET_HEADER][:4]
        altered = self._rewrite(packet.get(_PAYLOAD, b""))
        body = attribute(_VERDICT_HEADER, struct.pack(">I", _ACCEPT) + number)
        self._send(_VERDICT, _REQUEST, body + (b"" if altered is None else attribute(_PAYLOAD, altered)))

    def _configure(self, body: bytes) -> None:
        self._send(_CONFIG, _REQUEST | _ACK, body)
        answer = self._kernel.recv(1 << 16)
        kind, code = struct.unpack_from("=4xH10xi", answer)
        if kind == _ERROR and code:
            raise OSError(-code, f"NFQUEUE {self._number}: {os.strerror(-code)} ({errno.errorcode.get(-code, -code)})")

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        head = struct.pack(">BBH", socket.AF_UNSPEC, 0, self._number)
        self._kernel.send(struct.pack("=IHHII", 20 + len(body), kind, flags, 0, 0) + head + body)
