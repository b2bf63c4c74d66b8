"""The manual: its links lead somewhere, and what can be typed or written stands in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

import evidence_factory
from port25lab.cli.main import app
from port25lab.model.evidence import Arrival, Observation
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.model.service_kinds import MIDDLEBOXES, SERVICE_KINDS
from port25lab.report.json_file import flat
from port25lab.scenario import catalogue
from port25lab.scenario.format import Expectation, PathEntry, ScenarioFile
from port25lab.scenario.policy import PolicyFile

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
MANUAL = ROOT / "docs"


def page(name: str) -> str:
    return (MANUAL / name).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """Without what stands in fences."""
    return re.sub(r"(?ms)^\s*(```|~~~).*?^\s*\1", "", text)


def anchors(file: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"(?m)^#+ (.+)$", prose(file.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing(wanted: list[str], text: str) -> list[str]:
    """Those that stand nowhere as code."""
    code = " ".join(re.findall(r"`+[^`]+`+", text))
    return [name for name in wanted if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", code)]


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_links_lead_somewhere(file: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(file.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = file.parent / name if name else file
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_index() -> None:
    pages = {file.name for file in MANUAL.glob("*.md")} - {"README.md"}
    assert pages <= set(re.findall(r"\]\(([\w-]+\.md)\)", page("README.md")))


@pytest.mark.parametrize(
    ("kind", "name"), [("policies", "policies.md"), ("topologies", "topologies.md"), ("scenarios", "scenarios.md")]
)
def test_the_catalogue_is_in_the_manual(kind: catalogue.Kind, name: str) -> None:
    listed = re.findall(r"\[([\w/-]+)\]\(\.\./", page(name))
    assert not missing([one for one in catalogue.names(kind) if one not in listed], page(name))


def test_scenarios_that_run_when_named_are_in_the_manual() -> None:
    folder = ROOT / "scenarios"
    named = {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml")}
    assert named <= set(re.findall(r"\[([\w/-]+)\]\(\.\./scenarios/", page("scenarios.md")))


def test_every_command_and_option_is_in_the_manual() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in PAGES)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert not missing(list(commands), text)
    for command in commands.values():
        options = [option for parameter in command.params for option in parameter.opts if option.startswith("-")]
        assert not missing([one for one in options if one not in ("-h", "--help")], page("README.md"))


@pytest.mark.parametrize("model", [ScenarioFile, PathEntry, Expectation])
def test_every_key_of_a_scenario_is_in_the_manual(model: type[ScenarioFile]) -> None:
    assert not missing([field.alias or name for name, field in model.model_fields.items()], page("scenarios.md"))


def test_every_key_of_a_policy_is_in_the_manual() -> None:
    assert not missing(list(PolicyFile.model_fields), page("policies.md"))


def test_every_field_of_a_verdict_is_in_the_manual() -> None:
    assert not missing(list(flat(evidence_factory.verdict())), page("results.md"))
    assert [name for name in (*Observation.model_fields, *Arrival.model_fields) if name not in page("results.md")] == []


def test_every_outcome_mechanism_and_kind_of_service_is_in_the_manual() -> None:
    assert not missing([*Outcome, *Mechanism], page("outcomes.md"))
    assert not missing([kind for kind in SERVICE_KINDS if kind not in MIDDLEBOXES], page("topologies.md"))
    middleboxes = [*MIDDLEBOXES, *(name for kind in MIDDLEBOXES.values() for name in (*kind.required, *kind.optional))]
    assert not missing(middleboxes, page("middleboxes.md"))
