"""The map of addresses is one to one, and keeps which network contains which."""

from __future__ import annotations

import ipaddress
import random
from ipaddress import IPv4Address, IPv6Address
from itertools import permutations

import pytest

from port25lab.scenario import anonymous_addresses
from port25lab.scenario.anonymous_addresses import AddressMap

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

BOGONS = ["192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "10.0.0.0/8", "240.0.0.0/4"]


def mapped(texts: list[str]) -> list[Network]:
    """What networks become."""
    found = AddressMap()
    before = [ipaddress.ip_network(text) for text in texts]
    for network in before:
        found.learn(network.network_address, network.prefixlen, None)
    found.settle(str)
    return [
        ipaddress.ip_network(
            (found.address(network.network_address, network.prefixlen),
             found.length(network.network_address, network.prefixlen))
        )
        for network in before
    ]  # fmt: skip


def relations(networks: list[Network]) -> list[tuple[bool, bool]]:
    return [
        (a.version == b.version and a.subnet_of(b), a == b)  # type: ignore[arg-type]
        for a, b in permutations(networks, 2)
    ]


@pytest.mark.parametrize(
    "texts",
    [
        ["81.2.69.0/24", "81.2.69.142/32", "81.2.70.1/32"],
        ["81.2.0.0/16", "81.2.69.0/24", "81.2.69.142/32", "81.3.0.0/16", "81.4.0.0/16", "81.4.4.4/32"],
        ["52.0.0.0/8", "52.1.0.0/16", "52.1.2.0/23", "52.1.2.3/32", "53.0.0.0/8"],
        [*BOGONS, "81.2.69.142/32", "8.8.8.8/32", "198.51.100.7/32"],
        [f"{a}.{b}.0.0/16" for a in (20, 30, 40) for b in range(60)],
        [f"{a}.{b}.{a}.{b}/32" for a in range(20, 60) for b in range(25)],
        ["2a00:1450::/29", "2a00:1450:4001::/48", "2a00:1450:4001:81b::200e/128", "2600::/12", "2001:db8::/32"],
        ["2000::/3", "::/0", "0.0.0.0/0", "0.0.0.0/1", "2001:db8::/32"],
    ],
)
def test_containment_stays(texts: list[str]) -> None:
    before, after = [ipaddress.ip_network(text) for text in texts], mapped(texts)
    assert relations(after) == relations(before)


@pytest.mark.parametrize("seed", range(20))
def test_containment_stays_in_random_trees(seed: int) -> None:
    choice = random.Random(seed)
    networks: list[Network] = []
    for _ in range(40):
        if networks and choice.random() < 0.6:
            outer = choice.choice(networks)
            length = choice.randint(outer.prefixlen, 32)
            value = int(outer.network_address) | choice.getrandbits(32 - outer.prefixlen)
        else:
            length, value = choice.randint(12, 32), choice.randint(20 << 24, 90 << 24)
        networks.append(ipaddress.ip_network((value, length), strict=False))
    texts = [str(network) for network in networks]
    after = mapped(texts)
    assert relations(after) == relations([ipaddress.ip_network(text) for text in texts])
    assert after == mapped(texts)


def test_lengths_and_last_bits_stay_where_there_is_room() -> None:
    assert [str(network) for network in mapped(["81.2.69.128/25", "81.2.69.142/32", "2a00:1:2:3::/64"])] == [
        "192.0.2.128/25",
        "192.0.2.142/32",
        "2001:db8::/64",
    ]
    assert str(mapped(["81.2.0.0/16"])[0]) == "198.18.0.0/16"


def test_a_range_stays_a_range() -> None:
    found = AddressMap()
    first, last = IPv4Address("81.2.68.250"), IPv4Address("81.2.69.5")
    found.learn(first, None, last)
    found.settle(str)
    assert int(found.address(last)) - int(found.address(first)) == int(last) - int(first)


def test_a_range_stays_one_where_there_is_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    room = {**anonymous_addresses._ROOM_RANGES, 4: ((0xC0000200, 0xC00002FF),)}
    monkeypatch.setattr(anonymous_addresses, "_ROOM_RANGES", room)
    found = AddressMap()
    first, last = IPv4Address("81.2.69.10"), IPv4Address("81.2.69.20")
    found.learn(first, None, last)
    found.learn(IPv4Address("81.2.69.12"), 30, None)
    for number in range(60):
        found.learn(IPv4Address(f"82.{number}.0.1"), None, None)
    found.settle(str)
    assert int(found.address(last)) - int(found.address(first)) == 10
    assert found.length(IPv4Address("81.2.69.12"), 30) == 30
    assert int(found.address(IPv4Address("81.2.69.12"), 30)) - int(found.address(first)) == 2


def test_an_identifier_made_of_a_mac_address_is_made_of_the_new_one() -> None:
    found = AddressMap()
    local, public = IPv6Address("fe80::3e22:fbff:fe10:2030"), IPv6Address("2a00:1::3e22:fbff:fe10:2030")
    for address in (local, public):
        found.learn(address, 64, None)
    found.settle(lambda mac: {"3c:22:fb:10:20:30": "02:00:00:00:00:07"}[mac])
    assert str(found.address(local, 64)) == "fe80::ff:fe00:7"
    assert str(found.address(public, 64)) == "2001:db8::ff:fe00:7"
