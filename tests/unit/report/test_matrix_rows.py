"""Paths by variants: what a cell says, and how the table is printed. Verdicts in, text out."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from evidence_factory import changed, verdict
from port25lab.model.outcome import Outcome, Should
from port25lab.model.verdict import Verdict
from port25lab.report.console import open_console, print_matrices
from port25lab.report.matrix_rows import matrices


def asked(variant: str, outcome: Outcome, version: int = 4, name: str = "a row", **more: Any) -> Verdict:
    usual = {"variant": variant, "ip_version": version, "name": name, "matrix": True}
    return verdict(outcome, **usual | more)


def cell(*verdicts: Verdict) -> str:
    [matrix] = matrices(verdicts)
    [line] = matrix.lines
    [found] = line.cells
    return found.text


@pytest.mark.parametrize(
    ("should", "outcome", "text"),
    [
        (Should.BLOCKED, Outcome.DROPPED, "ok"),
        (Should.BLOCKED, Outcome.REJECTED_ICMP, "ok"),
        (Should.BLOCKED, Outcome.DELIVERED, "leak"),
        (Should.BLOCKED, Outcome.REACHED, "leak"),
        (Should.ALLOWED, Outcome.DELIVERED, "ok"),
        (Should.ALLOWED, Outcome.RELAY_DENIED, "ok"),
        (Should.ALLOWED, Outcome.DROPPED, "over"),
        (Should.NOT_COVERED, Outcome.REACHED, "passes"),
        (Should.NOT_COVERED, Outcome.DROPPED, "blocked"),
        (Should.BLOCKED, Outcome.ERROR, "error"),
        (None, Outcome.DROPPED, "dropped"),
        (None, Outcome.REACHED, "reached"),
    ],
)
def test_a_cell_says_whether_the_policy_does_what_a_correct_one_does(
    should: Should | None, outcome: Outcome, text: str
) -> None:
    assert cell(asked("op25b", outcome, should=should)) == text


def test_a_leak_over_one_ip_version_names_it() -> None:
    both = [asked("v4only", Outcome.DROPPED, 4), asked("v4only", Outcome.REACHED, 6)]
    blocked = [changed(one, should=Should.BLOCKED) for one in both]
    assert cell(*blocked) == "v6 leak"
    assert cell(*both) == "v4 dropped v6 reached"


def test_only_scenarios_that_ask_for_it_have_a_table() -> None:
    assert matrices([verdict()]) == []


def test_a_path_that_a_variant_does_not_try_leaves_its_cell_empty() -> None:
    [matrix] = matrices([asked("a", Outcome.DROPPED), asked("b", Outcome.DROPPED, name="another")])
    assert [[one.text for one in line.cells] for line in matrix.lines] == [["dropped", ""], ["", "dropped"]]


def test_the_table_in_a_pipe() -> None:
    out = StringIO()
    rows = [
        asked("strict", Outcome.DROPPED, should=Should.BLOCKED),
        asked("syn", Outcome.REACHED, should=Should.BLOCKED),
        asked("strict", Outcome.DELIVERED, should=Should.ALLOWED, name="submission"),
        asked("syn", Outcome.DROPPED, should=Should.ALLOWED, name="submission", expected=Outcome.DELIVERED),
    ]
    print_matrices(open_console(out, width=80), rows)
    assert out.getvalue() == (
        "residential | should be blocked\n"
        "path   strict  syn\n"
        "a row  ok      leak\n"
        "\n"
        "residential | should get through\n"
        "path        strict  syn\n"
        "submission  ok      over FAIL\n"
        "\n"
    )


def test_the_table_on_a_terminal_colours_what_is_wrong_and_leaves_the_ip_version_plain() -> None:
    out = StringIO()
    rows = [
        asked("strict", Outcome.DROPPED, 4, should=Should.BLOCKED),
        asked("strict", Outcome.REACHED, 6, should=Should.BLOCKED),
    ]
    print_matrices(Console(file=out, force_terminal=True, width=80, color_system="standard"), rows)
    assert "v6 \x1b[31mleak\x1b[0m" in out.getvalue()
