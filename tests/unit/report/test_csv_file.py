"""The table of verdicts: scalar columns, one row for each attempt."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from evidence_factory import HOSTILE, report, seen, verdict
from port25lab.model.evidence import Stage
from port25lab.model.outcome import Outcome
from port25lab.report.csv_file import COLUMNS, table, write_csv

BLOCKED = verdict(Outcome.DROPPED, expected=Outcome.DELIVERED, policies={"isp-edge": ["op25b", "ip25b"]})


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_each_attempt_is_a_row_of_scalars() -> None:
    found = rows(table(report(BLOCKED, verdict(expected=None))))
    assert tuple(found[0]) == COLUMNS
    first, second = found
    assert (first["outcome"], first["ok"], first["blame_chain"]) == ("dropped", "false", "op25b")
    assert first["policies"] == "isp-edge=op25b isp-edge=ip25b"
    assert float(first["seconds"]) >= 0
    assert (second["ok"], second["expected"], second["told"]) == ("", "", "true")


def test_a_hostile_reply_stays_in_its_cell() -> None:
    hostile = verdict(Outcome.REJECTED, observation=seen(Stage.RCPT, smtp_code=550, reply=HOSTILE + '",\r\n=1+1'))
    (row,) = rows(table(report(hostile)))
    assert row["smtp_code"] == "550"
    assert row["reply"].isprintable()


def test_the_file_is_written_whole(tmp_path: Path) -> None:
    write_csv(report(BLOCKED), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes().count(b"\r\n") == 2
