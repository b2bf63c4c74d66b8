"""The packets of one node: a packet socket with a ring (packet(7), PACKET_RX_RING).

The kernel writes into memory that it shares with this process. So a packet costs no system call, and a burst waits in
the ring; a socket's receive buffer, which only root can enlarge, would lose it. A classic BPF program selects the
packets. One socket receives those of every interface of its namespace: a forwarded packet twice, coming in and leaving,
and a packet on ``lo`` twice as well.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
from dataclasses import dataclass

from port25lab.errors import LabError
from port25lab.kernel.bpf import (
    ACCEPT,
    IF_ANY_BIT,
    IF_EQUAL,
    IF_GREATER,
    IPV4_LENGTH_TO_X,
    LOAD_BYTE,
    LOAD_BYTE_AT_X,
    LOAD_HALF,
    REFUSE,
    Program,
    Step,
    assemble,
    attach,
)
from port25lab.kernel.headers import ETH_P_ALL, FIN, RST, SYN

LIGHT_SNAPLEN = 176
"""Bytes kept of a packet whose headers are enough: those of an ICMPv6 error and of the packet that it quotes."""

FULL_SNAPLEN = 1968
"""Bytes kept where payloads are read: whole packets, since no packet in a lab is longer than an interface's MTU."""

_SOL_PACKET, _PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION = 263, 5, 6, 10

_TPACKET_V2 = 1

_USER, _LOSING = 0x1, 0x4
"""TP_STATUS_USER: the frame belongs to this process, until it sets the status to 0. TP_STATUS_LOSING: packets were
lost, because the ring was full."""

_OUTGOING, _LAST_OF_INTEREST = 4, 4
"""sll_pkttype: PACKET_OUTGOING. Greater values are copies that the kernel loops back."""

_FRAME = struct.Struct("=IIIHHIIHH4xHHiHB")
"""struct tpacket2_hdr, and struct sockaddr_ll right behind it."""

_HEADROOM = 80
"""Bytes before the packet: both structures and their alignment."""

_BLOCK = 4096
"""One page: the kernel finds single pages more easily than large contiguous blocks."""


@dataclass(frozen=True)
class Depth:
    """How much of a node's traffic is captured. Frames are whole fractions of the ring's blocks."""

    program: Program
    snaplen: int
    host_frames: int
    router_frames: int
    """Frames in the ring: how many packets may wait to be read."""


Frame = tuple[int, str, int, bool, int, bytes]
"""A packet at an interface: nanoseconds since 1970, node, index of the interface, whether it left the node there,
bytes on the wire, and the bytes kept, from the Ethernet header on. A plain tuple for speed: there are very many."""


