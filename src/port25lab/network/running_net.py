"""Mininet's API, and its prompt, on a lab that is up: for ``port25lab mn``.

It runs as a program of its own inside the lab. The nodes are those of the lab, found by the names of their namespaces;
nothing is built, and nothing is ended.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from mininet.cli import CLI
from mininet.log import setLogLevel

from port25lab.model.plan import Plan
from port25lab.network import host
from port25lab.network.builder import LabNet, LabNode

PROGRAM = (
    "from port25lab.kernel.own_python import prefer_own_distutils\n"
    "prefer_own_distutils()\n"
    "from port25lab.network import running_net\n"
    'running_net.main(start["plan"], start["networks"])\n'
)


class Prompt(CLI):  # type: ignore[misc]
    """Mininet's prompt, for names of nodes that have dots and hyphens."""

    identchars = f"{CLI.identchars}.-"

    @classmethod
    def initReadline(cls) -> None:  # noqa: N802
        """Keep no history: Mininet writes it into the home folder, and this process has none."""
        importlib.import_module("readline")  # lines can be edited


class RunningNode(LabNode):
    """A node of a lab that is up."""

    def _prepare(self) -> None:
        """Enter the node's namespaces, with its own /etc files and the limits of programs in nodes."""
        host.move_in(self.network, self.name)


class RunningNet(LabNet):
    """The network of a lab that is up."""

    def __init__(self, plan: Plan, networks: Mapping[str, int]) -> None:
        """``networks``: a descriptor of the namespace of each node."""
        self._networks = networks
        super().__init__(plan, node_class=RunningNode)
        self.buildFromTopo(self.topo)
        self.built = True

    def addHost(self, name: str, cls: type | None = None, **params: Any) -> LabNode:  # noqa: N802
        return super().addHost(name, cls, network=self._networks[name], **params)


def main(plan: str, networks: Mapping[str, str]) -> None:
    """Mininet's prompt. ``plan``: as JSON. ``networks``: the file that stands for the namespace of each node."""
    opened = {name: os.open(place, os.O_RDONLY | os.O_CLOEXEC) for name, place in networks.items()}
    setLogLevel("output")
    net = RunningNet(Plan.model_validate(json.loads(plan)), opened)
    Prompt(net)
    for node in net.hosts:
        node.terminate()
    sys.stdout.flush()
