"""The page of a report: what is embedded, and that nothing in it can run."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from evidence_factory import FULL, HOSTILE, report, verdict
from port25lab.errors import InputError
from port25lab.model.outcome import Outcome
from port25lab.report import results_file
from port25lab.report.html.page import page, write_html
from port25lab.report.json_file import document, write_json

OURS = '{{"tool": {{"name": "port25lab"}}, "schema_version": 1, "inputs": [], "topologies": [], {}}}'
BAD = verdict(expected=Outcome.DROPPED)


def results(*verdicts: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(document(report(*verdicts)), default=str))
    return data


def embedded(text: str) -> dict[str, Any]:
    found = re.search(r'id="data">([^<]*)<', text)
    assert found
    data: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(found[1])))
    return data


def test_the_verdicts_are_embedded_once_and_hostile_text_is_nowhere_else() -> None:
    text = page(results(FULL, verdict(name=f"</script><img src=x onerror=alert(1)>{HOSTILE}")))
    assert len(embedded(text)["verdicts"]) == 2
    assert "onerror" not in text
    assert text.count("</script>") == 2


def test_the_policy_of_the_page_allows_its_own_script_and_style_alone() -> None:
    text = page(results(FULL))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    for tag, kind in (("script", "script-src"), ("style", "style-src")):
        body = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body[0].encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy.replace("&#39;", "'")
    assert "default-src 'none'" in policy
    assert not re.findall(r"\bsrc=|\bhttps?://(?!www\.w3\.org/2000/svg)", text)


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([verdict()], "1 paths, all as expected"),
        ([verdict(), BAD], "2 paths, 1 not as expected"),
        ([BAD, verdict(Outcome.ERROR, reason="x")], "2 paths, 1 not as expected, 1 could not be told"),
        ([verdict(expected=None)], "1 paths, 1 get through, 0 are blocked"),
    ],
)
def test_the_summary_counts_what_matters(verdicts: list[Any], said: str) -> None:
    assert f">{said}</p>" in page(results(*verdicts))


def test_older_results_are_embedded_by_path() -> None:
    old = results(verdict(Outcome.DROPPED, expected=None))
    data = embedded(page(results(verdict(expected=None)), old))
    assert [one["outcome"] for one in data["against"].values()] == ["dropped"]


def test_the_same_results_give_the_same_page() -> None:
    assert page(results(FULL)) == page(results(FULL))


def test_a_page_is_made_from_the_file_that_json_writes(tmp_path: Path) -> None:
    write_json(report(FULL, BAD), tmp_path / "results.json")
    write_html(report(FULL, BAD), tmp_path / "page.html")
    assert page(results_file.read(tmp_path / "results.json")) == (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", ":1:1: not JSON, or cut off: Expecting value; "),
        ('{"tool": {"name"', ":1:17: not JSON, or cut off"),
        ("[]", ": these are no results of port25lab; "),
        ('{"tool": {"name": "other"}}', ": these are no results of port25lab; "),
        ('{"tool": {"name": "port25lab"}, "schema_version": 99}', ": results of schema version 99; version 1"),
        ('{"tool": {"name": "port25lab"}, "schema_version": 1}', ": results without 'environment'; "),
        ("[" * 100_000, ": nested too deeply; "),
        (OURS.format('"environment": [], "verdicts": []'), ": results whose 'environment' is no object; "),
        (OURS.format('"environment": {}, "verdicts": [{"path": "x"}]'), ": entry 1 of 'verdicts' has no 'blame'; "),
        (OURS.format('"environment": {}, "verdicts": 5'), ": entry 1 of 'verdicts' has no 'blame'; "),
    ],
)
def test_a_file_that_is_no_result_is_refused_with_its_place(tmp_path: Path, text: str, error: str) -> None:
    file = tmp_path / "results.json"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        results_file.read(file)
    assert str(caught.value).startswith(f"{file}{error}")
