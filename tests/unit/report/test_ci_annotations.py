"""Annotations of a CI run: at the line that decided, and escaped so that no text can forge another command."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from urllib.parse import unquote

from evidence_factory import HOSTILE, rule, seen, verdict
from port25lab.errors import InputError
from port25lab.model.evidence import Stage
from port25lab.model.outcome import Outcome
from port25lab.model.verdict import Verdict
from port25lab.report.ci_annotations import (
    Annotation,
    Level,
    github,
    of_changes,
    of_errors,
    of_hints,
    of_rows,
    of_verdicts,
)
from port25lab.report.contract_table import JudgedRow
from port25lab.rules import Place
from port25lab.scenario.allowed_changes import Allowed, Change
from port25lab.scenario.contract import Row
from port25lab.scenario.hints import Hint

BLOCKED = verdict(Outcome.DROPPED, expected=Outcome.DELIVERED, blame=rule(file="mine/rules.v4", line=12))
LEAK = verdict(Outcome.DELIVERED, expected=Outcome.DROPPED, ip_version=6)


def written(one: Verdict, file: str = "scenarios/mail.yaml", line: int = 7) -> Verdict:
    return replace(one, question=replace(one.question, file=Path(file), line=line))


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as GitHub's runner reads it (actions/runner, ActionCommand.cs)."""
    found = re.fullmatch(r"::(\w+) ([^\n]*?)::([^\n]*)", line)
    assert found, line
    pairs = (pair.split("=", 1) for pair in found[2].split(","))
    return found[1], {key: unquote(value) for key, value in pairs}, unquote(found[3])


def test_what_is_as_expected_is_not_annotated() -> None:
    assert of_verdicts([verdict(), verdict(Outcome.DROPPED)]) == []


def test_a_path_that_is_blocked_is_annotated_at_the_rule() -> None:
    (found,) = of_verdicts([written(BLOCKED)])
    assert (found.level, found.file, found.line) == (Level.ERROR, "mine/rules.v4", 12)
    assert found.title == "expected delivered, found dropped"
    assert found.text == "residential/op25b: home-server -> MX of example.net:25, IPv4"
    assert found.rule == "isp-edge op25b op25b #4 -A op25b -m set --match-set dynamic-customers src -j DROP"


def test_a_leak_has_no_rule_and_is_annotated_at_the_path_of_the_scenario() -> None:
    (found,) = of_verdicts([written(LEAK)])
    assert (found.level, found.file, found.line) == (Level.ERROR, "scenarios/mail.yaml", 7)


def test_what_could_not_be_told_is_a_warning_with_the_reason() -> None:
    (found,) = of_verdicts([written(verdict(Outcome.ERROR, expected=Outcome.DROPPED, reason="the lab broke"))])
    assert found.level is Level.WARNING
    assert "the lab broke" in found.text


def test_paths_of_one_line_that_say_the_same_are_one_annotation() -> None:
    other = verdict(Outcome.DROPPED, expected=Outcome.DELIVERED, blame=BLOCKED.blame, source="pc")
    elsewhere = verdict(Outcome.DROPPED, expected=Outcome.DELIVERED, blame=rule(file="mine/rules.v4", line=13))
    found = of_verdicts([BLOCKED, other, BLOCKED, elsewhere])
    assert [one.line for one in found] == [12, 13]
    assert [line.split(" -> ")[0] for line in found[0].text.splitlines()] == [
        "residential/op25b: home-server",
        "residential/op25b: pc",
    ]


def test_a_change_is_annotated_at_the_rule_that_decides_now_or_did_before() -> None:
    delivered = verdict(Outcome.DELIVERED)
    (blocked,) = of_changes([Change(delivered, BLOCKED)], [])
    assert (blocked.title, blocked.line) == ("delivered before, dropped now", 12)
    (opened,) = of_changes([Change(BLOCKED, delivered)], [])
    assert (opened.title, opened.file, opened.line) == ("dropped before, delivered now", "mine/rules.v4", 12)
    (moved,) = of_changes([Change(BLOCKED, verdict(Outcome.DROPPED, blame=rule(line=3)))], [])
    assert (moved.title, moved.line) == ("dropped, by another rule", 3)
    (new,) = of_changes([Change(None, BLOCKED)], [])
    assert new.title == "not asked before, dropped now"


def test_a_change_that_is_allowed_is_not_annotated() -> None:
    allowed = Allowed(reason="wanted", expires=date.max)
    assert of_changes([Change(verdict(), BLOCKED)], [allowed]) == []


def test_a_row_that_is_not_met_is_annotated_and_its_other_verdicts_are_not() -> None:
    row = Row.model_validate({"text": "direct mail", "from": "inside", "to": "mx", "should": "blocked"})
    met = verdict(Outcome.DROPPED)
    (found,) = of_rows([JudgedRow(row, (met, LEAK)), JudgedRow(row, ())])
    assert found.title == "should be blocked, found delivered"


def test_hints_and_refused_files_are_annotated_at_their_line() -> None:
    (hint,) = of_hints([Hint("a rule in INPUT", Place("rules.v4", 3), "wrong-chain")])
    assert (hint.level, hint.title, hint.file, hint.line) == (Level.WARNING, "wrong-chain", "rules.v4", 3)
    (refused,) = of_errors([InputError("no such key", allowed="known: to", file="a.yaml", line=2, column=5)])
    command = github(refused, {}, Path("/"))
    assert command == "::error file=a.yaml,line=2,col=5,title=port25lab%3A refused::no such key; known: to"


def test_files_are_named_from_the_top_of_the_repository(tmp_path: Path) -> None:
    found = Annotation(Level.ERROR, "t", "x", "mine/rules.v4", 12)
    _, properties, _ = parsed(github(found, {"mine/rules.v4": str(tmp_path / "net/mine/rules.v4")}, tmp_path))
    assert properties["file"] == "net/mine/rules.v4"
    _, properties, text = parsed(github(found, {"mine/rules.v4": "/usr/lib/rules.v4"}, tmp_path))
    assert "file" not in properties
    assert text == "mine/rules.v4:12\nx"


def test_no_text_can_end_the_command_or_forge_another(tmp_path: Path) -> None:
    names = "a,line=1::b%0A\n::error::owned\r"
    found = Annotation(Level.ERROR, names, names, names, 1)
    command = github(found, {}, tmp_path)
    assert "\n" not in command
    assert "\r" not in command
    level, properties, text = parsed(command)
    assert (level, properties, text) == ("error", {"file": names, "line": "1", "title": f"port25lab: {names}"}, names)


def test_a_hostile_server_says_nothing_that_github_obeys(tmp_path: Path) -> None:
    hostile = verdict(Outcome.REJECTED, expected=Outcome.DELIVERED, observation=seen(Stage.RCPT, reply=HOSTILE))
    broken = verdict(Outcome.ERROR, expected=Outcome.DELIVERED, reason=f"{HOSTILE}\n::add-mask::a")
    for one in of_verdicts([hostile, broken]):
        assert github(one, {}, tmp_path).count("\n") == 0
