"""Processors that are really there: quotas of both versions of cgroups, other work, a host that steals."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.machine import processors

V1 = "30 23 0:26 {root} {point} rw,relatime - cgroup cgroup rw,cpu,cpuacct"
V2 = "30 23 0:26 {root} {point} rw,relatime - cgroup2 cgroup2 rw"


def machine(folder: Path, *, load: float = 0.0, running: int = 1, steal: int = 0) -> Path:
    proc = folder / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "loadavg").write_text(f"{load} 0.00 0.00 {running}/100 4711\n")
    (proc / "stat").write_text(f"cpu  90 0 10 800 0 0 0 {steal} 0 0\nprocs_running {running}\n")
    return proc


def test_without_cgroups_there_is_no_quota(tmp_path: Path) -> None:
    assert processors.quotas(machine(tmp_path)) == []
    assert processors.available(machine(tmp_path / "other")) >= 1


def test_the_least_of_all_quotas_counts(tmp_path: Path) -> None:
    proc, point = machine(tmp_path), tmp_path / "cgroup"
    (point / "job/step").mkdir(parents=True)
    (point / "job/cpu.max").write_text("50000 100000\n")
    (point / "job/step/cpu.max").write_text("max 100000\n")
    (proc / "self/cgroup").write_text("0::/job/step\n")
    (proc / "self/mountinfo").write_text(V2.format(root="/", point=point) + "\n")
    assert processors.quotas(proc) == [0.5]
    assert processors.available(proc) == 0.5
    assert processors.labs_at_once(proc) == 2


def test_a_quota_of_version_1_counts_and_none_is_minus_one(tmp_path: Path) -> None:
    proc, point = machine(tmp_path), tmp_path / "cpu"
    (point / "job").mkdir(parents=True)
    for folder, quota in ((point, -1), (point / "job", 10000)):
        (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (folder / "cpu.cfs_period_us").write_text("100000\n")
    (proc / "self/cgroup").write_text("3:cpuset:/\n2:cpu,cpuacct:/docker/1/job\n0::/\n")
    (proc / "self/mountinfo").write_text(V1.format(root="/docker/1", point=point) + "\n")
    assert processors.quotas(proc) == [0.1]
    assert processors.labs_at_once(proc) == 1


@pytest.mark.parametrize(
    ("load", "running", "steal", "left"),
    [
        (0.0, 1, 0, 2.0),
        (6.0, 7, 0, 0.5),  # six others want to run: two processors in eight parts
        (6.0, 1, 0, 2.0),  # the load has passed
        (0.1, 9, 0, 1.9047),  # a moment's burst
        (0.0, 1, 100, 1.0),  # the host takes half of the time
    ],
)
def test_what_others_use_is_not_free(tmp_path: Path, load: float, running: int, steal: int, left: float) -> None:
    proc = machine(tmp_path, load=load, running=running, steal=steal)
    assert processors.free(2.0, proc) == pytest.approx(left, rel=1e-3)


def test_a_kernel_that_says_nothing_is_taken_as_free(tmp_path: Path) -> None:
    assert processors.free(2.0, tmp_path) == 2.0
