"""Address sets, as ipset reads them."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from port25lab.model.policy import RulesFile
from port25lab.network.firewall import SET_MEMBERS, _refused_line, set_commands


def test_a_set_is_made_for_both_families() -> None:
    members = IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8::/32")
    assert list(set_commands({"some": members})) == [
        "create some hash:net family inet\n",
        "add some 192.0.2.0/24\n",
        "create some6 hash:net family inet6\n",
        "add some6 2001:db8::/32\n",
    ]


def test_a_set_has_room_for_its_members_and_for_as_many_that_rules_add() -> None:
    many = tuple(IPv4Network(number) for number in range(SET_MEMBERS // 2 + 1))
    commands = list(set_commands({"many": many}))
    assert commands[0] == f"create many hash:net family inet hashsize 16384 maxelem {2 * SET_MEMBERS}\n"
    assert len(commands) == len(many) + 2
    assert commands[-1] == "create many6 hash:net family inet6\n"


@pytest.mark.parametrize(("length", "counted"), [(7, 3), (10238, 3), (10239, 4), (10255, 4), (20478, 5)])
def test_the_refused_line_is_that_of_the_file_where_iptables_counts_a_long_one_twice(length: int, counted: int) -> None:
    content = "*filter".ljust(length).encode() + b"\n-A FORWARD -j ACCEPT\n-A FORWARD -j NO\nCOMMIT\n"
    file = RulesFile(family="ip", file=Path("rules"), content=content)
    assert _refused_line(f"iptables-restore: line {counted} failed", file) == 3


@pytest.mark.parametrize("jump", ["-j NO", "--jump NO", "-g NO", '-m comment --comment "a" -j NO'])
def test_a_chain_that_is_missing_is_at_the_rule_that_jumps_there_and_not_in_a_comment(jump: str) -> None:
    text = f'*filter\n-A FORWARD -m comment --comment "later -j NO more" -j DROP\n-A FORWARD {jump}\nCOMMIT\n'
    file = RulesFile(family="ip", file=Path("rules"), content=text.encode())
    assert _refused_line("iptables-restore: Chain 'NO' does not exist", file) == 3
