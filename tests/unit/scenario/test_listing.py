"""Titles for `port25lab list`: the quick way to them says what loading the file would say."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.scenario import catalogue, listing
from port25lab.scenario.policy import load_policy
from port25lab.scenario.scenario_file import title_of
from port25lab.scenario.topology import describe

LOADED = {"topologies": describe, "policies": lambda name: load_policy(name).title, "scenarios": title_of}
TOWN = "from mininet.topo import Topo\nclass Town(Topo):\n    '''A town.\n\n    More.'''\n"


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty catalogue."""
    for folder in ("topologies", "policies", "scenarios"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(catalogue, "root", lambda: tmp_path)
    return tmp_path


def policy(content: Path, text: str) -> None:
    folder = content / "policies/p"
    folder.mkdir()
    (folder / "policy.yaml").write_text(text)
    (folder / "rules.v4").write_text("*filter\nCOMMIT\n")


def forbid_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> str:
        raise AssertionError(f"{name} was loaded as a whole")

    monkeypatch.setattr(listing, "_TITLES", {kind: (quick, fail) for kind, (quick, _) in listing._TITLES.items()})


def test_of_the_catalogue_no_file_is_loaded_as_a_whole_and_every_title_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forbid_loading(monkeypatch)
    found = listing.describe_all()
    assert {kind: [name for name, _ in lines] for kind, lines in found.items()} == {
        kind: catalogue.all_names(kind) for kind in catalogue.CATALOGUE_KINDS
    }
    assert found == {kind: [(name, LOADED[kind](name)) for name, _ in lines] for kind, lines in found.items()}


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("title: Plain\n", "Plain"),
        ("# title: no\ntitle: Plain  # a comment\n", "Plain"),
        ("title: 'It''s # quoted: so'\n", "It's # quoted: so"),
        ('title: "caf\\u00e9 \\"x\\""\n', 'café "x"'),
        ("title: >-\n  folded\n  lines\n", "folded lines"),
        ("title: plain\n  goes on\n", "plain goes on"),
        ("'title': quoted key\n", "quoted key"),
        ("%YAML 1.2\n---\ntitle: T\n", "T"),
        ("{title: flow, description: x}\n", "flow"),
        ("watch: syn\ntitle: second\n", "second"),
        ("description: |\n  title: not this\ntitle: this\nsource: x\n", "this"),
        ("\ufefftitle: with a byte order mark\n", "with a byte order mark"),
        ("title: yes\n", "yes"),
        ("title: '25'\n", "25"),
    ],
)
def test_a_title_is_read_as_yaml_has_it(content: Path, monkeypatch: pytest.MonkeyPatch, text: str, title: str) -> None:
    policy(content, text)
    assert load_policy("p").title == title
    forbid_loading(monkeypatch)
    assert listing.describe_all()["policies"] == [("p", title)]


@pytest.mark.parametrize("text", ["sets: []\ntitle: after a list\n", "title: &t anchored\ndescription: *t\n"])
def test_where_the_quick_way_does_not_do_the_file_is_loaded(content: Path, text: str) -> None:
    policy(content, text)
    assert listing.describe_all()["policies"] == [("p", load_policy("p").title)]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("titel: Broken\n", ":1:1: unknown key 'titel'; did you mean 'title'? known: "),
        ("title: 25\n", ":1:8: title is 25; text"),
        ("title: ''\n", ":1:8: title is ''; text that is not empty"),
        ("title: 2020-01-01\n", ":1:8: a date"),
        ("title: !x text\n", ":1:8: a YAML tag or type of its own"),
        ("title: [x]\n", ":1:8: title is a list; text"),
        ("- title: x\n", ":1:1: the file is a list; a mapping"),
        ("title\n", ":1:1: the file is 'title'; a mapping"),
        ("", ": the file is empty"),
        ("title: 'x\n", ":2:1: not YAML: found unexpected end of stream"),
        (3000 * "[", ":1:21: nested too deeply"),
    ],
)
def test_of_a_file_without_a_title_the_line_is_the_error(content: Path, text: str, error: str) -> None:
    policy(content, text)
    ((_, line),) = listing.describe_all()["policies"]
    assert line.startswith(f"{content}/policies/p/policy.yaml{error}")


def test_a_policy_without_its_yaml_and_one_that_is_no_utf8_have_an_error(content: Path) -> None:
    policy(content, "")
    (content / "policies/p/policy.yaml").write_bytes(b"title: caf\xe9\n")
    (content / "policies/q").mkdir()
    assert listing.describe_all()["policies"] == [
        ("p", f"{content}/policies/p/policy.yaml:1:11: byte 0xe9 is not UTF-8; text in UTF-8"),
        (
            "q",
            f"{content}/policies/q: the folder of a policy has no policy.yaml; one with a line `title: TEXT` at least",
        ),
    ]


def test_a_title_is_shown_though_the_rest_of_the_file_is_broken(content: Path) -> None:
    (content / "scenarios/plain.yaml").write_text("title: Plain\nmore: [\n")
    (content / "scenarios/deeper").mkdir()
    (content / "scenarios/deeper/one.yaml").write_text("title: Deeper\n")
    assert listing.describe_all()["scenarios"] == [("deeper/one", "Deeper"), ("plain", "Plain")]


def test_a_topology_is_described_without_being_run(content: Path) -> None:
    (content / "topologies/town.py").write_text(f"{TOWN}topos = {{'town': Town}}\nraise SystemExit('was run')\n")
    assert listing.describe_all()["topologies"] == [("town", "A town.")]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{TOWN}class Other(Town):\n    'Another.'\ntopos = {{'x': Other, 'town': Town}}\n", "A town."),
        (f"{TOWN}class Other(Town):\n    'Another.'\ntopos = {{'x': Other, 'y': Town}}\n", "Another."),
        (f"{TOWN}class Other(Town): pass\ntopos = {{'x': Other}}\n", "A town."),
        (f"{TOWN}def made(): return Town\ntopos = {{'x': made()}}\n", "A town."),
        (f"{TOWN}class Other(Town):\n    'Another.'\ntopos = {{'x': Other and Town, 'y': Other}}\n", "A town."),
        (f"{TOWN}class Other(Town):\n    'Another.'\ntopos = {{**{{'town': Town}}, 'y': Other}}\n", "A town."),
        (f"{TOWN}class Other(Town):\n    'Another.'\ntopos = {{'x': Other}}\ntopos = {{'x': Town}}\n", "A town."),
        (f"{TOWN}class Other(Town):\n    'Another.'\ntopos = {{'x': Other}}\ntopos['x'] = Town\n", "A town."),
    ],
)
def test_the_line_of_a_topology_is_that_of_the_class_that_a_run_takes(content: Path, text: str, line: str) -> None:
    (content / "topologies/town.py").write_text(text)
    assert describe("town") == line
    assert listing.describe_all()["topologies"] == [("town", line)]


def test_of_a_topology_file_that_is_not_python_the_line_is_the_error(content: Path) -> None:
    (content / "topologies/bad.py").write_text("topos = {\n")
    assert listing.describe_all()["topologies"] == [("bad", f"{content}/topologies/bad.py:1:9: '{{' was never closed")]
