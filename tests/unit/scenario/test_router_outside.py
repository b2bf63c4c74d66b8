"""Which interface is outside, told by rules alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.scenario.mirror import mirror
from port25lab.scenario.router_facts import read_router
from router_snapshots import rules


@pytest.mark.parametrize(
    ("lines", "outside", "why"),
    [
        ("-A FORWARD -i vlan+ -o bond0 -j ACCEPT", "bond0", "rules.v4:2 takes it for outside"),
        ("-A FORWARD -i aa ! -s 10.5.0.0/16 -j DROP\n-A FORWARD -i bb -j ACCEPT", "bb", "nothing says otherwise"),
        ("-A FORWARD -i aa -j ACCEPT\n-A FORWARD -i bb -s 10.0.0.0/8 -j DROP", "bb", "rules.v4:3"),
        ("-A FORWARD -i docker0 ! -o docker0 -j ACCEPT", "eth0", "nothing says otherwise"),
        ("-A FORWARD -i docker0 -j ACCEPT\n-A FORWARD -i lan9 -j ACCEPT", "lan9", "nothing says otherwise"),
        ("-A FORWARD -i eth0 -j ACCEPT\n-A FORWARD -i wan -j ACCEPT", "wan", "its name"),
        ("-A FORWARD -i aa -o bb -m conntrack --ctstate ESTABLISHED -j ACCEPT", "aa", "nothing says otherwise"),
        ("-A FORWARD -i aa -o bb -d 10.0.0.25 -p tcp --dport 25 -j ACCEPT", "aa", "nothing says otherwise"),
    ],
)
def test_rules_alone_tell_which_interface_is_outside(tmp_path: Path, lines: str, outside: str, why: str) -> None:
    facts = read_router(rules(tmp_path, f"*filter\n{lines}\nCOMMIT\n"))
    assert facts.outside == outside
    assert why in facts.outside_why


OFFICE = """\
*nat
-A POSTROUTING -d 172.16.0.0/26 -j SNAT --to-source 172.16.0.1
-A POSTROUTING -s 10.8.0.0/24 -o vlan502 -j SNAT --to-source 172.16.200.1
-A POSTROUTING -s 10.8.0.0/24 -o vlan100 -j SNAT --to-source 203.0.113.9
COMMIT
*filter
-A INPUT -s 192.168.100.0/24 -i vlan100 -p tcp --dport 22 -j ACCEPT
COMMIT
"""


def test_outside_is_where_senders_get_a_public_address_not_where_tunnels_are_translated(tmp_path: Path) -> None:
    snapshot = rules(tmp_path, OFFICE)
    facts = read_router(snapshot)
    assert (facts.outside, facts.inside) == ("vlan100", ("vlan502",))
    assert "rules.v4:4 translates there" in facts.outside_why
    router = mirror(snapshot, facts).plan.nodes["router"]
    assert [str(port.ip.ip) for port in router.interfaces if port.ip and port.name == "vlan100"] == ["203.0.113.9"]


def test_a_wildcard_has_the_interface_as_member_that_another_rule_names(tmp_path: Path) -> None:
    text = "*filter\n-A FORWARD -i vlan+ -o wan0 -j ACCEPT\n-A FORWARD -i vlan200 -p tcp --dport 25 -j DROP\nCOMMIT\n"
    assert {port.name for port in read_router(rules(tmp_path, text)).interfaces} == {"wan0", "vlan200"}
