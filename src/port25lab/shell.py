"""A shell in a node of a lab that is still up: for `run --pause` and `run --shell-on-failure`."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from rich.console import Console

from port25lab.errors import InputError, nearest
from port25lab.lab import Lab
from port25lab.report.words import visible
from port25lab.run import Hold
from port25lab.verdict import Verdict


def holder(*, only_failed: bool) -> Hold:
    """What the runner calls with each lab: it asks for nodes and opens shells until the person goes on."""

    def hold(lab: Lab, verdicts: Sequence[Verdict]) -> None:
        failures = [verdict for verdict in verdicts if not verdict.ok]
        if only_failed and not failures:
            return
        console = Console(stderr=True, highlight=False)
        console.print(f"\nlab [bold]{lab.plan.name}[/bold] is up; nodes: {', '.join(sorted(lab.plan.nodes))}")
        for verdict in failures:
            console.print(f"  {visible(f'{verdict.path}: {verdict.reason}')}", style="red", markup=False)
        while node := _ask(console, lab):
            open_shell(lab, node)

    return hold


def _ask(console: Console, lab: Lab) -> str:
    while True:
        try:
            node = console.input("shell in node (empty: go on) > ").strip()
        except EOFError:
            return ""
        if not node or node in lab.plan.nodes:
            return node
        console.print(str(InputError(f"no node {node!r}", allowed=nearest(node, lab.plan.nodes))), markup=False)


def open_shell(lab: Lab, node: str) -> int:
    """Run the user's shell in a node, on the user's terminal. Returns its exit code."""
    place = lab.enter(node)
    etc = " && ".join(f"mount --bind {place.etc}/{name} /etc/{name}" for name in ("resolv.conf", "hosts"))
    start = f'{etc} && hostname {node} && exec "${{SHELL:-/bin/sh}}"'
    argv = [*place.command, "unshare", "--mount", "--uts", "sh", "-c", start]
    return subprocess.run(argv, check=False).returncode
