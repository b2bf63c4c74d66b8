"""All that the catalogue says of one name, as data: for ``port25lab list NAME``."""

from __future__ import annotations

import inspect
from typing import Any

from port25lab.errors import InputError, nearest
from port25lab.model.plan import Plan
from port25lab.rules import decode
from port25lab.scenario import catalogue
from port25lab.scenario.document import read_yaml, validated
from port25lab.scenario.policy import load_policy
from port25lab.scenario.questions import load_questions
from port25lab.scenario.scenario_file import ScenarioFile
from port25lab.scenario.topology import description, load_topology


def details(name: str) -> list[dict[str, Any]]:
    """What the catalogue has under a name, or what a path of the user's is: an object of each kind that fits.

    Raises InputError where there is nothing of that name, or it is broken.
    """
    kinds = [kind for kind in catalogue.CATALOGUE_KINDS if catalogue.is_there(kind, name)]
    if not kinds:
        known = {known for kind in catalogue.CATALOGUE_KINDS for known in catalogue.all_names(kind)}
        raise InputError(f"nothing is called {name!r}", allowed=nearest(name, known))
    return [{"kind": kind, "name": name} | _READERS[kind](name) for kind in kinds]


def _topology(name: str) -> dict[str, Any]:
    plan = load_topology(name)
    return {
        "file": str(plan.file),
        "description": inspect.cleandoc(description(name)),
        "nodes": [
            {
                "name": node.name,
                "routes_packets": node.forward,
                "services": list(dict.fromkeys(service["kind"] for service in node.services)),
                "policies": list(node.policies),
            }
            for node in plan.nodes.values()
        ],
        "interfaces": _interfaces(plan),
        "sets": {name: [str(block) for block in blocks] for name, blocks in plan.sets.items()},
    }


def _interfaces(plan: Plan) -> list[dict[str, Any]]:
    far = {(link.node1, link.interface1): (link.node2, link.interface2) for link in plan.links}
    far |= {there: here for here, there in far.items()}
    found = []
    for node in plan.nodes.values():
        inside = {port: bridge for bridge, own in node.bridges.items() for port in own.ports}
        ports = [(port.name, port.ip, port.ip6) for port in node.interfaces]
        for name, ip, ip6 in [*ports, *((name, own.ip, own.ip6) for name, own in node.bridges.items())]:
            there = far.get((node.name, name))
            found.append(
                {
                    "node": node.name,
                    "interface": name,
                    "ip": ip and str(ip),
                    "ip6": ip6 and str(ip6),
                    "bridge": inside.get(name),
                    "leads_to": there and "/".join(there),
                }
            )
    return found


def _policy(name: str) -> dict[str, Any]:
    policy = load_policy(name)
    return {
        "file": str(policy.folder),
        "title": policy.title,
        "description": policy.description.strip(),
        "source": policy.source.strip(),
        "sets": list(policy.sets),
        "services": [dict(service) for service in policy.services],
        "rules": {part.file.name: decode(part.content) for part in policy.rules_files},
    }


def _scenario(name: str) -> dict[str, Any]:
    file = catalogue.find("scenarios", name)
    scenario = validated(read_yaml(file), ScenarioFile)
    questions = load_questions(name)
    return {
        "file": str(file),
        "title": scenario.title,
        "description": scenario.description.strip(),
        "topology": scenario.topology.name,
        "variants": {
            variant: {node: list(names) for node, names in stacks.items()}
            for variant, stacks in scenario.variants.items()
        },
        "paths": list(dict.fromkeys(question.bare_id for question in questions)),
        "questions": len(questions),
    }


_READERS = {"topologies": _topology, "policies": _policy, "scenarios": _scenario}
