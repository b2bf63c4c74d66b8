"""The probes' packets, built with scapy. In: a ``Shot``. Out: bytes, from the IP header on. Pure; needs no lab.

All packets of a probe carry the mark by which nodes trace them (a DSCP value for local use, RFC 2474 section 6) and
the probe's number: as identification in IPv4, as flow label in IPv6. Both survive routers and address translation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption, IPOption_NOP, IPOption_RR
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
)
from scapy.layers.l2 import GRE, Ether
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from port25lab.evidence.rule_trace import MARK
from port25lab.model.addresses import IpVersion

PIECE = 8
"""Bytes of payload in a fragment: the least that there is, as offsets count in units of eight (RFC 791)."""

SMALL_MTU = 1280

WIREGUARD_PORT = 51820

Layers = Any
"""A scapy packet: scapy's own types say no more."""


@dataclass(frozen=True)
class PacketSpec:
    """What tells one probe from all others."""

    version: IpVersion
    source: str
    destination: str
    source_port: int
    port: int
    number: int
    """1 to 65535, unique in a lab."""
    sequence: int
    """Initial sequence number, or what stands for it in other protocols: 32 bits, random."""

    @property
    def token(self) -> bytes:
        """The sequence number as it stands in the packet: by it the packet is known at its destination."""
        return self.sequence.to_bytes(4)

    @property
    def acknowledged(self) -> bytes:
        """What a SYN-ACK acknowledges, and where an RST that answers it stands in the sequence (RFC 9293 3.10.7)."""
        return ((self.sequence + 1) & 0xFFFFFFFF).to_bytes(4)


def syn(shot: PacketSpec) -> list[bytes]:
    """A SYN like any other."""
    return [bytes(_ip(shot) / _tcp(shot))]


def syn_data(shot: PacketSpec) -> list[bytes]:
    """A SYN with the first words of a session in it: allowed (RFC 9293 3.4), and TCP Fast Open does it (RFC 7413)."""
    return [bytes(_ip(shot) / _tcp(shot) / Raw(b"EHLO probe.example\r\n"))]


def syn_fin(shot: PacketSpec) -> list[bytes]:
    """SYN and FIN at once, which no sane host sends: rules for `--syn` and for NEW connections pass it over."""
    return [bytes(_ip(shot) / _tcp(shot, "SF"))]


def ip_options(shot: PacketSpec) -> list[bytes]:
    """A SYN that does not begin where it usually does: behind IPv4 options or IPv6 extension headers."""
    if shot.version == 4:
        record_route = IPOption_RR(length=7, pointer=4, routers=["0.0.0.0"])  # noqa: S104
        timestamp = IPOption(copy_flag=0, optclass=2, option=4, length=12, value=b"\5\0" + bytes(8))
        options = [IPOption_NOP(), record_route, timestamp]
        return [bytes(_ip(shot, options=options) / _tcp(shot))]
    padding = PadN(optdata=b"\0" * 4)
    extensions = IPv6ExtHdrHopByHop(options=[padding]) / IPv6ExtHdrDestOpt(options=[padding])
    return [bytes(_ip(shot) / extensions / _tcp(shot))]


def fragments(shot: PacketSpec) -> list[bytes]:
    """A SYN cut into pieces of 8 bytes: ports and sequence number in the first, the flags in the second (RFC 1858)."""
    segment = _payload(shot, _ip(shot) / _tcp(shot, options=[("MSS", 1220)]))
    pieces = [segment[start : start + PIECE] for start in range(0, len(segment), PIECE)]
    return [bytes(_piece(shot, number, number < len(pieces) - 1) / Raw(data)) for number, data in enumerate(pieces)]


def udp(shot: PacketSpec) -> list[bytes]:
    """A datagram to the same port number, which is another port."""
    return [bytes(_ip(shot) / UDP(sport=shot.source_port, dport=shot.port) / Raw(shot.token + b"port25lab"))]


