"""A shell in a node of a lab that is still up: for `run --pause` and `run --shell-on-failure`."""

from __future__ import annotations

import os
import select
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from rich.console import Console

from port25lab.engine.engine import OnLabUp
from port25lab.errors import InputError, nearest
from port25lab.kernel.own_python import search_path
from port25lab.lab.handle import Entrance, Lab
from port25lab.model.verdict import Verdict
from port25lab.report.text import visible


def shell_prompt(*, only_failed: bool) -> OnLabUp:
    """A function for ``run(hold=…)``: with each lab, it asks for a node and opens a shell there until the user is done.

    ``only_failed``: only with labs in which an expectation was not met.
    """

    def hold(lab: Lab, verdicts: Sequence[Verdict]) -> None:
        failures = [verdict for verdict in verdicts if not verdict.ok]
        if only_failed and not failures:
            return
        console = Console(stderr=True, highlight=False, emoji=False)
        console.print(f"\nlab [bold]{lab.plan.name}[/bold] is up; nodes: {', '.join(sorted(lab.plan.nodes))}")
        for verdict in failures:
            console.print(f"  {visible(f'{verdict.id}: {verdict.judgement.reason}')}", style="red", markup=False)
        while node := _ask(console, lab):
            open_shell(lab, node)

    return hold


def _ask(console: Console, lab: Lab) -> str:
    while True:
        try:
            console.print("shell in node (empty: go on) > ", end="")
            _wait_for_a_line()
            node = input().strip()
        except EOFError:
            return ""
        if not node or node in lab.plan.nodes:
            return node
        console.print(str(InputError(f"no node {node!r}", allowed=nearest(node, lab.plan.nodes))), markup=False)


def _wait_for_a_line() -> None:
    """Wait until ``input`` can read or a signal arrives: ``input`` misses a signal that comes just before it reads."""
    try:
        readable: list[Any] = [sys.stdin.fileno()]
    except (OSError, ValueError):
        return  # not a real file: reading does not wait
    signalled, wakeup = socket.socketpair()
    with signalled, wakeup:
        wakeup.setblocking(False)
        before = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        try:
            select.select([*readable, signalled], [], [])
        finally:
            signal.set_wakeup_fd(before)


def open_shell(lab: Lab, node: str) -> int:
    """Run the user's shell in a node, on the user's terminal. Returns its exit code."""
    return run_in(lab.enter(node), node, '"${SHELL:-/bin/sh}"')


def run_in(place: Entrance, node: str, command: str, confined: bool = True) -> int:
    """Run a command in a node, on the user's terminal. Returns its exit code.

    ``command``: as ``sh`` reads it. ``confined``: whether it gets the limits of all programs in nodes.
    """
    etc = " && ".join(f"mount --bind {place.etc}/{name} /etc/{name}" for name in ("resolv.conf", "hosts"))
    sysfs = "mount -t sysfs -o ro,nosuid,nodev,noexec sysfs /sys"
    limits = f"{shlex.join(place.confine)} " if confined else ""
    start = f"{etc} && {sysfs} && hostname {node} && exec {limits}{command}"
    argv = [*place.command, "unshare", "--mount", "--uts", "sh", "-c", start]
    # On Debian, the folders of iptables and nft are not in an ordinary user's PATH, and here the user is root.
    process = subprocess.Popen(argv, env=os.environ | {"PATH": search_path()})
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the programs in the shell
    try:
        code = process.wait()
        return code if code >= 0 else 128 - code
    except BaseException:
        with suppress(PermissionError):  # under sudo the process is root's; it ends with its lab
            process.kill()
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        _take_the_terminal_back()


def _take_the_terminal_back() -> None:
    """Become the terminal's foreground process group again.

    A shell gives the terminal back to the group that had it before; from its own PID namespace it cannot see that.
    """
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        with suppress(OSError, ValueError):  # standard input is no terminal
            os.tcsetpgrp(sys.stdin.fileno(), os.getpgrp())
    finally:
        signal.signal(signal.SIGTTOU, before)
