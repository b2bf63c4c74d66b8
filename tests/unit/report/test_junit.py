"""JUnit XML: valid whatever a server says, with counts that add up and failures that explain themselves."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from evidence_factory import HOSTILE, changed, led, report, rule, seen, verdict
from port25lab.model.evidence import Stage
from port25lab.model.outcome import Outcome
from port25lab.model.verdict import Verdict
from port25lab.report.junit import junit, write_junit

GOOD = verdict()
BAD = verdict(expected=Outcome.DROPPED)
BROKEN = verdict(Outcome.ERROR, expected=Outcome.DROPPED, reason="the lab broke")


def parsed(*verdicts: Verdict) -> Element:
    return ElementTree.fromstring(junit(verdicts, {}))


def counted(element: Element) -> tuple[str | None, ...]:
    return tuple(element.get(name) for name in ("tests", "failures", "errors"))


def test_a_mismatch_is_a_failure_and_a_failure_of_the_tool_is_an_error() -> None:
    root = parsed(GOOD, BAD, BROKEN)
    assert counted(root) == ("3", "1", "1")
    assert counted(root[0]) == ("3", "1", "1")
    assert [[child.tag for child in case] for case in root.iter("testcase")] == [["system-out"], ["failure"], ["error"]]


def test_there_is_one_suite_for_each_scenario() -> None:
    root = parsed(GOOD, verdict(scenario="hotel", expected=Outcome.DROPPED), GOOD)
    assert [(suite.get("name"), *counted(suite)) for suite in root] == [
        ("residential", "2", "0", "0"),
        ("hotel", "1", "1", "0"),
    ]


def test_a_case_is_named_by_its_lab_and_its_path() -> None:
    [case] = parsed(GOOD).iter("testcase")
    assert case.get("classname") == "residential.op25b"
    assert case.get("name") == "S3-home-server-to-mx:example.net-25/ipv4"
    assert case.get("time") == "0.020"


def test_no_failure_has_an_empty_body() -> None:
    for tag, found in (("failure", BAD), ("error", BROKEN)):
        [trouble] = parsed(found).iter(tag)
        assert trouble.get("message")
        assert trouble.text
        assert "port25lab run residential -k" in trouble.text
    [failure] = parsed(BAD).iter("failure")
    assert failure.get("message") == "expected dropped, found delivered"
    assert failure.get("type") == "delivered"


def test_a_blocked_path_names_its_rule() -> None:
    [out] = parsed(verdict(Outcome.DROPPED)).iter("system-out")
    assert out.text == "dropped by syn-drop: isp-edge op25b op25b #4"
    [out] = parsed(verdict(Outcome.DROPPED, blame=led(("FORWARD", 3), ("mail", 2)))).iter("system-out")
    assert out.text == "dropped by syn-drop: isp-edge op25b mail #2 via FORWARD #3 -> mail #2"


def test_policies_stand_as_properties_one_for_each_variant() -> None:
    root = parsed(GOOD, verdict(variant="both", policies={"isp-edge": ["op25b", "ip25b"]}))
    properties = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert properties == {"policies.op25b": "op25b on isp-edge", "policies.both": "op25b + ip25b on isp-edge"}


def test_a_hostile_server_neither_breaks_nor_forges_the_file() -> None:
    evil = "x\x1b\x00\ud800\ufffe\"'<&>]]></failure>"
    found = verdict(
        Outcome.DROPPED,
        expected_by=f"not {evil}",
        ok=False,
        scenario=evil,
        variant=evil,
        bare_id=evil,
        name=evil,
        to=evil,
        reason=HOSTILE,
        policies={evil: [evil]},
        blame=rule(evil, rule=evil),
        observation=seen(Stage.RCPT, smtp_code=550, reply=HOSTILE),
    )
    root = parsed(found, changed(found, ok=True))
    assert counted(root) == ("2", "0", "1")
    [error] = root.iter("error")
    assert r"\x1b[2J" in (error.text or "")
    assert "]]></failure>" in (error.text or "")


def test_a_reply_of_a_megabyte_makes_no_megabyte_of_xml() -> None:
    found = verdict(
        Outcome.REJECTED, expected=Outcome.DELIVERED, observation=seen(Stage.RCPT, smtp_code=550, reply="x" * 1_000_000)
    )
    assert len(junit([found], {})) < 4000


def test_a_run_without_verdicts_is_still_a_file() -> None:
    assert counted(parsed()) == ("0", "0", "0")


def test_the_file_says_that_it_is_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    write_junit(report(verdict(name="拒否")), file)
    assert file.read_bytes().startswith(b"<?xml version='1.0' encoding='utf-8'?>")
    assert ElementTree.parse(file).getroot().tag == "testsuites"


def test_a_path_of_which_nothing_is_expected_is_skipped_and_no_failure() -> None:
    root = parsed(GOOD, verdict(expected=None))
    assert [suite.get("skipped") for suite in root] == ["1"]
    assert counted(root) == ("2", "0", "0")
    (skipped,) = root.iter("skipped")
    assert skipped.get("message") == "nothing expected; found delivered"


def test_a_suite_says_when_and_where_it_ran() -> None:
    environment = {"started": "2026-11-26T21:23:06+00:00", "host": "runner"}
    [suite] = ElementTree.fromstring(junit([GOOD], environment))
    assert (suite.get("timestamp"), suite.get("hostname")) == ("2026-11-26T21:23:06", "runner")
