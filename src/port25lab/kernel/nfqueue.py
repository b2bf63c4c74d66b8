"""NFQUEUE: the kernel keeps packets in a queue until a program decides about each one.

Three netlink messages (linux/netfilter/nfnetlink_queue.h), so that no C library has to be built.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable

from port25lab.kernel.netlink import NFNETLINK_HEADER, SOL_NETLINK, attribute, attributes, messages

_SUBSYSTEM = 3 << 8

_PACKET, _VERDICT, _CONFIG = _SUBSYSTEM | 0, _SUBSYSTEM | 1, _SUBSYSTEM | 2

_PACKET_HEADER, _VERDICT_HEADER, _PAYLOAD = 1, 2, 10

_COMMAND, _PARAMETERS = 1, 2

_BIND, _WHOLE_PACKETS = 1, 2

_ACCEPT = 1

_REQUEST, _ACK = 0x1, 0x4

_ERROR = 2

_NO_ENOBUFS = 5

LARGEST_PACKET = 0xFFFF

Rewrite = Callable[[bytes], bytes | None]
"""A packet from its IP header on → the packet that replaces it; None: it passes unchanged."""


class Queue:
    """One queue of a node. Every packet passes, as ``rewrite`` returns it."""

    def __init__(self, kernel: socket.socket, number: int, rewrite: Rewrite) -> None:
        """Bind to a queue. Raises OSError where the kernel has no NFQUEUE, or another program has this queue.

        ``kernel``: a netlink socket to the node's netfilter. ``number``: of the queue, as in the rule.
        """
        self._kernel, self._number, self._rewrite = kernel, number, rewrite
        kernel.setsockopt(SOL_NETLINK, _NO_ENOBUFS, 1)  # a full buffer drops the packet; TCP sends it again
        kernel.setblocking(True)
        self._configure(attribute(_COMMAND, struct.pack(">BxH", _BIND, 0)))
        self._configure(attribute(_PARAMETERS, struct.pack(">IB", LARGEST_PACKET, _WHOLE_PACKETS)))
        kernel.setblocking(False)

    async def serve(self) -> None:
        """Handle packets, one after the other, without end. Raises what ``rewrite`` raises."""
        loop = asyncio.get_running_loop()
        while True:
            data = await loop.sock_recv(self._kernel, 1 << 17)
            for kind, _, body in messages(data):
                if kind == _PACKET:
                    self._let_pass(dict(attributes(body, NFNETLINK_HEADER)))

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
