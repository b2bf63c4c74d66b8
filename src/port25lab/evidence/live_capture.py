"""Packets of one interface to standard output, as pcapng, while they come: for ``capture | wireshark -k -i -``.

It runs as a program of its own in the node's namespace.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from contextlib import suppress

from port25lab.evidence import pcapng
from port25lab.kernel.headers import ETH_P_ALL

PROGRAM = 'from port25lab.evidence import live_capture\nlive_capture.main(start["node"], start["interface"])\n'

LONGEST = 1 << 18

_SO_TIMESTAMPNS = 35

_OUTGOING = 4
"""PACKET_OUTGOING (packet(7))."""


def main(node: str, interface: str) -> None:
    """Write until standard output is closed, the interface goes, or a signal comes. Exit code 2: no such interface."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as packets:
        try:
            packets.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            packets.bind((interface, ETH_P_ALL))
        except OSError as error:
            sys.stderr.write(f"port25lab: {node} has no interface {interface}: {error.strerror}\n")
            sys.exit(2)
        with suppress(BrokenPipeError, KeyboardInterrupt, OSError):
            _copy(packets, node, interface)
    with suppress(BrokenPipeError):
        sys.stdout.close()


def _copy(packets: socket.socket, node: str, interface: str) -> None:
    out = sys.stdout.buffer
    out.write(pcapng.section(f"port25lab, {node} {interface}", "port25lab"))
    out.write(pcapng.interface(f"{node}/{interface}", f"interface {interface} of node {node}", LONGEST))
    out.flush()
    waiting = select.poll()
    waiting.register(packets, select.POLLIN)
    waiting.register(out, 0)  # reports an error when the reader is gone
    while True:
        if any(descriptor == out.fileno() for descriptor, _ in waiting.poll()):
            return
        data, control, _, address = packets.recvmsg(LONGEST, 64)
        nanoseconds = time.time_ns()
        for _, kind, value in control:
            if kind == _SO_TIMESTAMPNS:
                seconds, rest = struct.unpack("qq", value[:16])
                nanoseconds = seconds * 1_000_000_000 + rest
        out.write(pcapng.packet(0, nanoseconds, address[2] == _OUTGOING, data, len(data)))
        out.flush()
