"""How long does it take to build and to stop a router with N hosts: by stock Mininet, by port25lab, by netlink alone?

    python bench/build.py                                   200 hosts
    python bench/build.py --sizes 50,100,200,400,1000       growth
    python bench/build.py --stock-up-to 1000                with stock Mininet at all sizes; minutes

All three make the same network: a namespace for each host, a veth pair to the router, an IPv4 address at both ends, a
default route. Each time the benchmark checks, off the clock, that packets get from the first host to the last.

    stock       Mininet 2.3 by its own API: addHost, addLink, start, stop
    port25lab   LabNet from a Plan, which sets up IPv6 as well; its sandbox is killed, as the engine does
    netlink     namespaces and netlink batches without any Mininet object: the floor

Each measurement has a process and a sandbox of its own. "Down" ends when the kernel has freed the last network
namespace of the network, and with it all links. To see that, a second process outside of the sandbox sets
user.max_net_namespaces (namespaces(7)) so that one more namespace is allowed, and measures until it gets this one.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import _sandbox
from mininet.log import setLogLevel
from mininet.net import Mininet
from rich.console import Console
from rich.table import Table

from port25lab.kernel import namespaces, netlink
from port25lab.model.plan import InterfacePlan, LinkPlan, NodePlan, Plan, Route
from port25lab.network.builder import LabNet

FIRST = IPv4Address("10.0.0.0")
LIMIT = Path("/proc/sys/user/max_net_namespaces")
PHASES = ("nodes", "links", "addresses, routes")

REACHES_SECONDS = 10
REACHES = f"""
import socket, sys
with socket.socket() as sock:
    sock.settimeout({REACHES_SECONDS})
    sys.exit(sock.connect_ex((sys.argv[1], 9)) != 111)
"""
"""Nothing listens on the discard port: a refusal is the last host's answer. It may come late or never, since all
namespaces share one neighbour table (arp(7), gc_thresh3), and a big network fills it. port25lab's permanent neighbours
do not count there."""


# -- the three ways --------------------------------------------------------------------------------------------------


@dataclass
class Clock:
    """Measures seconds by phase."""

    phases: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def phase(self, name: str) -> None:
        now = time.perf_counter()
        self.phases[name], self._last = self.phases.get(name, 0.0) + now - self._last, now


@dataclass(frozen=True)
class Network:
    """A network that is up: how to run a program in its first host, and how to stop the network."""

    run_in_first_host: Callable[[list[str]], int]
    stop: Callable[[], None]


def stock(hosts: int, clock: Clock) -> Network:
    """As a user of Mininet writes it."""
    net = Mininet(topo=None, controller=None)
    router = net.addHost("r")
    nodes = []
    for number in range(hosts):
        gateway, own = addresses(number)
        nodes.append(net.addHost(f"h{number}", ip=str(own), defaultRoute=f"via {gateway.ip}"))
    clock.phase("nodes")
    for number, node in enumerate(nodes):
        net.addLink(node, router, intfName2=f"r-eth{number}", params2={"ip": str(addresses(number)[0])})
    clock.phase("links")
    net.start()
    router.cmd("sysctl -w net.ipv4.ip_forward=1")
    clock.phase("addresses, routes")
    return Network(lambda argv: int(nodes[0].popen(argv).wait()), net.stop)


def port25lab(hosts: int, clock: Clock) -> Network:
    """As a lab is built."""
    net = TimedLabNet(star(hosts), clock)
    net.start()
    clock.phase("addresses, routes")
    return Network(lambda argv: int(net["h0"].popen(argv).wait()), die)


class TimedLabNet(LabNet):
    """Reports its phases to the clock."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._clock = clock
        super().__init__(plan)

    def _make_links(self) -> None:
        self._clock.phase("nodes")
        super()._make_links()
        self._clock.phase("links")


