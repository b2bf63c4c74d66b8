"""The places that the kernel's trace names, and the rules that stand there."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.errors import LabError
from port25lab.evidence.rule_map import LoadedRules, Place
from port25lab.model.evidence import Effect
from port25lab.model.policy import Origin, Policy, RulesFile
from port25lab.rules import parse


def loaded(*rules: str, table: str = "filter", chain: str = "FORWARD", origin: Origin = "user") -> LoadedRules:
    """A node with these rules in one chain. Their handles are 1, 2, 3 …"""
    text = "\n".join([f"*{table}", f":{chain} - [0:0]", *(f"-A {chain} {rule}" for rule in rules), "COMMIT", ""])
    file = RulesFile(family="ip", file=Path("rules.v4"), content=text.encode("utf-8", "surrogateescape"))
    policy = Policy(
        name="mine", folder=Path(), title="", description="", source="", sets=(), rules_files=(file,), origin=origin
    )
    found = LoadedRules("edge", [policy])
    found.learn(parse(text, "ip", file="rules.v4"), {("ip", table, chain): list(range(1, len(rules) + 1))})
    return found


def at(handle: int | None, table: str = "filter", chain: str = "FORWARD") -> Place:
    return Place("ip", table, chain, handle)


def test_a_blame_has_the_rule_as_it_was_written_and_its_place() -> None:
    rules = loaded("-j LOG", '-p tcp  --dport 25 -m comment --comment "no mail" -j DROP')
    blame = rules.blame(at(2))
    assert (blame.node, blame.table, blame.chain, blame.rule_number) == ("edge", "filter", "FORWARD", 2)
    assert blame.rule == '-A FORWARD -p tcp  --dport 25 -m comment --comment "no mail" -j DROP'
    assert (blame.policy, blame.file, blame.line, blame.comment) == ("mine", "rules.v4", 4, "no mail")


def test_bytes_that_are_not_utf_8_do_not_break_the_blame() -> None:
    blame = loaded("-m comment --comment \udce9 -j DROP").blame(at(1))
    assert (blame.rule, blame.comment) == (r"-A FORWARD -m comment --comment \xe9 -j DROP", r"\xe9")
    assert blame.model_dump_json()


@pytest.mark.parametrize(
    ("rule", "effect"),
    [
        ("-j DROP", Effect.DROP),
        ("-m comment --comment 'was -j REJECT' -j DROP", Effect.DROP),
        ('-m comment --comment "-m limit was here" -j DROP', Effect.DROP),
        ("-j REJECT", Effect.REJECT_ICMP),
        ("-p tcp -j REJECT --reject-with tcp-reset", Effect.REJECT_RESET),
        ("-p tcp -j REJECT --reject-with tcp-rst", Effect.REJECT_RESET),
    ],
)
def test_what_a_rule_does_comes_from_its_target(rule: str, effect: Effect) -> None:
    assert loaded(rule.replace("'", '"')).effect(at(1)) is effect


@pytest.mark.parametrize(
    ("rule", "diverts"),
    [
        ("-p tcp -j DNAT --to-destination 192.0.2.1", True),
        ("-p tcp -j REDIRECT --to-ports 2525", True),
        ('-m comment --comment "no -j REDIRECT" -j ACCEPT', False),
    ],
)
def test_a_diversion_is_known_by_its_target(rule: str, diverts: bool) -> None:
    place = at(1, "nat", "PREROUTING")
    assert loaded(rule, table="nat", chain="PREROUTING").diverts(place) is diverts
    assert not loaded(rule, table="nat", chain="PREROUTING", origin="network").diverts(place)


def test_a_limit_on_what_is_logged_decides_about_no_packet() -> None:
    assert not loaded("-m limit --limit 5/min -j LOG").limits
    assert loaded("-m limit --limit 5/min -j ACCEPT").limits


def test_other_handles_than_rules_are_a_failure_of_the_tool() -> None:
    with pytest.raises(LabError, match="edge: filter/FORWARD has 1 rules in the listing and 2 in the kernel"):
        LoadedRules("edge").learn(
            parse("*filter\n-A FORWARD -j DROP\nCOMMIT\n", "ip"), {("ip", "filter", "FORWARD"): [1, 2]}
        )
