"""How fast is a sweep, compared with the labs alone; and how long do tables of a million rows take?

    python bench/sweep.py                              1,000 jobs, 1,000,000 rows: a quarter of an hour
    python bench/sweep.py --jobs 60 --rows 100000      a quick look

Labs: the same jobs, each a small lab with a policy that no other one has, run

    labs alone    one after another in one process, without files: the baseline
    sweep -j N    by `port25lab sweep` with one, two and four workers, up to the last result on the disk

Two processors of a machine may share one core, so two workers cannot be twice as fast: the same is measured with loops
that only compute, before and after.

Tables: results of made-up jobs, ten rows each, to results.csv and jobs.csv; the baseline is `cat` of the same files.

The benchmark fails where one worker takes more than 1.15 times the baseline, two less than 1.9 times the jobs a second
of one, fewer than 5 jobs a second are done, or tables take 60 s or 1 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from port25lab.report.csv_file import COLUMNS
from port25lab.sweep import tables
from port25lab.sweep.jobs import Jobs
from port25lab.sweep.spec import read_spec
from port25lab.sweep.store import Store, as_json, begin, open_store
from port25lab.sweep.work import Work

MOST_OVERHEAD, LEAST_SPEED_UP, LEAST_RATE = 1.15, 1.9, 5.0
TABLE_SECONDS, TABLE_MEGABYTES = 60.0, 1000.0
ROWS_EACH = 10

LOOP = "for number in range(20_000_000): number * number"

LABS = """\
title: A benchmark
parameters:
  policy: [{policies}]
topology: {{name: access_isps, isps: 1, customers: 2}}
policies: [{{nodes: isp-1-edge, policy: $policy}}]
paths: [{{from: isp-1-bot-2, to: "mx:example.net", ip: 4}}]
"""

RULES = """\
*filter
-A FORWARD -p tcp -m tcp --dport 25 -m comment --comment "policy {number}" -j DROP
COMMIT
"""

RESULTS = """\
title: A benchmark of tables
parameters:
  size: {{from: 1, to: {jobs}, step: 1}}
topology: {{name: access_isps, isps: 1, customers: 2}}
paths: [{{from: isp-1-bot-2, to: "mx:example.net", ip: 4, size: $size}}]
"""


def written(folder: Path, jobs: int) -> Path:
    """A sweep of so many jobs, each with a policy of its own: no lab answers for another, and all share a control."""
    names = [f"./policies/number-{number}" for number in range(jobs)]
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        (folder / name / "policy.yaml").write_text(f"title: Policy {number}\n")
        (folder / name / "rules.v4").write_text(RULES.format(number=number))
    file = folder / "sweep.yaml"
    file.write_text(LABS.format(policies=", ".join(names)))
    return file


def alone(file: Path) -> float:
    """Seconds that the labs take by themselves."""
    spec = read_spec(file)
    with Work(spec) as work:
        first, *others = Jobs(spec)
        work.run(first)  # starts the fork server, and runs the control
        began = time.perf_counter()
        for job in others:
            work.run(job)
        return (time.perf_counter() - began) * (len(others) + 1) / len(others)


def swept(file: Path, folder: Path, workers: int) -> tuple[float, float]:
    """Seconds and megabytes of the command, without its workers."""
    argv = [sys.executable, "-m", "port25lab", "sweep", str(file), "--out", str(folder), "-j", str(workers)]
    began = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(0.05)  # between two looks at its memory
    if process.returncode:
        sys.exit(f"the sweep ended with {process.returncode}")
    return time.perf_counter() - began, peak / 1e6


def gain_of_two() -> float:
    """How many times as fast as one process two processes compute here."""

    def seconds(processes: int) -> float:
        began = time.perf_counter()
        for process in [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(processes)]:
            process.wait()
        return time.perf_counter() - began

    return median(2 * seconds(1) / seconds(2) for _ in range(5))


def resident(pid: int) -> int:
    """Bytes of a process; 0 where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def labs(count: int, console: Console) -> bool:
    """The first part. Returns whether all is within the limits."""
    table = Table(title=f"{count} jobs, one lab each")
    for heading in ("", "s", "jobs/s", "to the labs alone", "to one worker", "MB of the sweep"):
        table.add_column(heading, justify="right" if heading else "left")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = written(folder, count)
        gains = [gain_of_two()]
        base = alone(file)
        table.add_row("labs alone", f"{base:.1f}", f"{count / base:.1f}", "1.00", "", "")
        found = {}
        for workers in (1, 2, 4):
            seconds, memory = found[workers] = swept(file, folder / f"out{workers}", workers)
            if workers == 2:
                gains.append(gain_of_two())
            ratio, speed_up = seconds / base, found[1][0] / seconds
            cells = (f"{seconds:.1f}", f"{count / seconds:.1f}", f"{ratio:.2f}", f"{speed_up:.2f}", f"{memory:.0f}")
            table.add_row(f"sweep -j {workers}", *cells)
        table.add_row("two loops", "", "", "", " to ".join(f"{gain:.2f}" for gain in sorted(gains)), "")
    console.print(table)
    return (
        found[1][0] / base <= MOST_OVERHEAD
        and found[1][0] / found[2][0] >= LEAST_SPEED_UP
        and count / min(seconds for seconds, _ in found.values()) >= LEAST_RATE
    )


