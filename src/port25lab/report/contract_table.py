"""A contract held against a router's rules: leaks, and what is blocked too much, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.table import Column
from rich.text import Text

from port25lab.model.outcome import OUTCOME_INFO, AnyOf, Outcome, Should, meets
from port25lab.model.verdict import Verdict
from port25lab.report import describe
from port25lab.report.check_tables import line_of
from port25lab.report.console import emit
from port25lab.report.console_tables import bare_table, count
from port25lab.report.text import visible
from port25lab.scenario.contract import Row

LEAK, OVER, OTHER, OK, UNKNOWN, EITHER, NOT_ASKED = "LEAK", "OVER", "not so", "ok", "error", "", "not asked"

UNMET = (LEAK, OVER, OTHER)

_STYLES = {LEAK: "bold red", OVER: "bold red", OTHER: "bold red", UNKNOWN: "bold red", OK: "green", NOT_ASKED: "dim"}

_WORDS = {
    Should.BLOCKED: "should be blocked",
    Should.ALLOWED: "should get through",
    Should.NOT_COVERED: "is the policy's choice",
}

_GOT_THERE = (Outcome.DELIVERED, Outcome.REACHED, Outcome.CLOSED)


@dataclass(frozen=True)
class JudgedRow:
    """A row of a contract, and the verdicts on its questions."""

    row: Row
    verdicts: tuple[Verdict, ...]


def is_unmet(judged: JudgedRow) -> bool:
    """Whether a verdict is against the contract."""
    return any(word_for(verdict, judged.row.should) in UNMET for verdict in judged.verdicts)


def word_for(verdict: Verdict, should: Should) -> str:
    """How one verdict meets the row. Any way of blocking is blocked; a port without a server let the SYN through."""
    if verdict.outcome is Outcome.ERROR:
        return UNKNOWN
    if should is Should.NOT_COVERED:
        return EITHER
    if should is Should.BLOCKED:
        if meets(verdict.outcome, AnyOf.BLOCKED):
            return OK
        return LEAK if verdict.outcome in _GOT_THERE else OTHER
    if meets(verdict.outcome, AnyOf.PASSES):
        return OK
    return OVER if OUTCOME_INFO[verdict.outcome].blocked else OTHER


def print_contract(console: Console, title: str, rows: Sequence[JudgedRow]) -> None:
    """One line for each row and source, IPv4 and IPv6 together where they agree; rows without a subject last."""
    wrong = sum(is_unmet(row) for row in rows)
    asked = sum(bool(row.verdicts) for row in rows)
    summary = f"{count(wrong, 'row')} of {asked} not met" if wrong else f"all {count(asked, 'row')} met"
    heading = Text.assemble((visible(title), "bold"), "  ", (summary, "bold red" if wrong else "green"))
    table = bare_table(
        [Column(""), Column("row"), Column("from"), Column("to"), Column("IP"), Column("outcome"), Column("decided by")]
    )
    for judged in sorted(rows, key=lambda one: not one.verdicts):
        words = f"{judged.row.text}: {_WORDS[judged.row.should]}"
        if not judged.verdicts:
            table.add_row(Text(NOT_ASKED, _STYLES[NOT_ASKED]), visible(words), "no such host", "", "", "", "")
        for alike in _alike(judged):
            first = alike[0]
            word = word_for(first, judged.row.should)
            places = dict.fromkeys(line_of(one.blame) for one in alike if one.blame is not None)
            _, mx, to = describe.ends(first.question.path)
            table.add_row(
                Text(word, _STYLES.get(word, "")),
                visible(words),
                visible(first.question.path.source),
                f"MX:{first.question.path.port}" if mx else to,
                describe.asked_versions(alike),
                Text(first.outcome.value, OUTCOME_INFO[first.outcome].style),
                ", ".join(places),
            )
            words = ""
    emit(console, Group(heading, table, Text()))


def rows_of(verdicts: Sequence[Verdict]) -> list[JudgedRow]:
    """Verdicts on a scenario's paths as rows, by the paths' names."""
    found: dict[tuple[str, Should], list[Verdict]] = {}
    for verdict in verdicts:
        question = verdict.question
        text = question.name or describe.ends_words(verdict)
        found.setdefault((text, question.should or Should.NOT_COVERED), []).append(verdict)
    return [
        JudgedRow(
            Row.model_validate({"text": text, "from": same[0].question.path.source, "to": "", "should": should}),
            tuple(same),
        )
        for (text, should), same in found.items()
    ]


def _alike(judged: JudgedRow) -> list[list[Verdict]]:
    """Verdicts that differ in their IP version alone, together."""
    found: dict[object, list[Verdict]] = {}
    for verdict in judged.verdicts:
        path = verdict.question.path
        found.setdefault((path.source, path.to, verdict.outcome), []).append(verdict)
    return list(found.values())
