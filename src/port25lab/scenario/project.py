"""A folder to start from: the policy, the topology, the scenario, a test and a CI file of a router that was checked.

In: a mirror and the verdicts on its rules. Out: texts by the names of their files. Pure.
"""

from __future__ import annotations

import json
import pprint
from collections.abc import Iterable, Sequence
from typing import Any

from port25lab.model.outcome import DECIDED_BY_RULES, Outcome
from port25lab.model.plan import BridgePlan, InterfacePlan, NodePlan, Plan, Route
from port25lab.model.policy import Policy
from port25lab.model.verdict import Verdict
from port25lab.rules import decode
from port25lab.scenario.mirror import Mirror
from port25lab.scenario.mirror_network import ROUTER
from port25lab.scenario.policy import SETS_FILE
from port25lab.scenario.rules_file import RULES_FILES
from port25lab.scenario.topology import DIRECTLY

_TOPOLOGY = '''\
"""The network of {name}, as `port25lab check` made it: edit it as you like.

NODES: what each node is. LINKS: two ends, each a node, its interface, and the addresses of that interface.
"""

from mininet.topo import Topo

NODES = {nodes}

LINKS = {links}


class Router(Topo):
    def build(self):
        for name, details in NODES.items():
            self.addHost(name, **details)
        for (node1, port1, at1), (node2, port2, at2) in LINKS:
            self.addLink(node1, node2, intfName1=port1, intfName2=port2, params1=at1, params2=at2)


topos = {{"router": Router}}
'''

_TEST = '''\
"""Paths that must stay open. The scenario in scenarios/ has all paths; `pytest` runs both."""

from pathlib import Path

HERE = Path(__file__).parent


def test_submission_is_open(lab):
    router = lab(str(HERE / "topologies/router.py"), policies={{"router": str(HERE / "policies/router")}})
    router.expect("{outcome}", source="{source}", to="provider", port=587, security="starttls", auth="alice")
'''

_CI = """\
name: mail
on: [push, pull_request]
jobs:
  mail:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@v4
      - run: sudo apt-get update && sudo apt-get install --yes iptables ipset nftables
      - run: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0
      - run: pipx install port25lab
      - run: port25lab run scenarios/mail.yaml --junit results.xml --annotate github
"""


def project_files(mirror: Mirror, verdicts: Sequence[Verdict]) -> dict[str, bytes]:
    """All files, by their place in the folder. ``verdicts``: on the mirror's rules."""
    name = mirror.policy.name
    files = {
        "topologies/router.py": _topology(mirror.plan, name).encode(),
        "scenarios/mail.yaml": _scenario(name, verdicts).encode(),
        "test_mail.py": _test(verdicts).encode(),
        ".github/workflows/mail.yml": _CI.encode(),
    }
    return files | {f"policies/router/{place}": content for place, content in _policy(mirror.policy).items()}


def _policy(policy: Policy) -> dict[str, bytes]:
    services = [f"  - {json.dumps(service)}" for service in policy.services]
    lines = [f"title: the rules of {policy.name}", *(["services:", *services] if services else [])]
    found = {"policy.yaml": "".join(f"{line}\n" for line in lines).encode()}
    for family, place in RULES_FILES.items():
        parts = [part.content for part in policy.rules_files if part.family == family]
        if parts:
            found[place] = "\n".join(_trimmed(decode(part)) for part in parts).encode("utf-8", "surrogateescape")
    if policy.ipset:
        found[SETS_FILE] = policy.ipset.encode()
    return found


def _trimmed(text: str) -> str:
    """Without the empty lines that stand for the other parts of a snapshot."""
    return text.strip("\n") + "\n"


def _topology(plan: Plan, name: str) -> str:
    nodes = {node.name: _node(node) for node in plan.nodes.values()}
    ports = {(node.name, port.name): _addresses(port) for node in plan.nodes.values() for port in node.interfaces}
    links = [
        (
            (link.node1, link.interface1, ports[link.node1, link.interface1]),
            (link.node2, link.interface2, ports[link.node2, link.interface2]),
        )
        for link in plan.links
    ]
    return _TOPOLOGY.format(name=name, nodes=_shown(nodes), links=_shown(links))


def _node(node: NodePlan) -> dict[str, Any]:
    details: dict[str, Any] = {
        "forward": node.forward,
        "routes": [_route(route) for route in node.routes],
        "services": [dict(service) for service in node.services],
        "names": list(node.names),
        "public": [str(address) for address in node.public],
        "resolvers": [str(address) for address in node.resolvers],
        "sysctls": node.sysctls,
        "bridges": {name: {"ports": list(bridge.ports), **_addresses(bridge)} for name, bridge in node.bridges.items()},
    }
    return {key: value for key, value in details.items() if value}


def _route(route: Route) -> tuple[str, str]:
    if route.via is not None:
        return ("default" if not route.to.prefixlen else str(route.to)), str(route.via)
    return str(route.to), f"{DIRECTLY}{route.interface}" if route.interface else "blackhole"


def _addresses(port: InterfacePlan | BridgePlan) -> dict[str, str]:
    found = {"ip": port.ip, "ip6": port.ip6}
    return {key: str(address) for key, address in found.items() if address is not None}


def _shown(value: Any) -> str:
    return pprint.pformat(value, width=110, sort_dicts=False)


def _scenario(name: str, verdicts: Iterable[Verdict]) -> str:
    lines = [
        f"title: Which mail gets through {name}",
        "topology: ../topologies/router.py",
        "variants: {mine: {router: ../policies/router}}",
        "paths:",
    ]
    for verdict in verdicts:
        if verdict.outcome is not Outcome.ERROR:
            lines.append(f"  - {_entry(verdict)}")
    return "\n".join([*lines, ""])


def _entry(verdict: Verdict) -> str:
    path = verdict.question.path
    by = f", by: {verdict.blame.node}" if verdict.blame is not None and verdict.outcome in DECIDED_BY_RULES else ""
    parts = [
        f"from: {path.source}",
        f'to: "{path.to}"',
        f"port: {path.port}",
        *([f"security: {path.security.value}"] if path.security.value != "none" else []),
        *([f"auth: {path.auth.user}"] if path.auth is not None else []),
        f"recipient: {path.recipient}",
        f"ip: {path.ip_version}",
        f"expect: {{outcome: {verdict.outcome.value}{by}}}",
    ]
    return f"{{{', '.join(parts)}}}"


def _test(verdicts: Sequence[Verdict]) -> str:
    submission = [one for one in verdicts if one.question.path.port == 587 and one.question.path.to == "provider"]
    first = submission[0] if submission else None
    outcome = first.outcome.value if first is not None else "delivered"
    return _TEST.format(source=first.question.path.source if first is not None else ROUTER, outcome=outcome)
