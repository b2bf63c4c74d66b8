"""The table of a check."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evidence_factory import verdict
from port25lab.model.outcome import Outcome
from port25lab.model.path import PathSpec
from port25lab.model.verdict import Verdict
from port25lab.report.check_tables import print_table
from port25lab.report.console import open_console


def told(source: str, outcome: Outcome) -> Verdict:
    one = verdict(outcome, blame=None)
    return replace(one, question=replace(one.question, path=PathSpec(source=source, to="mx:example.net", ip_version=4)))


def table(capsys: pytest.CaptureFixture[str], verdicts: list[Verdict], *, verbose: bool) -> list[str]:
    print_table(open_console(), verdicts, verbose=verbose)
    return [line.partition("MX")[0].strip() for line in capsys.readouterr().out.splitlines() if "MX" in line]


def test_sources_with_the_same_rows_share_them_unless_all_are_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    same = [told(source, Outcome.DELIVERED) for source in ("lan", "dmz")]
    verdicts = [same[0], told("guests", Outcome.CLOSED), same[1]]
    assert table(capsys, verdicts, verbose=False) == ["lan, dmz", "guests"]
    assert table(capsys, verdicts, verbose=True)[:3] == ["lan", "guests", "dmz"]


def test_all_facts_of_a_path_name_the_command_that_asks_again(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(open_console(), [told("lan", Outcome.CLOSED)], verbose=True, repeat="port25lab check rules.v4")
    assert "repeat    port25lab check rules.v4" in capsys.readouterr().out
