"""The result schema as a file: everything comes back, and nothing else is taken for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evidence_factory import HOSTILE, decision, hop, report, rule, seen, verdict
from port25lab.errors import InputError
from port25lab.model.evidence import IcmpError, Stage
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.model.verdict import Control
from port25lab.report.json_file import read_json, write_json

FULL = verdict(
    Outcome.DROPPED,
    expected_by="isp-edge",
    expected_how=Mechanism.SYN_DROP,
    answered_by="mx",
    decisions=[decision()],
    icmp=[IcmpError(sender="198.51.100.1", ip_version=4, type=3, code=13)],
    hops=[hop(errno="ETIMEDOUT", decisions=[decision(blame=rule("isp-core"))])],
    control=Control(outcome=Outcome.DELIVERED, through=True),
    disagreement="d",
    reason="r",
    pcap="x.pcap",
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "out.json"


def test_a_report_comes_back_as_it_was_written(file: Path) -> None:
    written = report(FULL, verdict(), verdict(Outcome.ERROR, expected=None, ip_version=None))
    write_json(written, file)
    assert read_json(file) == written


def test_the_fields_are_those_of_the_contract(file: Path) -> None:
    write_json(report(FULL), file)
    data = json.loads(file.read_text())
    assert {"schema_version", "tool", "environment", "verdicts"} <= set(data)
    [found] = data["verdicts"]
    contract = "scenario path from to port ip_version security auth client policies outcome expected ok blame "
    assert set((contract + "observation hops pcap").split()) <= set(found)
    assert {"node", "family", "table", "chain", "rule_number", "rule"} <= set(found["blame"])
    assert {"stage", "errno", "smtp_code", "enhanced_code", "reply", "seconds"} <= set(found["observation"])
    assert (found["from"], found["outcome"], found["ok"]) == ("home-server", "dropped", True)
    assert (found["mechanism"], found["expected_how"]) == ("syn-drop", "syn-drop")


def test_a_hostile_reply_comes_back_byte_for_byte(file: Path) -> None:
    written = report(verdict(Outcome.REJECTED, observation=seen(Stage.RCPT, smtp_code=550, reply=HOSTILE)))
    write_json(written, file)
    assert "\x1b" not in file.read_text("utf-8")
    assert read_json(file) == written


def test_lone_surrogates_come_back_and_the_file_is_utf_8(file: Path) -> None:
    written = report(verdict(observation=seen(reply="\ud800 拒否 \udcff")))
    write_json(written, file)
    assert "拒否" in file.read_bytes().decode("utf-8")
    assert read_json(file).verdicts[0].observation.reply == "\ud800 拒否 \udcff"


def wrong(file: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_json(file)
    text = str(caught.value)
    assert text.startswith(str(file))
    assert "\n" not in text
    return text.removeprefix(str(file))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ":1:1: not JSON: Expecting value"),
        (b'{\n "a": }', ":2:7: not JSON: Expecting value"),
        (b'"\xff"', ": not JSON: not UTF-8 text"),
        (b"[]", ": not a port25lab report: no schema_version; a file that `--json` wrote"),
        (b"{}", ": not a port25lab report: no schema_version; a file that `--json` wrote"),
        (b'{"schema_version": 2}', ": schema_version 2; this port25lab reads 1"),
        (b'{"schema_version": "1"}', ": schema_version '1'; this port25lab reads 1"),
        (b'{"schema_version": 1}', ": not a port25lab report: tool: Field required"),
    ],
)
def test_what_is_no_report_is_refused_with_its_place(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    assert wrong(file) == said


def test_a_field_that_is_wrong_is_named(file: Path) -> None:
    data: dict[str, Any] = report(FULL).model_dump(mode="json", by_alias=True)
    data["verdicts"][0]["outcome"] = "lost"
    file.write_text(json.dumps(data))
    assert wrong(file).startswith(": not a port25lab report: verdicts.0.outcome: Input should be 'delivered'")


def test_a_file_that_is_not_there_is_bad_input(file: Path) -> None:
    assert wrong(file) == ": cannot be read: No such file or directory"
