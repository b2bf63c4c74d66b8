"""The packets that decided an attempt, each at the interface where it was seen first, and at the one where last.

An attempt's SYN is seen at every interface that it passes. Where it was first seen is where it came from, where it was
last seen is where it ended: at its destination, or at the node that dropped it. The first interface of a RST or an ICMP
error tells which node made it: the destination, or a node between. Pure; in: the sightings of a whole lab.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from port25lab.kernel.headers import Packet, text
from port25lab.model.evidence import IcmpError, PacketSeen


class Sighting(NamedTuple):
    """A packet at an interface."""

    nanoseconds: int
    node: str
    interface: str
    leaving: bool
    packet: Packet
    data: bytes = b""
    """From the IP header on; empty where only headers were captured."""
    number: int | None = None
    """Counted from 1, as in the lab's capture file."""


PASSING = frozenset({"data", "ACK", "other"})
"""Kinds of packets that decide nothing."""


def deciding(sightings: Iterable[Sighting]) -> list[PacketSeen]:
    """The packets of one attempt that opened, refused or ended it, in order of time.

    A sender's retransmission is a packet of its own, marked as one. Seconds count from the first packet.
    """
    same: dict[object, list[Sighting]] = defaultdict(list)
    for sighting in sorted(sightings, key=lambda sighting: sighting.nanoseconds):
        if sighting.packet.kind not in PASSING:
            same[_identity(sighting.packet)].append(sighting)
    chosen: list[tuple[Sighting, bool]] = []
    for group in same.values():
        for number, sent in enumerate(_transmissions(group)):
            first_and_last = [sent[0], sent[-1]] if len(sent) > 1 else sent
            chosen += [(sighting, number > 0) for sighting in first_and_last]
    chosen.sort(key=lambda pair: pair[0].nanoseconds)
    began = chosen[0][0].nanoseconds if chosen else 0
    return [_packet_seen(sighting, began, again) for sighting, again in chosen]


def icmp_errors(sightings: Iterable[Sighting], client: str) -> list[IcmpError]:
    """The errors that reached the client's host, equal ones once."""
    found: dict[IcmpError, None] = {}
    for sighting in sightings:
        packet = sighting.packet
        if packet.icmp is not None and sighting.node == client and not sighting.leaving:
            kind, code = packet.icmp
            found[IcmpError(sender=text(packet.source), ip_version=packet.ip_version, type=kind, code=code)] = None
    return list(found)


def _identity(packet: Packet) -> object:
    """What stays the same from hop to hop, also where NAT changes addresses and ports."""
    about = packet.about.sequence if packet.about else None
    return packet.kind, packet.icmp and (packet.icmp, packet.source), packet.sequence, packet.acknowledged, about


def _transmissions(group: Sequence[Sighting]) -> list[list[Sighting]]:
    """Sightings of the same packet, one list for each time that its sender sent it."""
    origin = group[0][1:4]  # node, interface, direction
    times = [sighting.nanoseconds for sighting in group if sighting[1:4] == origin]
    sent: list[list[Sighting]] = [[] for _ in times]
    for sighting in group:
        sent[bisect_right(times, sighting.nanoseconds) - 1].append(sighting)
    return sent


def _packet_seen(sighting: Sighting, began: int, again: bool) -> PacketSeen:
    """``began``: nanoseconds of the attempt's first packet. ``again``: a retransmission."""
    packet = sighting.packet
    return PacketSeen(
        node=sighting.node,
        interface=sighting.interface,
        seconds=round((sighting.nanoseconds - began) / 1e9, 6),
        leaving=sighting.leaving,
        kind=packet.kind,
        source=text(packet.source),
        source_port=packet.source_port,
        destination=text(packet.destination),
        destination_port=packet.destination_port,
        ttl=packet.ttl,
        sequence=packet.sequence if packet.about is None else packet.about.sequence,
        icmp=packet.icmp,
        length=packet.length,
        retransmission=again,
    )
