"""An anonymous snapshot says the same of rules and networks, and nothing of whose they are."""

from __future__ import annotations

import ipaddress
import re
from itertools import permutations
from pathlib import Path

import pytest

from port25lab.errors import InputError
from port25lab.model.snapshot import Snapshot
from port25lab.rules import decode, parse
from port25lab.scenario import anonymous_addresses
from port25lab.scenario.anonymise import anonymise_file
from port25lab.scenario.snapshot import read_snapshot

ROUTERS = Path(__file__).parents[2] / "support/routers"
ROUTER_FILES = sorted(ROUTERS.glob("*.txt"))
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def anonymous(tmp_path: Path, text: str) -> str:
    (tmp_path / "router.txt").write_text(text)
    return anonymise_file(str(tmp_path / "router.txt"))


def snapshot(tmp_path: Path, text: str) -> Snapshot:
    (tmp_path / "read.txt").write_text(text)
    reading = read_snapshot([str(tmp_path / "read.txt")])
    assert not reading.errors
    return reading.snapshot


def networks(found: Snapshot) -> list[Network]:
    """All networks that a snapshot names, in order."""
    texts = [str(address.ip) for item in found.interfaces for address in item.addresses]
    texts += [str(address.network) for item in found.interfaces for address in item.addresses]
    texts += [str(route.to) for route in found.routes]
    texts += [str(route.via) for route in found.routes if route.via]
    texts += [member.split()[0] for item in found.sets for member in item.members]
    for part in found.rules:
        for rule in parse(decode(part.content), part.family).rules():
            for match in (rule.header, *rule.matches):
                texts += [str(value) for option in match.options for value in option.values if _is_network(value)]
    return [ipaddress.ip_network(text) for text in texts]


def _is_network(value: object) -> bool:
    return isinstance(value, (ipaddress.IPv4Network, ipaddress.IPv6Network))


