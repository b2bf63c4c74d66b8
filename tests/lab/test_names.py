"""Lookups are traced: the rule that keeps a query or its answer from passing is the one to blame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from port25lab.engine.engine import Engine
from port25lab.model.path import PathSpec
from port25lab.model.verdict import Verdict
from port25lab.scenario.questions import lab_config, question_about

MX: dict[str, Any] = {"source": "sender", "to": "mx:example.net", "ip_version": 4}


def table(name: str, *rules: str) -> str:
    return "\n".join([f"*{name}", *rules, "COMMIT", ""])


def judged(engine: Engine, topology: str, policies: dict[str, str], *paths: dict[str, Any]) -> list[Verdict]:
    """The verdicts on these paths, tried in one lab."""
    config = lab_config(topology, policies, {})
    return engine.verdicts([question_about(PathSpec(**MX | path), config) for path in paths])


def said(verdict: Verdict) -> tuple[str, str, str | None, int | None]:
    """Outcome, mechanism, and node and line of the blame."""
    blame = verdict.blame
    return verdict.outcome, verdict.mechanism, blame and blame.node, blame and blame.line


UDP_DROPPED = table("filter", "-A FORWARD -p udp --dport 53 -j DROP")


@pytest.mark.parametrize(
    ("node", "rules", "packet"),
    [
        ("edge", UDP_DROPPED, "DNS query"),
        ("edge", table("filter", "-A FORWARD -p udp --sport 53 -j DROP"), "DNS answer"),
        ("far", table("filter", "-A FORWARD -p udp --dport 53 -j REJECT"), "DNS query"),
        ("edge", table("raw", "-A PREROUTING -p udp -m string --algo bm --hex-string |03|net -j DROP"), "DNS query"),
    ],
)
def test_the_rule_that_drops_a_lookup_is_blamed(
    engine: Engine, street: str, make_policy: Callable[..., str], node: str, rules: str, packet: str
) -> None:
    [verdict] = judged(engine, street, {node: make_policy("names", v4=rules, v6=rules)}, {})
    assert said(verdict) == ("dns-failure", "name-service", node, 2)
    assert verdict.evidence.decisions[-1].traced.kind == packet
    assert verdict.judgement.control and verdict.judgement.control.through


def test_a_lookup_over_the_other_ip_version_is_enough(
    engine: Engine, street: str, make_policy: Callable[..., str]
) -> None:
    [verdict] = judged(engine, street, {"edge": make_policy("names6", v6=UDP_DROPPED)}, {})
    assert said(verdict)[0] == "delivered"


def test_a_lookup_behind_nat_is_followed(engine: Engine, street: str, make_policy: Callable[..., str]) -> None:
    """The network's own NAT is on the edge; the rule stands behind it."""
    config = lab_config(street, {"far": make_policy("names", v4=UDP_DROPPED, v6=UDP_DROPPED)}, {"home": True})
    [verdict] = engine.verdicts([question_about(PathSpec(**MX), config)])
    assert said(verdict) == ("dns-failure", "name-service", "far", 2)


def test_a_query_that_a_rule_sends_where_no_server_answers(
    engine: Engine, street: str, make_policy: Callable[..., str]
) -> None:
    four, six = (
        table("nat", f"-A PREROUTING -p udp --dport 53 -j DNAT --to-destination {to}")
        for to in ("203.0.113.1", "[2001:db8:ff::1]")
    )
    [verdict] = judged(engine, street, {"edge": make_policy("elsewhere", v4=four, v6=six)}, {})
    assert said(verdict) == ("dns-failure", "name-service", "edge", 2)


def test_what_the_resolver_asks_for_its_client_is_the_clients_lookup(
    engine: Engine, make_policy: Callable[..., str]
) -> None:
    policies = {"isp-border": make_policy("border-names", v4=UDP_DROPPED, v6=UDP_DROPPED)}
    [verdict] = judged(engine, "residential_isp", policies, {"source": "pc"})
    assert said(verdict) == ("dns-failure", "name-service", "isp-border", 2)


def test_what_the_name_server_says_itself_is_no_rules_doing(engine: Engine, street: str) -> None:
    [verdict] = judged(engine, street, {}, {"to": "mx:nobody.example"})
    assert said(verdict) == ("dns-failure", "no-name", None, None)
