"""The kernel's tables of neighbours, which all namespaces share: their limit, and how often they were full.

One table is ARP's, one is neighbour discovery's (rtnetlink(7), linux/neighbour.h). Every namespace can read them,
unlike the sysctls and the files in /proc, which are in the first one alone.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import NamedTuple

from port25lab.kernel.netlink import attributes, messages

_NEWNEIGHTBL, _GETNEIGHTBL = 64, 66

_ERROR, _DONE = 2, 3

_REQUEST_DUMP = 0x1 | 0x300

_LIMIT, _STATISTICS = 4, 7

_TABLE_FULL = 10
"""Place of the number in the statistics, which are numbers of 64 bits."""

_HEADER = 4
"""Bytes before the attributes."""


class Tables(NamedTuple):
    """Both tables together."""

    limit: int | None
    """Entries of the smaller one, permanent ones not counted (``gc_thresh3``). None: the kernel does not tell."""
    overflows: int
    """How often an entry found no room, so that a packet was lost, since the machine was started."""


class NeighbourTables:
    """A socket that reads the tables."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))
        self._known, self._read_at = Tables(None, 0), 0.0

    def lately(self, seconds: float) -> Tables:
        """The tables as they were at most so many seconds ago: reading takes longer the more interfaces there are."""
        now = time.monotonic()
        if not self._read_at or now - self._read_at > seconds:
            self._known, self._read_at = self.read(), now
        return self._known

    def read(self) -> Tables:
        """The tables as they are now."""
        self._socket.send(struct.pack("=IHHIIBxxx", 20, _GETNEIGHTBL, _REQUEST_DUMP, 0, 0, socket.AF_UNSPEC))
        limits, overflows, done = [], 0, False
        while not done:
            for kind, _, body in messages(self._socket.recv(1 << 16)):
                done |= kind in (_ERROR, _DONE)
                values = dict(attributes(body, _HEADER)) if kind == _NEWNEIGHTBL else {}
                # The kernel repeats a table for each interface, without these.
                if _LIMIT in values:
                    limits.append(int(struct.unpack("=I", values[_LIMIT])[0]))
                if _STATISTICS in values:
                    overflows += int(struct.unpack_from("=Q", values[_STATISTICS], 8 * _TABLE_FULL)[0])
        return Tables(min(limits, default=None), overflows)

    def close(self) -> None:
        self._socket.close()
