"""Which nodes the packets between two nodes may pass, by the links of a plan alone, whatever its routes and rules say.

Most nodes of a large network hang on it by one link: a home's PC on its router, and that router on its provider's. They
are branches: no other packets pass them than their own. All other nodes are the core.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from port25lab.model.path import PathSpec
from port25lab.model.plan import LinkPlan, Plan

EVERY_NODE = 64
"""A lab of no more nodes has a packet capture at each from the start. A larger one has it at its core, and at the
branches of the nodes between which an attempt is made."""


@dataclass(frozen=True)
class Ways:
    """The core of a network, and the branches that hang on it."""

    core: frozenset[str]
    towards_core: Mapping[str, str | None]
    """For each node of a branch the next one towards the core; None where there is none."""
    behind: Mapping[str, int]
    """How many nodes of branches are behind a node of a branch, itself included: all that send packets through it."""

    def of(self, name: str) -> list[str]:
        """The nodes that packets of this node may pass beside those of the core: itself, and on towards the core."""
        found: list[str] = []
        at: str | None = name
        while at is not None and at not in self.core:
            found.append(at)
            at = self.towards_core.get(at)
        return found


def ways_of(plan: Plan, ruled: Iterable[str]) -> Ways:
    """The ways of a lab. Its core has the nodes with services, where any attempt may go to, and those with rules.

    ``ruled``: the nodes with rules, of which something may have to be proven.
    """
    services = (node.name for node in plan.nodes.values() if node.services)
    return ways(plan.nodes, plan.links, {*ruled, *services})


def ends_of(plan: Plan, path: PathSpec) -> list[str]:
    """The nodes at which packets of an attempt begin and end."""
    server = plan.server(path.to)
    return [end for end in (path.source, path.spoof, server.name if server else None) if end]


def ways(nodes: Iterable[str], links: Iterable[LinkPlan], ends: Collection[str]) -> Ways:
    """Find the branches of a network.

    Args:
        nodes: Names of all nodes.
        links: All links.
        ends: Nodes that any packet may go to or come from, such as servers: they and the ways between them are core.
    """
    beside: dict[str, set[str]] = defaultdict(set)
    for link in links:
        beside[link.node1].add(link.node2)
        beside[link.node2].add(link.node1)
    left = dict.fromkeys(nodes)
    towards: dict[str, str | None] = {}
    behind: dict[str, int] = defaultdict(lambda: 1)
    waiting = [name for name in left if len(beside[name]) <= 1]
    while waiting:
        name = waiting.pop()
        if name not in left or name in ends:
            continue
        del left[name]
        towards[name] = next(iter(beside[name]), None)
        behind[name] += 0
        for other in beside.pop(name):
            behind[other] += behind[name]
            beside[other].discard(name)
            if len(beside[other]) <= 1:
                waiting.append(other)
    return Ways(frozenset(left), towards, {name: behind[name] for name in towards})
