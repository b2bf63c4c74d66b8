"""iptables itself, in a network namespace of its own: rules in, its listing out.

One process keeps the namespace and answers requests, each a line of JSON: a new namespace would take longer than the
request.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

OUT = "out0"
"""An interface behind which packets vanish without an answer."""

PROGRAMS = ("unshare", "iptables-restore", "ip6tables-restore", "iptables-save", "ip6tables-save", "ipset", "ip")
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
        request = {"family": family, "texts": texts, "sets": sets, "noflush": noflush, "before": before}
        return Listing(*self._ask(request))

    def _ask(self, request: dict[str, Any]) -> list[str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: list[str] = json.loads(self._process.stdout.readline())
        return answer

    def send(self, family: str, packets: Sequence[tuple[bytes, int]]) -> list[str]:
        """Send packets (IP header and all; with a mark) out of this machine, past the rules that are loaded.

        Returns what ``iptables-save -c`` prints before the first and after each.
        """
        request = {"family": family, "packets": [(packet.hex(), mark) for packet, mark in packets]}
        return list(self._ask(request))

    def close(self) -> None:
        """Let the namespace go."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _run(argv: list[str], text: str = "") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, input=text.encode("utf-8", "surrogateescape"), capture_output=True, check=False)


def _wire() -> None:
    # The links must not talk by themselves.
    _run(["sysctl", "-wq", "net.ipv6.conf.default.disable_ipv6=1"])
    for command in (
        f"link add {OUT} type veth peer name end0",
        f"addr add 10.9.0.1/24 dev {OUT}",
        f"link set {OUT} up",
        "link set end0 up",
        # Nothing has this address: the other end leaves the packets alone.
        *(f"neigh add 10.9.0.{host} lladdr 02:00:00:00:00:99 dev {OUT} nud permanent" for host in range(2, 10)),
    ):
        _run(["ip", *command.split()])


def _sent(request: dict[str, Any]) -> list[str]:
    prefix = "ip6tables" if request["family"] == "ip6" else "iptables"
    seen = [_run([f"{prefix}-save", "-c"]).stdout.decode()]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        for packet, mark in request["packets"]:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            data = bytes.fromhex(packet)
            with contextlib.suppress(PermissionError):  # a rule dropped it
                sender.sendto(data, (socket.inet_ntoa(data[16:20]), 0))
            seen.append(_run([f"{prefix}-save", "-c"]).stdout.decode())
    return seen


def _answer(request: dict[str, Any]) -> tuple[str, str]:
    prefix = "ip6tables" if request["family"] == "ip6" else "iptables"
    _run([f"{prefix}-restore"], EMPTY)
    _run(["ipset", "destroy"])
    if request["sets"]:
        _run(["ipset", "-exist", "restore"], str(request["sets"]))
    for command in request["before"]:
        _run(["sh", "-c", command])
    refused = ""
    for number, text in enumerate(request["texts"]):
        noflush = ["--noflush"] if number and request["noflush"] else []
        done = _run([f"{prefix}-restore", *noflush], text)
        if done.returncode:
            refused = done.stderr.decode("utf-8", "replace") or "refused"
            break
    return refused, _run([f"{prefix}-save"]).stdout.decode("utf-8", "surrogateescape")


if __name__ == "__main__":
    _wire()
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(_sent(asked) if "packets" in asked else _answer(asked)), flush=True)
