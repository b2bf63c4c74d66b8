from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.errors import InputError
from port25lab.scenario import catalogue
from port25lab.scenario.catalogue import find, names
from port25lab.scenario.document import Strict, read_yaml, validated

TOP = Path(__file__).resolve().parents[3]


def test_a_checkout_has_its_content_at_the_top() -> None:
    assert catalogue.root() == TOP


def test_topologies_are_files_with_topos() -> None:
    assert names("topologies") == [
        "access_isps",
        "cloud_vpc",
        "hosting",
        "hotel",
        "internet",
        "residential_isp",
        "triangular",
        "unusual_customers",
    ]


def test_policies_are_folders() -> None:
    assert {"op25b", "ip25b", "cpe-nat", "none"} <= set(names("policies"))
    assert names("policies") == sorted(names("policies"))


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small catalogue."""
    for folder in ("topologies", "policies/good", "policies/broken", "scenarios/conformance"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "topologies/helper.py").write_text("X = 1\n")
    (tmp_path / "topologies/town.py").write_text(
        "from mininet.topo import Topo\nclass Town(Topo):\n    '''A town.\n\n    More.'''\ntopos = {'town': Town}\n"
    )
    (tmp_path / "topologies/bad.py").write_text("topos = {\n")
    (tmp_path / "policies/good/policy.yaml").write_text("title: Good\n")
    (tmp_path / "policies/good/rules.v4").write_text("*filter\nCOMMIT\n")
    (tmp_path / "policies/broken/policy.yaml").write_text("titel: Broken\n")
    (tmp_path / "scenarios/plain.yaml").write_text("title: Plain\n")
    (tmp_path / "scenarios/conformance/good.yaml").write_text("title: Deeper\n")
    monkeypatch.setattr(catalogue, "root", lambda: tmp_path)
    return tmp_path


def test_a_plain_run_leaves_subfolders_out_and_find_knows_them(content: Path) -> None:
    assert names("scenarios") == ["plain"]
    assert find("scenarios", "conformance/good") == content / "scenarios/conformance/good.yaml"


def test_helpers_of_topologies_are_not_listed(content: Path) -> None:
    assert names("topologies") == ["bad", "town"]


def test_a_path_wins_over_a_name(
    content: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path_factory.mktemp("here")
    (here / "good").mkdir()
    monkeypatch.chdir(here)
    assert find("policies", "good") == Path("good")
    (here / "good").rmdir()
    assert find("policies", "good") == content / "policies/good"


def test_a_path_is_looked_for_beside_the_file_that_names_it_first(
    content: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = content / "mine"
    for folder in (mine / "rules/own", content / "rules/own", content / "rules/other"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(content)
    assert find("policies", "rules/own", mine / "my.yaml") == mine / "rules/own"
    assert find("policies", "rules/other", mine / "my.yaml") == Path("rules/other")


def test_a_bare_name_in_a_file_does_not_depend_on_the_current_folder(
    content: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path_factory.mktemp("here")
    (here / "good").mkdir()
    monkeypatch.chdir(here)
    assert find("policies", "good", content / "scenarios/plain.yaml") == content / "policies/good"


def test_a_folder_of_the_same_name_is_no_scenario(content: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (content / "plain").mkdir()
    monkeypatch.chdir(content)
    assert find("scenarios", "plain") == content / "scenarios/plain.yaml"


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("policies", "god", "no policy 'god'; did you mean 'good'? known: broken, good, or the path of a folder"),
        (
            "scenarios",
            "plan.yaml",
            "no scenario 'plan.yaml' in {here}; did you mean 'plain'? known: conformance/good, plain, or the path of a YAML file",  # noqa: E501
        ),
        ("topologies", "", "no topology ''; known: bad, town, or the path of a Python file"),
        ("topologies", "./topologies", "'./topologies' is no topology; a Python file"),
        (
            "policies",
            "../policies/good/rules.v4",
            "no policy '../policies/good/rules.v4' in {here}/../policies/good; known: broken, good, or the path of a folder",  # noqa: E501
        ),
    ],
)
def test_what_is_not_there(
    content: Path, monkeypatch: pytest.MonkeyPatch, kind: catalogue.Kind, name: str, text: str
) -> None:
    monkeypatch.chdir(content)
    with pytest.raises(InputError) as caught:
        find(kind, name)
    assert str(caught.value) == text.replace("{here}", str(content))


class Thing(Strict):
    title: str
    sets: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", ": the file is empty; keys: title"),
        ("title: [1\n", ":2:1: not YAML: expected ',' or ']', but got '<stream end>'"),
        ("title: a\ntitle: b\n", ':2:1: not YAML: found duplicate key "title"'),
        ("title: *x\n", ":1:8: not YAML: found undefined alias 'x'"),
        ("title: a\n---\ntitle: b\n", ":2:1: not YAML: but found another document"),
        (
            "title: !!python/name:os.system a\n",
            ":1:8: a YAML tag or type of its own; text, numbers, true, false, lists and mappings",
        ),
        ("title: 2020-01-01\n", ":1:8: a date; quotation marks, if it is a text"),
        ("title: a\n25: b\n", ":2:1: the key 25 is not text; text, as in '25':"),
        ("&t\ntitle: [*t]\n", ":2:9: *t contains itself; an anchor from above"),
        ("title: " + 3000 * "[", ":1:27: nested too deeply; 20 levels"),
        ("title: 2020-13-01\n", ":1:8: a date; quotation marks, if it is a text"),
        ("title: 5_87\n", ":1:8: a number with underscores; digits alone, or quotation marks"),
        ("title: " + 5000 * "9", ":1:8: a number that is too long; at most 15 digits, or quotation marks"),
        ("%YAML 1.1\n---\ntitle: 9:47\n", ":2:1: a YAML directive; YAML 1.2, without %YAML and %TAG"),
        (
            "title: !!bool maybe\n",
            ":1:8: a YAML tag or type of its own; text, numbers, true, false, lists and mappings",
        ),
        ("title: &a\n  <<: *a\n", ":2:7: *a contains itself; an anchor from above"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{n}: &{n} [{', '.join([f'*{m}'] * 9)}]\n" for m, n in zip("abcdefgh", "bcdefghi", strict=True)),
            ":6:12: too many values; at most 200000, with what aliases stand for",
        ),
        ("title: a\0b\n", ":1:9: the character U+0000 cannot stand in YAML; printable text"),
        ("sets: []\n", ":1:1: the key 'title' is missing; it cannot be left out"),
        ("title:\n", ":1:1: title is empty; text"),
        ("title: 3\n", ":1:8: title is 3; text"),
        ("title: yes\nsets: yes\n", ":2:7: sets is 'yes'; a list"),
        ("title: true\n", ":1:8: title is true; text"),
        ("title: a\nsets:\n  - b\n  - {}\n", ":4:5: sets is a mapping without entries; text"),
        ("title: a\nset: []\n", ":2:1: unknown key 'set'; did you mean 'sets'? known: sets, title"),
        ("- a\n", ":1:1: the file is a list; a mapping, KEY: VALUE"),
    ],
)
def test_bad_yaml_is_refused_with_its_place(tmp_path: Path, text: str, error: str) -> None:
    file = tmp_path / "thing.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        validated(read_yaml(file), Thing)
    assert str(caught.value) == f"{file}{error}"


def test_anchors_and_merges_are_yaml_too(tmp_path: Path) -> None:
    file = tmp_path / "thing.yaml"
    file.write_text("base: &base {title: a}\nmine: {<<: *base, sets: [b]}\n")
    assert read_yaml(file).data == {"base": {"title": "a"}, "mine": {"title": "a", "sets": ["b"]}}


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_yaml(tmp_path / "none.yaml")
    assert str(caught.value) == f"{tmp_path}/none.yaml: cannot be read: No such file or directory"


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "thing.yaml"
    file.write_bytes(b"title: caf\xe9\n")
    with pytest.raises(InputError) as caught:
        read_yaml(file)
    assert str(caught.value) == f"{file}:1:11: byte 0xe9 is not UTF-8; text in UTF-8"


def test_a_file_has_one_name_in_results_wherever_the_command_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").touch()
    file = tmp_path / "mail" / "mine.yaml"
    file.parent.mkdir()
    file.touch()
    monkeypatch.chdir(file.parent)
    assert catalogue.stable_name(Path("mine.yaml")) == catalogue.stable_name(file) == "mail/mine.yaml"
    (tmp_path / "pyproject.toml").unlink()
    assert catalogue.stable_name(file) == str(file)


def test_what_is_in_the_catalogue_is_named_by_its_place_there() -> None:
    assert catalogue.scenario_name(catalogue.root() / "scenarios/conformance/op25b.yaml") == "conformance/op25b"
    assert catalogue.stable_name(catalogue.root() / "policies/op25b/rules.v4") == "policies/op25b/rules.v4"