def contains(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def shape(found: Snapshot) -> object:
    """What stays the same."""
    rules = [
        [(rule.table, rule.chain, rule.place.line, [match.module for match in rule.matches], rule.target and
          rule.target.name) for rule in parse(decode(part.content), part.family).rules()]
        for part in found.rules
    ]  # fmt: skip
    interfaces = [
        (item.name, item.kind, item.master, [address.network.prefixlen for address in item.addresses])
        for item in found.interfaces
    ]
    routes = [(route.to.prefixlen, route.interface, route.blackhole, route.metric) for route in found.routes]
    sets = [(item.name, item.type, item.family, len(item.members)) for item in found.sets]
    notes = [(note.kind, note.line) for note in found.notes]
    return rules, interfaces, routes, sets, found.sysctls, notes


@pytest.mark.parametrize("file", ROUTER_FILES, ids=lambda file: file.stem)
def test_a_router_keeps_its_shape(tmp_path: Path, file: Path) -> None:
    before = snapshot(tmp_path, file.read_text())
    text = anonymise_file(str(file))
    after = snapshot(tmp_path, text)
    assert text.count("\n") == file.read_text().count("\n")
    assert shape(after) == shape(before)
    old, new = networks(before), networks(after)
    assert len(old) == len(new)
    pairs = list(permutations(range(len(old)), 2))
    assert [contains(new[a], new[b]) for a, b in pairs] == [contains(old[a], old[b]) for a, b in pairs]


DOCUMENTATION = [
    ipaddress.ip_network(text)
    for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15", "2001:db8::/32")
]


@pytest.mark.parametrize("file", ROUTER_FILES, ids=lambda file: file.stem)
def test_nothing_public_is_left(file: Path) -> None:
    before, after = file.read_text(), anonymise_file(str(file))
    for word in re.findall(r"[0-9a-fA-F.:]+", after):
        try:
            address = ipaddress.ip_address(word)
        except ValueError:
            continue
        documented = any(address in network for network in DOCUMENTATION)
        assert documented or not address.is_global or address.is_multicast, word
    for mac in re.findall(r"link/ether (\S+)", before):
        assert mac not in after
    for group in ("brd ff:ff:ff:ff:ff:ff", "link/loopback 00:00:00:00:00:00"):
        assert before.count(group) == after.count(group)
    for found in re.findall(r'(?:--comment|--log-prefix|comment) "([^"]*)"', before):
        assert f'"{found}"' not in after
    assert f"hostname\n{before.split(chr(10))[1]}\n" not in after


def test_making_it_anonymous_twice_changes_nothing_more(tmp_path: Path) -> None:
    once = anonymise_file(str(ROUTERS / "default_deny_logdrop.txt"))
    assert anonymous(tmp_path, once) == once


RULES = """\
# our customer Mallory
*filter
:FORWARD DROP [0:0]
-A FORWARD -s 81.2.69.7 -d mx.example.net -j ACCEPT
-A FORWARD -s 81.2.69.0/255.255.255.0 -m comment --comment "the \\"old\\" net" -j LOG --log-prefix "mallory: "
-A FORWARD -m iprange --src-range 81.2.69.10-81.2.69.20 -j ACCEPT
-A FORWARD -m mac --mac-source 3C:22:FB:10:20:30 -j ACCEPT
-A FORWARD -p tcp -m string --algo bm --string "youtube.com" -j DROP
-A OUTPUT -m owner --uid-owner mallory -j ACCEPT
-A FORWARD -d 192.168.1.1,8.8.8.8/32 -j ACCEPT
-A FORWARD -m comment --comment "the \\"old\\" net" -j RETURN
COMMIT
*nat
-A PREROUTING -d 81.2.69.7 -p tcp --dport 25 -j DNAT --to-destination 10.0.0.5:25
-A POSTROUTING -j SNAT --to-source 81.2.69.8-81.2.69.9:1024-65535
COMMIT
"""


def test_what_is_replaced_in_rules(tmp_path: Path) -> None:
    assert anonymous(tmp_path, RULES) == (
        "#\n"
        "*filter\n"
        ":FORWARD DROP [0:0]\n"
        "-A FORWARD -s 192.0.2.7 -d host-1.example -j ACCEPT\n"
        '-A FORWARD -s 192.0.2.0/255.255.255.0 -m comment --comment "text-1" -j LOG --log-prefix "text-2 "\n'
        "-A FORWARD -m iprange --src-range 192.0.2.10-192.0.2.20 -j ACCEPT\n"
        "-A FORWARD -m mac --mac-source 02:00:00:00:00:01 -j ACCEPT\n"
        '-A FORWARD -p tcp -m string --algo bm --string "host-2.example" -j DROP\n'
        "-A OUTPUT -m owner --uid-owner 60001 -j ACCEPT\n"
        "-A FORWARD -d 192.168.1.1,198.51.100.8/32 -j ACCEPT\n"
        '-A FORWARD -m comment --comment "text-1" -j RETURN\n'
        "COMMIT\n"
        "*nat\n"
        "-A PREROUTING -d 192.0.2.7 -p tcp --dport 25 -j DNAT --to-destination 10.0.0.5:25\n"
        "-A POSTROUTING -j SNAT --to-source 192.0.2.8-192.0.2.9:1024-65535\n"
        "COMMIT\n"
    )


def test_json_and_sets(tmp_path: Path) -> None:
    text = (
        '[{"ifname":"e0","address":"3c:22:fb:10:20:30","addr_info":[{"local":"81.2.69.7","prefixlen":24},'
        '{"local":"2a00:1::3e22:fbff:fe10:2030","prefixlen":64}]}]\n'
        "create a hash:ip,port family inet comment\n"
        'add a 81.2.69.9,tcp:25 comment "Mallory"\n'
    )
    assert anonymous(tmp_path, text) == (
        '[{"ifname":"e0","address":"02:00:00:00:00:01","addr_info":[{"local":"192.0.2.7","prefixlen":24},'
        '{"local":"2001:db8::ff:fe00:1","prefixlen":64}]}]\n'
        "create a hash:ip,port family inet comment\n"
        'add a 192.0.2.9,tcp:25 comment "text-1"\n'
    )


def test_what_carries_an_ipv4_address(tmp_path: Path) -> None:
    text = "2002:5102:4507::/48 dev sit0\n64:ff9b::5102:4507 dev e0\n81.2.69.7 dev e0\n2002::/16 dev sit0\n"
    assert anonymous(tmp_path, text) == (
        "2002:c000:207::/48 dev sit0\n64:ff9b::c000:207 dev e0\n192.0.2.7 dev e0\n2002::/16 dev sit0\n"
    )


def test_special_addresses_and_what_only_looks_like_one_stay(tmp_path: Path) -> None:
    text = (
        "net.ipv4.conf.eth0/7.rp_filter = 1\n"
        "default via 10.0.0.1 dev e0\n169.254.0.0/16 dev e0\n100.64.0.0/10 dev e0\nfe80::1 dev e0\n"
        "*filter\n-A INPUT -m time --timestart 10:00:00 --timestop 11:00:00 -j ACCEPT\n"
        "-A INPUT -s 128.0.0.0/1 -j DROP\n"
        "-A INPUT -s 224.0.0.0/4 -d 255.255.255.255 -j DROP\n-A INPUT -s 10.0.12.0/255.0.255.0 -j DROP\nCOMMIT\n"
    )
    assert anonymous(tmp_path, text) == text


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="is not understood"):
        anonymous(tmp_path, "Dear all\n")
    room = {**anonymous_addresses._ROOM_RANGES, 4: ((0xC0000200, 0xC00002FF),)}
    monkeypatch.setattr(anonymous_addresses, "_ROOM_RANGES", room)
    many = ["create a hash:ip", *(f"add a 20.{number}.0.1" for number in range(130)), ""]
    assert "add a 192.0.2." in anonymous(tmp_path, "\n".join(many[:120]))
    with pytest.raises(InputError, match="more public addresses than the documentation ranges have"):
        anonymous(tmp_path, "\n".join(many))
