"""A packet's headers: bytes as they were on the wire in, a ``Packet`` out, whatever the bytes are.

TCP (RFC 9293) over IPv4 (RFC 791) and IPv6 (RFC 8200), and the ICMP errors about it (RFC 792, RFC 4443), which carry
the head of the packet that they are about. Everything else, and everything cut short, is None.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Literal, NamedTuple

ETHERNET = 14
"""Bytes of an Ethernet header; interfaces of a lab have no VLANs."""

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

IPV4_ERRORS = frozenset({3, 11, 12})

IPV6_ERRORS = frozenset({1, 2, 3, 4})

_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"

_TCP, _ICMP, _ICMPV6 = 6, 1, 58

_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _OPTIONS, _MOBILITY = 0, 43, 44, 51, 60, 135

_MOST_EXTENSIONS = 8

_IPV4_HEADER = struct.Struct(">BxHxxHBBxx4s4s")

_IPV6_HEADER = struct.Struct(">B3xHBB16s16s")

_TCP_HEADER = struct.Struct(">HHIIBB")

_PLAIN = struct.Struct(">16xHxxxxBx2x4s4sHHIIBB")

_UNFRAGMENTED = (b"\x40\0", b"\0\0")
"""With "don't fragment" and without."""

_QUOTED = struct.Struct(">HHI")


class Quoted(NamedTuple):
    """The head of the TCP packet that an ICMP error is about."""

    source_port: int
    destination_port: int
    sequence: int | None
    """None where the error quotes less than eight bytes of it."""


class Packet(NamedTuple):
    """What a packet's headers say. Addresses are bytes until somebody wants to read them."""

    kind: str
    """``SYN``, ``SYN-ACK``, ``SYN-FIN``, ``RST``, ``FIN``, ``data``, ``ACK``, ``other``, ``fragment`` or ``ICMP``."""
    ip_version: Literal[4, 6]
    ttl: int
    source: bytes
    destination: bytes
    source_port: int | None = None
    destination_port: int | None = None
    sequence: int | None = None
    acknowledged: int | None = None
    payload: int = 0
    """Where the payload begins, counted from the IP header."""
    length: int = 0
    """Bytes of payload, as the IP header says."""
    icmp: tuple[int, int] | None = None
    """Type and code."""
    about: Quoted | None = None


def parse(frame: bytes) -> Packet | None:
    """The packet in an Ethernet frame; None where it is neither TCP nor an ICMP error about TCP."""
    kind = frame[12:14]
    if kind == _IPV4 and frame[14:15] == b"\x45" and frame[20:22] in _UNFRAGMENTED and frame[23:24] == b"\x06":
        return _plain_tcp(frame)
    return parse_ip(frame[ETHERNET:]) if kind in (_IPV4, _IPV6) else None


def parse_ip(data: bytes) -> Packet | None:
    """The same, from the IP header on."""
    try:
        head = _head(data)
        if head is None:
            return None
        if head.protocol == _TCP:
            return _tcp(data, head)
        if head.protocol == (_ICMP if head.ip_version == 4 else _ICMPV6) and not head.fragment:
            return _icmp_error(data, head)
    except (struct.error, IndexError):
        pass  # cut short
    return None


def opens_or_ends(frame: bytes) -> bool:
    """Quickly: a packet that opens, ends or refuses a connection, or may be one. No other packet decides anything."""
    if frame[12:14] == _IPV4 and len(frame) > 47:
        protocol = frame[23]
        if protocol == _TCP and frame[14] == 0x45:
            return bool(frame[47] & (SYN | FIN | RST)) or frame[20] & 0x3F != 0
        return protocol in (_TCP, _ICMP)
    if frame[12:14] == _IPV6 and len(frame) > 67:
        following = frame[20]
        return bool(frame[67] & (SYN | FIN | RST)) if following == _TCP else following not in (17, 59)
    return False


def text(address: bytes) -> str:
    """An address as people read it."""
    return str(ip_address(address))


class _Head(NamedTuple):
    ip_version: Literal[4, 6]
    protocol: int
    begin: int
    """Where the payload begins."""
    end: int
    """Where it ends, as the header says."""
    ttl: int
    source: bytes
    destination: bytes
    fragment: bool = False
    """One of several that only together are a packet; the first of them."""


