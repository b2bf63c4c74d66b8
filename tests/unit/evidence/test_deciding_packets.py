"""Which packets decided: each where it was first and last seen, whoever made it, through NAT and retransmission."""

from __future__ import annotations

from ipaddress import ip_address

from packet_origin import made_by
from port25lab.evidence.deciding_packets import Sighting, deciding, icmp_errors
from port25lab.kernel.headers import Packet, Quoted

CLIENT, NAT, SERVER, ROUTER = (
    ip_address(text).packed for text in ("192.168.1.25", "198.51.100.9", "192.0.2.25", "198.51.100.1")
)
MS = 1_000_000


def syn(source: bytes = CLIENT, port: int = 20_000, ttl: int = 64) -> Packet:
    return Packet("SYN", 4, ttl, source, SERVER, port, 25, 1000)


def rst(destination: bytes = CLIENT, ttl: int = 64) -> Packet:
    return Packet("RST", 4, ttl, SERVER, destination, 25, 20_000, 0, 1001)


def at(when: float, place: str, direction: str, packet: Packet) -> Sighting:
    node, interface = place.split("/")
    return Sighting(int(when * MS), node, interface, direction == "out", packet)


def dropped_twice() -> list[Sighting]:
    return [
        sighting
        for when in (0, 1000)
        for sighting in (
            at(when, "home/eth0", "out", syn()),
            at(when + 0.01, "cpe/lan0", "in", syn()),
            at(when + 0.02, "cpe/wan0", "out", syn(NAT, 20_000, 63)),
            at(when + 0.03, "edge/access0", "in", syn(NAT, 20_000, 63)),
        )
    ]


def test_a_dropped_syn_is_told_where_it_was_sent_and_where_it_ended() -> None:
    found = deciding(dropped_twice())
    assert [(seen.at, seen.leaving, seen.retransmission) for seen in found] == [
        ("home/eth0", True, False),
        ("edge/access0", False, False),
        ("home/eth0", True, True),
        ("edge/access0", False, True),
    ]
    assert [seen.seconds for seen in found] == [0.0, 3e-5, 1.0, 1.00003]
    assert (found[1].source, found[1].ttl) == ("198.51.100.9", 63)


def test_a_retransmission_that_alone_got_through_is_told_from_the_first() -> None:
    through = [*dropped_twice(), at(1000.05, "mx/eth0", "in", syn(NAT, 20_000, 60))]
    assert [(seen.at, seen.retransmission) for seen in deciding(through)] == [
        ("home/eth0", False),
        ("edge/access0", False),
        ("home/eth0", True),
        ("mx/eth0", True),
    ]


def test_the_order_in_which_sightings_are_given_does_not_count() -> None:
    assert deciding(reversed(dropped_twice())) == deciding(dropped_twice())


def test_a_reset_is_made_where_it_leaves_before_it_came_in() -> None:
    between = [
        *dropped_twice()[:4],
        at(0.05, "edge/access0", "out", rst(NAT)),
        at(0.06, "cpe/wan0", "in", rst(NAT)),
        at(0.07, "home/eth0", "in", rst()),
    ]
    assert made_by(deciding(between), "RST") == "edge"
    itself = [
        at(0, "home/eth0", "out", syn()),
        at(0.1, "mx/eth0", "in", syn()),
        at(0.2, "mx/eth0", "out", rst()),
        at(0.3, "home/eth0", "in", rst()),
    ]
    assert made_by(deciding(itself), "RST") == "mx"
    assert made_by(deciding(itself), "SYN-ACK") is None


def test_a_reset_from_where_nobody_watches_has_no_sender() -> None:
    assert made_by(deciding([at(0, "home/eth0", "out", syn()), at(1, "home/eth0", "in", rst())]), "RST") is None


def test_icmp_errors_count_where_they_reach_the_client() -> None:
    error = Packet("ICMP", 4, 64, ROUTER, CLIENT, icmp=(3, 13), about=Quoted(20_000, 25, 1000))
    seen = [
        at(0, "home/eth0", "out", syn()),
        at(0.1, "edge/access0", "out", error),
        at(0.2, "home/eth0", "in", error),
        at(0.3, "home/eth0", "in", error),
    ]
    assert [(found.sender, found.type, found.code) for found in icmp_errors(seen, "home")] == [("198.51.100.1", 3, 13)]
    assert icmp_errors(seen, "edge") == []
    assert made_by(deciding(seen), "ICMP") == "edge"
    assert deciding(seen)[1].sequence == 1000


def test_data_and_acknowledgements_decide_nothing() -> None:
    packets = [Packet(kind, 4, 64, CLIENT, SERVER, 20_000, 25, 1001, 5) for kind in ("data", "ACK", "other")]
    assert deciding(at(number, "home/eth0", "out", packet) for number, packet in enumerate(packets)) == []
    assert deciding([]) == []
