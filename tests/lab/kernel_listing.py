"""iptables itself, in network namespaces of its own: rules go in, and its listing comes out.

One process keeps the namespace and answers requests, a line of JSON each: a namespace for every question would cost
more than the question.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import NamedTuple

PROGRAMS = ("unshare", "iptables-restore", "ip6tables-restore", "iptables-save", "ip6tables-save", "ipset")
EMPTY = "".join(f"*{table}\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n" for table in ("raw", "mangle", "nat", "filter", "security"))


def missing() -> str | None:
    """What keeps this machine from answering, or None."""
    if absent := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"{', '.join(absent)} not installed"
    done = subprocess.run(["unshare", "-rn", "iptables-save"], capture_output=True, text=True, check=False)
    return f"no network namespace: {done.stderr.strip()}" if done.returncode else None


class Listing(NamedTuple):
    """What iptables said."""

    refused: str
    """Its error, empty if it took the rules."""
    saved: str
    """What iptables-save prints."""


class Kernel:
    """A network namespace and the iptables programs in it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["unshare", "-rn", sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def load(
        self, family: str, *texts: str, sets: str = "", noflush: bool = False, before: tuple[str, ...] = ()
    ) -> Listing:
        """Load texts one after the other into an empty ruleset. ``noflush`` is for those behind the first.

        ``sets`` is for ``ipset restore``, ``before`` are commands that are run first.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"family": family, "texts": texts, "sets": sets, "noflush": noflush, "before": before}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Listing(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """Let the namespace go."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _run(argv: list[str], text: str = "") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, input=text.encode("utf-8", "surrogateescape"), capture_output=True, check=False)


def _answer(request: dict[str, object]) -> tuple[str, str]:
    prefix = "ip6tables" if request["family"] == "ip6" else "iptables"
    _run([f"{prefix}-restore"], EMPTY)
    _run(["ipset", "destroy"])
    if request["sets"]:
        _run(["ipset", "-exist", "restore"], str(request["sets"]))
    for command in request["before"]:  # type: ignore[attr-defined]
        _run(["sh", "-c", command])
    refused = ""
    for number, text in enumerate(request["texts"]):  # type: ignore[arg-type]
        noflush = ["--noflush"] if number and request["noflush"] else []
        done = _run([f"{prefix}-restore", *noflush], text)
        if done.returncode:
            refused = done.stderr.decode("utf-8", "replace") or "refused"
            break
    return refused, _run([f"{prefix}-save"]).stdout.decode("utf-8", "surrogateescape")


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)