def _head(data: bytes) -> _Head | None:
    """The IP header and all its extensions; None where this is no IP, or a later fragment."""
    version = data[0] >> 4
    if version == 4:
        first, total, fragment, ttl, protocol, source, destination = _IPV4_HEADER.unpack_from(data)
        begin = (first & 0x0F) * 4
        if begin < 20 or fragment & 0x1FFF:
            return None
        return _Head(4, protocol, begin, total or len(data), ttl, source, destination, bool(fragment & 0x2000))
    if version != 6:
        return None
    _, payload, following, ttl, source, destination = _IPV6_HEADER.unpack_from(data)
    begin, end, fragmented = 40, (40 + payload) if payload else len(data), False
    for _ in range(_MOST_EXTENSIONS):
        if following in (_HOP_BY_HOP, _ROUTING, _OPTIONS, _MOBILITY):
            following, begin = data[begin], begin + 8 * (data[begin + 1] + 1)
        elif following == _AUTHENTICATION:
            following, begin = data[begin], begin + 4 * (data[begin + 1] + 2)
        elif following == _FRAGMENT:
            (place,) = struct.unpack_from(">H", data, begin + 2)
            if place & 0xFFF8:
                return None
            fragmented, following, begin = bool(place & 1), data[begin], begin + 8
        else:
            return _Head(6, following, begin, end, ttl, source, destination, fragmented)
    return None


def _plain_tcp(frame: bytes) -> Packet | None:
    """TCP over IPv4 without options or fragments: what nearly all packets are."""
    if len(frame) < _PLAIN.size:
        return None
    (total, ttl, source, destination, source_port, destination_port, sequence, acknowledged, offset, flags) = (
        _PLAIN.unpack_from(frame)
    )
    payload = 20 + (offset >> 4) * 4
    length = max(0, (total or len(frame) - ETHERNET) - payload)
    return Packet(
        _kind(flags, length),
        4,
        ttl,
        source,
        destination,
        source_port,
        destination_port,
        sequence,
        acknowledged if flags & ACK else None,
        payload,
        length,
    )


def _tcp(data: bytes, head: _Head) -> Packet:
    if head.fragment and len(data) < head.begin + _TCP_HEADER.size:
        source_port, destination_port, sequence = _QUOTED.unpack_from(data, head.begin)
        return Packet(
            "fragment",
            head.ip_version,
            head.ttl,
            head.source,
            head.destination,
            source_port,
            destination_port,
            sequence,
        )
    source_port, destination_port, sequence, acknowledged, offset, flags = _TCP_HEADER.unpack_from(data, head.begin)
    payload = head.begin + (offset >> 4) * 4
    length = max(0, head.end - payload)
    return Packet(
        _kind(flags, length),
        head.ip_version,
        head.ttl,
        head.source,
        head.destination,
        source_port,
        destination_port,
        sequence,
        acknowledged if flags & ACK else None,
        payload,
        length,
    )


def _kind(flags: int, length: int) -> str:
    if flags & RST:
        return "RST"
    if flags & SYN:
        return "SYN-ACK" if flags & ACK else "SYN-FIN" if flags & FIN else "SYN"
    if flags & FIN:
        return "FIN"
    return "data" if length else "ACK" if flags & ACK else "other"


def _icmp_error(data: bytes, head: _Head) -> Packet | None:
    kind, code = data[head.begin], data[head.begin + 1]
    if kind not in (IPV4_ERRORS if head.ip_version == 4 else IPV6_ERRORS):
        return None
    quoted = data[head.begin + 8 :]
    about = _head(quoted) if quoted else None
    if about is None or about.ip_version != head.ip_version or about.protocol != _TCP:
        return None
    source_port, destination_port = struct.unpack_from(">HH", quoted, about.begin)
    whole = len(quoted) >= about.begin + _QUOTED.size
    sequence = struct.unpack_from(">I", quoted, about.begin + 4)[0] if whole else None
    return Packet(
        "ICMP",
        head.ip_version,
        head.ttl,
        head.source,
        head.destination,
        icmp=(kind, code),
        about=Quoted(source_port, destination_port, sequence),
    )
