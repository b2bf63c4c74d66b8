"""Where an attempt ended that got no answer, by the packets."""

from __future__ import annotations

from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, cast

import pytest

from port25lab.evidence import last_seen as module
from port25lab.evidence.last_seen import ended, last_seen, last_syn
from port25lab.kernel.routes import Way
from port25lab.model.evidence import PacketSeen
from port25lab.network.builder import LabNode

CLIENT, MX, GATEWAY = "192.168.1.2", "192.0.2.25", "192.0.2.1"


def packet(when: float, at: str, kind: str = "SYN", sequence: int = 7, **more: Any) -> PacketSeen:
    """``at``: the node, with a ``>`` behind it where the packet leaves."""
    source, destination = (CLIENT, MX) if kind == "SYN" else (MX, CLIENT)
    about: dict[str, Any] = {"source": source, "destination": destination, "ttl": 60, "sequence": sequence}
    node, leaving = at.rstrip(">"), at.endswith(">")
    return PacketSeen(node=node, interface="eth0", seconds=when, leaving=leaving, kind=kind, **about | more)


LEFT, AGAIN = packet(0, "pc>"), packet(1, "pc>", retransmission=True)

AT_FAR, AT_FAR_AGAIN = packet(0.1, "far"), packet(1.1, "far", retransmission=True)


@pytest.mark.parametrize(
    ("packets", "where"),
    [
        ([], None),
        ([AT_FAR], None),
        ([LEFT], LEFT),
        ([LEFT, AT_FAR, AGAIN, AT_FAR_AGAIN], AT_FAR_AGAIN),
        ([LEFT, AT_FAR, packet(2, "pc>", sequence=8)], packet(2, "pc>", sequence=8)),
        ([LEFT, AT_FAR, packet(0.2, "mx>", "SYN-ACK", 9), packet(0.3, "back", "SYN-ACK", 9)], "back"),
        ([LEFT, AT_FAR, packet(0.2, "mx>", "SYN-ACK", 9), packet(0.3, "cpe>", "RST", 8)], "mx"),
        ([LEFT, AT_FAR, packet(0.2, "far>", "ICMP"), AGAIN, packet(1.1, "back", "ICMP")], "back"),
        ([LEFT, AT_FAR, packet(0.2, "mx>", "SYN-ACK", 9), packet(0.3, "pc", "SYN-ACK", 9)], None),
        ([packet(0, "pc>", sequence=1), packet(0.1, "mx>", "RST", 2), packet(1, "pc>", sequence=8)], "pc"),
        ([LEFT, AT_FAR, packet(0.2, "pc>", "RST", 8)], "far"),
    ],
)
def test_the_packet_after_which_nothing_came(packets: list[PacketSeen], where: PacketSeen | str | None) -> None:
    found = last_seen(packets, "pc")
    assert (found and found.node if isinstance(where, str) else found) == where


def test_a_syn_that_was_answered_ended_where_it_was_seen_last() -> None:
    assert last_syn([LEFT, AT_FAR, packet(0.2, "far>", "ICMP"), packet(0.3, "pc", "ICMP")], "pc") == AT_FAR


NOWHERE = OSError(22, "Invalid argument")


@pytest.mark.parametrize(
    ("seen", "forward", "ways", "awaited", "how"),
    [
        (packet(0, "far>"), True, [], False, "no-answer"),
        (AT_FAR, True, [NOWHERE], False, "no-route"),
        (AT_FAR, True, [Way(False, 3, ip_address(GATEWAY))], True, "no-answer"),
        (AT_FAR, True, [Way(False, 3, ip_address(GATEWAY))], False, None),
        (AT_FAR, False, [Way(False, 3, ip_address(GATEWAY))], False, "no-route"),
        (AT_FAR, False, [Way(True, None, ip_address(MX)), NOWHERE], False, "no-route"),
        (AT_FAR, False, [Way(True, None, ip_address(MX)), Way(False, 2, ip_address(GATEWAY))], False, "no-answer"),
        (packet(0, "far", "SYN-ACK"), True, [Way(True, None, ip_address(CLIENT))], False, None),
        (packet(0, "far", "SYN-ACK"), True, [NOWHERE], False, "no-route"),
    ],
)
def test_the_node_says_why_it_went_no_further(
    monkeypatch: pytest.MonkeyPatch, seen: PacketSeen, forward: bool, ways: list[Any], awaited: bool, how: str | None
) -> None:
    asked = iter(ways)

    def way(*_: object) -> Way:
        answer = next(asked)
        if isinstance(answer, OSError):
            raise answer
        return cast(Way, answer)

    monkeypatch.setattr(module.routes, "way", way)
    monkeypatch.setattr(module.routes, "awaited", lambda *_: awaited)
    node = SimpleNamespace(plan=SimpleNamespace(forward=forward), index=lambda _: 2, run_inside=lambda call: call())
    found = ended(seen, cast(LabNode, node))
    assert (found and found.how) == how
    assert found is None or found.packet == seen
