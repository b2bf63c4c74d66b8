"""Interfaces and routes, from text and from JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.model.snapshot import Snapshot
from port25lab.scenario.snapshot import read_snapshot

TEXT = """\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq master br0 state UP group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
3: br0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 192.0.2.1/24 brd 192.0.2.255 scope global br0
       valid_lft forever preferred_lft forever
    inet 192.0.2.9/24 scope global secondary br0:1
       valid_lft forever preferred_lft forever
    inet6 2001:db8::1/64 scope global
       valid_lft forever preferred_lft forever
4: br0.7@br0: <BROADCAST,MULTICAST> mtu 1400 qdisc noop state DOWN group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
5: ppp0: <POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> mtu 1492 qdisc fq_codel state UNKNOWN group default qlen 3
    link/ppp
    inet 198.51.100.7 peer 198.51.100.1/32 scope global ppp0
       valid_lft forever preferred_lft forever
"""

JSON = """\
[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"link_type":"loopback",
"address":"00:00:00:00:00:00","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
{"ifindex":2,"ifname":"eth0","flags":["BROADCAST","UP"],"mtu":1500,"master":"br0","link_type":"ether",
"address":"02:00:00:00:00:01","addr_info":[]},
{"ifindex":3,"ifname":"br0","flags":["BROADCAST","UP"],"mtu":1500,"link_type":"ether","address":"02:00:00:00:00:01",
"linkinfo":{"info_kind":"bridge"},"addr_info":[{"family":"inet","local":"192.0.2.1","prefixlen":24},
{"family":"inet","local":"192.0.2.9","prefixlen":24},{"family":"inet6","local":"2001:db8::1","prefixlen":64}]},
{"ifindex":4,"link":"br0","ifname":"br0.7","flags":["BROADCAST"],"mtu":1400,"link_type":"ether",
"address":"02:00:00:00:00:01","addr_info":[]},
{"ifindex":5,"ifname":"ppp0","flags":["POINTOPOINT","UP"],"mtu":1492,"link_type":"ppp",
"addr_info":[{"family":"inet","local":"198.51.100.7","address":"198.51.100.1","prefixlen":32}]}]
"""

ONE_LINE = """\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
3: br0    inet 192.0.2.1/24 brd 192.0.2.255 scope global br0\\       valid_lft forever preferred_lft forever
3: br0    inet 192.0.2.9/24 scope global secondary br0:1\\       valid_lft forever preferred_lft forever
3: br0    inet6 2001:db8::1/64 scope global \\       valid_lft forever preferred_lft forever
5: ppp0    inet 198.51.100.7 peer 198.51.100.1/32 scope global ppp0\\       valid_lft forever preferred_lft forever
"""

BRIEF = """\
lo               UNKNOWN        127.0.0.1/8
eth0             UP
br0              UP             192.0.2.1/24 192.0.2.9/24 2001:db8::1/64
br0.7@br0        DOWN
ppp0             UNKNOWN        198.51.100.7 peer 198.51.100.1/32
"""


def read(tmp_path: Path, text: str) -> Snapshot:
    (tmp_path / "file").write_text(text)
    reading = read_snapshot([str(tmp_path / "file")])
    assert not reading.errors
    return reading.snapshot


def test_json_says_what_text_says(tmp_path: Path) -> None:
    found = read(tmp_path, TEXT).interfaces
    assert found == read(tmp_path, JSON).interfaces
    assert [(item.name, item.kind, item.master, item.up, item.mtu) for item in found] == [
        ("lo", "loopback", None, True, 65536),
        ("eth0", None, "br0", True, 1500),
        ("br0", "bridge", None, True, 1500),
        ("br0.7", "vlan", None, False, 1400),
        ("ppp0", "ppp", None, True, 1492),
    ]
    assert [str(address) for address in found[2].addresses] == ["192.0.2.1/24", "192.0.2.9/24", "2001:db8::1/64"]
    assert (str(found[4].addresses[0]), str(found[4].peer)) == ("198.51.100.7/32", "198.51.100.1")


@pytest.mark.parametrize("text", [ONE_LINE, BRIEF, TEXT.replace("    inet", "\x1b[34m    inet\x1b[0m")])
def test_other_forms_of_ip_addr_have_the_same_addresses(tmp_path: Path, text: str) -> None:
    addresses = {item.name: (item.addresses, item.peer) for item in read(tmp_path, TEXT).interfaces if item.addresses}
    found = {item.name: (item.addresses, item.peer) for item in read(tmp_path, text).interfaces if item.addresses}
    assert found == addresses


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("9: eth1.20@eth1: <UP> mtu 1500\n", "vlan"),
        ("9: vlan20@eth1: <UP> mtu 1500\n", "vlan"),
        ("9: veth3f8c2d1@if5: <UP> mtu 1500\n", "veth"),
        ("9: eth0@if12: <UP> mtu 1500\n", "veth"),
        ("8: a@b: <UP> mtu 1500\n9: b@a: <UP> mtu 1500\n", "veth"),
        ("9: docker0: <UP> mtu 1500\n", "bridge"),
        ("9: br-lan: <UP> mtu 1500\n", "bridge"),
        ("9: pppoe-wan: <UP> mtu 1492\n", "ppp"),
        ("9: wg0: <UP> mtu 1420\n    link/none \n", "wireguard"),
        ("9: tun0: <UP> mtu 1500\n    link/none \n", "tun"),
        ("9: x: <UP> mtu 1500\n    link/ether 02:00:00:00:00:01\n    bridge forward_delay 1500\n", "bridge"),
        ("9: x: <UP> mtu 1500\n    link/ether 02:00:00:00:00:01\n    vlan protocol 802.1Q id 7\n", "vlan"),
        ("9: enp1s0: <UP> mtu 1500\n", None),
    ],
)
def test_the_kind_of_an_interface(tmp_path: Path, text: str, kind: str | None) -> None:
    assert read(tmp_path, text).interfaces[-1].kind == kind


def test_ports_of_a_bond_have_no_bridge(tmp_path: Path) -> None:
    port, bond = read(tmp_path, "2: e0: <SLAVE,UP> mtu 1500 master bond0\n3: bond0: <MASTER,UP> mtu 1500\n").interfaces
    assert (port.master, bond.kind) == (None, "bond")


ROUTES = """\
default via 192.0.2.254 dev eth0 proto static metric 100
10.9.0.0/16 proto static metric 20
\tnexthop via 192.0.2.2 dev eth0 weight 1
\tnexthop via 192.0.2.3 dev eth1 weight 1
blackhole 172.16.0.0/12
192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.1 linkdown
198.51.100.1 dev ppp0 scope link
203.0.113.0/24 via inet6 fe80::1 dev eth0
10.1.0.0/16 dev eth0 table 100
broadcast 192.0.2.255 dev eth0 table local proto kernel scope link src 192.0.2.1
throw 10.2.0.0/16
"""
ROUTES_JSON = """\
[{"dst":"default","gateway":"192.0.2.254","dev":"eth0","protocol":"static","metric":100,"flags":[]},
{"dst":"10.9.0.0/16","protocol":"static","metric":20,"flags":[],"nexthops":[
{"gateway":"192.0.2.2","dev":"eth0","weight":1,"flags":[]},{"gateway":"192.0.2.3","dev":"eth1","weight":1,"flags":[]}]},
{"type":"blackhole","dst":"172.16.0.0/12","flags":[]},
{"dst":"192.0.2.0/24","dev":"eth0","protocol":"kernel","scope":"link","prefsrc":"192.0.2.1","flags":["linkdown"]},
{"dst":"198.51.100.1","dev":"ppp0","scope":"link","flags":[]},
{"dst":"203.0.113.0/24","via":{"family":"inet6","host":"fe80::1"},"dev":"eth0","flags":[]},
{"dst":"10.1.0.0/16","dev":"eth0","table":"100","flags":[]},
{"type":"broadcast","dst":"192.0.2.255","dev":"eth0","table":"local","flags":[]}]
"""


@pytest.mark.parametrize("text", [ROUTES, ROUTES_JSON])
def test_routes_of_the_main_table(tmp_path: Path, text: str) -> None:
    found = [
        (str(route.to), route.via and str(route.via), route.interface, route.blackhole, route.metric)
        for route in read(tmp_path, text).routes
    ]
    assert found == [
        ("0.0.0.0/0", "192.0.2.254", "eth0", False, 100),
        ("10.9.0.0/16", "192.0.2.2", "eth0", False, 20),
        ("172.16.0.0/12", None, None, True, 0),
        ("192.0.2.0/24", None, "eth0", False, 0),
        ("198.51.100.1/32", None, "ppp0", False, 0),
        ("203.0.113.0/24", "fe80::1", "eth0", False, 0),
    ]


@pytest.mark.parametrize(
    ("text", "to"),
    [
        ("default via 2001:db8::1 dev eth0\n", "::/0"),
        ("default dev ppp0 metric 1024 pref medium\n", "::/0"),
        ("default dev ppp0 scope link\n", "0.0.0.0/0"),
        ("2001:db8::/64 dev eth0\ndefault dev ppp0\n", "::/0"),
        ("$ ip -6 route\ndefault dev ppp0\n", "::/0"),
        ('[{"dst":"default","dev":"ppp0","flags":[],"pref":"medium"}]\n', "::/0"),
        ('[{"dst":"default","dev":"ppp0","flags":[]}]\n', "0.0.0.0/0"),
    ],
)
def test_the_family_of_a_default_route(tmp_path: Path, text: str, to: str) -> None:
    assert str(read(tmp_path, text).routes[-1].to) == to


def test_routes_that_every_address_brings_are_left_out(tmp_path: Path) -> None:
    text = "fe80::/64 dev eth0 proto kernel metric 256 pref medium\nunreachable fd00::/8 dev lo metric 1024\n"
    (route,) = read(tmp_path, text + "multicast ff00::/8 dev eth0 table local\n").routes
    assert (str(route.to), route.blackhole, route.interface) == ("fd00::/8", True, None)
