"""Which neighbour an attempt's packets wait for: by the plan, and by where they were seen last."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from port25lab.evidence.connections import Connections
from port25lab.evidence.neighbours import Neighbours
from port25lab.model.evidence import PacketSeen
from port25lab.model.plan import BridgePlan, InterfacePlan, LinkPlan, NodePlan, Plan, Route

PC, PC2, MX = "192.168.1.10", "192.168.1.11", "192.0.2.25"
PC6, MX6 = "2001:db8:1::10", "2001:db8:25::25"


def port(name: str, *addresses: str) -> InterfacePlan:
    return InterfacePlan(**{"name": name} | _own(*addresses))


def _own(*addresses: str) -> dict[str, Any]:
    return {"ip6" if ":" in address else "ip": ip_interface(address) for address in addresses}


def routes(*pairs: tuple[str, str]) -> tuple[Route, ...]:
    made = []
    for to, via in pairs:
        made.append(Route(to=ip_network(to), via=None if via == "blackhole" else ip_interface(via).ip))
    return tuple(made)


def plan() -> Plan:
    """pc and pc-2 on the bridge of a home router; then the edge, and behind it the server."""
    home = routes(("0.0.0.0/0", "192.168.1.1"), ("::/0", "2001:db8:1::1"))
    nodes = [
        NodePlan(name="pc", interfaces=(port("eth0", f"{PC}/24", f"{PC6}/64"),), routes=home),
        NodePlan(name="pc-2", interfaces=(port("eth0", f"{PC2}/24"),), routes=home),
        NodePlan(
            name="cpe",
            forward=True,
            interfaces=(port("lan1"), port("lan2"), port("wan0", "198.51.100.2/24", "2001:db8:ff::2/64")),
            bridges={"lan0": BridgePlan(ports=("lan1", "lan2"), **_own("192.168.1.1/24", "2001:db8:1::1/64"))},
            routes=routes(("0.0.0.0/0", "198.51.100.1"), ("::/0", "2001:db8:ff::1"), ("203.0.113.0/24", "blackhole")),
        ),
        NodePlan(
            name="edge",
            forward=True,
            interfaces=(
                port("a0", "198.51.100.1/24", "2001:db8:ff::1/64"),
                port("s0", "192.0.2.1/24", "2001:db8:25::1/64"),
            ),
            routes=routes(("2001:db8:1::/64", "2001:db8:ff::2")),
        ),
        NodePlan(
            name="mx",
            interfaces=(port("eth0", f"{MX}/24", f"{MX6}/64"),),
            routes=routes(("0.0.0.0/0", "192.0.2.1"), ("::/0", "2001:db8:25::1")),
        ),
    ]
    links = (
        ("pc", "eth0", "cpe", "lan1"),
        ("pc-2", "eth0", "cpe", "lan2"),
        ("cpe", "wan0", "edge", "a0"),
        ("edge", "s0", "mx", "eth0"),
    )
    return Plan(
        name="home",
        file=Path("home.py"),
        nodes={node.name: node for node in nodes},
        links=tuple(LinkPlan(node1=a, interface1=b, node2=c, interface2=d) for a, b, c, d in links),
    )


def neighbours(*ruled: str) -> Neighbours:
    made = plan()
    ends = [
        (node.name, name)
        for node in made.nodes.values()
        for name in (*(p.name for p in node.interfaces), *node.bridges)
    ]
    return Neighbours(made, ruled, {end: IPv6Address(0xFE80 << 112 | number) for number, end in enumerate(ends, 1)})


def seen(
    node: str, kind: str = "SYN", *, leaving: bool = False, to: str = MX6, source: str = PC6, port: int = 20_000
) -> PacketSeen:
    return PacketSeen(
        node=node, interface="?", seconds=0, leaving=leaving, kind=kind, source=source, source_port=port,
        destination=to, destination_port=25, ttl=64, sequence=7,
    )  # fmt: skip


def waits(
    *packets: PacketSeen, ruled: tuple[str, ...] = ("edge",), to: str = MX6, **more: Any
) -> list[tuple[str, str, str]]:
    found = neighbours(*ruled).waited_for("pc", [to], packets, **{"connections": Connections()} | more)
    return [(one.asker, str(one.address), one.owner) for one in found]


LEFT = seen("pc", leaving=True)


def test_a_syn_waits_where_it_was_seen_last() -> None:
    assert waits(LEFT, seen("cpe")) == [("cpe", "2001:db8:ff::1", "edge")]
    assert waits(LEFT, seen("edge")) == [("edge", MX6, "mx")]


def test_the_client_itself_waits_where_its_syn_never_left() -> None:
    assert waits(ruled=("cpe",)) == [("pc", "2001:db8:1::1", "cpe")]
    assert waits(ruled=("cpe",), to=PC2) == [("pc", PC2, "pc-2")]


def test_where_no_rules_are_nobody_resolves() -> None:
    assert waits() == []
    assert waits(LEFT, seen("edge"), ruled=()) == []
    assert waits(LEFT, seen("edge"), ruled=("pc-2",)) == []


def test_a_server_waits_where_its_answer_never_left() -> None:
    assert waits(LEFT, seen("mx")) == [("mx", "2001:db8:25::1", "edge")]


def test_an_answer_waits_on_its_way_back() -> None:
    answer = {"kind": "SYN-ACK", "to": PC6, "source": MX6, "port": 25}
    assert waits(LEFT, seen("mx"), seen("edge", **answer)) == [("edge", "2001:db8:ff::2", "cpe")]
    assert waits(LEFT, seen("mx"), seen("cpe", **answer), ruled=("cpe",)) == [("cpe", PC6, "pc")]
    assert waits(LEFT, seen("mx"), seen("pc", **answer), ruled=("cpe",)) == []


def test_behind_nat_an_answer_waits_for_the_host_inside() -> None:
    answer = seen("cpe", "SYN-ACK", to="198.51.100.2", source=MX, port=25)
    left = seen("pc", leaving=True, to=MX, source=PC)
    ends = frozenset(
        {("cpe", (PC, 20_000, MX, 25)), ("cpe", (MX, 25, PC, 20_000)), ("cpe", (MX, 25, "198.51.100.2", 20_000))}
    )
    found = waits(left, seen("mx", to=MX), answer, ruled=("cpe",), to=MX, connections=Connections((7,), ends))
    assert found == [("cpe", PC, "pc")]


def test_a_node_that_sent_the_syn_elsewhere_may_wait_for_any_neighbour() -> None:
    found = waits(LEFT, seen("edge"), diverting={"edge"})
    assert found == [("edge", "2001:db8:25::25", "mx"), ("edge", "2001:db8:ff::2", "cpe")]


def test_a_router_may_forward_a_port_of_its_own_address() -> None:
    left = seen("mx", leaving=True, to="198.51.100.2", source=MX)
    arrived = seen("cpe", to="198.51.100.2", source=MX)
    found = neighbours("cpe").waited_for("mx", ["198.51.100.2"], [left, arrived], Connections())
    assert [str(one.address) for one in found] == [PC, PC2, "198.51.100.1"]
    answer = seen("cpe", "SYN-ACK", leaving=True, to=MX, source="198.51.100.2", port=25)
    assert neighbours("cpe").waited_for("mx", ["198.51.100.2"], [left, arrived, answer], Connections()) == []


def test_a_packet_that_was_lost_on_a_link_waits_for_none() -> None:
    assert waits(LEFT) == []
    assert waits(LEFT, seen("mx"), seen("mx", "SYN-ACK", leaving=True, to=PC6, source=MX6, port=25)) == []


def test_a_retransmission_that_has_only_just_left_changes_nothing() -> None:
    assert waits(LEFT, seen("edge"), LEFT) == [("edge", MX6, "mx")]


def test_a_blackhole_is_not_a_neighbour() -> None:
    left = seen("pc", leaving=True, to="203.0.113.9", source=PC)
    assert waits(left, seen("cpe", to="203.0.113.9"), ruled=("cpe",), to="203.0.113.9") == []


def test_packets_to_another_ip_version_do_not_count() -> None:
    left4, at_edge4 = seen("pc", leaving=True, to=MX, source=PC), seen("cpe", to=MX, source=PC)
    assert waits(left4, at_edge4, LEFT, seen("cpe")) == [("cpe", "2001:db8:ff::1", "edge")]


def test_a_router_may_ask_from_its_link_local_address() -> None:
    [hop] = neighbours("edge").waited_for("pc", [MX6], [LEFT, seen("cpe")], Connections())
    assert hop.asks_from == {"198.51.100.2", "2001:db8:ff::2", "192.168.1.1", "2001:db8:1::1", "fe80::5"}
    assert {key.node for key in hop.keys} == {"cpe", "edge"}


@pytest.mark.parametrize(
    ("source", "to", "hops"),
    [
        ("pc", MX6, [("cpe", "edge"), ("edge", "mx"), ("mx", "edge"), ("edge", "cpe")]),
        ("pc", "2001:db8:99::1", [("cpe", "edge")]),
        ("mx", MX6, []),
    ],
)
def test_by_the_routes_alone_all_hops_count(source: str, to: str, hops: list[tuple[str, str]]) -> None:
    assert [(hop.asker, hop.owner) for hop in neighbours("edge").there_and_back(source, to)] == hops


def test_routes_in_a_circle_have_an_end() -> None:
    made = plan()
    back = made.nodes["edge"].model_copy(update={"routes": routes(("2001:db8:99::/64", "2001:db8:ff::2"))})
    circle = made.model_copy(update={"nodes": {**made.nodes, "edge": back}})
    link_local = {(node, name): IPv6Address("fe80::1") for segment in circle.segments() for node, name in segment}
    assert len(Neighbours(circle, ["edge"], link_local).there_and_back("pc", "2001:db8:99::1")) < 100


def test_a_node_has_the_neighbours_of_all_its_segments_with_rules() -> None:
    counted = neighbours("edge")
    assert [counted.count(node) for node in ("pc", "cpe", "edge", "mx")] == [0, 2, 4, 2]
    assert neighbours("pc-2").count("cpe") == 3


def test_a_bridge_and_what_it_joins_is_one_segment() -> None:
    segments = [set(segment) for segment in plan().segments()]
    assert {("pc", "eth0"), ("pc-2", "eth0"), ("cpe", "lan0")} in segments
    assert len(segments) == 3
    [resolving] = plan().resolving(["pc-2"])
    assert set(resolving) == {("pc", "eth0"), ("pc-2", "eth0"), ("cpe", "lan0")}
    assert [str(own.ip) for own in resolving["pc", "eth0"]] == [PC, PC6]
