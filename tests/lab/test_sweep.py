"""Sweeps in real labs: killed and resumed, workers that die, jobs that cannot be done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from command import port25lab
from port25lab.report.csv_file import COLUMNS
from port25lab.sweep.work import stable_digest

TOPOLOGY = """\
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {support!r})
from street import Street

class World(Street):
    def build(self, number=0, home=False):
        mark = Path(__file__).with_name(f"tried-{{number}}")
        if number == 2 and not mark.exists():  # the first worker that builds it dies
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 4:
            raise RuntimeError("no such world")
        super().build(home=home)

topos = {{"world": World}}
"""
SPEC = """\
title: Worlds
parameters:
  number: {from: 0, to: %d, step: 1}
  policy: %s
topology: {name: ./world.py, number: $number}
policies: [{nodes: edge, policy: $policy}]
paths: [{from: sender, to: "mx:example.net", ip: 4}]
"""
DENY = "*filter\n-A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n"


@pytest.fixture
def sweep(street: str, tmp_path: Path) -> Path:
    (tmp_path / "world.py").write_text(TOPOLOGY.format(support=str(Path(street).parent)))
    (tmp_path / "deny").mkdir()
    (tmp_path / "deny/policy.yaml").write_text("title: made for a test\n")
    (tmp_path / "deny/rules.v4").write_text(DENY)
    (tmp_path / "sweep.yaml").write_text(SPEC % (5, "[./deny]"))
    return tmp_path / "sweep.yaml"


def heads(folder: Path) -> list[dict[str, object]]:
    files = (folder / "results").glob("*/*.jsonl")
    return [json.loads(file.read_text().splitlines()[0]) for file in files]


def wait_for_results(process: subprocess.Popen[str], folder: Path, wanted: int) -> None:
    """Until a sweep has so many results, or ends."""
    while len(heads(folder)) < wanted and process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)


@pytest.mark.parametrize("more", [(), ("--scheduler", "local")], ids=["", "dask"])
def test_dying_workers_cost_a_second_try_and_poison_jobs_are_set_aside(
    sweep: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    if more:
        pytest.importorskip("distributed")
    done = port25lab("sweep", str(sweep), "--out", f"{tmp_path}/out", "-j", "2", *more, seconds=120)
    assert done.returncode == 4, done.stderr
    assert "4 of 6 jobs done" in done.stdout
    assert {head["parameters"]["number"] for head in heads(tmp_path / "out")} == {0, 1, 2, 5}
    failed = [json.loads(file.read_text()) for file in (tmp_path / "out/failed").glob("*.json")]
    tries = {one["parameters"]["number"]: one["tries"] for one in failed}
    assert tries == {3: 2, 4: 1}
    reasons = {one["parameters"]["number"]: one["reason"] for one in failed}
    assert reasons[3] == ("the worker that ran it died" if more else "the worker ended by signal 9")
    assert reasons[4].endswith("RuntimeError: no such world")
    again = port25lab("sweep", str(sweep), "--out", f"{tmp_path}/out")
    assert "0 of 6 jobs done" in again.stdout
    assert again.returncode == 4


def test_a_sweep_that_is_killed_goes_on_where_it_was(sweep: Path, tmp_path: Path) -> None:
    sweep.write_text(SPEC % (1, "[[], ./deny]"))
    command = [sys.executable, "-m", "port25lab", "sweep", str(sweep), "--out", f"{tmp_path}/killed", "-j", "1"]
    for wanted in (1, 2):
        process = subprocess.Popen(command, text=True)
        wait_for_results(process, tmp_path / "killed", wanted)
        process.kill()
        process.wait()
        found = len(heads(tmp_path / "killed"))
        assert found >= wanted
    resumed = port25lab("sweep", str(sweep), "--out", f"{tmp_path}/killed")
    assert resumed.returncode == 0, resumed.stderr
    assert "were done before" in resumed.stdout
    for part in ("1/2", "2/2"):
        assert port25lab("sweep", str(sweep), "--out", f"{tmp_path}/whole", "--shard", part).returncode == 0
    whole, killed = ({head["job"]: head["digest"] for head in heads(tmp_path / name)} for name in ("whole", "killed"))
    assert len(whole) == 4
    assert whole == killed
    assert len(set(whole.values())) == 2

    verified = port25lab("sweep", "verify", f"{tmp_path}/killed", "--sample", "1")
    assert verified.returncode == 0, verified.stderr
    assert "4 results are what was written; 1 of 1 jobs found the same again" in verified.stdout
    for file in (tmp_path / "killed/results").glob("*/*.jsonl"):
        head = json.loads(file.read_text().splitlines()[0])
        head["rows"][0][COLUMNS.index("outcome")] = "closed"
        file.write_text(json.dumps(head | {"digest": stable_digest(head["rows"])}) + "\n")
    changed = port25lab("sweep", "verify", f"{tmp_path}/killed", "--sample", "1")
    assert changed.returncode == 1
    assert "outcome was closed, is " in changed.stderr


def test_ctrl_c_leaves_no_process_and_all_results(sweep: Path, tmp_path: Path) -> None:
    sweep.write_text(SPEC % (1, "[[], ./deny]"))
    command = [sys.executable, "-m", "port25lab", "sweep", str(sweep), "--out", f"{tmp_path}/out", "-j", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for_results(process, tmp_path / "out", 1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert heads(tmp_path / "out")
    assert [one for one in Path("/proc").glob("[0-9]*/cmdline") if f"{tmp_path}/out".encode() in one.read_bytes()] == []


MEETING = """\
import sys, time
from pathlib import Path
sys.path.insert(0, {support!r})
from street import Street

class World(Street):
    def build(self, number=0, home=False):
        here = Path(__file__).parent
        (here / f"began-{{number}}").touch()
        until = time.monotonic() + 30
        awaited = {{1: "go", 2: "began-3", 3: "began-2"}}.get(number, f"began-{{number}}")
        while not (here / awaited).exists():
            if time.monotonic() > until:
                raise RuntimeError("the other did not come")
            time.sleep(0.02)
        super().build(home=home)

topos = {{"world": World}}
"""


def test_a_worker_that_joins_a_cluster_during_a_sweep_gets_jobs(sweep: Path, street: str, tmp_path: Path) -> None:
    """Jobs 2 and 3 wait for each other, so each needs a worker, and the second comes while job 1 runs."""
    distributed = pytest.importorskip("distributed")
    sweep.write_text(SPEC % (4, "[./deny]"))
    (tmp_path / "world.py").write_text(MEETING.format(support=str(Path(street).parent)))
    out = tmp_path / "out"
    options = {"n_workers": 1, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(**options) as cluster:
        command = [sys.executable, "-m", "port25lab", "sweep", str(sweep), "--out", str(out)]
        command += ["--scheduler", cluster.scheduler_address]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not (tmp_path / "began-1").exists() and process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
        cluster.scale(2)
        cluster.wait_for_workers(2, timeout=60)
        (tmp_path / "go").touch()
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert "5 of 5 jobs done" in stdout
