"""A packet's headers: bytes as they were on the wire in, a ``Packet`` out, whatever the bytes are.

TCP (RFC 9293) over IPv4 (RFC 791) and IPv6 (RFC 8200), and the ICMP errors about TCP (RFC 792, RFC 4443), which carry
the beginning of the packet that they are about. Everything else, and everything cut short, is None.

For packets of any protocol there are ``fixed_header`` and ``ip_header``, for a TCP header by itself ``tcp_header``.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import ip_address
from typing import Literal, NamedTuple

ETH_P_ALL = 3
"""For a packet socket: packets of every protocol (packet(7))."""

ETHERNET = 14
"""Bytes of an Ethernet header; interfaces of a lab have no VLANs."""

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

IPV4_ERRORS = frozenset({3, 11, 12})

IPV6_ERRORS = frozenset({1, 2, 3, 4})

_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"

_TCP, _ICMP, _ICMPV6 = 6, 1, 58

_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _OPTIONS, _MOBILITY = 0, 43, 44, 51, 60, 135

_MOST_EXTENSIONS = 8

_IPV4_HEADER = struct.Struct(">BBHHHBBxx4s4s")

_IPV6_HEADER = struct.Struct(">IHBB16s16s")

_FRAGMENT_HEADER = struct.Struct(">BxHI")

_TCP_HEADER = struct.Struct(">HHIIBB")

_PLAIN = struct.Struct(">16xHHxxBx2x4s4sHHIIBB")

_UNFRAGMENTED = (b"\x40\0", b"\0\0")
"""With "don't fragment" and without."""

_QUOTED = struct.Struct(">HHI")


class FixedHeader(NamedTuple):
    """The part of an IP header that every packet has: 20 bytes of IPv4, 40 of IPv6."""

    ip_version: Literal[4, 6]
    protocol: int
    """IPv6: of the header behind it, which may be an extension header."""
    number: int
    """IPv4: the identification. IPv6: the flow label. The sender chooses either."""
    ttl: int
    """IPv6: the hop limit."""
    source: bytes
    destination: bytes
    fragment: bool
    """IPv6: as far as no other extension header stands before."""

    @property
    def may_be_tcp(self) -> bool:
        """Whether a whole TCP header may follow: behind extension headers of IPv6, too."""
        if self.fragment:
            return False
        return self.protocol == _TCP or (self.ip_version == 6 and self.protocol in (_HOP_BY_HOP, _ROUTING, _OPTIONS))


class IpHeader(NamedTuple):
    """An IP header with all its options or extension headers."""

    ip_version: Literal[4, 6]
    protocol: int
    begin: int
    """Where the payload begins."""
    end: int
    """Where the payload ends, as the header says."""
    ttl: int
    source: bytes
    destination: bytes
    offset: int = 0
    """Of a fragment: where its payload belongs in the whole packet's payload, in bytes."""
    more: bool = False
    """Whether fragments follow."""
    identification: int = 0
    """What all fragments of a packet have in common. IPv6: 0 where the packet is no fragment."""


class TcpHeader(NamedTuple):
    """The part of a TCP header that decides something."""

    source_port: int
    destination_port: int
    sequence: int
    acknowledged: int
    """Has a meaning where ``flags`` has ACK."""
    length: int
    """Bytes, options included."""
    flags: int


class Quoted(NamedTuple):
    """The beginning of the TCP packet that an ICMP error is about."""

    source_port: int
    destination_port: int
    sequence: int | None
    """None where the error quotes less than eight bytes of it."""


class Packet(NamedTuple):
    """What a packet's headers say. Addresses stay bytes: ``text`` makes them readable."""

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
    number: int = 0
    """IPv4: the identification. IPv6: the flow label. Of TCP alone."""


