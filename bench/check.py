"""How long does `port25lab check` take, beside a plain script of namespaces, iptables-restore and connect(2)?

    python bench/check.py                      50 rules and 6,000 rules, and --against
    python bench/check.py --rounds 5           more rounds; the median counts

The baseline is what an engineer would write: a router, a host inside and a server outside as `ip netns` namespaces, the
same rules loaded by iptables-restore, a listener on each port, and connect(2) from host and router to each port, one
after another, with a time limit of 5 s. It asks the same questions (source, port, IPv4), but it has no mail, no
control, no rule that decided, and no trail. Both run in the same round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import _sandbox
from rich.console import Console
from rich.table import Table

SECONDS = 5
"""The time limit of the baseline's connections."""

PORTS = (25, 465, 587, 2525)

QUESTIONS = (25, *PORTS)
"""Of each source: port 25 of the recipient's MX and of another provider, and submission."""

INSIDE, OUTSIDE = "192.168.7", "192.0.2"

BASELINE = f"""
set -e
for node in router pc server; do ip netns add $node; ip -n $node link set lo up; done
ip -n router link add lan0 type veth peer name eth0 netns pc
ip -n router link add wan0 type veth peer name eth0 netns server
ip -n router addr add {INSIDE}.1/24 dev lan0; ip -n pc addr add {INSIDE}.10/24 dev eth0
ip -n router addr add {OUTSIDE}.1/24 dev wan0; ip -n server addr add {OUTSIDE}.25/24 dev eth0
for pair in 'router lan0' 'router wan0' 'pc eth0' 'server eth0'; do set -- $pair; ip -n $1 link set $2 up; done
ip -n pc route add default via {INSIDE}.1; ip -n server route add default via {OUTSIDE}.1
ip netns exec router sysctl -qw net.ipv4.ip_forward=1
ip netns exec router iptables-restore < RULES
"""

CLIENT = f"""
import socket, sys
for port in {QUESTIONS}:
    with socket.socket() as client:
        client.settimeout({SECONDS})
        try:
            client.connect(("{OUTSIDE}.25", port))
            print(port, "connected")
        except OSError as error:
            print(port, error)
"""

SERVER = f"""
import socket, threading
for port in {PORTS}:
    server = socket.create_server(("{OUTSIDE}.25", port))
    threading.Thread(target=lambda server=server: [server.accept() for _ in range(100)]).start()
print("ready", flush=True)
"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--baseline", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.baseline:
        return _baseline(options.baseline)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, other, many = folder / "few.v4", folder / "other.v4", folder / "many.v4"
        few.write_text(_rules(50))
        other.write_text(_rules(50, last="REJECT"))
        many.write_text(_rules(6000))
        commands = {
            "plain script, 50 rules": None,
            "check, 50 rules": [str(few)],
            "check, 6,000 rules": [str(many)],
            "check --against, 50 rules": [str(other), "--against", str(few)],
        }
        spent: dict[str, list[float]] = {what: [] for what in commands}
        for _ in range(options.rounds):
            for what, arguments in commands.items():
                spent[what].append(_plain(few) if arguments is None else _check(arguments))
    medians = {what: median(times) for what, times in spent.items()}
    plain, few_rules = medians["plain script, 50 rules"], medians["check, 50 rules"]
    table = Table(title=f"check, median of {options.rounds}")
    for column in ("", "time", "of the plain script", "of check, 50 rules"):
        table.add_column(column, justify="right" if column else "left")
    for what, seconds in medians.items():
        table.add_row(what, f"{seconds:.1f} s", f"{seconds / plain:.3f}", f"{seconds / few_rules:.2f}")
    Console(width=100).print(table)
    return 0


def _rules(number: int, last: str = "DROP") -> str:
    lines = [
        f"-A FORWARD -s 10.{i // 250}.{i % 250}.1 -i lan0 -p tcp --dport {1000 + i % 50} -j DROP" for i in range(number)
    ]
    mail = [f"-A FORWARD -i lan0 -o wan0 -p tcp --dport 25 -j {last}", f"-A OUTPUT -o wan0 -p tcp --dport 25 -j {last}"]
    text = "\n".join([*lines[: number - 3], *mail])
    return f"*nat\n-A POSTROUTING -o wan0 -j MASQUERADE\nCOMMIT\n*filter\n{text}\nCOMMIT\n"


def _check(arguments: Sequence[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results.json")
        argv = [sys.executable, "-m", "port25lab", "check", *arguments, "--ip", "4", "--json", str(results)]
        started = time.perf_counter()
        done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - started
        if done.returncode not in (0, 1):
            sys.exit(done.stderr)
        outcomes = {
            verdict["outcome"] for verdict in json.loads(results.read_text())["verdicts"] if verdict["port"] == 25
        }
    if not outcomes & {"dropped", "rejected-icmp"}:
        sys.exit(f"the rules were not met: {outcomes}")
    return seconds


def _plain(rules: Path) -> float:
    """The baseline, in a sandbox of its own."""
    started = time.perf_counter()
    done = _sandbox.start("check.py", "--baseline", str(rules), stdout=subprocess.PIPE).communicate()[0]
    if "25 timed out" not in done or "587 connected" not in done:
        sys.exit(f"the baseline's outcomes are others:\n{done}")
    return time.perf_counter() - started


def _baseline(rules: Path) -> int:
    text = rules.read_text()
    _sandbox.enter()
    Path("/run/netns").mkdir(parents=True, exist_ok=True)
    copy = Path("/run/rules")
    copy.write_text(text)
    subprocess.run(["bash", "-c", BASELINE.replace("RULES", str(copy))], check=True)
    server = subprocess.Popen(["ip", "netns", "exec", "server", sys.executable, "-c", SERVER], stdout=subprocess.PIPE)
    assert server.stdout is not None
    server.stdout.readline()
    for node in ("pc", "router"):
        subprocess.run(["ip", "netns", "exec", node, sys.executable, "-c", CLIENT], check=True)
    server.kill()
    server.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
