"""From saving a policy to the new answers of ``watch``, as a ratio to ``run`` of the same scenario.

    python bench/watch.py

30 paths of one lab. Each of the saves changes a rule, so that paths change.
"""

from __future__ import annotations

import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]

SAVES = 6

NODES = ("home-server", "pc", "office", "infected-pc", "rental")

PORTS = ("port: 25", "port: 587, security: starttls, auth: alice", "port: 465, security: implicit, auth: alice")

CHANGED = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -p tcp --dport 587 -j REJECT\nCOMMIT\n"


def main() -> None:
    """Print the median of both, and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "policies/op25b", folder / "mine")
        paths = [f"  - {{from: {node}, to: provider, {port}, expect: delivered}}" for node in NODES for port in PORTS]
        head = ["title: watched", "topology: residential_isp", "variants:", f"  mine: {{isp-edge: {folder}/mine}}"]
        (folder / "watched.yaml").write_text("\n".join([*head, "paths:", *paths, ""]))
        whole = statistics.median(_run(folder) for _ in range(3))
        saved = statistics.median(_watch(folder))
    print(f"run {whole:.2f} s, from saving to the answer {saved:.2f} s, ratio {saved / whole:.2f}")


def _run(folder: Path) -> float:
    started = time.perf_counter()
    command = [sys.executable, "-m", "port25lab", "run", str(folder / "watched.yaml"), "-q"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - started


def _watch(folder: Path) -> list[float]:
    rules = folder / "mine/rules.v4"
    good = rules.read_text()
    command = [sys.executable, "-u", "-m", "port25lab", "watch", str(folder / "watched.yaml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            _read_until(process, "waiting for changes")
            seconds = []
            for number in range(SAVES):
                started = time.perf_counter()
                rules.write_text(good if number % 2 else CHANGED)
                _read_until(process, " changed, ")
                seconds.append(time.perf_counter() - started)
        finally:
            process.send_signal(signal.SIGINT)
    return seconds


def _read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise SystemExit("watch ended")


if __name__ == "__main__":
    main()
