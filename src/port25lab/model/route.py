"""The way of a packet through a plan: node by node, as each node's own routes send it.

Rules are not looked at: a packet that they drop, redirect or translate may go elsewhere. Pure.
"""

from __future__ import annotations

from port25lab.model.addresses import IPAddress, IPInterface, IpVersion
from port25lab.model.path import PathSpec
from port25lab.model.plan import NodePlan, Plan, Segment

MOST_HOPS = 64
"""A way with more nodes is a loop."""


class Routes:
    """The ways through one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ends: dict[str, list[tuple[str, tuple[IPInterface, ...], Segment]]] = {}
        """By node: its interfaces, their addresses, and what they are joined to."""
        for segment in plan.segments():
            for (node, port), owns in segment.items():
                self._ends.setdefault(node, []).append((port, owns, segment))

    def of(self, path: PathSpec) -> tuple[str, ...]:
        """The nodes of a path from its client to the server, both included; empty: the plan has no such way.

        A path over either IP version is followed over IPv4 where both ends have it.
        """
        server = self._plan.server(path.to)
        if path.source not in self._plan.nodes or server is None:
            return ()
        versions: tuple[IpVersion, ...] = (4, 6) if path.ip_version is None else (path.ip_version,)
        for version in versions:
            targets = [address for address in server.published if address.version == version]
            if targets and (found := self.between(path.source, targets[0])):
                return found
        return ()

    def between(self, source: str, target: IPAddress) -> tuple[str, ...]:
        """The nodes between a node and the one that has an address; empty: no way leads there."""
        found = [source]
        while len(found) < MOST_HOPS:
            here = self._plan.nodes[found[-1]]
            if any(own.ip == target for own in here.addresses):
                return tuple(found)
            there = self._next(here, target)
            if there is None or there in found:
                return ()
            found.append(there)
        return ()

    def _next(self, node: NodePlan, target: IPAddress) -> str | None:
        """The node to which a node sends what is for an address: by the longest prefix of its links and its routes."""
        gateway: IPAddress | None = None
        interface, longest = None, -1
        for port, owns, _ in self._ends.get(node.name, ()):
            for own in owns:
                if own.version == target.version and target in own.network and own.network.prefixlen > longest:
                    gateway, interface, longest = target, port, own.network.prefixlen
        for route in node.routes:
            if route.to.version == target.version and target in route.to and route.to.prefixlen > longest:
                blackhole = route.via is None and route.interface is None
                gateway = None if blackhole else route.via or target
                interface, longest = route.interface, route.to.prefixlen
        if gateway is None:
            return None
        return next(
            (
                name
                for port, _, segment in self._ends.get(node.name, ())
                if interface in (None, port)
                for (name, _), owns in segment.items()
                if name != node.name and any(own.ip == gateway for own in owns)
            ),
            None,
        )
