"""Packets as trace events show them: from the headers in an event to what a rule would say of the packet.

In: the bytes of the network and transport header that the kernel puts into the first event of each base chain. Out: a
``TracedPacket``, and the ``Packet`` that ``rules`` walks through a ruleset. A header that is cut short is None.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal

from port25lab.evidence.error_packets import Quoted
from port25lab.evidence.name_packets import Lookup
from port25lab.evidence.neighbour_packets import Asked
from port25lab.evidence.packet_trace import PacketTrace
from port25lab.kernel.headers import ACK, RST, SYN, fixed_header, tcp_header, text
from port25lab.model.evidence import PacketSummary
from port25lab.rules import Packet

TracedKind = Literal["SYN", "SYN-ACK", "RST", "segment"]

Ends = tuple[str, int, str, int]
"""Address and port of the sender, then of the receiver."""

Key = int | tuple[str, Ends] | Asked | Lookup | Quoted | PacketTrace
"""By what a packet is found again: the initial sequence number of its attempt, its node with addresses and ports, the
neighbour that is asked for, the number of a lookup, what an ICMP error quotes, or the trace of a hand-made packet."""


@dataclass(frozen=True)
class TracedPacket:
    """What a trace event tells of a TCP packet."""

    source: str
    source_port: int
    destination: str
    destination_port: int
    initial_sequence: int
    """Of the attempt, where the packet tells: a SYN-ACK, or the RST that answers a SYN, acknowledges it."""
    kind: TracedKind

    @property
    def ends(self) -> Ends:
        """Addresses and ports."""
        return self.source, self.source_port, self.destination, self.destination_port

    @property
    def opens(self) -> bool:
        """Whether it is the first packet of a connection: NAT decides on it."""
        return self.kind == "SYN"

    def key(self, node: str) -> Key:
        """By what the packet is found again when its attempt is over. ``node``: where it was traced."""
        return (node, self.ends) if self.kind == "segment" else self.initial_sequence

    @property
    def summary(self) -> PacketSummary:
        """The packet as evidence."""
        return PacketSummary(
            kind=self.kind,
            source=self.source,
            source_port=self.source_port,
            destination=self.destination,
            destination_port=self.destination_port,
        )


@dataclass(eq=False)
class Passage:
    """A packet on its way through one node: its headers, and the rules that it has matched."""

    headers: tuple[bytes, bytes]
    """Network and transport header, as they were when the packet was first seen there."""
    identity: object
    """What no rule changes."""
    matched: list[tuple[int, bytes, bytes, int | None]] = field(default_factory=list)
    """Family, table, chain and handle of each rule, in order, as the kernel has them; None: the chain's policy."""
    chains: set[bytes] = field(default_factory=set)
    """Base chains in which the packet has matched a rule."""
    in_index: int | None = None
    out_index: int | None = None

    def enters(self, chain: bytes, in_index: bytes | None, out_index: bytes | None) -> None:
        """Note a base chain, and the interfaces that the packet has there."""
        self.chains.add(chain)
        if in_index is not None:
            self.in_index = struct.unpack(">I", in_index)[0]
        if out_index is not None:
            self.out_index = struct.unpack(">I", out_index)[0]

    @property
    def way(self) -> str:
        """The packet's way through the node: ``forward``, ``input`` or ``output``."""
        if b"leaving\0" in self.chains or b"OUTPUT\0" in self.chains:
            return "output"
        return "input" if b"INPUT\0" in self.chains else "forward"

    def packet(self, interfaces: Mapping[int, str]) -> Packet | None:
        """The packet as it came, as rules see it. None where its headers do not tell."""
        return packet_for_rules(
            *self.headers,
            _name(interfaces, self.in_index, self.way == "output"),
            _name(interfaces, self.out_index, self.way == "input"),
        )


def _name(interfaces: Mapping[int, str], index: int | None, none_there: bool) -> str | None:
    """Name of an interface; empty where the packet has none, None where it is not known."""
    if index is not None:
        return interfaces.get(index)
    return "" if none_there else None


def identity(network: bytes, transport: bytes) -> object:
    """What stays the same of a packet whatever rules do to it: it tells a packet from the next one with its trace id.

    Identification, sequence numbers and flags; no rule of iptables changes those.
    """
    ip, tcp = fixed_header(network), tcp_header(transport)
    return ip and ip.ip_version == 4 and ip.number, tcp and (tcp.sequence, tcp.acknowledged, tcp.flags)


def traced_packet(network: bytes, transport: bytes) -> TracedPacket | None:
    """Addresses, ports and the attempt's sequence number; None for what is not a whole IP and TCP header."""
    ip, tcp = fixed_header(network), tcp_header(transport)
    if ip is None or tcp is None or not ip.may_be_tcp:
        return None
    kind: TracedKind = "segment"
    if tcp.flags & SYN:
        kind = "SYN-ACK" if tcp.flags & ACK else "SYN"
    elif tcp.flags & RST:
        kind = "RST"
    answers = kind in ("SYN-ACK", "RST") and tcp.flags & ACK
    return TracedPacket(
        text(ip.source),
        tcp.source_port,
        text(ip.destination),
        tcp.destination_port,
        (tcp.acknowledged - 1) & 0xFFFFFFFF if answers else tcp.sequence,
        kind,
    )


def packet_for_rules(
    network: bytes, transport: bytes, in_interface: str | None, out_interface: str | None
) -> Packet | None:
    """A TCP packet as rules see it.

    Args:
        network, transport: Its headers.
        in_interface, out_interface: Names; empty for none, None where it is not known.

    Returns: the packet, None where the headers are cut short. Only a SYN tells its state: it opens a connection.
    """
    ip, tcp = fixed_header(network), tcp_header(transport)
    if ip is None or tcp is None or not ip.may_be_tcp:
        return None
    opens = tcp.flags & (SYN | ACK | RST) == SYN
    four = ip.ip_version == 4
    return Packet(
        "ip" if four else "ip6",
        ip_address(ip.source),
        ip_address(ip.destination),
        source_port=tcp.source_port,
        destination_port=tcp.destination_port,
        in_interface=in_interface,
        out_interface=out_interface,
        tcp_flags=tcp.flags & 0x3F,
        tos=network[1] if four else (network[0] << 4 | network[1] >> 4) & 0xFF,
        length=struct.unpack_from(">H", network, 2)[0] if four else struct.unpack_from(">H", network, 4)[0] + 40,
        state="NEW" if opens else None,
        status=frozenset({"NONE"}) if opens else None,
        direction="ORIGINAL" if opens else None,
        connmark=0 if opens else None,
    )
