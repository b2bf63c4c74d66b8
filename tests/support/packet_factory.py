"""Packets, made byte by byte: TCP, UDP and ICMP over IPv4 and IPv6, and Ethernet frames of every sort."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address
from itertools import product

ROUTER, ROUTER6 = "198.51.100.1", "2001:db8::7"
CLIENT, SERVER6 = "198.51.100.7", "2001:db8::25"
SYN = struct.pack(">HHIIBBHHH", 20_000, 25, 1, 0, 0x50, 0x02, 64_240, 0, 0)
"""A TCP header without options."""

RECORD_ROUTE = b"\x07\x07\x04\0\0\0\0\0"
MORE_FRAGMENTS = 0x2000


def tcp(flags: int, payload: bytes = b"", *, options: bytes = b"", sequence: int = 1, acknowledged: int = 2) -> bytes:
    words = 5 + len(options) // 4
    head = struct.pack(">HHIIBBHHH", 20_000, 25, sequence, acknowledged, words << 4, flags, 64_240, 0, 0)
    return head + options + payload


def ipv4(payload: bytes, protocol: int, *, options: bytes = b"", fragment: int = 0, service: int = 0) -> bytes:
    """``fragment``: flags and offset in units of 8 bytes. ``service``: DSCP and ECN."""
    words = 5 + len(options) // 4
    head = struct.pack(">BBHHHBBH", 0x40 | words, service, 4 * words + len(payload), 1, fragment, 64, protocol, 0)
    return head + ip_address(ROUTER).packed + ip_address(CLIENT).packed + options + payload


def ipv6(payload: bytes, following: int, *, service: int = 0, label: int = 0) -> bytes:
    """``service``: the traffic class, DSCP and ECN. ``label``: the flow label."""
    head = struct.pack(">IHBB", 0x6 << 28 | service << 20 | label, len(payload), following, 64)
    return head + ip_address(ROUTER6).packed + ip_address(SERVER6).packed + payload


def fragment6(payload: bytes, following: int, *, offset: int = 0, more: bool) -> bytes:
    """A fragment header and what follows. ``offset``: in units of 8 bytes."""
    return struct.pack(">BxHI", following, offset << 3 | more, 9) + payload


def ethernet(packet: bytes) -> bytes:
    return bytes(12) + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\0") + packet


def error(kind: int, code: int, about: bytes) -> bytes:
    return struct.pack(">BBHI", kind, code, 0, 0) + about


def icmp4(kind: int = 3, code: int = 13, about: bytes | None = None, *, options: bytes = b"") -> bytes:
    message = error(kind, code, ipv4(SYN, socket.IPPROTO_TCP) if about is None else about)
    return ipv4(message, socket.IPPROTO_ICMP, options=options)


def icmp6(kind: int = 1, code: int = 1, about: bytes | None = None) -> bytes:
    return ipv6(error(kind, code, ipv6(SYN, socket.IPPROTO_TCP) if about is None else about), socket.IPPROTO_ICMPV6)


def frames() -> dict[str, bytes]:
    """Ethernet frames with packets of every sort that a filter may meet, each under a name."""
    found: dict[str, bytes] = {}
    for flags, payload in product(range(64), (b"", b"EHLO client\r\n")):
        name = f"TCP, flags {flags:#04x}, {len(payload)} bytes"
        found[f"{name}, IPv4"] = ethernet(ipv4(tcp(flags, payload), 6))
        found[f"{name}, IPv6"] = ethernet(ipv6(tcp(flags, payload), 6))
        found[f"{name}, IPv4 options"] = ethernet(ipv4(tcp(flags, payload), 6, options=RECORD_ROUTE))
        found[f"{name}, TCP options"] = ethernet(ipv4(tcp(flags, payload, options=b"\1" * 12), 6))
        for following in (0, 43, 44, 51, 60, 135, 140):
            extension = bytes([6, 4 if following == 51 else 0]) + bytes(22 if following == 51 else 6)
            found[f"{name}, IPv6 header {following}"] = ethernet(ipv6(extension + tcp(flags, payload), following))
    segments = {
        "SYN": tcp(0x02),
        "ACK": tcp(0x10),
        "RST": tcp(0x14),
        "bits everywhere": b"\xff" * 40,
        "zeros": bytes(40),
    }
    for (what, segment), protocol in product(segments.items(), (1, 6, 17, 58)):
        for fragment in (*(1 << bit for bit in range(16)), MORE_FRAGMENTS | 1, 0x1FFF):
            name = f"{what}, protocol {protocol}, IPv4 fragment {fragment:#06x}"
            found[name] = ethernet(ipv4(segment, protocol, fragment=fragment))
            found[f"{name}, 8 bytes"] = ethernet(ipv4(segment[:8], protocol, fragment=fragment))
        for offset, more in ((0, True), (1, True), (1, False), (0, False)):
            fragmented = fragment6(segment, protocol, offset=offset, more=more)
            found[f"{what}, protocol {protocol}, IPv6 fragment {offset} {more}"] = ethernet(ipv6(fragmented, 44))
    for kind in range(256):
        found[f"ICMP {kind}"] = ethernet(icmp4(kind))
        found[f"ICMP {kind}, IPv4 options"] = ethernet(icmp4(kind, options=RECORD_ROUTE))
        found[f"ICMPv6 {kind}"] = ethernet(icmp6(kind))
        found[f"ICMPv6 {kind} behind a hop-by-hop header"] = ethernet(
            ipv6(bytes([58, 0, 5, 2, 0, 0, 1, 0]) + error(kind, 0, ipv6(SYN, 6)), 0)
        )
    for protocol in range(256):
        found[f"IPv4 protocol {protocol}"] = ethernet(ipv4(bytes(64), protocol))
        found[f"IPv6 next header {protocol}"] = ethernet(ipv6(bytes(64), protocol))
    for service in range(256):
        found[f"IPv4, DSCP and ECN {service:#04x}"] = ethernet(ipv4(tcp(0x02), 6, service=service))
        found[f"IPv6, DSCP and ECN {service:#04x}"] = ethernet(ipv6(tcp(0x02), 6, service=service, label=0xFFFFF))
    for version in range(16):
        found[f"IP version {version}"] = bytes(12) + b"\x08\0" + bytes([version << 4 | 5]) + ipv4(tcp(0x02), 6)[1:]
    for kind in (0x0800, 0x0806, 0x8100, 0x86DD, 0x88A8, 0x88CC, 0x8847):
        for packet in (ipv4(tcp(0x02), 6), ipv6(tcp(0x02), 6), ipv4(tcp(0x02), 6)[:20], bytes(46)):
            found[f"Ethernet type {kind:#06x}, {packet[:1].hex()}, {len(packet)}"] = (
                bytes(12) + kind.to_bytes(2) + packet
            )
    arp = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + bytes(20)
    found["ARP"] = bytes(12) + b"\x08\x06" + arp
    for packet in (ipv4(tcp(0x02), 6), ipv6(tcp(0x02), 6), icmp4()):
        found[f"VLAN, {packet[:1].hex()}, {packet[9]}"] = bytes(12) + b"\x81\0\0\x07" + ethernet(packet)[12:]
    found["802.3 with a length"] = bytes(12) + b"\0\x26" + bytes(38)
    return found
