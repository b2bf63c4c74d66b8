"""Figures: what they measure, and that they are drawn from the tables alone."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

import sweep_factory
from port25lab.cli import sweep_data
from port25lab.errors import InputError
from port25lab.sweep import figures
from port25lab.sweep.dataset import write_dataset
from port25lab.sweep.figure_spec import Figure


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_dataset(sweep_factory.made(tmp_path)).folder


def test_counts_shares_and_distinct_values_are_those_of_each_job(folder: Path) -> None:
    asked = json.loads((folder / "datapackage.json").read_text())["port25lab"]["figures"]
    arrived, part, sources = figures.read(folder, [Figure.model_validate(one) for one in asked])
    assert dict(arrived.lines["policy = none"]) == {0.0: [4, 4], 0.5: [4, 4], 1.0: [2, 2]}
    assert list(arrived.lines["policy = op25b op25b-in"]) == [0.0, 0.5]
    assert dict(part.lines[""]) == {0.0: [1.0] * 4, 0.5: [1.0] * 4, 1.0: [0.0] * 2}
    assert set(sources.lines[""][0.0]) == {2}
    only = arrived.figure.model_dump(mode="json", by_alias=True) | {"lines": None}
    only["y"]["where"] = {"p_policy": "none"}
    [one] = figures.read(folder, [Figure.model_validate(only)])
    assert dict(one.lines[""]) == {0.0: [4, 4], 0.5: [4, 4], 1.0: [2, 2]}


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_figures_are_drawn_from_a_copy_of_the_data_set_alone_and_are_always_the_same(
    folder: Path, tmp_path: Path, kind: figures.Format
) -> None:
    pytest.importorskip("matplotlib")
    copy = folder.rename(tmp_path / "copy")
    sweep_data.figures(copy, kind)
    file = copy / "figures" / f"arrived.{kind}"
    before = file.read_bytes()
    sweep_data.figures(copy, kind)
    assert file.read_bytes() == before
    if kind == "svg":
        texts = {element.text for element in ElementTree.fromstring(before).iter("{http://www.w3.org/2000/svg}text")}
        assert {"Arrived", "policy = none", "share"} <= texts


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no data set; port25lab sweep tables DIR, first"):
        sweep_data.figures(tmp_path, "svg")


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("x: shaer", "no parameter 'shaer'; did you mean 'share'"),
        ("x: share, y: {measure: count, outcome: arrived}", "no outcome 'arrived'"),
        ("x: share, y: {measure: distinct}", "`of` belongs to `distinct`"),
        ("x: share, y: {measure: sum}", "measure is 'sum'"),
        ("x: share, name: a/b", "'a/b' is no name of a file"),
    ],
)
def test_mistakes_are_refused_with_their_place(tmp_path: Path, key: str, wrong: str) -> None:
    head = sweep_factory.SPEC.partition("figures:")[0]
    keys = {"name": "f", "title": "F", "y": "{measure: count}"}
    rest = "".join(f", {name}: {value}" for name, value in keys.items() if f"{name}: " not in key)
    with pytest.raises(InputError, match=wrong) as error:
        sweep_factory.made(tmp_path, f"{head}figures:\n  - {{{key}{rest}}}\n")
    assert error.value.line == 13
