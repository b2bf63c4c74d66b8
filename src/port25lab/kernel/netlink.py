"""Netlink messages: encoded and sent in batches to build a network, and taken apart for whatever the kernel reports.

pyroute2 does the same and takes 2 ms for each host. A lab of 200 hosts has to be up within a few hundred milliseconds:
so the few requests that a lab needs are encoded here (rtnetlink(7), RFC 3549), and one send configures a namespace.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_address

NETLINK_NETFILTER = 12
"""The protocol number of a netlink socket to netfilter (linux/netlink.h)."""

NFNETLINK_HEADER = 4
"""Bytes at the beginning of a netfilter message's body: family, version, and a number of the subsystem's own."""

SOL_NETLINK = 270
"""The level of a netlink socket's own options (netlink(7))."""

_HEADER = struct.Struct("=IHHII")

_LINK = struct.Struct("=BxHiII")

_ADDRESS = struct.Struct("=BBBBI")

_ROUTE = struct.Struct("=BBBBBBBBI")

_NEIGHBOUR = struct.Struct("=BxxxiHBB")

_U32 = struct.Struct("=I")

_U64 = struct.Struct("=Q")

_REQUEST_ACK = 0x1 | 0x4

_CREATE = 0x400 | 0x200

_REPLACE = 0x400 | 0x100

_NEWLINK, _GETLINK, _NEWADDR, _NEWROUTE = 16, 18, 20, 24

_NEWNEIGH, _DELNEIGH, _GETNEIGH, _SETNEIGHTBL = 28, 29, 30, 67

_ERROR, _DONE, _DUMP = 2, 3, 0x300

_MAC, _IFNAME, _MASTER, _LINKINFO, _NET_NS_FD, _GSO_MAX_SEGS = 1, 3, 10, 18, 28, 40

_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1

_UP = 0x1

_NODAD = 0x02

_BLACKHOLE = 6

_PERMANENT, _NOARP = 0x80, 0x40

_TABLE_NAME, _TABLE_PARAMETERS = 1, 6
"""Attributes of a neighbour table (linux/neighbour.h, NDTA)."""

_INTERFACE, _BASE_REACHABLE, _RETRANSMIT, _STALE, _DELAY_PROBE = 1, 4, 5, 6, 7
"""Parameters of a neighbour table for one interface (NDTPA)."""

_SEND_AT_ONCE = 32
"""Requests sent before their answers are read, so that no answer is lost to a full receive buffer."""


def attribute(kind: int, payload: bytes) -> bytes:
    """One netlink attribute, padded to four bytes."""
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + b"\0" * (-length % 4)


