"""What a node's own kernel would do with a packet: which way it goes, and whether the next hop has answered.

Both are asked by netlink (rtnetlink(7)), of the network namespace in which the thread is: RTM_GETROUTE, as `ip route
get` does, and RTM_GETNEIGH.
"""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from port25lab.kernel.netlink import attribute, attributes, messages

_NEWROUTE, _GETROUTE, _NEWNEIGH, _GETNEIGH, _ERROR = 24, 26, 28, 30, 2

_REQUEST = 0x1

_HEADER = struct.Struct("=IHHII")

_ROUTE = struct.Struct("=BBBBBBBBI")

_NEIGHBOUR = struct.Struct("=BxxxiHBB")

_DESTINATION, _SOURCE, _IN, _OUT, _GATEWAY = 1, 2, 3, 4, 5

_LOCAL = 2

_INCOMPLETE, _FAILED = 0x01, 0x20


class Way(NamedTuple):
    """The way of a packet, by the routes."""

    local: bool
    """The packet is for this node."""
    interface: int | None
    """Index of the interface by which it leaves."""
    next_hop: IPv4Address | IPv6Address


def way(source: IPv4Address | IPv6Address, destination: IPv4Address | IPv6Address, came_in: int | None) -> Way:
    """The way of a packet.

    Args:
        source, destination: Its addresses.
        came_in: Index of the interface by which it came; None: the node itself sends it.

    Raises: OSError where there is none: no route, a blackhole, or a source that the kernel does not believe.
    """
    family = socket.AF_INET if destination.version == 4 else socket.AF_INET6
    bits = destination.max_prefixlen
    body = _ROUTE.pack(family, bits, bits, 0, 0, 0, 0, 0, 0)
    body += attribute(_DESTINATION, destination.packed) + attribute(_SOURCE, source.packed)
    if came_in is not None:
        body += attribute(_IN, struct.pack("=I", came_in))
    answer = _ask(_GETROUTE, body, _NEWROUTE)
    found = dict(attributes(answer, _ROUTE.size))
    out = struct.unpack("=I", found[_OUT])[0] if _OUT in found else None
    gateway = found.get(_GATEWAY)
    next_hop = destination if gateway is None else type(destination)(gateway)
    return Way(_ROUTE.unpack_from(answer)[7] == _LOCAL, out, next_hop)


def awaited(address: IPv4Address | IPv6Address, interface: int) -> bool:
    """Whether a neighbour was asked for, and has not answered."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = _NEIGHBOUR.pack(family, interface, 0, 0, 0) + attribute(1, address.packed)
    try:
        answer = _ask(_GETNEIGH, body, _NEWNEIGH)
    except OSError:
        return False  # it was never asked for
    return bool(_NEIGHBOUR.unpack_from(answer)[2] & (_INCOMPLETE | _FAILED))


def _ask(request: int, body: bytes, wanted: int) -> bytes:
    """The body of the kernel's answer. Raises OSError with the kernel's own error."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as kernel:
        kernel.bind((0, 0))
        kernel.send(_HEADER.pack(_HEADER.size + len(body), request, _REQUEST, 1, 0) + body)
        for kind, _, answer in messages(kernel.recv(1 << 16)):
            if kind == wanted:
                return answer
            if kind == _ERROR:
                code = -struct.unpack_from("=i", answer)[0]
                raise OSError(code, os.strerror(code))
    raise OSError(0, "the kernel did not answer")