def sctp(shot: PacketSpec) -> list[bytes]:
    """The beginning of an SCTP association (RFC 9260)."""
    init = SCTPChunkInit(init_tag=shot.sequence, a_rwnd=65535, init_tsn=1)
    return [bytes(_ip(shot) / SCTP(sport=shot.source_port, dport=shot.port, tag=0) / init)]


def gre(shot: PacketSpec) -> list[bytes]:
    """A SYN to port 25 inside GRE (RFC 2784, RFC 2890)."""
    return [bytes(_ip(shot) / GRE(key_present=1, key=shot.sequence) / _inner(shot))]


def vxlan(shot: PacketSpec) -> list[bytes]:
    """A SYN to port 25 inside VXLAN (RFC 7348)."""
    outer = _ip(shot) / UDP(sport=shot.source_port, dport=4789) / VXLAN(vni=25, flags=8)
    return [bytes(outer / Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / _inner(shot))]


def wireguard(shot: PacketSpec) -> list[bytes]:
    """A handshake initiation: 148 bytes, of which a firewall can read the type and the sender's index."""
    handshake = b"\1\0\0\0" + shot.token + bytes(140)
    return [bytes(_ip(shot) / UDP(sport=shot.source_port, dport=WIREGUARD_PORT) / Raw(handshake))]


def ping(shot: PacketSpec) -> list[bytes]:
    """An echo request (RFC 792, RFC 4443)."""
    echo = ICMP(type=8, id=shot.number) if shot.version == 4 else ICMPv6EchoRequest(id=shot.number)
    return [bytes(_ip(shot) / echo / Raw(shot.token + b"port25lab"))]


def too_big(shot: PacketSpec, met: bytes) -> list[bytes]:
    """The ICMP error about a packet of the probe as it was ``met`` at the far end (RFC 1191, RFC 8201)."""
    if shot.version == 4:
        about: Layers = IP(src=shot.destination, dst=IP(met).src, tos=MARK << 2, id=shot.number)
        return [bytes(about / ICMP(type=3, code=4, nexthopmtu=SMALL_MTU) / Raw(met[:28]))]
    about = IPv6(src=shot.destination, dst=IPv6(met).src, tc=MARK << 2, fl=shot.number)
    return [bytes(about / ICMPv6PacketTooBig(mtu=SMALL_MTU) / Raw(met[:SMALL_MTU]))]


BUILDERS: Mapping[str, Callable[[PacketSpec], list[bytes]]] = {
    builder.__name__: builder
    for builder in (syn, syn_data, syn_fin, ip_options, fragments, udp, sctp, gre, vxlan, wireguard, ping)
}
"""By the names that ``kinds`` has for them."""


def _ip(shot: PacketSpec, **more: Any) -> Layers:
    if shot.version == 4:
        return IP(src=shot.source, dst=shot.destination, tos=MARK << 2, id=shot.number, **more)
    return IPv6(src=shot.source, dst=shot.destination, tc=MARK << 2, fl=shot.number, **more)


def _tcp(shot: PacketSpec, flags: str = "S", **more: Any) -> Layers:
    return TCP(sport=shot.source_port, dport=shot.port, seq=shot.sequence, flags=flags, **more)


def _inner(shot: PacketSpec) -> Layers:
    """What a tunnel would carry: unmarked, for no node may look for it there."""
    layer = IP if shot.version == 4 else IPv6
    return layer(src=shot.source, dst=shot.destination) / TCP(sport=shot.source_port, dport=25, seq=shot.sequence)


def _payload(shot: PacketSpec, packet: Layers) -> bytes:
    return bytes(packet)[20 if shot.version == 4 else 40 :]


def _piece(shot: PacketSpec, number: int, more: bool) -> Layers:
    if shot.version == 4:
        return _ip(shot, proto=6, flags="MF" if more else 0, frag=number)
    return _ip(shot) / IPv6ExtHdrFragment(nh=6, offset=number, m=int(more), id=shot.number)
