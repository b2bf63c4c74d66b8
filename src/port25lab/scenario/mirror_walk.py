"""The packets of a question, followed through a router's rules on paper: which rules they can meet.

In: what the rules say, the mirror's plan, and a path of a question. Out: keys of rules. Pure: it is known before a lab
is asked, and names rules that no question met.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from itertools import islice

from port25lab.model.addresses import IPAddress, IPNetwork
from port25lab.model.path import PathSpec
from port25lab.model.plan import Plan
from port25lab.model.policy import Policy
from port25lab.rules import Packet, Ruleset, Sets, sets_of, walk
from port25lab.rules.packet import ACK
from port25lab.scenario.mirror_network import ROUTER
from port25lab.scenario.router_facts import RuleKey

_ROOT = 0
"""The user whose packets leave the router: clients run as root of the lab."""

_MOST_BRANCHES = 300
"""Ways that a packet is followed where its fate is open. Rules that it may meet on more are not found."""


def met(ruleset: Ruleset, plan: Plan, path: PathSpec, sets: Sets) -> set[RuleKey]:
    """The rules that packets of a path match, or may match, on their way from the client to the server."""
    found: set[RuleKey] = set()
    for way, packet in _packets(ruleset, plan, path):
        for outcome in walk(ruleset, packet, way, sets=sets, most=_MOST_BRANCHES).outcomes:
            found |= {step.rule.key for step in outcome.steps if step.matched is not False}
    return found


def blocked(rulesets: Iterable[Ruleset], plan: Plan, path: PathSpec, sets: Sets) -> bool:
    """Whether rules are sure to block the first packet of a path on its first way."""
    return any(
        walk(ruleset, packet, way, sets=sets, most=_MOST_BRANCHES).passes is False
        for ruleset in rulesets
        for way, packet in islice(_packets(ruleset, plan, path), 1)
    )


def sets_in(policy: Policy) -> Sets:
    """Membership in the sets of a mirror's policy; what is no list of networks or addresses is not known."""
    known: dict[str, list[IPNetwork]] = {}
    unknown: set[str] = set()
    for line in policy.ipset.splitlines():
        verb, name, *rest = line.split()
        known.setdefault(name, [])
        try:
            known[name] += [ip_network(member, strict=False) for member in rest[:1] if verb == "add"]
        except ValueError:
            unknown.add(name)
        if verb == "add" and len(rest) > 1:  # with options, such as `nomatch`
            unknown.add(name)
    return sets_of({name: networks for name, networks in known.items() if name not in unknown})


def interface_towards(plan: Plan, node: str) -> str | None:
    """The router's interface that a node is behind; None: the router itself, or no way leads there."""
    far: dict[str, list[tuple[str, str, str]]] = {}
    for link in plan.links:
        far.setdefault(link.node1, []).append((link.interface1, link.node2, link.interface2))
        far.setdefault(link.node2, []).append((link.interface2, link.node1, link.interface1))
    waiting, seen = [node], {node}
    while waiting:
        here = waiting.pop()
        for _, there, port in far.get(here, ()):
            if there == ROUTER:
                return port if node != ROUTER else None
            if there not in seen:
                seen.add(there)
                waiting.append(there)
    return None


def _packets(ruleset: Ruleset, plan: Plan, path: PathSpec) -> Iterator[tuple[str, Packet]]:
    """The first packet and a later one, on each way that they may take."""
    source, to = plan.nodes.get(path.source), plan.server(path.to)
    version = 4 if ruleset.family == "ip" else 6
    if source is None or to is None or path.ip_version not in (None, version):
        return
    begin = _of(version, (address.ip for address in source.addresses))
    end = _of(version, to.published)
    if begin is None or end is None:
        return
    into = interface_towards(plan, path.source)
    onwards = interface_towards(plan, to.name)
    first = Packet(ruleset.family, begin, end, destination_port=path.port)
    ways: list[tuple[str, Packet]] = []
    if path.source == ROUTER:
        ways.append(("output", replace(first, out_interface=onwards, user=_ROOT, group=_ROOT)))
    else:
        own = {address.ip for address in plan.nodes[ROUTER].addresses}
        if to.name != ROUTER:
            ways.append(("forward", replace(first, in_interface=into, out_interface=onwards)))
        if to.name == ROUTER or end in own or _may_turn_in(ruleset):
            ways.append(("input", replace(first, in_interface=into, destination_type="LOCAL")))
    for way, packet in ways:
        yield way, packet
        yield way, replace(packet, state="ESTABLISHED", tcp_flags=ACK)


def _may_turn_in(ruleset: Ruleset) -> bool:
    """Whether a rule sends packets of others to the router itself."""
    return any(rule.target is not None and rule.target.name in ("REDIRECT", "TPROXY") for rule in ruleset.rules())


def _of(version: int, addresses: Iterable[IPAddress]) -> IPAddress | None:
    return next((address for address in addresses if address.version == version), None)
