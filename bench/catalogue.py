"""How long does the whole catalogue take: by `port25lab run`, and by a plain script on stock Mininet?

    python bench/catalogue.py                        the whole catalogue; the baseline takes about ten minutes
    python bench/catalogue.py --scenarios hotel      a quick look

Both ask the same questions in the same run. The baseline (_stock_catalogue.py) is what an engineer would write: one lab
after another, servers as processes in their nodes, path after path with smtplib and a time limit of 5 s. Each of its
outcomes is compared with port25lab's verdict, so that both are known to have done the same work. Paths that such a
script cannot try (middleboxes, rate limits, hand-made packets) are left out of it, and not of port25lab's run.

The memory of one lab is measured as well, after all paths of a scenario have been tried in it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import _sandbox
from _stock_catalogue import beyond
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from port25lab.lab.handle import Lab
from port25lab.lab.sandboxes import Sandboxes
from port25lab.model.outcome import OUTCOME_INFO, Outcome
from port25lab.scenario import catalogue
from port25lab.scenario.policy import load_policy
from port25lab.scenario.questions import load_questions
from port25lab.scenario.topology import load_topology

SILENCE_SECONDS = 120.0
"""After that time the baseline is killed. Stock Mininet waits without end when its shells have been killed, as by an
`mn -c` anywhere on the machine."""

MOST_DIFFERENCES = 20
"""How many paths with different outcomes are named."""

MEGABYTE = 1024
"""In kilobytes, the kernel's unit."""

ALLOWED_MEGABYTES = 120

AGREE = {Outcome.DELIVERED: "delivered", Outcome.DEFERRED: "deferred"} | {
    outcome: "blocked"
    for outcome, meaning in OUTCOME_INFO.items()
    if meaning.blocked or outcome in (Outcome.CLOSED, Outcome.UNREACHABLE, Outcome.DNS_FAILURE)
}
"""What smtplib alone can tell: without a session ``blocked``, and ``refused`` for every outcome that is not listed."""


@dataclass
class Ours:
    """The result of port25lab's runs."""

    seconds: list[float]
    labs: int
    outcomes: dict[str, Outcome]


@dataclass
class Stock:
    """The result of the plain script."""

    seconds: float
    up: float
    down: float
    labs: int
    outcomes: dict[str, str]
    by_outcome: dict[str, list[float]]


def main() -> None:
    """Measure, and print."""
    known = catalogue.names("scenarios")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", nargs="+", default=known, metavar="NAME", help="all when left out")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="runs of port25lab; the median counts")
    parser.add_argument("--no-stock", action="store_true", help="leave the baseline out")
    chosen = parser.parse_args()
    questions = [question for name in chosen.scenarios for question in load_questions(name)]
    left_out = Counter(filter(None, map(beyond, questions)))
    console = Console(width=110)
    ours = run_ours(chosen.scenarios, chosen.repeat)
    stock = None if chosen.no_stock else run_stock(chosen.scenarios, len(questions) - left_out.total())
    console.print(totals(ours, stock))
    if stock:
        for reason, number in left_out.most_common():
            console.print(f"Left out of the plain script, {number} paths: {reason}", highlight=False)
        console.print(where(stock))
        print_agreement(console, ours, stock)
    print_memory(console)


def run_ours(scenarios: list[str], repeat: int) -> Ours:
    """The command as a user gives it, each time a new process, from start to exit."""
    seconds, report = [], {}
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "report.json")
            started = time.perf_counter()
            command = [sys.executable, "-m", "port25lab", "run", *scenarios, "--json", str(file)]
            done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
            seconds.append(time.perf_counter() - started)
            if done.returncode > 1:
                sys.exit(done.returncode)
            report = json.loads(file.read_text())
    outcomes = {verdict["path"]: Outcome(verdict["outcome"]) for verdict in report["verdicts"]}
    broken = [verdict for verdict in report["verdicts"] if verdict["outcome"] == Outcome.ERROR]
    if broken:  # a run that fails is fast
        sys.exit(f"port25lab failed on {len(broken)} paths, the first is {broken[0]['path']}: {broken[0]['reason']}")
    return Ours(seconds, report["environment"]["labs"], outcomes)


