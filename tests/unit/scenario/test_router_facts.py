"""What rules and snapshots say of a router."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.scenario.mail_rules import MAIL_PORTS, mail_ports, names_mail
from port25lab.scenario.router_facts import made_up, read_router, together
from router_snapshots import RULES, router, rules


@pytest.mark.parametrize(
    ("name", "outside", "inside"),
    [
        ("pppoe_cpe", "ppp0", ("eth1",)),
        ("openwrt_fw3", "eth0.2", ("br-lan",)),
        ("isp_edge_sets", "enp1s0f0", ("enp1s0f1.100", "enp1s0f1.200", "enp1s0f1.300")),
        ("hotel_portal", "eth0", ("eth1", "eth2")),
        ("docker_host", "ens3", ("docker0", "br-8f2a91c33d10")),
    ],
)
def test_outside_and_inside_of_routers(name: str, outside: str, inside: tuple[str, ...]) -> None:
    facts = read_router(router(name))
    assert facts.outside == outside
    assert set(inside) <= set(facts.inside)
    assert outside not in facts.inside


def test_interfaces_groups_and_destinations_come_from_the_rules_where_nothing_else_is_known(tmp_path: Path) -> None:
    facts = read_router(rules(tmp_path, RULES))
    assert facts.outside == "wan0"
    assert "rules.v4:2 translates there" in facts.outside_why
    assert facts.inside == ("lan0",)
    assert facts.translates == {4}
    assert {one.name for one in facts.sources} == {"10.1.2.25", "10.1.2.0/24", "10.9.0.0/16", "static"}
    assert next(one for one in facts.sources if one.name == "10.1.2.25").forwarded
    assert next(one for one in facts.sources if one.name == "static").network == made_up("static", "ip")
    assert [one.name for one in facts.destinations] == ["203.0.113.25"]


def test_mail_ports_of_a_rule(tmp_path: Path) -> None:
    facts = read_router(rules(tmp_path, RULES))
    by_line = {rule.place.line: rule for rule in facts.rules()}
    assert mail_ports(by_line[7]) == (25, 465)
    assert mail_ports(by_line[8]) == MAIL_PORTS
    assert not names_mail(by_line[8])
    assert mail_ports(by_line[9]) == ()
    assert mail_ports(by_line[10]) == (465, 587, 2525)


def test_the_user_has_the_last_word(tmp_path: Path) -> None:
    facts = read_router(rules(tmp_path, RULES), outside="lan0", inside=["dmz"])
    assert facts.outside == "lan0"
    assert set(facts.inside) == {"wan0", "dmz"}


def test_two_versions_of_rules_share_a_shape(tmp_path: Path) -> None:
    new = read_router(rules(tmp_path, RULES))
    (tmp_path / "old").mkdir()
    old = read_router(
        rules(tmp_path / "old", "*filter\n-A FORWARD -i guest0 -s 10.7.0.5 -p tcp --dport 25 -j DROP\nCOMMIT\n")
    )
    both = together(new, old)
    assert both.outside == "wan0"
    assert set(both.inside) >= {"lan0", "guest0"}
    assert {"static", "10.7.0.5"} <= {one.name for one in both.sources}
