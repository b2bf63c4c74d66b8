"""The result schema as a file: the keys of the contract, and every byte of what a server said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evidence_factory import FULL, HOSTILE, report, seen, verdict
from port25lab.model.evidence import Stage
from port25lab.model.outcome import Outcome
from port25lab.model.verdict import Verdict
from port25lab.report.json_file import write_json

KEYS = """
    scenario variant path name ref from to port ip_version security auth bad_auth client recipient sender size packet
    spoof policies outcome mechanism expected expected_by expected_how expected_from attempt repeat chance ok told blame
    observation decisions diverted icmp answered_by hops arrival ended should matrix control disagreement reason retried
    packets divergence pcap topology route
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "out.json"


def written(file: Path, *verdicts: Verdict) -> list[dict[str, Any]]:
    write_json(report(*verdicts), file)
    data = json.loads(file.read_text("utf-8"))
    assert list(data) == ["schema_version", "tool", "environment", "inputs", "topologies", "verdicts"]
    assert data["schema_version"] == 1
    found: list[dict[str, Any]] = data["verdicts"]
    return found


def test_the_keys_are_those_of_the_contract_in_their_order(file: Path) -> None:
    [found] = written(file, FULL)
    assert list(found) == KEYS.split()
    assert {"node", "family", "table", "chain", "rule_number", "rule"} <= set(found["blame"])
    assert {"stage", "errno", "smtp_code", "enhanced_code", "reply", "seconds"} <= set(found["observation"])


def test_every_value_comes_from_its_own_part_of_the_verdict(file: Path) -> None:
    [found] = written(file, FULL)
    plain = {key: value for key, value in found.items() if not isinstance(value, dict | list)}
    assert plain == {
        "scenario": "residential",
        "variant": "op25b",
        "path": "residential/op25b/S3-home-server-to-own-server-587/ipv6",
        "name": "n",
        "ref": "S3",
        "from": "home-server",
        "to": "own-server",
        "port": 587,
        "ip_version": 6,
        "security": "starttls",
        "auth": "alice",
        "bad_auth": True,
        "client": "swaks",
        "recipient": "r@example.net",
        "sender": "s@example.net",
        "size": 900,
        "packet": "syn-fin",
        "spoof": "pc",
        "outcome": "dropped",
        "mechanism": "syn-drop",
        "expected": "delivered",
        "expected_by": "isp-edge",
        "expected_how": "syn-drop",
        "expected_from": 3,
        "attempt": 2,
        "repeat": 4,
        "ok": False,
        "told": False,
        "answered_by": "mx",
        "should": "blocked",
        "matrix": True,
        "disagreement": "d",
        "reason": "r; d; expected delivered, found dropped",
        "retried": "t",
        "divergence": 'client side: "x", server side: nothing (client to server, byte 3)',
        "pcap": "x.pcap",
        "topology": 0,
    }
    assert found["policies"] == {"isp-edge": ["op25b", "ip25b"]}
    assert found["blame"]["family"] == "ip6"
    assert found["observation"]["errno"] == "ETIMEDOUT"
    assert [one["effect"] for one in found["decisions"]] == ["drop"]
    assert [one["effect"] for one in found["diverted"]] == ["divert"]
    assert found["icmp"] == [{"sender": "198.51.100.1", "ip_version": 4, "type": 3, "code": 13}]
    assert [one["node"] for one in found["hops"]] == ["isp-relay"]
    assert found["arrival"] == {"packet": "syn-fin", "reached": "mx", "answer": None}
    assert (found["ended"]["how"], found["ended"]["packet"]["kind"]) == ("no-route", "SYN")
    assert found["control"] == {"outcome": "delivered", "through": True}
    assert found["chance"]["outcomes"] == {"dropped": 1, "delivered": 3}
    assert [one["line"] for one in found["chance"]["rules"]] == [12]
    assert [one["kind"] for one in found["packets"]] == ["SYN"]


def test_what_is_not_there_is_null(file: Path) -> None:
    [found] = written(file, verdict(expected=None, ip_version=None))
    missing = (
        "auth",
        "blame",
        "chance",
        "control",
        "disagreement",
        "reason",
        "retried",
        "expected",
        "ip_version",
        "pcap",
    )
    assert {found[key] for key in missing} == {None}
    assert found["ok"] is None


def test_a_hostile_reply_comes_back_byte_for_byte(file: Path) -> None:
    [found] = written(file, verdict(Outcome.REJECTED, observation=seen(Stage.RCPT, smtp_code=550, reply=HOSTILE)))
    assert "\x1b" not in file.read_text("utf-8")
    assert found["observation"]["reply"] == HOSTILE


def test_lone_surrogates_come_back_and_the_file_is_utf_8(file: Path) -> None:
    [found] = written(file, verdict(observation=seen(reply="\ud800 拒否 \udcff")))
    assert "拒否" in file.read_bytes().decode("utf-8")
    assert found["observation"]["reply"] == "\ud800 拒否 \udcff"