def run_stock(scenarios: list[str], paths: int) -> Stock:
    """The plain script, from start to exit, with a progress bar."""
    stock = Stock(0.0, 0.0, 0.0, 0, {}, {})
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    started = time.perf_counter()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("stock Mininet", total=paths)
        script = _sandbox.start("_stock_catalogue.py", *scenarios, stdout=subprocess.PIPE)
        assert script.stdout
        silence = partial(threading.Timer, SILENCE_SECONDS, script.kill)
        watchdog = silence()
        watchdog.start()
        for line in script.stdout:
            watchdog.cancel()
            watchdog = silence()
            watchdog.start()
            said = json.loads(line)
            if "path" in said:
                stock.outcomes[said["path"]] = said["outcome"]
                stock.by_outcome.setdefault(said["outcome"], []).append(said["seconds"])
                progress.update(task, advance=1)
            elif said["phase"] == "up":
                stock.labs, stock.up = stock.labs + 1, stock.up + said["seconds"]
                progress.update(task, description=f"stock Mininet, {said['lab']}")
            else:
                stock.down += said["seconds"]
        watchdog.cancel()
    if script.wait():
        sys.exit(f"the plain script failed, or was silent for {SILENCE_SECONDS:g} s (exit {script.returncode})")
    stock.seconds = time.perf_counter() - started
    return stock


def totals(ours: Ours, stock: Stock | None) -> Table:
    """Labs, paths and times."""
    table = Table(title="The catalogue")
    for column in ("", "labs", "paths", "total", "a path", "speed"):
        table.add_column(column, justify="left" if not column else "right")
    total = median(ours.seconds)
    rows = [("plain script, stock Mininet", stock.labs, len(stock.outcomes), stock.seconds)] if stock else []
    for name, labs, paths, seconds in [*rows, ("port25lab run", ours.labs, len(ours.outcomes), total)]:
        ratio = f"{stock.seconds / seconds:.1f}" if stock else ""
        table.add_row(name, str(labs), str(paths), f"{seconds:.1f} s", f"{1000 * seconds / paths:.0f} ms", ratio)
    table.caption = f"port25lab run: median of {', '.join(f'{one:.1f}' for one in ours.seconds)} s"
    return table


def where(stock: Stock) -> Table:
    """Where the plain script's time goes: mostly into waiting."""
    table = Table(title="Where the plain script's time goes")
    for column in ("", "number", "total", "each"):
        table.add_column(column, justify="left" if not column else "right")
    rows = [("labs up", stock.labs, stock.up), ("labs down", stock.labs, stock.down)]
    rows += [(f"paths {name}", len(times), sum(times)) for name, times in sorted(stock.by_outcome.items())]
    for name, number, seconds in rows:
        table.add_row(name, str(number), f"{seconds:.1f} s", f"{1000 * seconds / number:.0f} ms")
    return table


def print_agreement(console: Console, ours: Ours, stock: Stock) -> None:
    """Whether both found the same outcomes, as far as smtplib can tell them apart."""
    differ = {
        path: (ours.outcomes[path], said)
        for path, said in stock.outcomes.items()
        if said != AGREE.get(ours.outcomes[path], "refused")
    }
    counts = ", ".join(f"{name} {number}" for name, number in sorted(Counter(stock.outcomes.values()).items()))
    console.print(f"Same outcome on {len(stock.outcomes) - len(differ)} of {len(stock.outcomes)} paths: {counts}")
    for path, (outcome, said) in list(differ.items())[:MOST_DIFFERENCES]:
        console.print(f"  {path}: port25lab says {outcome}, the plain script {said}", highlight=False)


def print_memory(console: Console) -> None:
    """Resident memory of a lab's process, which holds all its servers and clients, after its paths were tried."""
    questions = [question for question in load_questions("residential") if question.variant == "op25b"]
    with Sandboxes() as sandboxes:
        policies = {"isp-edge": [load_policy("op25b")]}
        with Lab(sandboxes, load_topology("residential_isp"), policies) as lab:
            tried = sum(1 for _ in lab.attempts(question.path for question in questions))
            sizes = dict(line.split(":") for line in Path(f"/proc/{lab.pid}/smaps_rollup").read_text().splitlines()[1:])
    rss, pss = (int(sizes[name].split()[0]) / MEGABYTE for name in ("Rss", "Pss"))
    verdict = "within" if rss < ALLOWED_MEGABYTES else "OVER"
    console.print(
        f"Memory of a lab (residential, op25b) after {tried} paths: {rss:.1f} MB resident, {verdict} the "
        f"{ALLOWED_MEGABYTES} MB allowed; {pss:.1f} MB with shared pages divided among the processes that share them"
    )


if __name__ == "__main__":
    main()