def star(hosts: int) -> Plan:
    """The network as a plan."""
    router, nodes, links = [], {}, []
    for number in range(hosts):
        gateway, own = addresses(number)
        name, port = f"h{number}", f"r-eth{number}"
        router.append(InterfacePlan(name=port, ip=gateway))
        default = Route(to=IPv4Network("0.0.0.0/0"), via=gateway.ip)
        nodes[name] = NodePlan(name=name, interfaces=(InterfacePlan(name="eth0", ip=own),), routes=(default,))
        links.append(LinkPlan(node1=name, interface1="eth0", node2="r", interface2=port))
    nodes["r"] = NodePlan(name="r", interfaces=tuple(router), forward=True)
    return Plan(name="star", file=Path(__file__), nodes=nodes, links=tuple(links))


def raw(hosts: int, clock: Clock) -> Network:
    """Namespaces and netlink alone."""
    home = namespaces.current_network()
    router = namespaces.new_network()
    nodes = [namespaces.new_network() for _ in range(hosts)]
    clock.phase("nodes")
    pairs = [netlink.veth("eth0", 2, node, f"r-eth{n}", 2 + n, router) for n, node in enumerate(nodes)]
    with netlink.Rtnetlink() as kernel:
        kernel.send([("link", pair) for pair in pairs])
    clock.phase("links")
    for number, node in enumerate(nodes):
        gateway, own = addresses(number)
        default = netlink.route(IPv4Network("0.0.0.0/0"), gateway.ip)
        with namespaces.inside(node, home), netlink.Rtnetlink() as kernel:
            kernel.send([("", netlink.up(1)), ("", netlink.up(2)), ("", netlink.address(2, own)), ("", default)])
    with namespaces.inside(router, home), netlink.Rtnetlink() as kernel:
        kernel.send([("", netlink.up(index)) for index in range(1, 2 + hosts)])
        kernel.send([("", netlink.address(2 + number, addresses(number)[0])) for number in range(hosts)])
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    clock.phase("addresses, routes")

    def run_in_first_host(argv: list[str]) -> int:
        with namespaces.inside(nodes[0], home):
            return subprocess.run(argv, check=False).returncode

    return Network(run_in_first_host, die)


def die() -> None:
    """End as a lab does: without clean-up. The kernel removes the namespaces."""
    os._exit(0)


WAYS: dict[str, Callable[[int, Clock], Network]] = {"stock": stock, "port25lab": port25lab, "netlink": raw}
TITLES = {"stock": "stock Mininet", "port25lab": "port25lab", "netlink": "netlink alone"}


def addresses(number: int) -> tuple[IPv4Interface, IPv4Interface]:
    """The router's and the host's end of a host's /30."""
    first = FIRST + 4 * number
    return IPv4Interface(f"{first + 1}/30"), IPv4Interface(f"{first + 2}/30")


# -- one measurement, in a process of its own ------------------------------------------------------------------------


def measure(way: str, hosts: int) -> None:
    """Build and stop one network in a sandbox inside this process's sandbox; print seconds as JSON."""
    setLogLevel("error")
    _sandbox.enter()
    to_network, from_watcher = os.pipe()
    results, report = os.pipe()
    child = os.fork()
    if child == 0:
        _sandbox.enter()
        clock = Clock()
        network = WAYS[way](hosts, clock)
        reached = network.run_in_first_host([sys.executable, "-I", "-c", REACHES, str(addresses(hosts - 1)[1].ip)])
        os.write(report, json.dumps({"up": clock.phases, "works": reached == 0}).encode())
        os.read(to_network, 1)
        network.stop()
        os._exit(0)
    os.close(report)
    said = json.loads(os.read(results, 1 << 16))
    LIMIT.write_text("2")
    started = time.perf_counter()
    os.write(from_watcher, b".")
    os.waitpid(child, 0)
    wait_for_room()
    print(json.dumps({**said, "down": time.perf_counter() - started}))


def wait_for_room() -> None:
    """Return when all network namespaces below this process's own are gone."""
    while True:
        try:
            return namespaces.unshare(namespaces.NEWNET)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            time.sleep(0.001)


