"""What does the packet capture cost? The same attempts without capture, with the light one, and with `--pcap`.

    python bench/capture.py                       240 attempts in one lab, 5 rounds; then scenarios by the engine
    python bench/capture.py --attempts 600        longer

    none        no packet socket at all: the baseline, which the command does not offer
    light       what every lab does: SYN, RST, FIN and ICMP errors at all nodes
    sessions    as for a node whose policy brings a program: all of TCP there
    pcap        everything, written to a file

First one lab, in which clients deliver mail without a pause: processor time and clock time of all attempts, the ways in
turn, the median of the rounds. Then whole runs of scenarios with and without `--pcap`, which wait for dropped SYNs much
of the time, as for a user. The benchmark fails when a capture loses packets.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import _sandbox
from rich.console import Console
from rich.table import Table

from port25lab.engine.engine import Engine
from port25lab.engine.progress import Quiet
from port25lab.evidence import capture
from port25lab.evidence.capture_folder import CaptureFolder
from port25lab.lab import runtime
from port25lab.lab.handle import start_request
from port25lab.model.path import PathSpec
from port25lab.scenario import questions as questions_module
from port25lab.scenario.policy import load_policy
from port25lab.scenario.topology import load_topology

WAYS = ("none", "light", "sessions", "pcap")
SCENARIOS = ("residential", "hotel")
LIMIT = 0.15


class NoCapture(capture.Capture):
    """A capture that is off."""

    def open(self, *_: Any, **__: Any) -> None: ...

    async def start(self) -> None: ...

    def begin(self, *_: Any) -> None: ...

    def collect(self, *_: Any) -> capture.Captured:
        return capture.Captured()


def measure(way: str, attempts: int, at_once: int, file: str) -> None:
    """One lab in this process; prints JSON."""
    plan = load_topology("residential_isp", {})
    policies = {"isp-edge": [load_policy("op25b")]}
    with open(file, "wb", buffering=1 << 18) as pcap:
        _sandbox.enter()
        start = start_request(plan, policies)
        capture.Capture = NoCapture if way == "none" else capture.Capture
        lab = runtime.LabRuntime(plan, start.policies, (), pcap if way == "pcap" else None)
        if way == "sessions":
            lab._middlebox_nodes = ["isp-edge"]
        print(json.dumps(asyncio.run(attempt_all(lab, attempts, at_once))))


async def attempt_all(lab: runtime.LabRuntime, attempts: int, at_once: int) -> dict[str, Any]:
    """Deliver messages. ``attempts``: how many; ``at_once``: how many at a time. Returns what they cost."""
    started = time.perf_counter()
    await lab.start()
    up = time.perf_counter() - started
    paths = [
        PathSpec(source="pc", to="isp-relay", ip_version=4),
        PathSpec(source="pc", to="company", port=587, security="starttls", auth={"user": "alice"}, ip_version=6),
        PathSpec(source="outside", to="mx:example.net", ip_version=4),
    ]
    turns = asyncio.Semaphore(at_once)

    async def one(number: int) -> bool:
        async with turns:
            evidence = await lab.attempt(paths[number % len(paths)], f"attempt {number}")
            evidence.model_dump(mode="json")
            return evidence.delivered_to is not None

    processor, started = cpu(), time.perf_counter()
    delivered = await asyncio.gather(*map(one, range(attempts)))
    summary = lab.end_capture()
    used = {"cpu": cpu() - processor, "clock": time.perf_counter() - started, "up": up}
    return used | {"delivered": sum(delivered), "packets": summary.packets, "lost": sum(summary.lost.values())}


def cpu() -> float:
    """Seconds of processor time, of this process alone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def one_run(folder: Path | None) -> dict[str, float]:
    """Run scenarios as a user does: seconds, and capture files with a problem."""
    questions = [question for name in SCENARIOS for question in questions_module.load_questions(name)]
    files = CaptureFolder(folder) if folder else None
    started = time.perf_counter()
    with Engine(Quiet(), pcap=files) as engine:
        engine.verdicts(questions)
    seconds = time.perf_counter() - started
    return {"clock": seconds, "problems": sum(file.problem is not None for file in files.files) if files else 0}


def in_one_lab(attempts: int, at_once: int, rounds: int, console: Console) -> bool:
    """The first part. Returns whether all messages were delivered and no packet was lost."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for way in WAYS[number % len(WAYS) :] + WAYS[: number % len(WAYS)]:
                arguments = ("--measure", way, "--attempts", str(attempts), "--at-once", str(at_once))
                process = _sandbox.start("capture.py", *arguments, "--file", f"{folder}/x", stdout=subprocess.PIPE)
                found[way].append(json.loads(process.communicate()[0]))
    table = Table(title=f"{attempts} deliveries in one lab, {at_once} at once, median of {rounds} rounds")
    for heading in ("capture", "processor s", "ratio", "clock s", "ratio", "lab up s", "packets in file", "lost"):
        table.add_column(heading, justify="left" if heading == "capture" else "right")
    middle = {way: {key: median(one[key] for one in found[way]) for key in found[way][0]} for way in WAYS}
    for way, now in middle.items():
        ratios = [f"{now[key] / middle['none'][key]:.2f}" for key in ("cpu", "clock")]
        lost = sum(one["lost"] for one in found[way])
        cells = (f"{now['cpu']:.2f}", ratios[0], f"{now['clock']:.2f}", ratios[1], f"{now['up']:.2f}")
        table.add_row(way, *cells, f"{now['packets']:.0f}", str(lost))
    console.print(table)
    delivered = all(one["delivered"] == attempts for way in WAYS for one in found[way])
    lost = any(one["lost"] for way in WAYS for one in found[way])
    if lost or not delivered:
        console.print("not all was delivered, or the capture lost packets", style="red")
    return delivered and not lost


def whole_runs(rounds: int, console: Console) -> bool:
    """The second part. Returns whether ``--pcap`` costs less than the limit."""
    found: dict[str, list[dict[str, float]]] = {"without": [], "with --pcap": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            found["without"].append(one_run(None))
            found["with --pcap"].append(one_run(Path(folder)))
    table = Table(title=f"scenarios {', '.join(SCENARIOS)}, median of {rounds} runs in turn")
    for heading in ("run", "clock s", "ratio", "files with a problem"):
        table.add_column(heading, justify="left" if heading == "run" else "right")
    seconds = {way: median(one["clock"] for one in runs) for way, runs in found.items()}
    for way, runs in found.items():
        problems = sum(one["problems"] for one in runs)
        table.add_row(way, f"{seconds[way]:.2f}", f"{seconds[way] / seconds['without']:.2f}", f"{problems:.0f}")
    console.print(table)
    return seconds["with --pcap"] / seconds["without"] < 1 + LIMIT


def main() -> None:
    """Both parts, or one measurement in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=240)
    parser.add_argument("--at-once", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.attempts, options.at_once, options.file)
        return
    console = Console()
    good = in_one_lab(options.attempts, options.at_once, options.rounds, console)
    good = whole_runs(options.rounds, console) and good
    console.print(f"limit: a run takes at most {LIMIT:.0%} longer with --pcap: {'met' if good else 'NOT met'}")
    sys.exit(not good)


if __name__ == "__main__":
    main()
