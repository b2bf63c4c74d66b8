"""How far an attempt came that ended without a rule and without an answer: the packets show where, the kernel why.

The capture is at every node. The last packet of the attempt is that which should have come next: the SYN, or the first
answer to it. It was seen last as it left a node, and no node took it: none is there. Or it was seen last as it came in
at a node: then that node's own routes and neighbours say why it did not go on. Where they do not, nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Literal

from port25lab.kernel import routes
from port25lab.model.evidence import Ended, PacketSeen
from port25lab.network.builder import LabNode

_ANSWERS = ("SYN-ACK", "RST", "ICMP")


def last_seen(packets: Sequence[PacketSeen], client: str) -> PacketSeen | None:
    """The last sighting of the packet after which nothing more came. None where the capture does not show it.

    ``packets``: of an attempt, those that opened or refused its connections, in order of time. ``client``: its node.
    """
    made = [seen for seen in packets if seen.kind == "SYN" and seen.node == client and seen.leaving]
    if not made:
        return None
    sequence = made[-1].sequence
    began = next(seen.seconds for seen in made if seen.sequence == sequence)
    answers = [
        seen for seen in packets if seen.kind in _ANSWERS and seen.seconds >= began and not _sent_by(client, seen)
    ]
    if answers:
        first = answers[0]
        same = [seen for seen in answers if (seen.kind, seen.sequence) == (first.kind, first.sequence)]
        return None if any(seen.node == client for seen in same) else same[-1]
    syns = [seen for seen in packets if seen.kind == "SYN" and seen.sequence == sequence]
    return syns[-1]


def last_syn(packets: Sequence[PacketSeen], client: str) -> PacketSeen | None:
    """The last sighting of the attempt's last SYN; None where the capture does not show it."""
    return last_seen([seen for seen in packets if seen.kind == "SYN"], client)


def ended(seen: PacketSeen, node: LabNode) -> Ended | None:
    """Why a packet that was seen last at a node did not go on; None where the node does not tell.

    ``seen``: its last sighting. ``node``: the node where that was.
    """
    how = "no-answer" if seen.leaving else node.run_inside(lambda: _in_node(seen, node))
    return None if how is None else Ended(packet=seen, how=how)


def _in_node(seen: PacketSeen, node: LabNode) -> Literal["no-route", "no-answer"] | None:
    """The same, by the routes and neighbours of this thread's network namespace."""
    source, destination = ip_address(seen.source), ip_address(seen.destination)
    is_syn = seen.kind == "SYN"
    try:
        way = routes.way(source, destination, node.index(seen.interface))
        if way.local and is_syn:  # the host said nothing, or has no way to say it
            way = routes.way(destination, source, None)
            return "no-answer"
    except OSError:
        return "no-route"
    if way.local:
        return None
    if not node.plan.forward:
        return "no-route"
    waits = way.interface is not None and routes.awaited(way.next_hop, way.interface)
    return "no-answer" if waits else None


def _sent_by(client: str, seen: PacketSeen) -> bool:
    return seen.node == client and seen.leaving
