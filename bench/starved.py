"""Which verdicts change where the machine has too little processor time, and how long does a run take then?

    python bench/starved.py                              the catalogue at 1, 0.5, 0.2, 0.1 and 0.05 of a processor
    python bench/starved.py --scenarios hotel            a quick look
    python bench/starved.py --shares 0.2 --busy 4        one quota, and runs beside four busy loops
    python bench/starved.py --busy 4 --rounds 10 --shares

The baseline is the same run without a limit, first of all. Each other run is compared with it, path by path: outcome
and mechanism. The quota is one of the kernel's control groups, version 2 (cpu.max) or version 1 (cpu.cfs_quota_us):
that takes root and a writable /sys/fs/cgroup, and the benchmark says so where it has none. Busy loops take no rights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

SHARES = (1.0, 0.5, 0.2, 0.1, 0.05)

PERIOD_MICROSECONDS = 100_000

CGROUPS = Path("/sys/fs/cgroup")

MOST_CHANGES = 20
"""How many changed paths are named."""

BUSY = "while True: pass"


@dataclass(frozen=True)
class Run:
    """One run of the catalogue."""

    where: str
    seconds: float
    verdicts: dict[str, tuple[str, str]]
    """Outcome and mechanism by path."""
    retried: int

    def errors(self) -> int:
        return sum(outcome == "error" for outcome, _ in self.verdicts.values())

    def changed(self, quiet: Run) -> list[str]:
        """Paths with another verdict than in the quiet run, those that could not be told left out."""
        return [
            f"{path}: {' / '.join(before)} -> {' / '.join(self.verdicts[path])}"
            for path, before in quiet.verdicts.items()
            if self.verdicts[path] != before and self.verdicts[path][0] != "error"
        ]


def main() -> int:
    """Run, compare and print. Returns 1 where a verdict changed."""
    options = _options()
    console = Console(width=110)
    quiet = _run("no limit", options.scenarios)
    runs = [quiet]
    console.print(_line(quiet, quiet))
    for share in options.shares:
        with _quota(share) as folder:
            if folder is None:
                console.print("no quotas: the control groups of processors cannot be written here")
                break
            runs.append(_run(f"{share:g} of a processor", options.scenarios, folder))
        console.print(_line(runs[-1], quiet))
    for number in range(options.rounds if options.busy else 0):
        with _busy_loops(options.busy):
            runs.append(_run(f"{options.busy} busy loops, run {number + 1}", options.scenarios))
        console.print(_line(runs[-1], quiet))
    table = Table(title=f"{len(quiet.verdicts)} paths on {os.cpu_count()} processors")
    for column in ("", "changed", "error", "retried", "time", "ratio"):
        table.add_column(column, justify="left" if not column else "right")
    for run in runs:
        ratio = f"{run.seconds / quiet.seconds:.1f}"
        changed = len(run.changed(quiet))
        table.add_row(run.where, str(changed), str(run.errors()), str(run.retried), f"{run.seconds:.0f} s", ratio)
    console.print(table)
    changes = [f"{run.where}: {change}" for run in runs for change in run.changed(quiet)]
    for change in changes[:MOST_CHANGES]:
        console.print(change, markup=False, highlight=False)
    return 1 if changes else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", nargs="*", default=[], help="instead of the whole catalogue")
    parser.add_argument("--shares", nargs="*", type=float, default=SHARES, help="quotas, in processors")
    parser.add_argument("--busy", type=int, default=0, help="busy loops beside the run")
    parser.add_argument("--rounds", type=int, default=1, help="runs beside busy loops")
    options: argparse.Namespace = parser.parse_args()
    return options


def _line(run: Run, quiet: Run) -> str:
    return f"{run.where}: {len(run.changed(quiet))} changed, {run.errors()} errors, {run.seconds:.0f} s"


def _run(where: str, scenarios: Sequence[str], cgroup: Path | None = None) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results.json")
        argv = [sys.executable, "-m", "port25lab", "run", *scenarios, "--json", str(results)]

        def join() -> None:
            if cgroup is not None:
                (cgroup / "cgroup.procs").write_text(str(os.getpid()))

        started = time.perf_counter()
        done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=join)
        seconds = time.perf_counter() - started
        if not results.exists():
            sys.exit(f"port25lab run failed:\n{done.stderr}")
        verdicts = json.loads(results.read_text())["verdicts"]
    found = {verdict["path"]: (verdict["outcome"], verdict["mechanism"]) for verdict in verdicts}
    return Run(where, seconds, found, sum(bool(verdict["retried"]) for verdict in verdicts))


@contextmanager
def _quota(share: float) -> Iterator[Path | None]:
    """A control group with this quota. None where it cannot be made."""
    version1 = CGROUPS / "cpu"
    parent = version1 if (version1 / "cpu.cfs_quota_us").exists() or version1.is_dir() else CGROUPS
    folder = parent / f"port25lab-starved-{os.getpid()}"
    quota = str(int(share * PERIOD_MICROSECONDS))
    try:
        folder.mkdir()
        if (folder / "cpu.max").exists():
            (folder / "cpu.max").write_text(f"{quota} {PERIOD_MICROSECONDS}")
        else:
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (folder / "cpu.cfs_quota_us").write_text(quota)
    except OSError:
        if folder.exists():
            folder.rmdir()
        yield None
        return
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove the control group when the last process has left it."""
    while (folder / "cgroup.procs").read_text():
        time.sleep(0.1)
    folder.rmdir()


@contextmanager
def _busy_loops(number: int) -> Iterator[None]:
    with ExitStack() as loops:
        for _ in range(number):
            loop = subprocess.Popen([sys.executable, "-c", BUSY])
            loops.callback(loop.wait)
            loops.callback(loop.kill)
        yield


if __name__ == "__main__":
    sys.exit(main())
