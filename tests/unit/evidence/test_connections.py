"""Which packets belong to which attempt: through NAT of ports, proxies, and ports that two attempts have in turn."""

from __future__ import annotations

from ipaddress import ip_address

from port25lab.evidence.connections import Sightings
from port25lab.evidence.deciding_packets import Sighting
from port25lab.kernel.headers import Packet

PC, MX, WAN, RELAY = "192.168.1.10", "203.0.113.25", "198.51.100.1", "198.51.100.25"
PORT, OTHER = 20_000, 20_001


class Lab:
    """Sightings, one nanosecond apart."""

    def __init__(self) -> None:
        self.sightings = Sightings()
        self._clock = 0

    def syn(
        self, at: str, source: str, port: int, sequence: int, to: str = MX, to_port: int = 25, number: int = 0
    ) -> None:
        """``at``: the node, with a ``>`` behind it where the packet leaves."""
        self._note(at, Packet("SYN", 4, 64, *_packed(source, to), port, to_port, sequence, 0, number=number))

    def answer(self, at: str, kind: str, source: str, to: str, to_port: int, acknowledged: int) -> None:
        self._note(at, Packet(kind, 4, 64, *_packed(source, to), 25, to_port, 7, acknowledged))

    def data(self, at: str, source: str, port: int, to: str = MX) -> None:
        self._note(at, Packet("data", 4, 64, *_packed(source, to), port, 25, 500, 8, length=5))

    def _note(self, at: str, packet: Packet) -> None:
        self._clock += 1
        self.sightings.note(Sighting(self._clock, at.rstrip(">"), "eth0", at.endswith(">"), packet))


def _packed(*addresses: str) -> tuple[bytes, ...]:
    return tuple(ip_address(address).packed for address in addresses)


def test_a_syn_keeps_its_attempt_where_nat_gives_it_the_port_of_another_one() -> None:
    lab = Lab()
    lab.syn("pc>", PC, PORT, 1)
    lab.syn("edge>", WAN, OTHER, 1)
    lab.syn("other>", "192.168.1.11", OTHER, 2)
    lab.answer("edge", "SYN-ACK", MX, WAN, OTHER, 2)
    lab.data("edge>", WAN, OTHER)
    seen, connections = lab.sightings.take([OTHER], "other")
    assert (connections.sequences, [one.node for one in seen]) == ((2,), ["other"])
    seen, connections = lab.sightings.take([PORT], "pc")
    assert connections.sequences == (1,)
    assert [(one.node, one.packet.kind) for one in seen] == [
        ("pc", "SYN"),
        ("edge", "SYN"),
        ("edge", "SYN-ACK"),
        ("edge", "data"),
    ]


def test_a_server_is_asked_about_the_address_and_port_that_it_sees() -> None:
    lab = Lab()
    lab.syn("pc>", PC, PORT, 1)
    lab.syn("edge", PC, PORT, 1)
    lab.syn("edge>", WAN, 61_000, 1, RELAY)
    lab.syn("relay", WAN, 61_000, 1, RELAY)
    _, connections = lab.sightings.take([PORT], "pc")
    assert connections.arrivals == {("edge", PC, PORT), ("relay", WAN, 61_000)}
    assert connections.dialled == MX


def test_between_two_translations_a_packet_has_one_old_and_one_new_end() -> None:
    lab = Lab()
    lab.syn("pc>", PC, PORT, 1)
    lab.syn("edge", PC, PORT, 1)
    lab.syn("edge>", WAN, 61_000, 1, RELAY, 2525)
    _, connections = lab.sightings.take([PORT], "pc")
    assert ("edge", (PC, PORT, RELAY, 2525)) in connections.ends
    assert ("edge", (RELAY, 2525, PC, PORT)) in connections.ends
    assert not any(node == "relay" for node, _ in connections.ends)


def test_what_a_proxy_sends_on_belongs_to_the_attempt() -> None:
    lab = Lab()
    lab.syn("pc>", PC, PORT, 1)
    lab.syn("edge", PC, 61_000, 1)
    lab.syn("edge>", WAN, 61_000, 9)
    lab.syn("mx", WAN, 61_000, 9)
    assert lab.sightings.take([PORT], "pc", ["edge"])[1].sequences == (1, 9)


def test_without_a_proxy_a_node_that_uses_the_port_too_has_no_part_in_the_attempt() -> None:
    lab = Lab()
    lab.syn("pc>", PC, PORT, 1)
    lab.syn("edge", PC, 30_000, 1)
    lab.syn("edge>", WAN, 30_000, 9)
    assert lab.sightings.take([PORT], "pc")[1].sequences == (1,)


def test_where_a_nodes_own_nat_hides_the_port_its_kernel_tells_it() -> None:
    lab = Lab()
    lab.syn("edge>", WAN, 61_000, 5)
    made = {("edge", PORT): [5]}
    sightings, connections = lab.sightings.take([PORT], "edge", (), lambda node, port: made.get((node, port), []))
    assert (len(sightings), connections.sequences) == (1, (5,))


def test_answers_that_come_back_another_way_belong_to_the_attempt() -> None:
    lab = Lab()
    lab.syn("pc>", PC, PORT, 1)
    lab.answer("r2", "SYN-ACK", MX, PC, PORT, 2)
    lab.answer("r2", "RST", MX, PC, PORT, 2)
    assert [one.packet.kind for one in lab.sightings.take([PORT], "pc")[0]] == ["SYN", "SYN-ACK", "RST"]


def test_an_attempt_that_is_over_takes_no_more() -> None:
    lab = Lab()
    lab.syn("pc>", PC, PORT, 1)
    lab.sightings.take([PORT], "pc")
    lab.syn("edge", PC, PORT, 1)
    assert lab.sightings.take([PORT], "pc")[0] == []


def test_an_answer_is_known_by_what_it_acknowledges_where_its_syn_was_not_seen() -> None:
    lab = Lab()
    lab.syn("pc>", PC, PORT, 1)
    lab.answer("r2", "SYN-ACK", MX, WAN, 61_000, 2)
    assert [one.node for one in lab.sightings.take([PORT], "pc")[0]] == ["pc", "r2"]


def test_a_session_is_known_on_a_router_that_saw_its_answers_alone() -> None:
    lab = Lab()
    lab.syn("pc>", PC, PORT, 1)
    lab.answer("back", "SYN-ACK", MX, WAN, OTHER, 2)
    _, connections = lab.sightings.take([PORT], "pc")
    assert {("back", (WAN, OTHER, MX, 25)), ("back", (MX, 25, WAN, OTHER))} <= connections.ends


def test_errors_are_looked_for_by_every_transmission_and_at_both_ends_of_nat() -> None:
    lab = Lab()
    for number in (40, 41):
        for at, source in (("pc>", PC), ("edge", PC), ("edge>", WAN)):
            lab.syn(at, source, PORT, 1, number=number)
    _, connections = lab.sightings.take([PORT], "pc")
    assert {(one.receiver, one.number) for one in connections.errors} >= {
        (source, number) for source in (PC, WAN) for number in (40, 41)
    }
    assert connections.opening[0] == 1