def measure_tables(folder: str) -> None:
    """Make the tables of a folder; prints JSON."""
    store = Store(Path(folder))
    began = time.perf_counter(), time.process_time()
    contents = tables.write_tables(store, Jobs(store.spec()), store.folder / "dataset")
    found = {"clock": time.perf_counter() - began[0], "cpu": time.process_time() - began[1]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps(found | {"rows": contents.attempts, "memory": peak}))


def made(folder: Path, rows: int) -> Store:
    """A sweep with results that no lab made."""
    file = folder / "sweep.yaml"
    count = rows // ROWS_EACH
    file.write_text(RESULTS.format(jobs=count))
    store, spec = open_store(folder / "out", file, parts=False)
    jobs = Jobs(spec)
    begin(store, spec, jobs, [])
    usual = {"path": "sweep/sweep/isp-1-bot-2-to-mx:example.net-25/ipv4", "outcome": "dropped", "mechanism": "filtered"}
    usual |= {"blame_rule": "-A op25b -m set --match-set dynamic-customers src -j DROP", "port": 25, "seconds": 0.004}
    usual |= {"from": "isp-1-bot-2", "to": "mx:example.net", "policies": "isp-1-edge=op25b", "told": "true"}
    results: list[list[Any]] = [[usual.get(column) for column in COLUMNS]] * ROWS_EACH
    for job in jobs:
        head = {
            "job": job.id,
            "parameters": job.parameters,
            "origin": "",
            "seconds": 0.3,
            "digest": "",
            "rows": results,
        }
        file = store.result(job.id)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(as_json(head))
    return store


def rows(count: int, console: Console) -> bool:
    """The second part. Returns whether all is within the limits."""
    table = Table(title=f"{count:,} rows to tables")
    for heading in ("", "s", "CPU s", "MB"):
        table.add_column(heading, justify="right" if heading else "left")
    with tempfile.TemporaryDirectory() as name:
        store = made(Path(name), count)
        began, before = time.perf_counter(), os.times()
        cat = ["find", str(store.folder / "results"), "-type", "f", "-exec", "cat", "{}", "+"]
        subprocess.run(cat, stdout=subprocess.DEVNULL, check=True)
        after = os.times()
        busy = after.children_user + after.children_system - before.children_user - before.children_system
        table.add_row("cat", f"{time.perf_counter() - began:.1f}", f"{busy:.1f}", "")
        argv = [sys.executable, str(Path(__file__)), "--tables", str(store.folder)]
        one = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    table.add_row("tables", f"{one['clock']:.1f}", f"{one['cpu']:.1f}", f"{one['memory']:.0f}")
    console.print(table)
    enough = one["rows"] == count // ROWS_EACH * ROWS_EACH
    return bool(enough and one["clock"] < TABLE_SECONDS and one["memory"] < TABLE_MEGABYTES)


def main() -> None:
    """Both parts, or one measurement in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tables", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tables:
        measure_tables(options.tables)
        return
    console = Console()
    good = [
        labs(options.jobs, console) if options.jobs else True,
        rows(options.rows, console) if options.rows else True,
    ]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
