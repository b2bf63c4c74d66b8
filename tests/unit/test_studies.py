"""The studies: their files are right, and their pages name what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from port25lab.sweep.jobs import Jobs
from port25lab.sweep.shape import questions
from port25lab.sweep.spec import read_spec

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*/sweep.yaml"))


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.parent.name)
def test_the_jobs_of_a_study_can_be_made(file: Path) -> None:
    spec = read_spec(file)
    assert not spec.seed_made
    assert all(questions(spec, job) for job in Jobs(spec).probes())


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.parent.name)
def test_the_figures_on_the_page_are_those_of_the_sweep(file: Path) -> None:
    page = (file.parent / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"\(figures/([\w-]+)\.svg\)", page)
    assert shown
    assert set(shown) <= {figure.name for figure in read_spec(file).content.figures}
    assert {one.stem for one in (file.parent / "figures").iterdir()} == set(shown)
