"""A table of paths by variants: what each of many policies does with each path. In: verdicts. Out: cells to print.

Where a scenario says what a correct policy does with a path (`should`), a cell says whether this one does it: ``leak``
for a path that should be blocked and is not, ``over`` for one that should get through and does not. Other cells say
what happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from port25lab.model.outcome import Outcome, Should
from port25lab.model.verdict import Verdict
from port25lab.report import describe
from port25lab.report.text import visible

RIGHT = "ok"

GROUPS: dict[Should | None, str] = {
    None: "",
    Should.BLOCKED: "should be blocked",
    Should.ALLOWED: "should get through",
    Should.NOT_COVERED: "not covered, or the policy's own choice",
}
"""Headings, in the order in which they are printed."""

PASSED = (Outcome.DELIVERED, Outcome.REACHED, Outcome.CLOSED, Outcome.RELAY_DENIED)
"""Outcomes for which the packets came to their destination."""


@dataclass(frozen=True)
class Cell:
    """What one policy does with one path."""

    words: tuple[tuple[str, str], ...]
    """IP versions, and what the policy does over them; the versions are empty where all of them agree."""
    as_expected: bool

    @property
    def text(self) -> str:
        """The cell in words: ``ok``, ``leak`` or ``v6 leak``."""
        return " ".join(part for pair in self.words for part in pair if part)


@dataclass(frozen=True)
class Line:
    """One path under all policies."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Matrix:
    """All paths of a scenario that should go the same way, by its variants."""

    scenario: str
    should: Should | None
    variants: tuple[str, ...]
    lines: tuple[Line, ...]


def matrices(verdicts: Iterable[Verdict]) -> list[Matrix]:
    """The tables that scenarios ask for, by scenario and then by what a correct policy does."""
    asked: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.question.matrix:
            asked.setdefault(verdict.question.scenario, []).append(verdict)
    return [matrix for scenario, found in asked.items() for matrix in _of_scenario(scenario, found)]


def _of_scenario(scenario: str, verdicts: Sequence[Verdict]) -> list[Matrix]:
    variants = tuple(dict.fromkeys(verdict.question.variant for verdict in verdicts))
    found = []
    for should in GROUPS:
        rows: dict[object, list[Verdict]] = {}
        for verdict in verdicts:
            if verdict.question.should is should:
                rows.setdefault(describe.same_question(verdict), []).append(verdict)
        lines = tuple(_line(row, variants) for row in rows.values())
        if lines:
            found.append(Matrix(scenario, should, variants, lines))
    return found


def _line(row: Sequence[Verdict], variants: Sequence[str]) -> Line:
    first = row[0]
    name = visible(
        first.question.name or ", ".join(filter(None, (describe.ends_words(first), describe.options_words(first))))
    )
    return Line(name, tuple(_cell([verdict for verdict in row if verdict.question.variant == v]) for v in variants))


def _cell(verdicts: Sequence[Verdict]) -> Cell:
    """One word where both IP versions agree; else the wrong version with its word, or each version with its word."""
    by_word: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_word.setdefault(_word(verdict), []).append(verdict)
    shown = [word for word in by_word if word != RIGHT] or list(by_word)
    agree = len(by_word) == 1
    words = tuple(("" if agree else describe.asked_versions(by_word[word]), word) for word in shown)
    return Cell(words, all(verdict.ok for verdict in verdicts))


def _word(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.ERROR:
        return "error"
    passed, should = verdict.outcome in PASSED, verdict.question.should
    if should is Should.BLOCKED:
        return "leak" if passed else RIGHT
    if should is Should.ALLOWED:
        return RIGHT if passed else "over"
    if should is Should.NOT_COVERED:
        return "passes" if passed else "blocked"
    return verdict.outcome.value
