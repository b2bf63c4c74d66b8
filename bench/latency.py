"""How long does a path take to its verdict, by kind of block, and how long does a client wait for the same?

    python bench/latency.py                          every kind over both IP versions; takes two and a half minutes
    python bench/latency.py --rounds 20              more attempts of each kind; the median counts
    python bench/latency.py --client-seconds 10      clients that still wait after that time are given up

Each kind has a lab of its own, with its rules on the ISP's edge. port25lab's time is that of one attempt alone in the
lab: from the request to the outcome, evidence included. The baseline is a plain client in the same node of the same
lab: a Python program that calls connect(2), with the kernel's defaults in place of the lab's settings for TCP (six
retransmissions of a SYN, with doubled waits). For mail that is delivered, it is smtplib. The benchmark fails where an
attempt does not have the outcome that its kind must have.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from port25lab.lab.handle import Lab
from port25lab.lab.sandboxes import Sandboxes
from port25lab.model.outcome import Outcome
from port25lab.model.path import PathSpec
from port25lab.model.plan import Plan
from port25lab.scenario.policy import load_policy
from port25lab.scenario.topology import load_topology
from port25lab.verdict.pipeline import classify

CLIENT, SERVER, ROUTER = "home-server", "mx:example.net", "isp-edge"

MAIL = "-A FORWARD -p tcp -m tcp --dport 25"

CLIENT_CODE = """
import smtplib, socket, statistics, sys, time
address, port, mail, limit = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "mail", float(sys.argv[4])
TCP_SYNCNT, TCP_RTO_MAX_MS, spent = 7, 44, []
while len(spent) < 10:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as client:
        client.setsockopt(socket.IPPROTO_TCP, TCP_SYNCNT, 6)
        try:
            client.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, 120_000)
        except OSError:
            pass  # before Linux 6.15 there is nothing to undo
        client.settimeout(limit or None)
        started = time.perf_counter()
        try:
            if mail:
                session = smtplib.SMTP(address, port)
                session.sendmail("a@port25lab.example", ["recipient@example.net"], "Subject: x\\n\\nx")
            else:
                client.connect((address, port))
        except OSError:
            pass
        spent.append(time.perf_counter() - started)
    if spent[-1] > 0.5:
        break
print(statistics.median(spent))
"""


@dataclass(frozen=True)
class Kind:
    """A kind of block: the rules that make it, and the outcome that it must have."""

    name: str
    outcome: Outcome
    rules: str = ""
    port: int = 25
    attempts_before: int = 0
    """Attempts that a limit lets pass first."""


KINDS = (
    Kind("DROP", Outcome.DROPPED, f"{MAIL} -j DROP"),
    Kind("DROP behind a list that remembers", Outcome.DROPPED, f"{MAIL} -m recent --name seen --set\n{MAIL} -j DROP"),
    Kind("REJECT with an ICMP error", Outcome.REJECTED_ICMP, f"{MAIL} -j REJECT"),
    Kind("REJECT with tcp-reset", Outcome.REJECTED_RESET, f"{MAIL} -j REJECT --reject-with tcp-reset"),
    Kind("closed port", Outcome.CLOSED, port=2626),
    Kind("delivered", Outcome.DELIVERED),
    Kind(
        "throttled",
        Outcome.THROTTLED,
        f"{MAIL} --syn -m limit --limit 1/hour --limit-burst 1 -j ACCEPT\n{MAIL} --syn -j DROP",
        attempts_before=1,
    ),
)


@dataclass
class Row:
    """The result of one kind over one IP version. Times in seconds."""

    kind: Kind
    ip_version: int
    ours: list[float]
    proven: int
    """Attempts that did not wait for what was proven."""
    client: subprocess.Popen[str] | None = None


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="attempts of each kind")
    parser.add_argument("--client-seconds", type=float, default=0.0, metavar="S", help="0: as long as the kernel waits")
    chosen = parser.parse_args()
    plan, wrong = load_topology("residential_isp"), []
    with tempfile.TemporaryDirectory() as folder, Sandboxes() as sandboxes:
        labs, rows = [], []
        for kind in KINDS:
            lab = Lab(sandboxes, plan, {ROUTER: [load_policy(str(_policy(Path(folder), kind)))]})
            labs.append(lab)
            for ip_version in (4, 6):
                rows.append(measure(lab, kind, ip_version, chosen.rounds, wrong))
                rows[-1].client = start_client(lab, plan, kind, ip_version, chosen.client_seconds)
        waited = [float(row.client.communicate()[0]) for row in rows if row.client]
        for lab in labs:
            lab.close()
    Console(width=110).print(table(rows, waited, chosen.client_seconds))
    print(*wrong or ["every attempt had the outcome of its kind"], sep="\n")
    sys.exit(bool(wrong))


def measure(lab: Lab, kind: Kind, ip_version: int, rounds: int, wrong: list[str]) -> Row:
    """Try the path again and again, one attempt at a time."""
    row = Row(kind, ip_version, [], 0)
    for number in range(kind.attempts_before + rounds):
        path = PathSpec(source=CLIENT, to=SERVER, port=kind.port, ip_version=ip_version, attempt=number + 1)
        started = time.perf_counter()
        evidence = lab.attempt(path)
        outcome = classify(evidence).outcome
        if number < kind.attempts_before:
            continue
        row.ours.append(time.perf_counter() - started)
        row.proven += evidence.observation.proven_early
        if outcome is not kind.outcome:
            wrong.append(f"{kind.name}, IPv{ip_version}: {outcome}")
    return row


def start_client(lab: Lab, plan: Plan, kind: Kind, ip_version: int, seconds: float) -> subprocess.Popen[str]:
    """The plain client, in the background: it may wait for minutes. Prints its median time."""
    server, entrance = plan.server(SERVER), lab.enter(CLIENT)
    assert server is not None
    address = next(str(own) for own in server.published if own.version == ip_version)
    what = "mail" if kind.outcome is Outcome.DELIVERED else "connect"
    client = [sys.executable, "-c", CLIENT_CODE, address, str(kind.port), what, str(seconds)]
    return subprocess.Popen([*entrance.command, *entrance.confine, *client], stdout=subprocess.PIPE, text=True)


def table(rows: list[Row], waited: list[float], limit: float) -> Table:
    """One line for each kind and IP version."""
    found = Table(title="From a path to its verdict")
    for column in ("kind", "IP", "port25lab", "plain client", "ratio", "proven early"):
        found.add_column(column, justify="left" if column == "kind" else "right")
    for row, seconds in zip(rows, waited, strict=True):
        ours, more = median(row.ours), ">" if limit and seconds >= limit else ""
        ratio = f"{more and '<'}{ours / seconds:.6f}" if seconds > 1 else f"{ours / seconds:.1f}"
        proven = f"{row.proven} of {len(row.ours)}" if row.proven else ""
        found.add_row(row.kind.name, f"v{row.ip_version}", _duration(ours), more + _duration(seconds), ratio, proven)
    return found


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def _policy(folder: Path, kind: Kind) -> Path:
    place = folder / "".join(letter for letter in kind.name if letter.isalnum())
    place.mkdir()
    (place / "policy.yaml").write_text(f"title: {kind.name}\n")
    for name in ("rules.v4", "rules.v6"):
        (place / name).write_text(f"*filter\n{kind.rules}\nCOMMIT\n")
    return place


if __name__ == "__main__":
    main()