# -- all of them -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """Medians, in seconds, and how many of the networks carried packets."""

    phases: dict[str, float]
    down: float
    works: int
    times: int

    @property
    def up(self) -> float:
        return sum(self.phases.values())

    @property
    def total(self) -> float:
        return self.up + self.down


def main() -> None:
    """Measure the sizes that were asked for, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=sizes, default=[200], metavar="N,N,…", help="numbers of hosts; 200 if left out")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="measurements of each; the median counts")
    parser.add_argument("--stock-up-to", type=int, default=400, metavar="N", help="leave stock Mininet out above this")
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "HOSTS"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        return measure(chosen.measure[0], int(chosen.measure[1]))
    console = Console(width=110)
    results: dict[int, dict[str, Result]] = {}
    for hosts in chosen.sizes:
        ways = [way for way in WAYS if way != "stock" or hosts <= chosen.stock_up_to]
        results[hosts] = repeated(ways, hosts, chosen.repeat, console)
        console.print(details(hosts, results[hosts]))
        for way, result in results[hosts].items():
            if result.works < result.times:
                found = f"{result.works} of {result.times} times packets got from the first host to the last"
                console.print(f"{hosts} hosts by {TITLES[way]}: {found} within {REACHES_SECONDS} s\n", highlight=False)
        if "stock" not in ways:
            console.print(f"Stock Mininet is left out at {hosts} hosts; --stock-up-to {hosts} has it too.\n")
    if len(results) > 1:
        console.print(growth(results))
    return None


def sizes(text: str) -> list[int]:
    """Numbers of hosts, from the command line."""
    found = [int(word) for word in text.split(",")]
    if any(not 2 <= size <= 10000 for size in found):
        raise ValueError("sizes go from 2 to 10000")
    return found


def repeated(ways: list[str], hosts: int, times: int, console: Console) -> dict[str, Result]:
    """The median of each phase. The ways take turns, so that other load on the machine affects all of them."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for number, way in product(range(times), ways):
        with console.status(f"{hosts} hosts by {TITLES[way]}, {number + 1} of {times}"):
            process = _sandbox.start("build.py", "--measure", way, str(hosts), stdout=subprocess.PIPE)
            text, _ = process.communicate()
        if process.returncode or not text:
            sys.exit(f"{hosts} hosts by {TITLES[way]}: exit {process.returncode}")
        found[way].append(json.loads(text))
    return {way: middle(measured) for way, measured in found.items()}


def middle(measured: list[dict[str, Any]]) -> Result:
    """Medians, of each phase by itself."""
    phases = {name: median(one["up"][name] for one in measured) for name in PHASES}
    works = sum(one["works"] for one in measured)
    return Result(phases, median(one["down"] for one in measured), works, len(measured))


def details(hosts: int, results: dict[str, Result]) -> Table:
    """One size, phase by phase."""
    table = Table(title=f"A router with {hosts} hosts, up and down")
    for column in ("", *PHASES, "up", "down", "total", "speed"):
        table.add_column(column, justify="left" if not column else "right")
    base = results.get("stock")
    for way, result in results.items():
        times = [*(result.phases[name] for name in PHASES), result.up, result.down, result.total]
        ratio = f"{base.total / result.total:.1f}" if base else ""
        table.add_row(TITLES[way], *map(shown, times), ratio)
    return table


def growth(results: dict[int, dict[str, Result]]) -> Table:
    """All sizes."""
    table = Table(title="Growth: up and down together")
    for column in ("hosts", *TITLES.values(), "port25lab a host", "speed"):
        table.add_column(column, justify="right")
    for hosts, by_way in results.items():
        totals = [shown(by_way[way].total) if way in by_way else "left out" for way in WAYS]
        ours, base = by_way["port25lab"].total, by_way.get("stock")
        ratio = f"{base.total / ours:.1f}" if base else ""
        table.add_row(str(hosts), *totals, f"{1000 * ours / hosts:.2f} ms", ratio)
    return table


def shown(seconds: float) -> str:
    """Seconds or milliseconds, with about three digits."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


if __name__ == "__main__":
    main()
