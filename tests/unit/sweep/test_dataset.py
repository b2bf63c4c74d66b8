"""The data set of a sweep: tables that load, and descriptions that validators accept."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

import sweep_factory
from port25lab.errors import InputError
from port25lab.scenario.document import read_yaml
from port25lab.sweep.dataset import changed_files, write_dataset


def test_the_tables_have_a_row_for_each_attempt_and_each_job(tmp_path: Path) -> None:
    made = write_dataset(sweep_factory.made(tmp_path))
    with (made.folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == made.contents.attempts == 10 * 4
    assert rows[-1]["reply"] == 'a "quoted", reply'
    assert {row["p_policy"] for row in rows} == {"none", "op25b op25b-in"}
    assert {row["p_strict"] for row in rows} == {"true", "false"}
    with (made.folder / "jobs.csv").open(newline="") as file:
        jobs = list(csv.DictReader(file))
    assert [job["state"] for job in jobs] == ["done"] * 10 + ["set-aside", "missing"]
    assert jobs[-2]["reason"] == "the worker / ended"
    assert {row["job"] for row in rows} == {job["job"] for job in jobs[:-2]}
    with gzip.open(made.folder / "results.jsonl.gz", "rt") as lines:
        assert [json.loads(line)["job"] for line in lines] == [row["job"] for row in rows]


def test_the_same_results_make_the_same_files_and_a_change_shows(tmp_path: Path) -> None:
    store = sweep_factory.made(tmp_path)
    first = write_dataset(store)
    before = {file.name: file.read_bytes() for file in first.folder.iterdir() if file.is_file()}
    again = write_dataset(store)
    assert {file.name: file.read_bytes() for file in first.folder.iterdir() if file.is_file()} == before
    assert changed_files(again.folder) == []
    (again.folder / "results.csv").write_text("job\r\n")
    (again.folder / "README.md").unlink()
    assert changed_files(again.folder) == ["README.md", "results.csv"]


def test_the_digest_of_the_results_follows_from_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = sweep_factory.made(tmp_path / "a"), sweep_factory.made(tmp_path / "b")
    digest = write_dataset(first).contents.digest
    assert write_dataset(second).contents.digest == digest
    next(iter((second.folder / "results").glob("*/*"))).unlink()
    assert write_dataset(second).contents.digest != digest


def test_frictionless_finds_the_package_valid_and_a_wrong_cell_in_it(tmp_path: Path) -> None:
    frictionless = pytest.importorskip("frictionless")
    folder = write_dataset(sweep_factory.made(tmp_path)).folder
    report = frictionless.validate(str(folder / "datapackage.json"))
    assert report.valid, report.flatten(["message"])
    assert report.stats["tasks"] == 2
    table = (folder / "results.csv").read_text()
    (folder / "results.csv").write_text(table.replace(",delivered,", ",arrived,", 1))
    assert not frictionless.validate(str(folder / "datapackage.json")).valid


def test_the_crate_says_what_was_run_on_which_files(tmp_path: Path) -> None:
    crate_module = pytest.importorskip("rocrate.rocrate")
    folder = write_dataset(sweep_factory.made(tmp_path)).folder
    crate = crate_module.ROCrate(str(folder))
    action = crate.dereference("#sweep")
    assert action.type == "CreateAction"
    assert action["instrument"].id == "#port25lab"
    assert {"results.csv", "jobs.csv", "results.jsonl.gz"} <= {one.id for one in action["result"]}
    assert [one.id for one in action["object"]] == ["inputs/sweep.yaml"]
    assert crate.root_dataset["license"] == "CC-BY-4.0"
    for entity in crate.data_entities:
        assert (folder / entity.id).is_file()
        assert entity["sha256"]


def test_the_citation_is_yaml_with_all_that_is_required(tmp_path: Path) -> None:
    folder = write_dataset(sweep_factory.made(tmp_path)).folder
    cited = read_yaml(folder / "CITATION.cff").data
    assert cited["title"] == "Worlds: a title with a colon"
    assert cited["authors"] == [{"name": "A Researcher"}]
    assert {"cff-version", "message", "type", "date-released", "license"} <= cited.keys()


def test_parquet_has_the_types_of_the_package(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = write_dataset(sweep_factory.made(tmp_path), parquet=True).folder
    table = parquet.read_table(folder / "results.parquet")
    assert table.num_rows == 40
    types = {field.name: str(field.type) for field in table.schema}
    assert {name: types[name] for name in ("p_share", "p_strict", "port", "outcome", "told")} == {
        "p_share": "double", "p_strict": "bool", "port": "int64", "outcome": "string", "told": "bool",
    }  # fmt: skip
    assert table.column("auth").null_count == 40


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    store = sweep_factory.made(tmp_path)
    file = next(iter((store.folder / "results").glob("*/*")))
    file.write_text("{")
    with pytest.raises(InputError, match="cannot be read") as error:
        write_dataset(store)
    assert error.value.file == file
