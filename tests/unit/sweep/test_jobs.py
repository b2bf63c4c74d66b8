"""The jobs of a sweep: how many, in which order, and with ids that depend on nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from port25lab.errors import InputError
from port25lab.sweep.jobs import Jobs
from port25lab.sweep.spec import Spec, read_spec

REST = """
topology: {name: residential_isp, customers: $customers}
policies: [{nodes: isp-edge, policy: $policy}]
paths: [{from: pc, to: "mx:example.net"}]
"""
GRID = "title: t\nparameters: {policy: [op25b, none], customers: {from: 0, to: 4, step: 2}}\n"


@pytest.fixture
def spec(tmp_path: Path) -> Callable[[str], Spec]:
    def read(text: str, rest: str = REST) -> Spec:
        file = tmp_path / "sweep.yaml"
        file.write_text(text + rest)
        return read_spec(file)

    return read


def test_a_grid_has_every_combination_once(spec: Callable[[str], Spec]) -> None:
    jobs = Jobs(spec(GRID + "replicates: 2"))
    found = list(jobs)
    assert jobs.count == len(found) == 2 * 3 * 2
    assert len({job.id for job in found}) == len(found)
    assert {tuple(job.parameters.items()) for job in found} == {
        (("policy", policy), ("customers", customers), ("replicate", replicate))
        for policy in ("op25b", "none")
        for customers in (0, 2, 4)
        for replicate in (1, 2)
    }


def test_jobs_with_the_same_topology_follow_one_another(spec: Callable[[str], Spec]) -> None:
    assert [job.parameters["customers"] for job in Jobs(spec(GRID))] == [0, 0, 2, 2, 4, 4]


def test_an_id_depends_on_the_parameters_and_on_what_is_asked_with_them(spec: Callable[[str], Spec]) -> None:
    first = Jobs(spec(GRID)).job(3)
    assert first.id == "4a0793ab6682b091"
    again = Jobs(
        spec(
            "# another layout, a new title, and a new value before the others\n"
            + GRID.replace("title: t", "title: other").replace("[op25b", "[op25b-reject, op25b")
        )
    )
    assert first.id in {job.id for job in again}
    other = Jobs(spec(GRID, REST.replace("from: pc", "from: infected-pc")))
    assert first.id not in {job.id for job in other}


SAMPLES = """title: t
seed: 5
parameters:
  policy: [op25b, none]
  customers: {distribution: integers, from: 0, to: 50}
combine: {samples: 20, for-each: [policy]}
"""


def test_samples_draw_the_same_values_for_each_combination(spec: Callable[[str], Spec]) -> None:
    jobs = list(Jobs(spec(SAMPLES)))
    drawn = {
        policy: [job.parameters["customers"] for job in jobs if job.parameters["policy"] == policy]
        for policy in ("op25b", "none")
    }
    assert len(jobs) == 40
    assert drawn["op25b"] == drawn["none"]
    assert len(set(drawn["none"])) > 10
    other = list(Jobs(spec(SAMPLES.replace("seed: 5", "seed: 6"))))
    assert [job.parameters for job in other] != [job.parameters for job in jobs]
    assert len({job.id for job in jobs}) == 40


def test_a_distribution_in_a_grid_has_as_many_values_as_draws(spec: Callable[[str], Spec]) -> None:
    jobs = Jobs(spec(SAMPLES.replace("to: 50", "to: 5000, draws: 3").replace("combine:", "# ")))
    assert jobs.count == 6


def test_a_thousand_million_jobs_take_no_time_and_no_memory(spec: Callable[[str], Spec]) -> None:
    jobs = Jobs(spec(GRID.replace("to: 4", "to: 1e12")))
    assert jobs.count == 2 * (5 * 10**11 + 1)
    assert jobs.job(jobs.count - 1).parameters["customers"] == 10**12


def test_probes_have_each_listed_value_and_both_ends_of_a_range(spec: Callable[[str], Spec]) -> None:
    probes = list(Jobs(spec(GRID)).probes())
    assert {job.parameters["policy"] for job in probes} == {"op25b", "none"}
    assert {job.parameters["customers"] for job in probes} == {0, 4}


def test_a_seed_is_made_where_something_is_drawn_and_none_is_written(spec: Callable[[str], Spec]) -> None:
    assert not spec(GRID).seed_made
    made = spec(SAMPLES.replace("seed: 5\n", ""))
    assert made.seed_made
    assert made.seed != spec(SAMPLES.replace("seed: 5\n", "")).seed


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("title: t\nparameters: {policy: [a], customers: [1], x: [1]}", r"3?:?.*the parameter 'x' is used nowhere"),
        ("title: t\nparameters: {policy: [a]}", "5:\\d+: no parameter 'customers'|no parameter 'customers'"),
        (
            "title: t\nparameters: {policy: [a], customers: [1], replicate: [1]}",
            "every sweep has the parameter 'replicate' already",
        ),
        ("title: t\nparameters: {policy: [a], a-b: [1]}", "'a-b' is no name of a parameter"),
        (
            SAMPLES.replace("policy]}", "polici]}"),
            "7:39?: no parameter 'polici'; did you mean 'policy'|no parameter 'polici'",
        ),
        (SAMPLES.replace("combine:", "# "), "in a grid, without `draws`"),
        (SAMPLES.replace("to: 50", "to: 50, draws: 3"), "`draws` where each sample draws once"),
        (SAMPLES.replace("{samples: 20, for-each: [policy]}", "all"), "combine is 'all'"),
        (GRID + "seed: -1", "seed is -1"),
        (GRID + "sed: 1", "unknown key 'sed'; did you mean 'seed'"),
    ],
)
def test_mistakes_are_refused_with_their_place(spec: Callable[[str], Spec], text: str, wrong: str) -> None:
    with pytest.raises(InputError, match=wrong) as error:
        spec(text)
    assert error.value.line
