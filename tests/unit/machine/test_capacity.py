"""Room for labs: what a lab takes, and how many fit where namespaces or open files are few."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from port25lab.engine import jobs as jobs_module
from port25lab.engine import needs
from port25lab.engine.jobs import Job
from port25lab.errors import MachineError
from port25lab.kernel.neighbour_tables import NeighbourTables, Tables
from port25lab.machine import capacity, sandbox_trial
from port25lab.model.path import PathSpec
from port25lab.scenario import catalogue, questions
from port25lab.scenario.topology import load_topology

WAY = sandbox_trial.Way(user_namespace=True)
SMALL, LARGE = capacity.Need("a lab of small", 5, 9, 100), capacity.Need("a lab of large", 20, 1, 900)


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc of a machine with plenty of everything."""
    (tmp_path / "sys/user").mkdir(parents=True)
    (tmp_path / "self").mkdir()
    (tmp_path / "self/uid_map").write_text("         0          0 4294967295\n")
    for kind in sandbox_trial.KINDS:
        (tmp_path / f"sys/user/max_{kind}_namespaces").write_text("30000\n")
    monkeypatch.setattr(capacity, "PROC", tmp_path)
    return tmp_path


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a real trial would say; ``asked`` says whether there was one."""
    answer: dict[str, Any] = {"labs": 2, "short": "net"}

    def by(way: sandbox_trial.Way, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        answer["asked"] = (function, arguments)
        return answer

    monkeypatch.setattr(sandbox_trial, "by", by)
    return answer


def test_no_lab_of_the_catalogue_takes_more_than_the_doctor_tries() -> None:
    jobs = jobs_module.plan_jobs(q for name in catalogue.all_names("scenarios") for q in questions.load_questions(name))
    wanted = [needs.need_of(job) for job in jobs]
    assert max(need.networks for need in wanted) == capacity.LARGEST.networks
    assert max(need.mounts for need in wanted) == capacity.LARGEST.mounts
    assert max(need.descriptors for need in wanted) <= capacity.LARGEST.descriptors


def test_a_large_lab_takes_open_files_for_the_nodes_that_packets_of_its_paths_may_pass() -> None:
    config = questions.lab_config("access_isps", {"isp-1-edge": "op25b"}, {"isps": 10, "customers": 100, "bots": 100})

    def descriptors(*bots: str) -> int:
        paths = tuple(PathSpec(source=bot, to="mx:example.net", ip_version=4) for bot in bots)
        return needs.need_of(Job(config, paths)).descriptors

    nodes, services = len(config.plan.nodes), sum(len(node.services) for node in config.plan.nodes.values())
    one = descriptors("isp-1-bot-1")
    assert nodes + 8 * services < one < 1.3 * nodes + 8 * services
    assert descriptors("isp-1-bot-1", "isp-2-bot-5") == one + 2 + 3
    assert descriptors("isp-1-edge") < one


def test_where_limits_are_far_nothing_is_tried(proc: Path, made: dict[str, Any]) -> None:
    assert capacity.fit([SMALL, LARGE, SMALL], 8, WAY) == 3
    assert capacity.fit([SMALL, LARGE, SMALL], 2, WAY) == 2
    assert "asked" not in made


def test_near_a_limit_as_many_labs_are_up_as_there_really_is_room_for(proc: Path, made: dict[str, Any]) -> None:
    (proc / "sys/user/max_net_namespaces").write_text("50\n")
    assert capacity.fit([SMALL, LARGE, SMALL], 8, WAY) == 2
    assert made["asked"] == (capacity.make, (3, 20, 9, True))


def test_labs_that_are_up_count_as_well(proc: Path, made: dict[str, Any]) -> None:
    (proc / "sys/user/max_net_namespaces").write_text("300\n")
    capacity.fit([SMALL], 1, WAY, up=3)
    assert "asked" not in made
    capacity.fit([SMALL], 1, WAY, up=30)
    assert "asked" in made


RESOLVING = [replace(SMALL, neighbours=300), replace(LARGE, neighbours=100), replace(SMALL, neighbours=400)]


@pytest.mark.parametrize(("entries", "labs"), [(4096, 3), (928, 3), (927, 2), (828, 2), (827, 1), (528, 1)])
def test_as_many_labs_are_up_as_the_table_of_neighbours_has_room_for(
    proc: Path, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, entries: int, labs: int
) -> None:
    monkeypatch.setattr(capacity, "neighbour_limit", lambda: entries)
    assert capacity.fit(RESOLVING, 8, WAY) == labs


@pytest.mark.parametrize(("read", "limit"), [(2048, 2048), (None, 1024)])
def test_where_the_limit_on_neighbours_is_not_told_it_is_the_kernels_own(
    monkeypatch: pytest.MonkeyPatch, read: int | None, limit: int
) -> None:
    monkeypatch.setattr(NeighbourTables, "read", lambda _: Tables(read, 0))
    assert capacity.neighbour_limit() == limit


def test_neighbours_of_labs_that_are_idle_do_not_count(
    proc: Path, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "neighbour_limit", lambda: 1024)
    assert capacity.fit([replace(SMALL, neighbours=100)] * 20, 20, WAY, up=20) == 8


def test_a_lab_with_too_many_neighbours_is_refused(
    proc: Path, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "neighbour_limit", lambda: 1024)
    with pytest.raises(MachineError) as caught:
        capacity.fit([replace(LARGE, neighbours=1500), SMALL], 8, WAY)
    assert str(caught.value) == (
        "a lab of large takes 1500 entries in the table of neighbours, and the limit (gc_thresh3) for all "
        "namespaces is 1024; "
        "sudo sysctl -w net.ipv4.neigh.default.gc_thresh3=2048 net.ipv6.neigh.default.gc_thresh3=2048"
    )


def test_neighbours_count_on_the_links_of_nodes_with_rules_alone() -> None:
    plan = load_topology("hotel", {"rooms": 3})
    assert capacity.Need.of(plan, 1, 0).neighbours == 0
    room = capacity.Need.of(plan, 1, 0, ["guest-1"]).neighbours
    gateway = capacity.Need.of(plan, 1, 0, ["hotel-gw"]).neighbours
    assert 0 < room < gateway <= 4 * len(plan.links)


def test_in_a_container_limits_may_be_hidden_and_room_is_tried(proc: Path, made: dict[str, Any]) -> None:
    (proc / "self/uid_map").write_text("0 100000 65536\n")
    assert capacity.fit([SMALL, SMALL, SMALL], 8, WAY) == 2
    assert "asked" in made


@pytest.mark.parametrize(
    ("short", "said"),
    [
        ("net", "a lab of large takes 20 net namespaces, more than user.max_net_namespaces=5 leaves this user"),
        ("mnt", "a lab of large takes 9 mnt namespaces, more than user.max_mnt_namespaces=5 leaves this user"),
        ("pid", "a lab of large takes 1 pid namespace, more than user.max_pid_namespaces=5 leaves this user"),
    ],
)
def test_a_lab_for_which_there_is_no_room_is_refused(proc: Path, made: dict[str, Any], short: str, said: str) -> None:
    (proc / f"sys/user/max_{short}_namespaces").write_text("5\n")
    made.update(labs=0, short=short)
    with pytest.raises(MachineError) as caught:
        capacity.fit([SMALL, LARGE], 8, WAY)
    assert str(caught.value) == f"{said}; sudo sysctl -w user.max_{short}_namespaces=10000"


def test_the_engine_has_a_few_open_files_for_each_lab(proc: Path) -> None:
    assert capacity.fit([SMALL] * 100, 100, WAY, descriptors=64) == 10


def test_a_lab_that_takes_too_many_open_files_is_refused() -> None:
    capacity.require_descriptors([SMALL, LARGE], 900)
    with pytest.raises(MachineError) as caught:
        capacity.require_descriptors([SMALL, LARGE], 256)
    assert str(caught.value) == (
        "a lab of large takes 900 open files, and the limit (ulimit -n) is 256; sudo prlimit --pid=$$ --nofile=4096"
    )


def test_the_remedy_is_large_enough() -> None:
    assert capacity.descriptors_problem("it takes 5000", 1024, 5000).remedy.endswith("=8192")