def parse(frame: bytes) -> Packet | None:
    """The packet in an Ethernet frame; None where it is neither TCP nor an ICMP error about TCP."""
    kind = frame[12:14]
    if kind == _IPV4 and frame[14:15] == b"\x45" and frame[20:22] in _UNFRAGMENTED and frame[23:24] == b"\x06":
        return _plain_tcp(frame)
    return parse_ip(frame[ETHERNET:]) if kind in (_IPV4, _IPV6) else None


def parse_ip(data: bytes) -> Packet | None:
    """As ``parse``, for a packet that begins with its IP header."""
    try:
        ip = _ip_header(data)
        if ip is None or ip.offset:
            return None
        if ip.protocol == _TCP:
            return _tcp(data, ip)
        if ip.protocol == (_ICMP if ip.ip_version == 4 else _ICMPV6) and not ip.more:
            return _icmp_error(data, ip)
    except (struct.error, IndexError):
        pass  # cut short
    return None


def fixed_header(data: bytes) -> FixedHeader | None:
    """The fixed part of the IP header at the beginning of these bytes; None where they are none, or cut short."""
    version = data[0] >> 4 if data else 0
    try:
        if version == 4:
            _, _, _, number, fragment, ttl, protocol, source, destination = _IPV4_HEADER.unpack_from(data)
            return FixedHeader(4, protocol, number, ttl, source, destination, bool(fragment & 0x3FFF))
        if version == 6:
            first, _, protocol, ttl, source, destination = _IPV6_HEADER.unpack_from(data)
            return FixedHeader(6, protocol, first & 0xFFFFF, ttl, source, destination, protocol == _FRAGMENT)
    except struct.error:
        pass
    return None


def ip_header(data: bytes) -> IpHeader | None:
    """The IP header at the beginning of these bytes, of a packet or a fragment; None where they are none, or cut short.

    Headers behind the fragment header of a later fragment are part of its payload.
    """
    try:
        return _ip_header(data)
    except (struct.error, IndexError):
        return None


def tcp_header(data: bytes) -> TcpHeader | None:
    """The TCP header at the beginning of these bytes; None where the bytes end before its flags."""
    if len(data) < _TCP_HEADER.size:
        return None
    source_port, destination_port, sequence, acknowledged, offset, flags = _TCP_HEADER.unpack_from(data)
    return TcpHeader(source_port, destination_port, sequence, acknowledged, (offset >> 4) * 4, flags)


def opens_or_ends(frame: bytes) -> bool:
    """Whether a packet opens, ends or refuses a connection, or may do so. No other packet decides anything.

    Looks at few bytes, so that most packets of a session need not be parsed.
    """
    if frame[12:14] == _IPV4:
        if len(frame) <= 47:
            return frame[23:24] == b"\x06"  # the first fragment of a segment may be this short
        protocol = frame[23]
        if protocol == _TCP and frame[14] == 0x45:
            return bool(frame[47] & (SYN | FIN | RST)) or frame[20] & 0x3F != 0
        return protocol in (_TCP, _ICMP)
    if frame[12:14] == _IPV6 and len(frame) > 67:
        following = frame[20]
        return bool(frame[67] & (SYN | FIN | RST)) if following == _TCP else following not in (17, 59)
    return False


@lru_cache(maxsize=10_000)
def text(address: bytes) -> str:
    """An address in its usual notation."""
    return str(ip_address(address))


