"""The folder of a sweep: whole files, one sweep in a folder, and one command for each part."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from port25lab.errors import InputError, OutputError
from port25lab.model.verdict import InputFile
from port25lab.sweep import store
from port25lab.sweep.jobs import Jobs, SweepJob

SPEC = (
    "title: t\nparameters: {policy: [op25b, none]}\ntopology: hotel\npolicies: [{nodes: isp-edge, policy: $policy}]\n"
)
PATHS = "paths: [{from: guest-1, to: 'mx:example.net'}]\n"
DRAWN = SPEC.replace("[op25b, none]", "{distribution: integers, from: 1, to: 9}") + PATHS + "combine: {samples: 2}\n"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    file = tmp_path / "sweep.yaml"
    file.write_text(SPEC + PATHS)
    return file


def begun(folder: Path, file: Path, inputs: Iterable[InputFile] = (), *, parts: bool = False) -> store.Store:
    opened, spec = store.open_store(folder, file, parts=parts)
    store.begin(opened, spec, Jobs(spec), inputs)
    return opened


def test_a_folder_says_what_its_sweep_is(spec: Path, tmp_path: Path) -> None:
    opened = begun(tmp_path / "out", spec)
    assert opened.about()["jobs"] == 2
    jobs = [json.loads(line) for line in (tmp_path / "out/jobs.jsonl").read_text().splitlines()]
    assert [job["parameters"]["policy"] for job in jobs] == ["op25b", "none"]
    assert [job["job"] for job in jobs] == [job.id for job in Jobs(opened.spec())]
    before = (tmp_path / "out/sweep.json").read_bytes()
    begun(tmp_path / "out", spec)
    assert (tmp_path / "out/sweep.json").read_bytes() == before


def test_another_sweep_is_refused_and_a_new_title_is_not(spec: Path, tmp_path: Path) -> None:
    begun(tmp_path / "out", spec)
    spec.write_text(("# a remark\n" + SPEC + PATHS).replace("title: t", "title: other"))
    begun(tmp_path / "out", spec)
    spec.write_text((SPEC + PATHS).replace("guest-1", "guest-2"))
    with pytest.raises(InputError, match="the folder of another sweep, 't'"):
        begun(tmp_path / "out", spec)


def test_a_folder_with_other_files_is_refused(spec: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").touch()
    with pytest.raises(InputError, match="not empty, and no folder of a sweep"):
        begun(tmp_path / "out", spec)


def test_files_that_changed_since_are_refused(spec: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.v4"
    rules.write_text("old")
    begun(tmp_path / "out", spec, [InputFile(str(rules), "op25b/rules.v4", "1")])
    assert (tmp_path / "out/inputs/op25b/rules.v4").read_text() == "old"
    with pytest.raises(InputError, match=r"op25b/rules\.v4 has changed since the sweep began"):
        begun(tmp_path / "out", spec, [InputFile(str(rules), "op25b/rules.v4", "2")])


def test_a_seed_that_was_made_is_kept(spec: Path, tmp_path: Path) -> None:
    spec.write_text(DRAWN)
    first = begun(tmp_path / "out", spec).about()
    opened, again = store.open_store(tmp_path / "out", spec, parts=True)
    assert again.seed == first["seed"]
    assert opened.spec().seed == first["seed"]


def test_parts_need_a_seed(spec: Path, tmp_path: Path) -> None:
    spec.write_text(DRAWN)
    with pytest.raises(InputError, match=r"no seed, and --shard .*; seed: a whole number"):
        begun(tmp_path / "out", spec, parts=True)


def test_a_second_command_is_refused_while_one_runs(spec: Path, tmp_path: Path) -> None:
    opened = begun(tmp_path / "out", spec)
    with (
        store.locked(opened, "1-of-2"),
        store.locked(opened, "2-of-2"),
        pytest.raises(InputError, match="this sweep runs already"),
        store.locked(opened, "1-of-2"),
    ):
        pass
    with store.locked(opened, "1-of-2"):
        pass


def test_a_result_takes_the_place_of_a_failure(spec: Path, tmp_path: Path) -> None:
    opened, job = begun(tmp_path / "out", spec), SweepJob(0, "ab12", {"policy": "op25b"})
    opened.set_aside(job, "the reason", 2)
    assert json.loads(opened.failures()[0].read_text())["reason"] == "the reason"
    opened.keep(job, {"rows": []}, [{"path": "p"}], {"tool": {}})
    head, verdict = map(json.loads, opened.result("ab12").read_text().splitlines())
    assert head["parameters"] == {"policy": "op25b"}
    assert verdict == {"job": "ab12", "path": "p"}
    assert (tmp_path / f"out/origins/{head['origin']}.json").exists()
    assert opened.failures() == []


def test_what_cannot_be_written_leaves_the_old_file_and_no_half_one(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    file.write_text("old")

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"results\.csv: cannot be written: No space left on device"):
        store.write_by(file, full)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
