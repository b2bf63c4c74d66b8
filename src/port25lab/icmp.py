"""ICMP and ICMPv6 errors as they reach a client's host: the type and code that errno alone does not tell.

A raw socket in the host reads them; each carries the head of the packet that it is about (RFC 792, RFC 4443), and
with it the source port of the attempt.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import defaultdict
from typing import Literal

from port25lab.evidence import IcmpError
from port25lab.labhost import LabHost

_IPV4_ERRORS = {3, 11, 12}
_IPV6_ERRORS = {1, 2, 3, 4}


class IcmpWatch:
    """All ICMP errors that reached the watched hosts, by the source port of the packet that they are about."""

    def __init__(self) -> None:
        self._sockets: dict[tuple[str, Literal[4, 6]], socket.socket] = {}
        self._errors: dict[int, list[IcmpError]] = defaultdict(list)

    def watch(self, host: LabHost) -> None:
        """Listen in a host; at most once for each."""
        for version, protocol in ((4, socket.IPPROTO_ICMP), (6, socket.IPPROTO_ICMPV6)):
            key: tuple[str, Literal[4, 6]] = (host.name, 4 if version == 4 else 6)
            if key not in self._sockets:
                sock = self._sockets[key] = host.raw(key[1], protocol)
                asyncio.get_running_loop().add_reader(sock, self._read, sock, key[1])

    def errors(self, source_port: int) -> list[IcmpError]:
        """The errors about one attempt, equal ones once."""
        for (_, version), sock in self._sockets.items():
            self._read(sock, version)
        found = self._errors[source_port]
        return [error for number, error in enumerate(found) if error not in found[:number]]

    def _read(self, sock: socket.socket, version: Literal[4, 6]) -> None:
        while True:
            try:
                data, sender = sock.recvfrom(2048)
            except BlockingIOError:
                return
            parsed = parse(data, sender[0], version)
            if parsed:
                self._errors[parsed[0]].append(parsed[1])


def parse(data: bytes, sender: str, version: Literal[4, 6]) -> tuple[int, IcmpError] | None:
    """Source port and error of an ICMP message about a TCP packet; None for every other message."""
    icmp = _ipv4_payload(data, socket.IPPROTO_ICMP) if version == 4 else data
    if len(icmp) < 8 or icmp[0] not in (_IPV4_ERRORS if version == 4 else _IPV6_ERRORS):
        return None
    tcp = _ipv4_payload(icmp[8:], socket.IPPROTO_TCP) if version == 4 else _ipv6_payload(icmp[8:], socket.IPPROTO_TCP)
    if len(tcp) < 2:
        return None
    error = IcmpError(sender=sender.split("%")[0], ip_version=version, type=icmp[0], code=icmp[1])
    return struct.unpack_from(">H", tcp)[0], error


def _ipv4_payload(packet: bytes, protocol: int) -> bytes:
    """What follows the header; nothing where it is no such header, another protocol or a later fragment (RFC 791)."""
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] != protocol or packet[6] & 0x1F or packet[7]:
        return b""
    header = (packet[0] & 0x0F) * 4
    return packet[header:] if header >= 20 else b""


def _ipv6_payload(packet: bytes, protocol: int) -> bytes:
    """What follows the header; nothing where it is no such header or another one comes next (RFC 8200)."""
    return packet[40:] if len(packet) >= 40 and packet[0] >> 4 == 6 and packet[6] == protocol else b""
