"""The networks of a report as data: nodes, interfaces, links, and the route of each path. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from port25lab.model.plan import BridgePlan, InterfacePlan, NodePlan, Plan
from port25lab.model.question import LabConfig
from port25lab.model.route import Routes
from port25lab.model.verdict import Verdict


class Topologies:
    """The plans of verdicts, each once, and the number and the route that a verdict has."""

    def __init__(self, verdicts: Iterable[Verdict]) -> None:
        self._numbers: dict[object, int] = {}
        self._plans: list[Plan] = []
        self._known: dict[object, list[str]] = {}
        for verdict in verdicts:
            config = verdict.question.config
            if _key(config) not in self._numbers:
                self._numbers[_key(config)] = len(self._plans)
                self._plans.append(config.plan)
        self._routes = [Routes(plan) for plan in self._plans]

    def as_data(self, name_of: dict[str, str]) -> list[dict[str, Any]]:
        """Each plan as an object of the schema. ``name_of``: names of files in results, by absolute path."""
        return [
            {
                "name": plan.name,
                "file": name_of.get(str(plan.file), str(plan.file)),
                "parameters": plan.parameters,
                "nodes": [_node(node) for node in plan.nodes.values()],
                "links": [
                    [
                        {"node": node, "interface": interface} | link.conditions.model_dump(exclude_defaults=True)
                        for node, interface in ((link.node1, link.interface1), (link.node2, link.interface2))
                    ]
                    for link in plan.links
                ],
            }
            for plan in self._plans
        ]

    def of(self, verdict: Verdict) -> dict[str, Any]:
        """What a verdict has of its network: the number of its topology in the list, and its way through it."""
        path, config = verdict.question.path, verdict.question.config
        number = self._numbers[_key(config)]
        key = number, path.source, path.to, path.ip_version
        if key not in self._known:
            self._known[key] = list(self._routes[number].of(path))
        return {"topology": number, "route": self._known[key]}


def _key(config: LabConfig) -> object:
    return config.topology, config.parameters, config.plan.name, config.plan.links


def _node(node: NodePlan) -> dict[str, Any]:
    ports: dict[str, InterfacePlan | BridgePlan] = {port.name: port for port in node.interfaces} | dict(node.bridges)
    return {
        "name": node.name,
        "names": list(node.names),
        "forward": node.forward,
        "interfaces": [
            {"name": name, "ip": port.ip and str(port.ip), "ip6": port.ip6 and str(port.ip6)}
            for name, port in ports.items()
        ],
        "services": list(dict.fromkeys(service["kind"] for service in node.services)),
        "policies": list(node.policies),
    }
