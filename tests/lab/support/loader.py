"""Loads rules files as a lab loads them, in a namespace of its own: for what the kernel takes from an ordinary user.

A program of its own, to be run by ``unshare --user --map-root-user --net``. In: a line of JSON, a list of lists of
texts; each text is a rules file of IPv4, and the texts of a list are loaded on top of each other. Out: for each list,
whether it was refused, what, and what the kernel lists before and after the last text.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from port25lab.errors import InputError
from port25lab.model.policy import Policy, RulesFile
from port25lab.network import firewall
from port25lab.network.builder import LabNode


class ThisNamespace:
    """Stands for the node whose namespace this process is in."""

    name = "here"

    def run_inside(self, call: Any) -> Any:
        return call()


def policy(text: str) -> Policy:
    file = RulesFile(family="ip", file=Path("rules.v4"), content=text.encode())
    return Policy(name="p", folder=Path(), title="", description="", source="", sets=(), rules_files=(file,))


def listed() -> str:
    saved = subprocess.run(["iptables-save", "-c"], capture_output=True, text=True, check=True).stdout
    return "".join(line for line in saved.splitlines(keepends=True) if not line.startswith("#"))


for texts in json.loads(sys.stdin.readline()):
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    node, stack, refused = cast(LabNode, ThisNamespace()), [policy(text) for text in texts], None
    if stack[:-1]:
        firewall.load(node, stack[:-1], {})
    before = listed()
    try:
        firewall.load(node, stack, {}, loaded=len(stack) - 1)
    except InputError as error:
        refused = [error.line, str(error)]
    print(json.dumps({"refused": refused, "before": before, "after": listed()}), flush=True)
