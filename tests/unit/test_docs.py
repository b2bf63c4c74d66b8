"""The manual: its links work, its pictures are current, and it has all commands, options, keys, names and fields."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
import typer
from rich.text import Text

import evidence_factory
from port25lab.cli.main import app
from port25lab.model.client_kinds import CLIENT_KINDS
from port25lab.model.evidence import Arrival, Observation
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.model.packet_kinds import PACKET_KINDS
from port25lab.model.service_kinds import MIDDLEBOXES, SERVICE_KINDS
from port25lab.report.json_file import flat
from port25lab.scenario import catalogue
from port25lab.scenario.policy import PolicyFile
from port25lab.scenario.scenario_file import Expectation, PathEntry, ScenarioFile
from port25lab.sweep.figure_spec import Figure, Measure
from port25lab.sweep.parameters import Distribution, Range
from port25lab.sweep.shape import PolicyEntry
from port25lab.sweep.spec import Samples, SweepFile

ROOT = Path(__file__).parents[2]
ROOT_PAGES = ("README.md", "README.ja.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in ROOT_PAGES), *sorted((ROOT / "docs").rglob("*.md"))]
MANUAL = ROOT / "docs"


def page(name: str) -> str:
    return (MANUAL / name).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """The text without fenced code."""
    return re.sub(r"(?ms)^\s*(```|~~~).*?^\s*\1", "", text)


def anchors(file: Path) -> set[str]:
    """The anchors that GitHub makes of headings."""
    headings = re.findall(r"(?m)^#+ (.+)$", prose(file.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing(names: list[str], text: str) -> list[str]:
    """The names that are nowhere in the text as code."""
    code = " ".join(re.findall(r"`+[^`]+`+", text))
    return [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", code)]


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_links_have_targets(file: Path) -> None:
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
    nested = [inner for command in commands.values() for inner in getattr(command, "commands", {}).values()]
    for command in (*commands.values(), *nested):
        options = [option for parameter in command.params for option in parameter.opts if option.startswith("-")]
        assert not missing([one for one in options if one not in ("-h", "--help")], page("README.md"))


@pytest.mark.parametrize("model", [ScenarioFile, PathEntry, Expectation])
def test_every_key_of_a_scenario_is_in_the_manual(model: type[ScenarioFile]) -> None:
    assert not missing([field.alias or name for name, field in model.model_fields.items()], page("scenarios.md"))


@pytest.mark.parametrize("model", [SweepFile, Samples, Range, Distribution, PolicyEntry, Figure, Measure])
def test_every_key_of_a_sweep_is_in_the_manual(model: type[ScenarioFile]) -> None:
    assert not missing([field.alias or name for name, field in model.model_fields.items()], page("sweeps.md"))


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


def test_every_kind_of_client_and_packet_is_in_the_manual() -> None:
    assert not missing(list(CLIENT_KINDS), page("clients.md"))
    assert not missing(list(PACKET_KINDS), page("scenarios.md"))


def script(name: str) -> ModuleType:
    """A file of scripts/ as a module."""
    loader = SourceFileLoader(name, str(ROOT / "scripts" / name))
    spec = spec_from_loader(name, loader)
    assert spec
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look it up
    loader.exec_module(module)
    return module


def test_the_pictures_of_the_architecture_are_what_their_script_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing = script("architecture")
    monkeypatch.setattr(drawing, "PICTURES", tmp_path)
    drawing.folders()
    drawing.way()
    for picture in ("folders.svg", "path.svg"):
        assert (tmp_path / picture).read_text() == (MANUAL / "pictures" / picture).read_text()


def test_the_picture_of_the_folders_has_the_layers_of_the_contract() -> None:
    drawn = [{name.rstrip("/").removesuffix(".py") for name, _, _ in layer} for layer in script("architecture").LAYERS]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["id"] == "flow"]
    assert drawn == [set(layer.split(" | ")) for layer in layers]


def test_the_files_that_the_picture_of_a_path_names_exist() -> None:
    package = ROOT / "src/port25lab"
    steps = " ".join(f"{name} {words}" for _, _, _, _, name, words in script("architecture").STEPS)
    files = set(re.findall(r"[\w/]+[.]py", steps))
    assert len(files) > 10
    known = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert [file for file in files if file not in known and file not in {Path(one).name for one in known}] == []


def test_the_script_of_the_terminal_pictures_can_draw() -> None:
    drawn = script("picture").svg("a title", Text("two words", style="red"), 40)
    assert "a title" in drawn and "two words" in drawn


def test_files_that_the_pages_name_exist() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md"):
        text = re.sub(r"(?s)## Examples.*", "", (ROOT / name).read_text(encoding="utf-8"))
        for file in re.findall(r"`((?:[\w-]+/)+[\w.-]+[.](?:py|yaml|md|toml))`", text):
            assert any((ROOT / folder / file).exists() for folder in (".", "src/port25lab", "tests/unit")), (name, file)


def test_the_citation_has_the_version_of_the_package() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"\nversion: {project['version']}\n" in citation
    assert f"name: {project['authors'][0]['name']}\n" in citation
