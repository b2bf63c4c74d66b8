"""From results, as ``--json`` writes them, to one HTML page. Pure, but for the page's own files.

The results are embedded once, compressed. A Content-Security-Policy lets the page run its own script and nothing else;
the script makes text nodes alone of what servers, rules and file names say.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from port25lab.model.mechanism import MECHANISM_INFO
from port25lab.model.outcome import OUTCOME_INFO, PASSING, Outcome
from port25lab.model.verdict import Report
from port25lab.report import files
from port25lab.report.html.picture import picture
from port25lab.report.json_file import document
from port25lab.report.text import visible

_LEFT_OUT = ("decisions", "diverted", "matrix", "should", "sender", "recipient", "size", "bad_auth", "pcap")
"""Fields of verdicts that the page does not show: the JSON has them."""


def write_html(report: Report, path: Path, more: Mapping[str, Any] | None = None) -> None:
    """Write the page of a report in one step. ``more``: what the command has beside verdicts."""
    data = document(report) | dict(more or {})
    files.write(path, page(json.loads(json.dumps(data, default=str))).encode("utf-8", "backslashreplace"))


def page(results: Mapping[str, Any], against: Mapping[str, Any] | None = None) -> str:
    """The page. ``results``: what ``--json`` writes. ``against``: older results, to be compared with."""
    verdicts = results["verdicts"]
    embedded = {
        "tool": results["tool"],
        "environment": results["environment"],
        "inputs": [{"file": one["file"], "sha256": one["sha256"]} for one in results["inputs"]],
        "files": {one["file"]: one["text"] for one in results["inputs"] if one.get("text") is not None},
        "verdicts": [{key: value for key, value in one.items() if key not in _LEFT_OUT} for one in verdicts],
        "outcomes": {outcome.value: info.text for outcome, info in OUTCOME_INFO.items()},
        "blocked": [outcome.value for outcome, info in OUTCOME_INFO.items() if info.blocked],
        "mechanisms": {one.value: {"text": info.text, "source": info.source} for one, info in MECHANISM_INFO.items()},
        "findings": list(results.get("findings", ())),
        "networks": [_name(topology) for topology in results["topologies"]],
        "against": None if against is None else {one["path"]: _brief(one) for one in against["verdicts"]},
    }
    script, style = _own("page.js"), _own("page.css")
    failed = [one for one in verdicts if one["ok"] is False]
    untold = [one for one in failed if not one["told"]]
    scenarios = list(dict.fromkeys(one["scenario"] for one in verdicts))
    environment = results["environment"]
    values = {
        "title": visible(_title(results, scenarios)),
        "state": _state(verdicts, failed, untold),
        "summary": _summary(verdicts, len(failed) - len(untold), len(untold)),
        "where": visible(f"{environment.get('started', '')}  {environment.get('host', '')}".strip()),
        "footer": visible(f"{results['tool']['name']} {results['tool']['version']}"),
        "pictures": [_picture(topology, number, verdicts) for number, topology in enumerate(results["topologies"])],
        "data": _packed(embedded),
        "script": script,
        "style": style,
        "script_digest": _digest(script),
        "style_digest": _digest(style),
    }
    return str(_template().render(values))


def _state(verdicts: Iterable[Mapping[str, Any]], failed: list[Any], untold: list[Any]) -> str:
    """The class of the summary line, which colours it."""
    if all(one["ok"] is None for one in verdicts):
        return ""
    if not failed:
        return "good"
    return "warn" if len(untold) == len(failed) else "bad"


def _name(topology: Mapping[str, Any]) -> str:
    """The name of a topology, with its parameters."""
    own = ", ".join(f"{key}={value}" for key, value in topology["parameters"].items())
    return f"{topology['name']} ({own})" if own else str(topology["name"])


def _title(results: Mapping[str, Any], scenarios: list[str]) -> str:
    if scenarios == ["check"]:
        names = dict.fromkeys(name for one in results["verdicts"] for own in one["policies"].values() for name in own)
        return f"Which mail gets through: {', '.join(names)}"
    if len(scenarios) == 1:
        return f"Scenario {scenarios[0]}"
    return f"{len(scenarios)} scenarios"


def _summary(verdicts: list[Any], failed: int, untold: int) -> str:
    judged = sum(one["ok"] is not None for one in verdicts)
    parts = [f"{len(verdicts)} paths"]
    if failed:
        parts.append(f"{failed} not as expected")
    if untold:
        parts.append(f"{untold} could not be told")
    if judged and not failed and not untold:
        parts.append("all as expected" if judged == len(verdicts) else f"{judged} as expected")
    if not judged and not untold:
        passing = sum(one["outcome"] in PASSING for one in verdicts)
        blocked = sum(OUTCOME_INFO[Outcome(one["outcome"])].blocked for one in verdicts)
        parts += [f"{passing} get through", f"{blocked} are blocked"]
    elif judged < len(verdicts):
        parts.append(f"{len(verdicts) - judged} without expectation")
    return ", ".join(parts)


def _brief(verdict: Mapping[str, Any]) -> dict[str, Any]:
    blame = verdict["blame"]
    number = blame and (f"#{blame['rule_number']}" if blame["rule_number"] is not None else "policy")
    place = blame and (f"{blame['file']}:{blame['line']}" if blame["file"] else f"{blame['chain']} {number}")
    return {"outcome": verdict["outcome"], "rule": place}


def _picture(topology: Mapping[str, Any], number: int, verdicts: Iterable[Mapping[str, Any]]) -> str:
    mine = [one for one in verdicts if one["topology"] == number]
    own = {node["name"]: list(node["policies"]) for node in topology["nodes"] if node["policies"]}
    policies = {name: dict.fromkeys(names) for name, names in own.items()}
    for node, names in ((node, names) for one in mine for node, names in one["policies"].items()):
        policies.setdefault(node, {}).update(dict.fromkeys(names))
    shown = {node: names if len(names) <= 2 else [f"{len(names)} policies"] for node, names in policies.items()}
    return picture(topology, shown, {name for one in mine for name in one["route"]})


def _packed(data: Mapping[str, Any]) -> str:
    """JSON, compressed, in letters that mean nothing to HTML. The same data gives the same text."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _own(name: str) -> str:
    return resources.files("port25lab.report.html").joinpath(name).read_text("utf-8").strip()


@cache
def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(_own("page.html"))
