"""Mirrors: labs in the shape of a router."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from port25lab.engine.jobs import control_key
from port25lab.errors import InputError
from port25lab.model.plan import Plan
from port25lab.model.snapshot import Snapshot
from port25lab.scenario.mirror import Mirror, mirror
from port25lab.scenario.mirror_questions import questions_of
from port25lab.scenario.router_facts import read_router, together
from port25lab.scenario.snapshot import read_snapshot
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


def counted(folder: Path, rule: str) -> dict[tuple[int, int | None], bool]:
    """Whether a path to a port over an IP version has a lab of its own."""
    folder.mkdir()
    found = questions_of(mirrored(rules(folder, f"*filter\n{rule}\nCOMMIT\n")), "new")
    alone = [question for question in found if question.config.alone is not None]
    assert all(question.config.alone == question.path for question in alone)
    assert len({question.config for question in found}) == len(alone) + (len(alone) < len(found))
    assert {control_key(question) for question in found} == {(replace(found[0].config, policies=(), alone=None), None)}
    apart = {(question.path.port, question.path.ip_version) for question in alone}
    return {key: key in apart for key in ((question.path.port, question.path.ip_version) for question in found)}


def test_a_question_that_meets_a_rule_that_counts_has_a_lab_of_its_own_and_the_control_of_the_others(
    tmp_path: Path,
) -> None:
    limit = "-m hashlimit --hashlimit-above 1/min --hashlimit-name x"
    found = counted(tmp_path / "one", f"-A FORWARD -i lan -p tcp --dport 587 {limit} -j DROP")
    assert found[587, 4]
    assert not found[587, 6]
    assert not found[465, 4]
    logged = counted(tmp_path / "log", "-A FORWARD -i lan -p tcp --dport 587 -m limit --limit 5/min -j LOG")
    assert not any(logged.values())
    behind = counted(tmp_path / "behind", f"-A FORWARD -p tcp -j ACCEPT\n-A FORWARD -p tcp {limit} -j DROP")
    assert not any(behind.values())


def test_addresses_of_networks_inside_are_found_where_rules_name_all_private_ones(tmp_path: Path) -> None:
    private = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
    text = "".join(f"-A INPUT -i wan0 -s {network} -j DROP\n" for network in private)
    dmz = "-A FORWARD -i dmz0 -p tcp --dport 25 -j DROP\n"
    found = mirrored(rules(tmp_path, f"*filter\n{text}-A FORWARD -i lan0 -o wan0 -j ACCEPT\n{dmz}COMMIT\n"))
    assert [group.node for group in found.groups] == ["inside-lan0", "inside-dmz0", "router"]
    nets = [port.ip.network for port in found.plan.nodes["router"].interfaces if port.ip is not None]
    assert len(set(nets)) == len(nets) == 3
    assert no_address_twice(found.plan)


def test_rules_that_forward_nothing_are_those_of_a_host_unless_an_inside_is_named(tmp_path: Path) -> None:
    text = "*filter\n:FORWARD ACCEPT\n-A FORWARD -m state --state ESTABLISHED -j ACCEPT\n-A FORWARD -j REJECT\nCOMMIT\n"
    snapshot = rules(tmp_path, text)
    assert [group.node for group in mirrored(snapshot).groups] == ["router"]
    assert "inside-eth1" in {group.node for group in mirrored(snapshot, inside={"eth1": None}).groups}
    (tmp_path / "other").mkdir()
    open_one = rules(tmp_path / "other", "*filter\n:FORWARD DROP\n-A FORWARD -p tcp --dport 587 -j ACCEPT\nCOMMIT\n")
    assert "inside-eth1" in {group.node for group in mirrored(open_one).groups}
    shape = together(read_router(snapshot), read_router(open_one))
    assert shape.forwards
    assert len({len(mirror(one, read_router(one), shape=shape).groups) for one in (snapshot, open_one)}) == 1


def test_an_interception_from_inside_is_no_forwarded_port(tmp_path: Path) -> None:
    text = "*nat\n-A PREROUTING -i lan0 -p tcp --dport 25 -j DNAT --to-destination {}\nCOMMIT\n*filter\nCOMMIT\n"
    found = mirrored(rules(tmp_path, text.format("10.0.0.25")))
    assert found.plan.nodes["from-10-0-0-25"].published == (ip_address("10.0.0.25"),)
    (tmp_path / "other").mkdir()
    found = mirrored(rules(tmp_path / "other", text.format("203.0.113.25")))
    assert [server.node for server in found.listed] == ["to-203-0-113-25"]


BOGON_LIST = """\
*filter
:wan-in - [0:0]
-A FORWARD -i {outside} -j wan-in
-A FORWARD -i lan0 -o {outside} -j ACCEPT
-A wan-in -s 127.0.0.0/8 -j DROP
-A wan-in -s 0.0.0.0/8 -j DROP
-A wan-in -s 240.0.0.0/4 -j DROP
-A wan-in -s 10.0.0.0/8 -j DROP
-A FORWARD -i {outside} -s 172.16.0.0/12 -j DROP
COMMIT
"""


@pytest.mark.parametrize("outside", ["wan0", "eth7"])
def test_what_a_list_of_bogons_drops_is_no_network_inside(tmp_path: Path, outside: str) -> None:
    found = mirrored(rules(tmp_path, BOGON_LIST.format(outside=outside)))
    assert found.facts.outside == outside
    own = found.plan.nodes["inside-lan0"].published[0]
    assert own in ip_network("192.168.0.0/16")
    hosts = [address for node in found.plan.nodes.values() for address in node.published]
    assert not any(address.is_loopback or address.is_reserved for address in hosts)
    assert not any(address in ip_network("0.0.0.0/8") for address in hosts if address.version == 4)


def test_what_a_rule_drops_all_but_of_is_the_network_there(tmp_path: Path) -> None:
    text = "*filter\n-A FORWARD -i lan0 ! -s 10.50.0.0/16 -j DROP\n-A FORWARD -i lan0 -o wan0 -j ACCEPT\nCOMMIT\n"
    own = mirrored(rules(tmp_path, text)).plan.nodes["inside-lan0"].published[0]
    assert own in ip_network("10.50.0.0/16")


def test_a_range_of_senders_that_a_rule_about_mail_names_has_a_host(tmp_path: Path) -> None:
    text = "*filter\n-A FORWARD -i lan0 -p tcp --dport 465 -m iprange --src-range 10.0.0.100-10.0.0.200\nCOMMIT\n"
    found = mirrored(rules(tmp_path, text))
    assert found.plan.nodes["from-10-0-0-100"].published == (ip_address("10.0.0.100"),)


def test_of_many_rules_that_are_alike_some_have_a_host_and_each_other_kind_has_one(tmp_path: Path) -> None:
    lines = "".join(f"-A FORWARD -s 10.7.{number}.5 -p tcp --dport 25 -j ACCEPT\n" for number in range(100))
    banned = "".join(f"-A FORWARD -s 10.8.{number}.5 -j DROP\n" for number in range(50))
    last = "-A FORWARD -s 10.9.0.25 -p tcp --dport 25 -j REJECT\n"
    found = mirrored(rules(tmp_path, f"*filter\n{banned}{lines}{last}COMMIT\n"))
    named = [group.node for group in found.groups if group.node.startswith("from-")]
    assert {"from-10-7-0-5", "from-10-9-0-25"} <= set(named)
    assert not any(node.startswith("from-10-8") for node in named)
    [note] = [note for note in found.notes if "more that rules name" in note]
    assert note.startswith(f"{151 - len(named)} more")
    assert "rules.v4:" in note


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


ROUTED = """\
#### port25lab snapshot 1: ip addr
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 203.0.113.2/24 scope global eth0
3: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 192.168.1.1/24 scope global eth1
4: eth2.20@eth2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 192.168.2.1/24 scope global eth2.20
#### port25lab snapshot 1: ip -4 route
default via 203.0.113.1 dev eth0
10.7.0.0/16 via 192.168.2.254 dev eth2.20
#### port25lab snapshot 1: sysctl
net.ipv4.ip_forward = 1
net.ipv4.conf.eth2/20.rp_filter = 1
{}
#### port25lab snapshot 1: iptables-save -c
*filter
-A FORWARD -s 10.7.3.0/24 -p tcp --dport 25 -j ACCEPT
-A FORWARD -i eth1 -p tcp --dport 25 -j DROP
COMMIT
#### port25lab snapshot 1: end
"""


def routed(tmp_path: Path, sysctl: str = "") -> Mirror:
    (tmp_path / "router.txt").write_text(ROUTED.format(sysctl))
    snapshot = read_snapshot([str(tmp_path / "router.txt")]).snapshot
    return mirror(snapshot, read_router(snapshot))


def test_a_named_network_is_behind_the_interface_to_which_the_routers_own_route_leads(tmp_path: Path) -> None:
    found = routed(tmp_path)
    assert {group.node: group.interface for group in found.groups}["from-10-7-3-0-24"] == "eth2.20"


def test_settings_that_decide_about_packets_are_those_of_the_router(tmp_path: Path) -> None:
    assert routed(tmp_path).plan.nodes["router"].sysctls == {"net.ipv4.conf.eth2/20.rp_filter": "1"}
    found = routed(tmp_path, "net.netfilter.nf_conntrack_tcp_loose = 0")
    assert found.plan.nodes["router"].sysctls["net.netfilter.nf_conntrack_tcp_loose"] == "0"


@pytest.mark.parametrize(
    ("sysctl", "inside", "router"),
    [
        ("", {4, 6}, {4, 6}),
        ("net.ipv6.conf.all.forwarding = 0", {4}, {4, 6}),
        ("net.ipv6.conf.all.disable_ipv6 = 1", {4}, {4}),
    ],
)
def test_nothing_is_asked_of_ipv6_where_the_router_has_none(
    tmp_path: Path, sysctl: str, inside: set[int], router: set[int]
) -> None:
    paths = [question.path for question in questions_of(routed(tmp_path, sysctl), "new")]
    assert {path.ip_version for path in paths if path.source == "inside-eth1"} == inside
    assert {path.ip_version for path in paths if path.source == "router"} == router


def test_a_question_of_the_users_has_no_login_where_the_server_has_no_users(tmp_path: Path) -> None:
    asked = questions_of(routed(tmp_path), "new", ["router:mx:2525", "router:provider:2525"])
    auth = {question.path.to: question.path.auth for question in asked if question.path.port == 2525}
    assert auth["mx:example.net"] is None
    assert auth["provider"] is not None