def attributes(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """The attributes of a message body, without the nesting and byte-order flags of their kinds."""
    while start + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, start)
        if length < 4:
            return
        yield kind & 0x3FFF, data[start + 4 : start + length]
        start += (length + 3) & ~3


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The messages in what one receive returned: the type, the sequence number, and all that follows the header."""
    start = 0
    while start + _HEADER.size <= len(data):
        length, kind, _, number, _ = _HEADER.unpack_from(data, start)
        if length < _HEADER.size:
            return
        yield kind, number, data[start + _HEADER.size : start + length]
        start += (length + 3) & ~3


def _nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | 0x8000, b"".join(parts))


def _name(text: str) -> bytes:
    return attribute(_IFNAME, text.encode() + b"\0")


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=HH", kind, _REQUEST_ACK | flags) + body


def _mac(mac: bytes | None) -> bytes:
    return b"" if mac is None else attribute(_MAC, mac)


def veth(
    name: str,
    index: int,
    namespace: int,
    peer: str,
    peer_index: int,
    peer_namespace: int,
    macs: tuple[bytes, bytes] | tuple[None, None] = (None, None),
) -> bytes:
    """Make a veth pair. Both ends are down: neither can be up before the other exists.

    ``name``, ``index``, ``namespace``: of the one end; a file descriptor stands for a network namespace. The caller
    chooses the index, and need not ask the kernel for it.
    ``peer``, ``peer_index``, ``peer_namespace``: of the other end.
    ``macs``: of both ends, 6 bytes each. None: the kernel makes them up.
    """
    mac, peer_mac = macs
    peer_body = _LINK.pack(0, 0, peer_index, 0, 0) + _name(peer) + attribute(_NET_NS_FD, _U32.pack(peer_namespace))
    peer_body += _mac(peer_mac)
    info = _nested(
        _LINKINFO,
        attribute(_INFO_KIND, b"veth\0"),
        _nested(_INFO_DATA, attribute(_VETH_PEER, peer_body)),
    )
    head = _LINK.pack(0, 0, index, 0, 0) + _name(name) + attribute(_NET_NS_FD, _U32.pack(namespace))
    return _message(_NEWLINK, _CREATE, head + _mac(mac) + info)


def bridge(name: str, index: int, mac: bytes | None = None) -> bytes:
    """Make a bridge, and set it up. ``mac``: 6 bytes; None: the kernel makes one up."""
    info = _nested(_LINKINFO, attribute(_INFO_KIND, b"bridge\0"))
    return _message(_NEWLINK, _CREATE, _LINK.pack(0, 0, index, _UP, _UP) + _name(name) + _mac(mac) + info)


def one_segment(index: int) -> bytes:
    """Switch segmentation offload off: TCP sends its segments one by one, and every packet fits the MTU."""
    return _message(_NEWLINK, 0, _LINK.pack(0, 0, index, 0, 0) + attribute(_GSO_MAX_SEGS, _U32.pack(1)))


def enslave(index: int, master_index: int) -> bytes:
    """Make an interface a port of a bridge."""
    return _message(_NEWLINK, 0, _LINK.pack(0, 0, index, 0, 0) + attribute(_MASTER, _U32.pack(master_index)))


def up(index: int) -> bytes:
    """Set an interface up."""
    return _message(_NEWLINK, 0, _LINK.pack(0, 0, index, _UP, _UP))


def settle(index: int) -> bytes:
    """Ask for an interface's state, so that the kernel notices its carrier now.

    An interface that has come up sends nothing before the kernel's link watch has run, which waits for up to a second
    when many links come up at once. The kernel runs the link watch before it answers this request (rtnl_getlink).
    """
    return _message(_GETLINK, 0, _LINK.pack(0, 0, index, 0, 0))


def address(index: int, interface: IPv4Interface | IPv6Interface) -> bytes:
    """Set an address, usable at once: without IPv6 duplicate address detection (RFC 4862 section 5.4)."""
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    flags = 0 if interface.version == 4 else _NODAD
    body = _ADDRESS.pack(family, interface.network.prefixlen, flags, 0, index)
    local = attribute(2, interface.ip.packed) + attribute(1, interface.ip.packed)
    return _message(_NEWADDR, _REPLACE, body + local)


_LINK_SCOPE = 253


def route(to: IPv4Network | IPv6Network, via: IPv4Address | IPv6Address | None, interface: int | None = None) -> bytes:
    """Set a static route.

    ``via``: the gateway; None: straight to the ``interface`` with this index, and without one a blackhole.
    """
    family = socket.AF_INET if to.version == 4 else socket.AF_INET6
    kind = 1 if via is not None or interface is not None else _BLACKHOLE
    scope = _LINK_SCOPE if via is None and interface is not None and to.version == 4 else 0
    body = _ROUTE.pack(family, to.prefixlen, 0, 0, 254, 4, scope, kind, 0)
    if to.prefixlen:
        body += attribute(1, to.network_address.packed)
    if via is not None:
        body += attribute(5, via.packed)
    if interface is not None:
        body += attribute(4, struct.pack("=I", interface))
    return _message(_NEWROUTE, _REPLACE, body)


def neighbour(index: int, ip: IPv4Address | IPv6Address, mac: bytes) -> bytes:
    """Set a permanent neighbour: the kernel never asks for its MAC address (ARP, neighbour discovery)."""
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    body = _NEIGHBOUR.pack(family, index, _PERMANENT, 0, 0)
    return _message(_NEWNEIGH, _REPLACE, body + attribute(1, ip.packed) + attribute(2, mac))


def resolution(index: int, ip_version: int, retransmit: int, keep: int) -> bytes:
    """Set how an interface resolves its neighbours. Unlike the sysctls, this also works in a user namespace.

    Args:
        index: The interface.
        ip_version: 4 for ARP, 6 for neighbour discovery.
        retransmit: Milliseconds between two requests. Three without an answer are a failure (RFC 4861 section 7.2.2).
        keep: Milliseconds for which an entry is used without being asked for again.
    """
    family, table = (socket.AF_INET, b"arp_cache") if ip_version == 4 else (socket.AF_INET6, b"ndisc_cache")
    times = ((_RETRANSMIT, retransmit), (_BASE_REACHABLE, keep), (_DELAY_PROBE, keep), (_STALE, keep))
    parameters = [attribute(kind, _U64.pack(milliseconds)) for kind, milliseconds in times]
    body = struct.pack("=Bxxx", family) + attribute(_TABLE_NAME, table + b"\0")
    body += _nested(_TABLE_PARAMETERS, attribute(_INTERFACE, _U32.pack(index)), *parameters)
    return _message(_SETNEIGHTBL, 0, body)


class Rtnetlink:
    """A route socket. It belongs to the network namespace in which the thread is when the socket is made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))

    def __enter__(self) -> Rtnetlink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, requests: list[tuple[str, bytes]], *, tolerated: int = 0) -> None:
        """Send requests. Each has a description; OSError has that of the first request that the kernel refuses.

        ``tolerated``: an errno that is no failure.
        """
        for start in range(0, len(requests), _SEND_AT_ONCE):
            chunk = requests[start : start + _SEND_AT_ONCE]
            self._socket.send(b"".join(_frame(number, body) for number, (_, body) in enumerate(chunk)))
            waiting = len(chunk)
            while waiting:
                for kind, number, body in messages(self._socket.recv(1 << 16)):
                    if kind != _ERROR:
                        continue
                    waiting -= 1
                    code = -struct.unpack_from("=i", body)[0]
                    if code not in (0, tolerated):
                        raise OSError(
                            code, f"{os.strerror(code)} ({errno.errorcode.get(code, code)}): {chunk[number][0]}"
                        )

    def forget_neighbours(self) -> None:
        """Delete all neighbours that were resolved, or are being resolved. Permanent ones stay."""
        self._socket.send(_frame(0, struct.pack("=HH", _GETNEIGH, 0x1 | _DUMP) + _NEIGHBOUR.pack(0, 0, 0, 0, 0)))
        learned: list[tuple[str, bytes]] = []
        done = False
        while not done:
            for kind, _, body in messages(self._socket.recv(1 << 16)):
                done |= kind in (_DONE, _ERROR)
                if kind == _NEWNEIGH:
                    family, index, state, _, _ = _NEIGHBOUR.unpack_from(body)
                    address = dict(attributes(body, _NEIGHBOUR.size)).get(1)
                    if address is not None and not state & (_PERMANENT | _NOARP):
                        request = _NEIGHBOUR.pack(family, index, 0, 0, 0) + attribute(1, address)
                        learned.append((f"neighbour {ip_address(address)}", _message(_DELNEIGH, 0, request)))
        self.send(learned, tolerated=errno.ENOENT)  # the kernel may have discarded some by now


def _frame(number: int, message: bytes) -> bytes:
    kind, flags = struct.unpack_from("=HH", message)
    body = message[4:]
    frame = _HEADER.pack(_HEADER.size + len(body), kind, flags, number, 0) + body
    return frame + b"\0" * (-len(frame) % 4)