class Ring:
    """One node's capture, from ``start`` on."""

    def __init__(self, name: str, packets: socket.socket, depth: Depth, frames: int) -> None:
        """Prepare the capture.

        ``name``: of the node. ``packets``: a packet socket (packet(7)) in the node's namespace, not bound. ``depth``:
        which packets, and how much of each. ``frames``: how many packets the ring holds.
        """
        self._name, self._socket, self._depth = name, packets, depth
        self._frame = _HEADROOM + depth.snaplen
        self._frames = frames
        self._size, self._next = self._frames * self._frame, 0
        self.lost = 0
        """Packets that were lost because the ring was full, as far as the kernel has been asked."""

    def start(self) -> None:
        """Begin the capture. Raises LabError. The kernel waits for all processors meanwhile: start rings in threads."""
        sock, size = self._socket, self._size
        sock.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
        attach(sock, self._depth.program)
        _make_ring(sock, struct.pack("=4I", _BLOCK, size // _BLOCK, self._frame, self._frames))
        self._memory = mmap.mmap(sock.fileno(), size)
        self._status = memoryview(self._memory).cast("I")
        _bind_everywhere(sock)  # no packet comes before this

    def fileno(self) -> int:
        """The descriptor that is readable while packets wait in the ring."""
        return self._socket.fileno()

    def read(self, into: list[Frame]) -> None:
        """Append the packets that came since the last call, in order."""
        status, memory, unpack, name, step = self._status, self._memory, _FRAME.unpack_from, self._name, self._frame
        place = self._next
        while (state := status[place >> 2]) & _USER:
            _, length, kept, mac, _, seconds, nanoseconds, _, _, _, _, interface, _, kind = unpack(memory, place)
            if kind <= _LAST_OF_INTEREST:
                start = place + mac
                when = seconds * 1_000_000_000 + nanoseconds
                into.append((when, name, interface, kind == _OUTGOING, length, memory[start : start + kept]))
            status[place >> 2] = 0
            if state & _LOSING:
                self.count_lost()
            place += step
            if place == self._size:
                place = 0
        self._next = place

    def close(self) -> None:
        """End the capture; the ring cannot be read any more. The kernel waits as at ``start``: close rings in threads.

        Rings that a process leaves open are closed by the kernel one after another when it ends.
        """
        self._status.release()
        self._memory.close()
        self._socket.close()

    def count_lost(self) -> int:
        """Ask the kernel how many packets were lost; returns the number since ``start``."""
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self.lost += int(struct.unpack("=II", statistics)[1])
        return self.lost


_IPV6_EXTENSIONS = (0, 43, 44, 51, 60, 135)


def _filter(*, sessions: bool) -> list[Step | str]:
    """TCP that opens, ends or refuses a connection, or with ``sessions`` all of TCP; and ICMP errors."""
    opens_or_ends: dict[int, list[Step | str]] = {
        4: [
            Step(LOAD_HALF, 20),
            Step(IF_ANY_BIT, 0x3FFF, ACCEPT),  # a fragment: its flags may be in another one
            Step(IPV4_LENGTH_TO_X, 14),
            Step(LOAD_BYTE_AT_X, 14 + 13),
            Step(IF_ANY_BIT, FIN | SYN | RST, ACCEPT, REFUSE),
        ],
        6: [Step(LOAD_BYTE, 54 + 13), Step(IF_ANY_BIT, FIN | SYN | RST, ACCEPT, REFUSE)],
    }
    every: list[Step | str] = [Step(IF_EQUAL, 6, ACCEPT, ACCEPT)]
    return [
        Step(LOAD_HALF, 12),
        Step(IF_EQUAL, 0x0800, "ipv4"),
        Step(IF_EQUAL, 0x86DD, "ipv6", REFUSE),
        "ipv4",
        Step(LOAD_BYTE, 23),
        Step(IF_EQUAL, 6, "tcp"),
        Step(IF_EQUAL, 1, None, REFUSE),
        Step(LOAD_HALF, 20),
        Step(IF_ANY_BIT, 0x1FFF, REFUSE),
        Step(IPV4_LENGTH_TO_X, 14),
        Step(LOAD_BYTE_AT_X, 14),
        Step(IF_EQUAL, 3, ACCEPT),
        Step(IF_EQUAL, 11, ACCEPT),
        Step(IF_EQUAL, 12, ACCEPT, REFUSE),
        "tcp",
        *(every if sessions else opens_or_ends[4]),
        "ipv6",
        Step(LOAD_BYTE, 20),
        Step(IF_EQUAL, 6, "tcp6"),
        *(Step(IF_EQUAL, kind, ACCEPT) for kind in _IPV6_EXTENSIONS),
        Step(IF_EQUAL, 58, None, REFUSE),
        Step(LOAD_BYTE, 54),
        Step(IF_EQUAL, 0, REFUSE),
        Step(IF_GREATER, 4, REFUSE, ACCEPT),
        "tcp6",
        *(every if sessions else opens_or_ends[6]),
    ]


LIGHT = Depth(assemble(_filter(sessions=False), LIGHT_SNAPLEN), LIGHT_SNAPLEN, 512, 2048)
"""The headers of packets that open, end or refuse a connection."""

SESSIONS = Depth(assemble(_filter(sessions=True), FULL_SNAPLEN), FULL_SNAPLEN, 512, 2048)
"""All TCP packets and ICMP errors."""

EVERYTHING = Depth(assemble([], FULL_SNAPLEN), FULL_SNAPLEN, 512, 2048)

_libc = ctypes.CDLL(None, use_errno=True)


def _make_ring(sock: socket.socket, request: bytes) -> None:
    """Set the ring up. Python's own ``setsockopt`` would keep the interpreter's lock while the kernel waits."""
    _checked(_libc.setsockopt(sock.fileno(), _SOL_PACKET, _PACKET_RX_RING, request, len(request)))


def _bind_everywhere(sock: socket.socket) -> None:
    """Receive from all interfaces from now on. Python's own ``bind`` takes the name of one interface."""
    address = struct.pack("=HHiHBB8s", socket.AF_PACKET, socket.htons(ETH_P_ALL), 0, 0, 0, 0, b"")
    _checked(_libc.bind(sock.fileno(), address, len(address)))


def _checked(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise LabError(f"packets cannot be captured: {os.strerror(code)}")
