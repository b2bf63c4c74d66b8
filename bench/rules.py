"""What does reading a large ruleset cost? Parsing and joining it, beside `iptables-restore --test` of the same text.

    python bench/rules.py                   500 and 6,000 rules, 5 rounds
    python bench/rules.py --sizes 20000     another size

    ours        parse the file, parse the kernel's listing, join both: what a lab does after it loaded a file
    restore     `iptables-restore --test` in a network namespace of its own: the baseline

Seconds of processor time, the median of the rounds, both in turn. The benchmark fails where a rule finds no line, or
where the time for each rule grows to more than 2.5 times from the smallest size to the largest. Were the whole
quadratic, it would grow to 12 times.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from statistics import median

from rich.console import Console
from rich.table import Table

from port25lab.rules import Source, join, parse_listing, stack

GROWTH = 2.5

SHAPES = (
    "-s {net} -p tcp -m tcp --dport {port} -j ACCEPT",
    "-s {net} -d 192.0.2.{byte} -i eth0 -p tcp -m tcp --dport {port} -m conntrack --ctstate NEW -j C{digit}",
    "-s {net} -p udp -m udp --sport 1024:65535 --dport 53 -j DROP",
    '-d {net} -p tcp -m multiport --dports 25,465,{port} -m comment --comment "rule {number}" -j REJECT',
    '-s {net} -m limit --limit {digit}/min -j LOG --log-prefix "x{number}: "',
)


def ruleset(rules: int) -> str:
    """A filter table as a large site has it: networks, ports, states, limits, comments, chains."""
    lines = ["*filter", ":FORWARD ACCEPT [0:0]", *(f":C{digit} - [0:0]" for digit in range(10))]
    for number in range(rules):
        values = {"net": f"10.{number // 250}.{number % 250}.0/24", "port": number + 1, "byte": number % 256}
        shape = SHAPES[number % len(SHAPES)].format(**values, digit=number % 9 + 1, number=number)
        lines.append(f"-A {'FORWARD' if number % 2 else 'C0'} {shape}")
    return "\n".join([*lines, "COMMIT", ""])


def ours(text: str, listing: str) -> float:
    """Processor seconds to parse and join. Exits where a rule finds no line."""
    start = time.process_time()
    joined = join(parse_listing(listing, "ip"), stack([Source(text, "rules.v4")], "ip"))
    seconds = time.process_time() - start
    if joined.differences:
        raise SystemExit(f"not joined: {joined.differences[0]}")
    return seconds


def restore(text: str) -> float:
    """Processor seconds of `iptables-restore --test`. Exits where it refuses the text."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["unshare", "--map-root-user", "--net", "iptables-restore", "--test"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"iptables-restore: {done.stderr.strip()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Print the table. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="500,6000", help="numbers of rules, with commas")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    table = Table("rules", "ours s", "restore s", "ratio", "ours µs a rule")
    each = []
    for size in map(int, options.sizes.split(",")):
        text = ruleset(size)
        listing = stack([Source(text, "rules.v4")], "ip").save()
        rounds = [(ours(text, listing), restore(text)) for _ in range(options.rounds)]
        own, baseline = (median(column) for column in zip(*rounds, strict=True))
        each.append(own / size)
        table.add_row(f"{size}", f"{own:.3f}", f"{baseline:.3f}", f"{own / baseline:.2f}", f"{own / size * 1e6:.0f}")
    Console().print(table)
    grows = each[-1] / each[0]
    return 1 if grows > GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())
