"""Which of the packets that were seen decided an attempt: each one where it was first seen, and where last.

An attempt's SYN is seen at every interface that it passes. Where it was first seen is where it came from, where it was
last seen is where it ended: at its destination, or at the node that dropped it. For a RST or an ICMP error the first
place tells who made it, be it the destination or a node between. Pure; in: sightings from all over a lab.
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
    alike: dict[object, list[Sighting]] = defaultdict(list)
    for seen in sorted(sightings, key=lambda seen: seen.nanoseconds):
        if seen.packet.kind not in PASSING:
            alike[_identity(seen.packet)].append(seen)
    chosen: list[tuple[Sighting, bool]] = []
    for group in alike.values():
        for again, sent in enumerate(_transmissions(group)):
            chosen += [(seen, again > 0) for seen in ([sent[0], sent[-1]] if len(sent) > 1 else sent)]
    chosen.sort(key=lambda pair: pair[0].nanoseconds)
    began = chosen[0][0].nanoseconds if chosen else 0
    return [_packet_seen(seen, began, again) for seen, again in chosen]


def icmp_errors(sightings: Iterable[Sighting], client: str) -> list[IcmpError]:
    """The errors that reached the client's host, equal ones once."""
    found: dict[IcmpError, None] = {}
    for seen in sightings:
        packet = seen.packet
        if packet.icmp is not None and seen.node == client and not seen.leaving:
            kind, code = packet.icmp
            found[IcmpError(sender=text(packet.source), ip_version=packet.ip_version, type=kind, code=code)] = None
    return list(found)


def sender(packets: Sequence[PacketSeen], kind: str) -> str | None:
    """The node that made the last packet of this kind, such as ``RST``; None where there is none.

    A packet is made where it is seen leaving before it was seen coming in anywhere.
    """
    found: dict[tuple[int | None, bool], PacketSeen] = {}
    for seen in packets:
        if seen.kind == kind:
            found.setdefault((seen.sequence, seen.retransmission), seen)
    made = [seen for seen in found.values() if seen.leaving]
    return made[-1].at.partition("/")[0] if made else None


def _identity(packet: Packet) -> object:
    """What stays the same from hop to hop, whatever NAT does to addresses and ports."""
    about = packet.about.sequence if packet.about else None
    return packet.kind, packet.icmp and (packet.icmp, packet.source), packet.sequence, packet.acknowledged, about


def _transmissions(group: Sequence[Sighting]) -> list[list[Sighting]]:
    """Sightings of the same packet, parted by the times at which its sender sent it."""
    origin = group[0][1:4]
    times = [seen.nanoseconds for seen in group if seen[1:4] == origin]
    sent: list[list[Sighting]] = [[] for _ in times]
    for seen in group:
        sent[bisect_right(times, seen.nanoseconds) - 1].append(seen)
    return sent


def _packet_seen(seen: Sighting, began: int, again: bool) -> PacketSeen:
    packet = seen.packet
    return PacketSeen(
        at=f"{seen.node}/{seen.interface}",
        seconds=round((seen.nanoseconds - began) / 1e9, 6),
        leaving=seen.leaving,
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
