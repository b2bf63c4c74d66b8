"""What does a large lab cost? A thousand households in one network, and thousands of rules in one table.

    python bench/big.py                                  1,000 households; 6,000 and 20,000 rules
    python bench/big.py --customers 200 --rules 6000     a quick look

Households: a residential ISP with so many additional households, op25b on its edge, up to the last service's answer;
then each household tries its MX over IPv4 and IPv6. Baseline: the same lab with a packet capture and a rule trace at
every node, and iptables run for each node that has rules.

Rules: a table of so many rules, loaded as a lab loads it, in a user namespace, where a message to the kernel is limited
to net.core.wmem_max. Baseline: one transaction of `iptables-restore` by the machine's root, whom nothing limits; an
ordinary user has to do without it.

Each measurement has its own process and sandbox. The benchmark fails where a household is not blocked, a rule missing,
a lab takes more than 10 s of processor time or 500 MB, or 6,000 rules take 2 s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _sandbox
from rich.console import Console
from rich.table import Table

from port25lab.lab import quiet_rules, runtime
from port25lab.lab.handle import start_request
from port25lab.machine import capacity
from port25lab.model.path import PathSpec
from port25lab.model.policy import Policy, RulesFile
from port25lab.network import firewall
from port25lab.scenario.policy import load_policy
from port25lab.scenario.topology import load_topology

WAYS = ("everywhere", "port25lab")
SECONDS, MEGABYTES, RULES_SECONDS = 10.0, 500.0, 2.0


class ThisNamespace:
    """Stands for the node whose namespace this process is in."""

    name = "here"

    def run_inside(self, call: Any) -> Any:
        """Make a call."""
        return call()


def measure_lab(way: str, customers: int) -> None:
    """One lab in this process; prints JSON."""
    plan = load_topology("residential_isp", {"customers": customers})
    start = start_request(plan, {"isp-edge": [load_policy("op25b")]})
    capacity.raise_descriptors()
    _sandbox.enter()
    if way == WAYS[0]:
        runtime.EVERY_NODE = sys.maxsize
        quiet_rules.QuietRules.load = lambda *_: False
    print(json.dumps(asyncio.run(attempt_all(runtime.LabRuntime(start.plan, start.policies), customers))))


async def attempt_all(lab: runtime.LabRuntime, customers: int) -> dict[str, Any]:
    """Start a lab, and let each household try. Returns what it took."""
    before, began = cpu(), time.perf_counter()
    await lab.start()
    found: dict[str, Any] = {"up cpu": cpu() - before, "up": time.perf_counter() - began, "up memory": memory()}
    paths = [
        PathSpec(source=f"pc-{number}", to="mx:example.net", ip_version=version)
        for number in range(3, 3 + customers)
        for version in (4, 6)
    ]
    before, began = cpu(), time.perf_counter()
    evidence = await asyncio.gather(*map(lab.attempt, paths))
    found |= {"cpu": cpu() - before, "clock": time.perf_counter() - began, "memory": memory()}
    blamed = [one.decisions[0].blame for one in evidence if one.decisions and one.error is None]
    return found | {"paths": len(paths), "right": sum(blame.policy == "op25b" for blame in blamed)}


def cpu() -> float:
    """Seconds of processor time, of this process and of the programs that it ran."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def memory() -> float:
    """Resident megabytes of this process, with the packet rings."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def rules_text(count: int) -> str:
    """A table with so many rules."""
    rules = (
        f"-A FORWARD -s 10.{n // 250 % 250}.{n % 250}.0/24 -p tcp -m tcp --dport {4000 + n % 250} -j ACCEPT\n"
        for n in range(count - 1)
    )
    return f"*filter\n{''.join(rules)}-A FORWARD -p tcp -m tcp --dport 25 -j DROP\nCOMMIT\n"


def measure_rules(file: str) -> None:
    """Load a rules file as a lab does; prints JSON."""
    content = Path(file).read_bytes()
    _sandbox.enter()
    rules = RulesFile(family="ip", file=Path(file), content=content)
    policy = Policy(name="p", folder=Path(), title="", description="", source="", sets=(), rules_files=(rules,))
    before, began = cpu(), time.perf_counter()
    firewall.load(ThisNamespace(), [policy], {})
    print(json.dumps({"cpu": cpu() - before, "clock": time.perf_counter() - began, "rules": listed()}))


def measure_restore(file: str) -> None:
    """The same by one run of iptables-restore; prints JSON. In a network namespace of the machine's root."""
    before, began = cpu(), time.perf_counter()
    with Path(file).open("rb") as rules:
        subprocess.run(["iptables-restore"], stdin=rules, check=True)
    print(json.dumps({"cpu": cpu() - before, "clock": time.perf_counter() - began, "rules": listed()}))


