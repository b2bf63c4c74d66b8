"""The node that made a packet, from where the capture saw it."""

from __future__ import annotations

from collections.abc import Sequence

from port25lab.model.evidence import PacketSeen


def made_by(packets: Sequence[PacketSeen], kind: str) -> str | None:
    """The node that made the last packet of this kind, such as ``RST``; None where there is none.

    A packet is made where it is seen leaving before it was seen coming in anywhere.
    """
    first: dict[tuple[int | None, bool], PacketSeen] = {}
    for packet in packets:
        if packet.kind == kind:
            first.setdefault((packet.sequence, packet.retransmission), packet)
    made = [packet for packet in first.values() if packet.leaving]
    return made[-1].node if made else None
