"""Mirrors: labs in the shape of a router."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from port25lab.errors import InputError
from port25lab.model.plan import Plan
from port25lab.model.snapshot import Snapshot
from port25lab.scenario.mirror import Mirror, mirror
from port25lab.scenario.mirror_questions import questions_of
from port25lab.scenario.router_facts import read_router
from router_snapshots import ROUTERS, RULES, router, rules

BOGONS = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15")

WRONG = ("router", "router:mx", "router:mx:x", "router:mx:0", "nowhere:mx:25", "router:mxx:25")


def mirrored(snapshot: Snapshot, **more: object) -> Mirror:
    return mirror(snapshot, read_router(snapshot), **more)  # type: ignore[arg-type]


def no_address_twice(plan: Plan) -> bool:
    found = [address.ip for node in plan.nodes.values() for address in node.addresses]
    return len(found) == len(set(found))


@pytest.mark.parametrize("name", sorted(file.stem for file in ROUTERS.glob("*.txt")))
def test_a_mirror_has_the_routers_interfaces_and_addresses_and_none_twice(name: str) -> None:
    snapshot = router(name)
    found = mirrored(snapshot)
    real = {port.name: {str(address) for address in port.addresses} for port in snapshot.interfaces}
    for port in found.plan.nodes["router"].interfaces:
        own = {str(address) for address in (port.ip, port.ip6) if address is not None}
        assert port.name in real
        known = {address for address in real[port.name] if not address.startswith("fe80")}
        assert {4 if "." in one else 6 for one in known - own} <= {4 if "." in one else 6 for one in own & known}
    assert no_address_twice(found.plan)
    assert {"router", "mx", "provider", "relay-service", "outside", "dns"} <= set(found.plan.nodes)


def test_groups_that_rules_name_get_hosts_named_for_them(tmp_path: Path) -> None:
    found = mirrored(rules(tmp_path, RULES))
    hosts = {group.node: [address.ip for address in found.plan.nodes[group.node].addresses] for group in found.groups}
    assert {"inside-lan0", "from-10-1-2-25", "static", "from-10-9-0-0-16", "router"} == set(hosts)
    assert hosts["from-10-1-2-25"] == [ip_address("10.1.2.25")]
    assert hosts["from-10-9-0-0-16"][0] in ip_network("10.9.0.0/16")
    assert [server.node for server in found.listed] == ["to-203-0-113-25"]
    assert ip_address("203.0.113.25") in found.plan.nodes["to-203-0-113-25"].published
    assert "add static 198.19." in found.policy.ipset
    assert any("made up" in note and "static" in note for note in found.notes)


def test_a_forwarded_port_is_reached_at_the_routers_address(tmp_path: Path) -> None:
    found = mirrored(rules(tmp_path, RULES))
    router_own = {address.ip for address in found.plan.nodes["router"].addresses}
    assert set(found.plan.nodes["from-10-1-2-25"].published) <= router_own
    asked = {(question.path.source, question.path.to) for question in questions_of(found, "new")}
    assert ("outside", "from-10-1-2-25") in asked
    assert ("outside", "inside-lan0") in asked  # over IPv6


def test_interfaces_that_no_rule_about_mail_tells_apart_are_one(tmp_path: Path) -> None:
    lines = "".join(f"-A FORWARD -i vlan{number} -p udp -j ACCEPT\n" for number in range(100))
    text = f"*filter\n{lines}-A FORWARD -i dmz -o wan0 -p tcp --dport 25 -j DROP\nCOMMIT\n"
    found = mirrored(rules(tmp_path, text))
    inside = [group for group in found.groups if group.interface is not None]
    assert {group.node for group in inside} == {"inside-vlan0", "inside-dmz"}
    assert len(inside[0].same) == 99


def test_addresses_of_servers_are_none_that_rules_name(tmp_path: Path) -> None:
    bogons = "".join(
        f"-A FORWARD -d {net} -j DROP\n"
        for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15")
    )
    found = mirrored(rules(tmp_path, f"*filter\n{bogons}-A FORWARD -i lan -o wan -j ACCEPT\nCOMMIT\n"))
    named = [ip_network(net) for net in BOGONS]
    mx = found.plan.nodes["mx"].published[0]
    assert not any(mx in net for net in named)


def test_a_host_is_asked_about_its_own_mail_alone(tmp_path: Path) -> None:
    text = "*filter\n-A OUTPUT -p tcp --dport 25 -j REJECT\nCOMMIT\n"
    found = mirrored(rules(tmp_path, text), host=True)
    assert [group.node for group in found.groups] == ["router"]
    assert found.plan.nodes["router"].services


def test_sets_of_the_same_name_for_both_ip_versions_are_one_group(tmp_path: Path) -> None:
    text = "*filter\n-A FORWARD -p tcp --dport 25 -m set --match-set pool{} src -j DROP\nCOMMIT\n"
    found = mirrored(rules(tmp_path, text.format(""), text.format("6")))
    assert [group.versions for group in found.groups if group.node == "pool"] == [(4, 6)]


@pytest.mark.parametrize(
    "text", ["router", "router:mx", "router:mx:x", "router:mx:0", "nowhere:mx:25", "router:mxx:25"]
)
def test_a_question_that_cannot_be_asked_is_bad_input(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError):
        questions_of(mirrored(rules(tmp_path, RULES)), "new", [text])


def test_where_rules_count_each_question_has_a_lab_of_its_own(tmp_path: Path) -> None:
    limit = "-m hashlimit --hashlimit-above 1/min --hashlimit-name x"
    text = f"*filter\n-A FORWARD -p tcp --dport 25 {limit} -j DROP\nCOMMIT\n"
    found = questions_of(mirrored(rules(tmp_path, text)), "new")
    assert len({id(question.config) for question in found}) == len({question.config.parameters for question in found})
    assert len({question.config.parameters for question in found}) == len(found)
    (tmp_path / "log").mkdir()
    text = "*filter\n-A FORWARD -p tcp --dport 25 -m limit --limit 5/min -j LOG\nCOMMIT\n"
    logged = questions_of(mirrored(rules(tmp_path / "log", text)), "new")
    assert len({question.config.parameters for question in logged}) == 1


def test_networks_that_a_filter_against_spoofing_drops_are_not_behind_an_interface(tmp_path: Path) -> None:
    text = """\
*filter
-A FORWARD -i lan -s 127.0.0.0/8 -j DROP
-A FORWARD -i lan -s 240.0.0.0/4 -j DROP
-A FORWARD -i lan -s 172.30.0.0/16 -j DROP
-A FORWARD -i lan -s 224.0.0.0/4 -j ACCEPT
-A FORWARD -s 192.168.0.0/16 -o wan -j ACCEPT
COMMIT
"""
    found = mirrored(rules(tmp_path, text))
    assert found.plan.nodes["inside-lan"].addresses[0].ip in ip_network("192.168.0.0/16")


def test_a_sender_outside_is_in_no_network_inside(tmp_path: Path) -> None:
    text = "*filter\n-A INPUT -s 192.168.1.66 -p tcp --dport 25 -j ACCEPT\n-A FORWARD -i lan -o wan -j ACCEPT\nCOMMIT\n"
    found = mirrored(rules(tmp_path, text))
    assert [group.node for group in found.outsiders] == ["from-192-168-1-66"]
    assert no_address_twice(found.plan)
    lan = next(port.ip for port in found.plan.nodes["router"].interfaces if port.name == "lan")
    assert lan is not None
    assert ip_address("192.168.1.66") not in lan.network