def listed() -> int:
    """How many rules the kernel of this namespace has."""
    return sum(map(len, firewall.list_handles().values()))


def run(*arguments: str, prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    """One measurement in a process of its own."""
    if prefix:
        argv = [*prefix, sys.executable, str(Path(__file__)), *arguments]
        output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    else:
        output = _sandbox.start("big.py", *arguments, stdout=subprocess.PIPE).communicate()[0]
    found: dict[str, Any] = json.loads(output)
    return found


def labs(customers: int, console: Console) -> bool:
    """The first part. Returns whether all is right and within the limits."""
    found = {way: run("--lab", way, "--customers", str(customers)) for way in WAYS}
    table = Table(title=f"{customers} households, {2 * customers} attempts")
    for heading in (
        "",
        "up, CPU s",
        "ratio",
        "clock s",
        "MB",
        "tried, CPU s",
        "ratio",
        "MB",
        "right",
    ):
        table.add_column(heading, justify="right" if heading else "left")
    base = found[WAYS[0]]
    for way, one in found.items():
        ratios = [f"{one[key] / base[key]:.2f}" for key in ("up cpu", "cpu")]
        up = (f"{one['up cpu']:.1f}", ratios[0], f"{one['up']:.1f}", f"{one['up memory']:.0f}")
        after = (f"{one['cpu']:.1f}", ratios[1], f"{one['memory']:.0f}", f"{one['right']}/{one['paths']}")
        table.add_row(way, *up, *after)
    console.print(table)
    ours = found[WAYS[1]]
    return bool(ours["right"] == ours["paths"] and ours["up cpu"] < SECONDS and ours["memory"] < MEGABYTES)


def rules(sizes: list[int], console: Console) -> bool:
    """The second part. Returns whether all rules were loaded in time."""
    table = Table(title="Rules in one table")
    for heading in ("rules", "root, one transaction: s", "in a lab: s", "ratio"):
        table.add_column(heading, justify="right")
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            file = Path(folder, "rules.v4")
            file.write_text(rules_text(size))
            ours = run("--load", str(file))
            root = run("--restore", str(file), prefix=("unshare", "--net")) if os.geteuid() == 0 else None
            cells = (f"{root['clock']:.2f}", f"{ours['clock'] / root['clock']:.2f}") if root else ("", "")
            table.add_row(str(size), cells[0], f"{ours['clock']:.2f}", cells[1])
            good = good and ours["rules"] == size and (size > 6000 or ours["clock"] < RULES_SECONDS)
    console.print(table)
    return good


def main() -> None:
    """Both parts, or one measurement in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=1000)
    parser.add_argument("--rules", type=int, nargs="*", default=[6000, 20000])
    for option in ("--lab", "--load", "--restore"):
        parser.add_argument(option, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.lab:
        measure_lab(options.lab, options.customers)
    elif options.load:
        measure_rules(options.load)
    elif options.restore:
        measure_restore(options.restore)
    else:
        console = Console()
        good = [labs(options.customers, console), rules(options.rules, console)]
        console.print(f"right, and within the limits: {'yes' if all(good) else 'NO'}")
        sys.exit(not all(good))


if __name__ == "__main__":
    main()
