"""How long does a verdict take, by kind of block? Beside a client that waits for its own time, in the same lab.

    python bench/latency.py                 5 rounds
    python bench/latency.py --rounds 20     more

    verdict     what `run` does: send the SYN, look at the kernel's trace, end as soon as the drop is proven
    client      a socket that connects with the settings of a lab's programs, and waits: the baseline

Seconds of clock time from the first SYN, the median of the rounds, both in turn. A limit in front of the drop keeps the
verdict from being early, and is there for comparison. The benchmark fails where an outcome is not the expected one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from port25lab.engine.engine import Engine
from port25lab.engine.progress import Quiet
from port25lab.lab.handle import Lab
from port25lab.model.outcome import Outcome
from port25lab.model.path import PathSpec
from port25lab.scenario.questions import lab_config, question_about

SMTP = "-A FORWARD -p tcp --dport 25"
KINDS = (
    ("DROP", f"{SMTP} -j DROP", Outcome.DROPPED),
    ("REJECT", f"{SMTP} -j REJECT", Outcome.REJECTED_ICMP),
    ("REJECT with RST", f"{SMTP} -j REJECT --reject-with tcp-reset", Outcome.REJECTED_RESET),
    ("DROP of the answer", "-A FORWARD -p tcp --sport 25 -j DROP", Outcome.DROPPED),
    ("limit, DROP", f"{SMTP} -m limit --limit 1/day --limit-burst 1 -j LOG\n{SMTP} -j DROP", Outcome.DROPPED),
    ("no block", "-A FORWARD -p udp --dport 25 -j DROP", Outcome.DELIVERED),
)
CLIENT = """
import socket, sys, time
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family, socket.SOCK_STREAM) as client:
    start = time.perf_counter()
    try:
        client.connect((sys.argv[1], 25))
        client.recv(100)
    except OSError:
        pass
    print(time.perf_counter() - start)
"""
ADDRESSES = {4: "192.0.2.25", 6: "2001:db8:25::25"}


def policy(folder: Path, name: str, rules: str) -> str:
    """A policy of these rules, for both IP versions. Returns its path."""
    place = folder / name.replace(" ", "-").replace(",", "")
    place.mkdir()
    (place / "policy.yaml").write_text(f"title: {name}\n")
    for family in ("v4", "v6"):
        (place / f"rules.{family}").write_text(f"*filter\n{rules}\nCOMMIT\n")
    return str(place)


def client_seconds(lab: Lab, version: int) -> float:
    """Seconds until a socket of the home server is connected, or refused, or gives up."""
    done = lab.run("home-server", [sys.executable, "-c", CLIENT, ADDRESSES[version]])
    return float(done.stdout)


def main() -> int:
    """Print the table. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds: int = parser.parse_args().rounds
    table, wrong = Table("block", "IP", "outcome", "verdict ms", "client ms", "ratio"), 0
    with tempfile.TemporaryDirectory() as folder:
        for name, rules, expected in KINDS:
            config = lab_config("residential_isp", {"isp-edge": policy(Path(folder), name, rules)}, {})
            for version in (4, 6):
                verdicts, clients, outcome = [], [], expected
                with Engine(Quiet(), keep_labs=True) as engine:
                    for number in range(rounds):
                        spec = PathSpec(
                            source="home-server",
                            to="mx:example.net",
                            ip_version=version,
                            sender=f"n{number}@home.example",
                        )
                        [verdict] = engine.verdicts([question_about(spec, config)])
                        verdicts.append(verdict.observation.seconds)
                        outcome = verdict.outcome if verdict.outcome is not expected else outcome
                    lab = engine.lab(config)
                    clients = [client_seconds(lab, version) for _ in range(rounds)]
                wrong += outcome is not expected
                own, baseline = median(verdicts), median(clients)
                table.add_row(
                    name,
                    f"v{version}",
                    outcome.value,
                    f"{own * 1e3:.0f}",
                    f"{baseline * 1e3:.0f}",
                    f"{own / baseline:.2f}",
                )
    Console().print(table)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
