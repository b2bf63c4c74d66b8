"""Hand-made packets, built with scapy. In: a ``PacketSpec``. Out: bytes, from the IP header on. Pure; needs no lab.

A packet is known by a number, which senders choose at random as these do: the identification in IPv4, the flow label in
IPv6; and by its sequence number. They survive routers and address translation. Nothing else tells it from what a Linux
host sends, beyond what its kind is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

from port25lab.model.packet_spec import PacketSpec

PIECE = 8
"""Bytes of payload in a fragment: the minimum, since offsets count in units of eight bytes (RFC 791)."""

SMALL_MTU = 1280

WIREGUARD_PORT = 51820

Layers = Any
"""A scapy packet: scapy's own types say no more."""


def syn(spec: PacketSpec) -> list[bytes]:
    """An ordinary SYN."""
    return [bytes(_ip(spec) / _tcp(spec))]


def syn_data(spec: PacketSpec) -> list[bytes]:
    """A SYN with the first words of a session in it: allowed (RFC 9293 3.4), and TCP Fast Open does it (RFC 7413)."""
    return [bytes(_ip(spec) / _tcp(spec) / Raw(b"EHLO probe.example\r\n"))]


def syn_fin(spec: PacketSpec) -> list[bytes]:
    """SYN and FIN at once, which no TCP sends: rules with `--syn` do not match it."""
    return [bytes(_ip(spec) / _tcp(spec, "SF"))]


def ip_options(spec: PacketSpec) -> list[bytes]:
    """A SYN behind IPv4 options or IPv6 extension headers, so that it begins at an unusual offset."""
    if spec.version == 4:
        record_route = IPOption_RR(length=7, pointer=4, routers=["0.0.0.0"])  # noqa: S104
        timestamp = IPOption(copy_flag=0, optclass=2, option=4, length=12, value=b"\5\0" + bytes(8))
        options = [IPOption_NOP(), record_route, timestamp]
        return [bytes(_ip(spec, options=options) / _tcp(spec))]
    padding = PadN(optdata=b"\0" * 4)
    extensions = IPv6ExtHdrHopByHop(options=[padding]) / IPv6ExtHdrDestOpt(options=[padding])
    return [bytes(_ip(spec) / extensions / _tcp(spec))]


def fragments(spec: PacketSpec) -> list[bytes]:
    """A SYN cut into pieces of 8 bytes: ports and sequence number in the first, the flags in the second (RFC 1858)."""
    segment = _payload(spec, _ip(spec) / _tcp(spec, options=[("MSS", 1220)]))
    pieces = [segment[start : start + PIECE] for start in range(0, len(segment), PIECE)]
    return [bytes(_piece(spec, number, number < len(pieces) - 1) / Raw(data)) for number, data in enumerate(pieces)]


def udp(spec: PacketSpec) -> list[bytes]:
    """A UDP datagram to the same port number."""
    return [bytes(_ip(spec) / UDP(sport=spec.source_port, dport=spec.port) / Raw(spec.token + b"port25lab"))]


def sctp(spec: PacketSpec) -> list[bytes]:
    """The beginning of an SCTP association (RFC 9260)."""
    init = SCTPChunkInit(init_tag=spec.sequence, a_rwnd=65535, init_tsn=1)
    return [bytes(_ip(spec) / SCTP(sport=spec.source_port, dport=spec.port, tag=0) / init)]


def gre(spec: PacketSpec) -> list[bytes]:
    """A SYN to port 25 inside GRE (RFC 2784, RFC 2890)."""
    return [bytes(_ip(spec) / GRE(key_present=1, key=spec.sequence) / _inner(spec))]


def vxlan(spec: PacketSpec) -> list[bytes]:
    """A SYN to port 25 inside VXLAN (RFC 7348)."""
    outer = _ip(spec) / UDP(sport=spec.source_port, dport=4789) / VXLAN(vni=25, flags=8)
    return [bytes(outer / Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / _inner(spec))]


def wireguard(spec: PacketSpec) -> list[bytes]:
    """A handshake initiation: 148 bytes, of which the type and the sender's index are readable."""
    handshake = b"\1\0\0\0" + spec.token + bytes(140)
    return [bytes(_ip(spec) / UDP(sport=spec.source_port, dport=WIREGUARD_PORT) / Raw(handshake))]


def ping(spec: PacketSpec) -> list[bytes]:
    """An echo request (RFC 792, RFC 4443)."""
    echo = ICMP(type=8, id=spec.number) if spec.version == 4 else ICMPv6EchoRequest(id=spec.number)
    return [bytes(_ip(spec) / echo / Raw(spec.token + b"port25lab"))]


def too_big(spec: PacketSpec, arrived: bytes) -> list[bytes]:
    """The ICMP error about a packet as it ``arrived`` at the destination (RFC 1191, RFC 8201)."""
    if spec.version == 4:
        about: Layers = IP(src=spec.destination, dst=IP(arrived).src, id=spec.number)
        return [bytes(about / ICMP(type=3, code=4, nexthopmtu=SMALL_MTU) / Raw(arrived[:28]))]
    about = IPv6(src=spec.destination, dst=IPv6(arrived).src, fl=spec.number)
    return [bytes(about / ICMPv6PacketTooBig(mtu=SMALL_MTU) / Raw(arrived[:SMALL_MTU]))]


BUILDERS: Mapping[str, Callable[[PacketSpec], list[bytes]]] = {
    builder.__name__: builder
    for builder in (syn, syn_data, syn_fin, ip_options, fragments, udp, sctp, gre, vxlan, wireguard, ping)
}
"""By their names in ``packet_kinds``."""


def _ip(spec: PacketSpec, **more: Any) -> Layers:
    if spec.version == 4:
        return IP(src=spec.source, dst=spec.destination, id=spec.number, **{"flags": "DF"} | more)
    return IPv6(src=spec.source, dst=spec.destination, fl=spec.number, **more)


def _tcp(spec: PacketSpec, flags: str = "S", **more: Any) -> Layers:
    """As Linux sends it: with the window and the options of its SYNs."""
    usual: dict[str, Any] = {"window": 64240, "options": _options(spec)}
    return TCP(sport=spec.source_port, dport=spec.port, seq=spec.sequence, flags=flags, **usual | more)


def _options(spec: PacketSpec) -> list[tuple[str, Any]]:
    size = 1460 if spec.version == 4 else 1440
    return [("MSS", size), ("SAckOK", b""), ("Timestamp", (spec.number, 0)), ("NOP", None), ("WScale", 7)]


def _inner(spec: PacketSpec) -> Layers:
    """The packet inside a tunnel: without the number, since no node may take it for the outer one."""
    layer = IP if spec.version == 4 else IPv6
    return layer(src=spec.source, dst=spec.destination) / TCP(sport=spec.source_port, dport=25, seq=spec.sequence)


def _payload(spec: PacketSpec, packet: Layers) -> bytes:
    return bytes(packet)[20 if spec.version == 4 else 40 :]


def _piece(spec: PacketSpec, number: int, more: bool) -> Layers:
    if spec.version == 4:
        return _ip(spec, proto=6, flags="MF" if more else 0, frag=number)
    return _ip(spec) / IPv6ExtHdrFragment(nh=6, offset=number, m=int(more), id=spec.number)
