"""JUnit XML for CI servers: one suite for each scenario, one case for each path (Jenkins' junit-10.xsd)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from port25lab.model.mechanism import Mechanism
from port25lab.model.verdict import Report, Verdict
from port25lab.report import describe, explain, files, text
from port25lab.report.json_file import ok_of


def write_junit(report: Report, path: Path) -> None:
    """Write the XML file in one step."""
    files.write(path, junit(report.verdicts, report.environment))


def junit(verdicts: Iterable[Verdict], environment: Mapping[str, Any]) -> bytes:
    """The XML, as UTF-8. All text is ``visible``, so no byte from a server can break or forge it."""
    everything = list(verdicts)
    root = Element("testsuites", {"name": "port25lab"} | _counts(everything, skipped=False))
    run = _run(environment)
    scenarios: dict[str, list[Verdict]] = {}
    for verdict in everything:
        scenarios.setdefault(verdict.question.stable_scenario, []).append(verdict)
    for scenario, its in scenarios.items():
        suite = SubElement(root, "testsuite", {"name": text.visible(scenario)} | run | _counts(its, skipped=True))
        properties = SubElement(suite, "properties")
        for name, value in _policies(its).items():
            SubElement(properties, "property", name=name, value=value)
        for verdict in its:
            _case(suite, verdict)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _run(environment: Mapping[str, Any]) -> dict[str, str]:
    """When and where: the time is UTC, and the format has no place for a zone."""
    said = {
        "timestamp": str(environment.get("started", ""))[:19],
        "hostname": text.visible(environment.get("host", "")),
    }
    return {name: value for name, value in said.items() if value}


def _case(suite: Element, verdict: Verdict) -> None:
    case = SubElement(
        suite,
        "testcase",
        classname=text.visible(f"{verdict.question.stable_scenario}.{verdict.question.variant}"),
        name=text.visible(verdict.question.bare_id),
        time=f"{verdict.observation.seconds:.3f}",
    )
    if ok_of(verdict) is None:
        SubElement(case, "skipped", message=f"nothing expected; found {verdict.outcome.value}")
    if not verdict.ok:
        kind = "failure" if verdict.told else "error"
        trouble = SubElement(case, kind, type=verdict.outcome.value, message=explain.mismatch(verdict))
        trouble.text = explain.explain(verdict)
    else:
        words = (describe.rule_label(verdict.blame), describe.trail_words(verdict.blame)) if verdict.blame else ()
        rule = f": {' '.join(filter(None, words))}" if verdict.blame else ""
        how = f" by {verdict.mechanism.value}" if verdict.mechanism not in (Mechanism.NONE, Mechanism.UNKNOWN) else ""
        differ = f"; attempts differ: {describe.chance_words(verdict.chance)}" if verdict.chance else ""
        SubElement(case, "system-out").text = verdict.outcome.value + how + rule + differ


def _counts(verdicts: Sequence[Verdict], *, skipped: bool) -> dict[str, str]:
    errors = sum(not verdict.told for verdict in verdicts)
    counts = {
        "tests": str(len(verdicts)),
        "failures": str(sum(not verdict.ok for verdict in verdicts) - errors),
        "errors": str(errors),
        "time": f"{sum(verdict.observation.seconds for verdict in verdicts):.3f}",
    }
    return counts | {"skipped": str(sum(ok_of(verdict) is None for verdict in verdicts))} if skipped else counts


def _policies(verdicts: Iterable[Verdict]) -> dict[str, str]:
    """``policies.VARIANT``, and the policies of its nodes."""
    questions = (verdict.question for verdict in verdicts)
    return {
        text.visible(f"policies.{question.variant}"): describe.policies_words(question.config.policy_names)
        for question in questions
    }