def tcp_checksum(source: bytes, destination: bytes, segment: bytes) -> int:
    """The checksum of a TCP segment whose checksum field is 0 (RFC 9293 section 3.1, RFC 8200 section 8.1).

    ``source`` and ``destination`` are the addresses of its IP header, ``segment`` begins with the TCP header.
    """
    data = source + destination + struct.pack(">II", len(segment), _TCP) + segment + b"\0" * (len(segment) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _ip_header(data: bytes) -> IpHeader | None:
    """None where this is no IP header; raises struct.error or IndexError where it is cut short."""
    version = data[0] >> 4
    if version == 4:
        first, _, total, number, fragment, ttl, protocol, source, destination = _IPV4_HEADER.unpack_from(data)
        begin = (first & 0x0F) * 4
        if begin < 20:
            return None
        offset, more = (fragment & 0x1FFF) * 8, bool(fragment & 0x2000)
        return IpHeader(4, protocol, begin, total or len(data), ttl, source, destination, offset, more, number)
    if version != 6:
        return None
    _, payload, following, ttl, source, destination = _IPV6_HEADER.unpack_from(data)
    begin, end = 40, (40 + payload) if payload else len(data)
    offset, more, number = 0, False, 0
    for _ in range(_MOST_EXTENSIONS):
        if following in (_HOP_BY_HOP, _ROUTING, _OPTIONS, _MOBILITY) and not offset:
            following, begin = data[begin], begin + 8 * (data[begin + 1] + 1)
        elif following == _AUTHENTICATION and not offset:
            following, begin = data[begin], begin + 4 * (data[begin + 1] + 2)
        elif following == _FRAGMENT and not offset:
            following, place, number = _FRAGMENT_HEADER.unpack_from(data, begin)
            offset, more, begin = place & 0xFFF8, bool(place & 1), begin + 8
        else:
            return IpHeader(6, following, begin, end, ttl, source, destination, offset, more, number)
    return None


def _plain_tcp(frame: bytes) -> Packet | None:
    """TCP over IPv4 without options or fragments: what nearly all packets are."""
    if len(frame) < _PLAIN.size:
        return None
    (total, number, ttl, source, destination, source_port, destination_port, sequence, acknowledged, offset, flags) = (
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
        number=number,
    )


def _tcp(data: bytes, ip: IpHeader) -> Packet:
    if ip.more and len(data) < ip.begin + _TCP_HEADER.size:
        source_port, destination_port, sequence = _QUOTED.unpack_from(data, ip.begin)
        return Packet(
            "fragment",
            ip.ip_version,
            ip.ttl,
            ip.source,
            ip.destination,
            source_port,
            destination_port,
            sequence,
        )
    source_port, destination_port, sequence, acknowledged, offset, flags = _TCP_HEADER.unpack_from(data, ip.begin)
    payload = ip.begin + (offset >> 4) * 4
    length = max(0, ip.end - payload)
    number = ip.identification if ip.ip_version == 4 else struct.unpack_from(">I", data)[0] & 0xFFFFF
    return Packet(
        _kind(flags, length),
        ip.ip_version,
        ip.ttl,
        ip.source,
        ip.destination,
        source_port,
        destination_port,
        sequence,
        acknowledged if flags & ACK else None,
        payload,
        length,
        number=number,
    )


def _kind(flags: int, length: int) -> str:
    if flags & RST:
        return "RST"
    if flags & SYN:
        return "SYN-ACK" if flags & ACK else "SYN-FIN" if flags & FIN else "SYN"
    if flags & FIN:
        return "FIN"
    return "data" if length else "ACK" if flags & ACK else "other"


def _icmp_error(data: bytes, ip: IpHeader) -> Packet | None:
    kind, code = data[ip.begin], data[ip.begin + 1]
    if kind not in (IPV4_ERRORS if ip.ip_version == 4 else IPV6_ERRORS):
        return None
    quoted = data[ip.begin + 8 :]
    about = _ip_header(quoted) if quoted else None
    if about is None or about.offset or about.ip_version != ip.ip_version or about.protocol != _TCP:
        return None
    source_port, destination_port = struct.unpack_from(">HH", quoted, about.begin)
    whole = len(quoted) >= about.begin + _QUOTED.size
    sequence = struct.unpack_from(">I", quoted, about.begin + 4)[0] if whole else None
    return Packet(
        "ICMP",
        ip.ip_version,
        ip.ttl,
        ip.source,
        ip.destination,
        icmp=(kind, code),
        about=Quoted(source_port, destination_port, sequence),
    )
