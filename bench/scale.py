"""What does a world of many networks cost: one lab of 100, 1,000 and 10,000 customers at access ISPs?

    python bench/scale.py                              100, 1,000 and 10,000 customers; stock Mininet up to 100
    python bench/scale.py --customers 1000             a quick look
    python bench/scale.py --stock-up-to 1000           minutes

The world is `access_isps`: ISPs with up to 100 customers each, a relay at each, and OP25B on the edge of the first one.
A bot of the first ISP and one of the last then send to an MX over IPv4 and IPv6.

    stock       Mininet 2.3 by its own API, with the same topology file: no services, no mail, no evidence
    port25lab   a lab, up to the last service's answer

Each measurement has a process and a sandbox of its own. Memory is what the machine has less of, the kernel's included:
run it on an idle machine. The benchmark fails where a bot is blocked that should not be or the other way round, and
where 10,000 customers take more than 60 s of time or 8 GB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import _sandbox
from rich.console import Console
from rich.table import Table

from port25lab.lab import runtime
from port25lab.lab.handle import start_request
from port25lab.machine import capacity
from port25lab.model.path import PathSpec
from port25lab.scenario.policy import load_policy
from port25lab.scenario.topology import load_topology

EACH = 100
"""Customers of an ISP."""

SECONDS, MEGABYTES = 60.0, 8000.0

REACHES = """
import socket, sys
with socket.socket() as sock:
    sock.settimeout(10)
    sys.exit(sock.connect_ex((sys.argv[1], 25)) != 111)
"""
"""Stock Mininet starts no servers: a refusal is the MX's answer."""


def parameters(customers: int) -> dict[str, Any]:
    """Of the topology."""
    each = min(EACH, customers // 2)
    return {"isps": customers // each, "customers": each, "bots": 1}


def measure_lab(customers: int) -> None:
    """One lab in this process; prints JSON."""
    world = parameters(customers)
    plan = load_topology("access_isps", world)
    start = start_request(plan, {"isp-1-edge": [load_policy("op25b")]})
    capacity.raise_descriptors()
    _sandbox.enter()
    print(json.dumps(asyncio.run(tried(runtime.LabRuntime(start.plan, start.policies), world, len(plan.nodes)))))


async def tried(lab: runtime.LabRuntime, world: dict[str, Any], nodes: int) -> dict[str, Any]:
    """Start a lab, and let two bots try. Returns what it took."""
    before, busy, began = available(), cpu(), time.perf_counter()
    await lab.start()
    found: dict[str, Any] = {
        "nodes": nodes,
        "clock": time.perf_counter() - began,
        "cpu": cpu() - busy,
        "memory": before - available(),
    }
    began = time.perf_counter()
    bots = [f"isp-{isp}-bot-{world['customers']}" for isp in (1, world["isps"])]
    paths = [PathSpec(source=bot, to="mx:example.net", ip_version=version) for bot in bots for version in (4, 6)]
    evidence = await asyncio.gather(*map(lab.attempt, paths))
    blocked = [bool(one.decisions) for one in evidence]
    return found | {"tried": time.perf_counter() - began, "right": blocked == [True, True, False, False]}


def measure_stock(customers: int) -> None:
    """The same network by stock Mininet; prints JSON."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "topologies"))
    from mininet.net import Mininet

    from access_isps import AccessIsps

    _sandbox.enter()
    before, busy, began = available(), cpu(), time.perf_counter()
    net = Mininet(topo=AccessIsps(**parameters(customers)), controller=None)
    net.start()
    found = {"nodes": len(net.hosts), "clock": time.perf_counter() - began, "cpu": cpu() - busy}
    bot = net["isp-1-bot-" + str(parameters(customers)["customers"])]
    reached = bot.popen([sys.executable, "-c", REACHES, "192.0.2.25"]).wait() == 0
    print(json.dumps(found | {"memory": before - available(), "right": reached, "tried": None}))


def cpu() -> float:
    """Seconds of processor time, of this process and of the programs that it ran."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def available() -> float:
    """Megabytes that the machine has left."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) / 1024


def run(way: str, customers: int) -> dict[str, Any] | None:
    """One measurement in a process of its own; None where it failed."""
    process = _sandbox.start("scale.py", "--measure", way, "--customers", str(customers), stdout=subprocess.PIPE)
    output = process.communicate()[0]
    found: dict[str, Any] | None = json.loads(output.splitlines()[-1]) if output else None
    return found


def main() -> None:
    """All sizes, or one measurement in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--stock-up-to", type=int, default=100)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        {"port25lab": measure_lab, "stock": measure_stock}[options.measure](options.customers[0])
        return
    table = Table(title="Worlds of many networks")
    for heading in ("", "customers", "nodes", "up s", "CPU s", "MB", "2 bots tried s", "right"):
        table.add_column(heading, justify="right" if heading else "left")
    good = True
    for customers in options.customers:
        for way in ("stock", "port25lab"):
            if way == "stock" and customers > options.stock_up_to:
                continue
            one = run(way, customers)
            if one is None:
                table.add_row(way, f"{customers:,}", *["failed"] * 6)
                good = False
                continue
            asked = "" if one["tried"] is None else f"{one['tried']:.2f}"
            took = (f"{one['clock']:.1f}", f"{one['cpu']:.1f}", f"{one['memory']:.0f}")
            table.add_row(way, f"{customers:,}", f"{one['nodes']:,}", *took, asked, str(one["right"]).lower())
            if way == "port25lab":
                good = good and one["right"] and one["clock"] < SECONDS and one["memory"] < MEGABYTES
    Console().print(table)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
