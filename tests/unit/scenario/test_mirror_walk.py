"""Packets of questions, followed through rules on paper."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.scenario.mirror import Mirror, mirror
from port25lab.scenario.mirror_questions import path_between
from port25lab.scenario.mirror_walk import interface_towards, met, sets_in
from port25lab.scenario.router_facts import read_router
from router_snapshots import rules

RULES = """\
*nat
-A PREROUTING -i lan0 -p tcp --dport 2525 -j REDIRECT --to-ports 10025
COMMIT
*filter
:MAIL - [0:0]
-A INPUT -p tcp --dport 10025 -j ACCEPT
-A FORWARD -i lan0 -p tcp --dport 25 -j MAIL
-A FORWARD -i wan0 -p tcp --dport 25 -j DROP
-A OUTPUT -p tcp --dport 25 -m owner --uid-owner 33 -j DROP
-A OUTPUT -p tcp --dport 25 -m owner --uid-owner 0 -j ACCEPT
-A MAIL -m set --match-set exempt src -j RETURN
-A MAIL -s 10.3.0.0/16 -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A MAIL -s 10.3.0.0/16 -j DROP
COMMIT
"""


@pytest.fixture
def found(tmp_path: Path) -> Mirror:
    snapshot = rules(tmp_path, RULES)
    return mirror(snapshot, read_router(snapshot))


@pytest.mark.parametrize(
    ("source", "to", "port", "lines"),
    [
        ("inside-lan0", "mx", 25, {7, 12, 13}),
        ("exempt", "mx", 25, {7, 11}),
        ("outside", "inside-lan0", 25, {8}),
        ("router", "mx", 25, {10}),
        ("inside-lan0", "relay-service", 2525, {2, 6}),
        ("inside-lan0", "provider", 587, set()),
    ],
)
def test_the_rules_that_a_path_meets(found: Mirror, source: str, to: str, port: int, lines: set[int]) -> None:
    path = path_between(source, to, port).model_copy(update={"ip_version": 4})
    ruleset = found.facts.rulesets["ip"]
    keys = met(ruleset, found.plan, path, sets_in(found.policy))
    assert {rule.place.line for rule in ruleset.rules() if rule.key in keys} == lines
    assert met(ruleset, found.plan, path.model_copy(update={"ip_version": 6}), sets_in(found.policy)) == set()


def test_the_interface_that_leads_to_a_node(found: Mirror) -> None:
    assert interface_towards(found.plan, "inside-lan0") == "lan0"
    assert interface_towards(found.plan, "exempt") == "lan0"
    assert interface_towards(found.plan, "mx") == "wan0"
    assert interface_towards(found.plan, "router") is None


def test_a_rule_that_redirects_mail_to_the_router_has_a_server_there(found: Mirror) -> None:
    assert found.policy.services == ({"kind": "interceptor", "port": 10025},)
    assert any("rules.v4:2" in note and "10025" in note for note in found.notes)
