"""How verdicts meet a contract."""

from __future__ import annotations

import pytest

from evidence_factory import verdict
from port25lab.model.outcome import Outcome, Should
from port25lab.report.console import open_console
from port25lab.report.contract_table import JudgedRow, is_unmet, print_contract, word_for
from port25lab.scenario.contract import Row


@pytest.mark.parametrize(
    ("outcome", "should", "word"),
    [
        (Outcome.DROPPED, Should.BLOCKED, "ok"),
        (Outcome.REJECTED_ICMP, Should.BLOCKED, "ok"),
        (Outcome.THROTTLED, Should.BLOCKED, "ok"),
        (Outcome.DELIVERED, Should.BLOCKED, "LEAK"),
        (Outcome.REACHED, Should.BLOCKED, "LEAK"),
        (Outcome.CLOSED, Should.BLOCKED, "LEAK"),
        (Outcome.DROPPED, Should.ALLOWED, "OVER"),
        (Outcome.DELIVERED, Should.ALLOWED, "ok"),
        (Outcome.AUTH_FAILED, Should.ALLOWED, "not so"),
        (Outcome.INTERCEPTED, Should.BLOCKED, "not so"),
        (Outcome.ERROR, Should.BLOCKED, "error"),
        (Outcome.DROPPED, Should.NOT_COVERED, ""),
    ],
)
def test_any_way_of_blocking_is_blocked(outcome: Outcome, should: Should, word: str) -> None:
    assert word_for(verdict(outcome), should) == word


def test_rows_that_are_not_met_are_counted_and_rows_without_a_host_are_last(capsys: pytest.CaptureFixture[str]) -> None:
    row = Row.model_validate({"text": "direct mail", "from": "inside", "to": "mx", "should": "blocked"})
    asked = JudgedRow(row, (verdict(Outcome.DROPPED), verdict(Outcome.DELIVERED, ip_version=6)))
    nothing = JudgedRow(row.model_copy(update={"text": "another"}), ())
    assert is_unmet(asked)
    assert not is_unmet(nothing)
    print_contract(open_console(), "A contract", [nothing, asked])
    lines = capsys.readouterr().out.splitlines()
    assert "1 row of 1 not met" in lines[0]
    assert [line.split()[0] for line in lines[2:5]] == ["ok", "LEAK", "not"]
