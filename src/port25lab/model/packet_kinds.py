"""The kinds of hand-made packet, as data. A new kind is one row here and one builder in ``attempt.packet_builders``.

A hand-made packet is one that no mail program sends, or the first of an exchange. A path with such a packet has
`reached` its destination when a given packet of the exchange arrives: at the destination, or at the owner of the source
address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ArrivalPoint(StrEnum):
    """Which packet of the exchange has to arrive, and where, so that the path counts as `reached`."""

    THERE = "there"
    """The packet itself, at the destination."""
    ANSWER = "answer"
    """The destination's SYN-ACK, at the owner of the source address."""
    RESET = "reset"
    """The RST that this owner sends in answer to an unexpected SYN-ACK, at the destination."""
    TOO_BIG = "too-big"
    """The ICMP error "packet too big" from the destination's side, at the sender."""


@dataclass(frozen=True)
class Kind:
    """One kind: its text, the builder of its packets in ``attempt.packet_builders``, and what has to arrive."""

    text: str
    build: str
    arrival_point: ArrivalPoint = ArrivalPoint.THERE
    ported: bool = True
    """Whether the packet has a destination port; tunnels and ICMP have none."""
    source_port: int | None = None
    """The source port; None: a port that no other attempt has."""
    answered: bool = False
    """Whether the packet is a SYN, which the destination answers whether a server listens or not."""
    early: bool = False
    """Whether the packet belongs to a session that was opened before the policies were loaded."""


def kind_of(packet: str) -> Kind:
    """A kind by its name. Any other name is one of a user's function (``path.PacketFunction``)."""
    return PACKET_KINDS.get(packet) or Kind(f"the packet of {packet}", build="")


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
