"""Hints about a router's rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evidence_factory import verdict
from port25lab.model.outcome import Outcome
from port25lab.model.snapshot import Snapshot
from port25lab.model.verdict import Verdict
from port25lab.scenario.hints import hints
from port25lab.scenario.mirror import mirror
from port25lab.scenario.mirror_questions import questions_of
from port25lab.scenario.router_facts import read_router
from router_snapshots import rules

PLAIN = "*filter\n-A FORWARD -i lan -o wan -p tcp --dport 25 -j DROP\nCOMMIT\n"


@pytest.mark.parametrize(
    ("v4", "v6", "kind", "line"),
    [
        ("*filter\n:FORWARD DROP\n-A FORWARD -i lan -o wan -j ACCEPT\nCOMMIT\n", PLAIN, "no-established", 2),
        ("*filter\n-A INPUT -p tcp --dport 25 -j DROP\nCOMMIT\n", PLAIN, "wrong-chain", 2),
        ("*filter\n:MAIL - [0:0]\n-A MAIL -p tcp --dport 25 -j DROP\nCOMMIT\n", PLAIN, "chain-never-called", 2),
        ("*filter\n-A FORWARD -i lan -o wan -p udp --dport 53 -j DROP\nCOMMIT\n", PLAIN, "dns-dropped", 2),
        (PLAIN, "*filter\n-A FORWARD -p ipv6-icmp -j DROP\nCOMMIT\n", "packet-too-big-dropped", 2),
        (
            "*filter\n[9:99] -A FORWARD -j LOG\n[0:0] -A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n",
            PLAIN,
            "counter-zero",
            3,
        ),
    ],
)
def test_what_the_hint_is_about_and_its_line(tmp_path: Path, v4: str, v6: str, kind: str, line: int | None) -> None:
    found = [hint for hint in hints(read_router(rules(tmp_path, v4, v6)), []) if hint.kind == kind]
    assert found
    assert (found[0].place.line if found[0].place is not None else None) == line


def answered(snapshot: Snapshot) -> list[Verdict]:
    """A verdict on each question of these rules."""
    asked = questions_of(mirror(snapshot, read_router(snapshot)), "new")
    return [replace(verdict(Outcome.DELIVERED), question=question) for question in asked]


def test_rules_about_mail_that_no_question_met_are_named(tmp_path: Path) -> None:
    owner = "-A OUTPUT -p tcp --dport 25 -m owner --uid-owner {} -j DROP\n"
    text = f"*filter\n{owner.format(33)}{PLAIN.splitlines()[1]}\n{owner.format(34)}COMMIT\n"
    snapshot = rules(tmp_path, text, PLAIN)
    found = [hint for hint in hints(read_router(snapshot), answered(snapshot)) if hint.kind == "not-met"]
    assert [(hint.place and hint.place.line, "by line 4" in hint.text) for hint in found] == [(2, True)]
    assert not [hint for hint in hints(read_router(snapshot), []) if hint.kind == "not-met"]


def test_a_family_without_rules_is_named_where_it_was_asked(tmp_path: Path) -> None:
    snapshot = rules(tmp_path, PLAIN)
    verdicts = answered(snapshot)
    over_4 = [one for one in verdicts if one.question.path.ip_version == 4]
    assert [hint.text[:29] for hint in hints(read_router(snapshot), verdicts) if hint.kind == "one-family"] == [
        "there are no rules for IPv6: "
    ]
    assert "one-family" not in {hint.kind for hint in hints(read_router(snapshot), over_4)}


def test_a_host_gets_no_hint_about_what_it_would_forward(tmp_path: Path) -> None:
    text = "*filter\n:FORWARD DROP\n-A INPUT -p tcp --dport 25 -j ACCEPT\n-A INPUT -j REJECT\nCOMMIT\n"
    snapshot = rules(tmp_path, text, PLAIN)
    facts = mirror(snapshot, read_router(snapshot)).facts
    assert not {"dns-dropped", "packet-too-big-dropped"} & {hint.kind for hint in hints(facts, [])}


def test_plain_rules_of_both_families_get_no_hint(tmp_path: Path) -> None:
    assert hints(read_router(rules(tmp_path, PLAIN, PLAIN)), []) == []
