"""The kinds of hand-made packet. Data alone, checked before any lab starts: a new kind is one row and one builder.

A hand-made packet is one that no mail program sends, or it begins an exchange of such packets. The question is whether
a certain packet of the exchange arrives: at the destination, or at the node that owns the source address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ArrivalPoint(StrEnum):
    """The packet of the exchange that has to arrive for the outcome `reached`, and where."""

    THERE = "there"
    """The hand-made packet itself, at the destination."""
    ANSWER = "answer"
    """The SYN-ACK with which the destination answers, at the owner of the source address."""
    RESET = "reset"
    """The RST with which that owner, which sent no SYN, answers the SYN-ACK, at the destination."""
    TOO_BIG = "too-big"
    """The ICMP error "packet too big" about it, made at the destination, at the sender."""


@dataclass(frozen=True)
class Kind:
    """One kind: what it is in words, the builder of its packets in ``packet_builders``, and what has to arrive."""

    text: str
    build: str
    arrival_point: ArrivalPoint = ArrivalPoint.THERE
    ported: bool = True
    """It goes to a port; tunnels and ICMP do not."""
    source_port: int | None = None
    """Sent from this port; None: from one that no other attempt has."""
    answered: bool = False
    """A SYN, which the destination answers whatever listens there."""
    early: bool = False
    """It continues a session that was opened before the policies were loaded."""


PACKET_KINDS: Mapping[str, Kind] = {
    "syn": Kind("a plain SYN", "syn", answered=True),
    "source-port-25": Kind("a SYN from source port 25", "syn", source_port=25, answered=True),
    "fragments": Kind("a SYN in fragments of 8 bytes", "fragments", answered=True),
    "syn-data": Kind("a SYN that carries data", "syn_data", answered=True),
    "syn-fin": Kind("a segment with SYN and FIN", "syn_fin"),
    "ip-options": Kind("a SYN behind IP options", "ip_options", answered=True),
    "answer": Kind("the SYN-ACK that comes back", "syn", ArrivalPoint.ANSWER),
    "reset": Kind("the RST of a host that never asked", "syn", ArrivalPoint.RESET),
    "held": Kind("a session from before the policy", "", early=True),
    "udp": Kind("a UDP datagram", "udp"),
    "sctp": Kind("an SCTP INIT", "sctp"),
    "gre": Kind("a SYN to port 25 inside GRE", "gre", ported=False),
    "vxlan": Kind("a SYN to port 25 inside VXLAN", "vxlan", ported=False),
    "wireguard": Kind("the first packet of WireGuard", "wireguard", ported=False),
    "ping": Kind("an ICMP echo request", "ping", ported=False),
    "too-big": Kind("path MTU discovery's ICMP error", "syn", ArrivalPoint.TOO_BIG),
}
