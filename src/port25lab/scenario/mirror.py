"""A mirror: a lab in the shape of a real router, made from its rules and from what else is known of it.

In: a ``Snapshot``. Out: a ``Mirror``: a plan with the router's own interface names and addresses, a host behind each
inside interface and for each group that mail rules name, and an internet of mail servers outside. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network
from pathlib import Path
from typing import Any

from port25lab.model.addresses import IPAddress, IPNetwork, IpVersion
from port25lab.model.plan import BridgePlan, InterfacePlan, LinkPlan, NodePlan, Plan, Route
from port25lab.model.policy import Policy
from port25lab.model.snapshot import Snapshot
from port25lab.scenario.mail_rules import fits, interface_of, mail_ports, networks
from port25lab.scenario.mirror_addresses import VERSIONS, has_hosts, hosts, overlap, within
from port25lab.scenario.mirror_network import INTERNET, ROUTER, MirrorNetwork, field_of, version_of
from port25lab.scenario.mirror_policy import policy_of
from port25lab.scenario.router_facts import (
    Named,
    RouterFacts,
    from_outside,
    own_address,
    unlike_first,
)
from port25lab.scenario.router_outside import is_private

FORWARDING_6, NO_IPV6 = "net.ipv6.conf.all.forwarding", "net.ipv6.conf.all.disable_ipv6"

USERS = {"alice": "alice-secret"}

MOST_OUTSIDERS = 4

MOST_NAMED = 12
"""Hosts for groups that rules name, and servers that rules name: each. More would not fit on a screen."""

_SERVERS: tuple[tuple[str, tuple[dict[str, Any], ...]], ...] = (
    ("mx", ({"kind": "mx", "domains": ["example.net"]},)),
    (
        "provider",
        (
            {"kind": "mx", "domains": ["provider.example"], "users": USERS},
            {"kind": "submission", "users": USERS},
            {"kind": "submissions", "users": USERS},
        ),
    ),
    ("relay-service", ({"kind": "relay-service", "users": USERS},)),
    ("outside", ({"kind": "mx", "domains": ["outside.example"]},)),
    ("dns", ({"kind": "dns"},)),
)
"""The servers of every mirror. `outside` is also the client of the paths that come in."""


@dataclass(frozen=True)
class Group:
    """Hosts that rules may tell apart, with one host for all of them."""

    node: str
    interface: str | None
    """The router's interface that they are behind; None: the router itself, or outside."""
    versions: tuple[IpVersion, ...]
    why: str
    same: tuple[str, ...] = ()
    """Other interfaces that no rule about mail tells apart from this one."""


@dataclass(frozen=True)
class Mirror:
    """The lab, and what it stands for."""

    plan: Plan
    policy: Policy
    facts: RouterFacts
    shape: RouterFacts
    groups: tuple[Group, ...]
    listed: tuple[Group, ...]
    """Servers outside that rules name."""
    outsiders: tuple[Group, ...]
    """Hosts outside that rules name as senders."""
    notes: tuple[str, ...]
    """What was inferred, and what the mirror cannot have."""
    public: dict[IpVersion, bool] = field(default_factory=dict)
    """Whether hosts inside have addresses that the internet can reach."""
    made_up: frozenset[str] = frozenset()
    """Hosts that stand for sets whose members are not known."""
    forwarded: frozenset[IpVersion] = frozenset(VERSIONS)
    """The IP versions that the router forwards."""
    own: frozenset[IpVersion] = frozenset(VERSIONS)
    """The IP versions that the router itself has."""


def mirror(
    snapshot: Snapshot,
    facts: RouterFacts,
    *,
    inside: dict[str, IPNetwork | None] | None = None,
    host: bool = False,
    name: str = "check",
    shape: RouterFacts | None = None,
) -> Mirror:
    """Build the lab.

    ``facts``: of this router. ``inside``: what the user says of inside interfaces: the network of each, or None.
    ``host``: it is no router, and the questions are about its own mail. ``name``: of the policy. ``shape``: what the
    lab is built from, where it has to be comparable with another one; None: these facts.
    """
    host = host or (not inside and not (shape or facts).forwards)
    return _Builder(snapshot, shape or facts, inside or {}, host).build(name, facts)


class _Builder(MirrorNetwork):
    def build(self, name: str, own: RouterFacts) -> Mirror:
        facts = self._facts
        self._notes.append(f"outside is {facts.outside}: {facts.outside_why}")
        if self._host:
            self._notes.append("it is a host, no router: it forwards nothing; --inside names an interface of a router")
        self._connect_outside()
        for server, services in _SERVERS:
            self._server(server, self._addresses.free_pair(), services)
        listed = tuple(self._listed())
        outsiders = tuple(self._outsiders())
        groups = () if self._host else tuple(self._inside())
        router = Group(ROUTER, None, VERSIONS, "the router itself" if not self._host else "the host itself")
        if self._left_out:
            first = self._left_out[0]
            what = f"{len(self._left_out)} more that rules name have no host here, such as {first.name}"
            self._notes.append(f"{what} ({first.rule.place}); rules like these have one")
        self._finish()
        has = frozenset(VERSIONS) - ({6} if self._snapshot.sysctls.get(NO_IPV6) == "1" else set())
        forwarded = has if self._host else has - ({6} if self._snapshot.sysctls.get(FORWARDING_6) == "0" else set())
        if 6 not in forwarded:
            said = f"{FORWARDING_6} = 0" if 6 in has else f"{NO_IPV6} = 1"
            what = "the router has no IPv6" if 6 not in has else "the router forwards no IPv6"
            self._notes.append(f"{what} ({said}): nothing is asked of it")
        plan = Plan(
            name="mirror",
            file=Path(self._snapshot.files[0] if self._snapshot.files else "-").absolute(),
            nodes=self._nodes,
            links=tuple(self._links),
        )
        return Mirror(
            plan=plan,
            policy=policy_of(self._snapshot, own, name, self._notes),
            facts=replace(own, inside=()) if self._host else own,
            shape=facts,
            groups=(*groups, router),
            listed=listed,
            outsiders=outsiders,
            notes=tuple(self._notes),
            public={version: self._is_public(version) for version in VERSIONS},
            made_up=frozenset(self._made_up),
            forwarded=forwarded,
            own=has,
        )

    def _listed(self) -> Iterator[Group]:
        """Servers that rules about mail name as destinations."""
        count = 0
        for named in unlike_first(self._facts.destinations):
            address = self._addresses.host_in(named.network)
            version = version_of(address)
            if self._behind(address) or address in self._used or not has_hosts(named.network):
                continue
            if count >= MOST_NAMED:
                self._left_out.append(named)
                continue
            count += 1
            self._addresses.take(address)
            there = self._addresses.spare(version)[2]
            name = _node_name(f"to-{named.name}", self._nodes)
            domain = {"kind": "mx", "domains": [f"{name}.example"], "users": USERS}
            services = (domain, {"kind": "submission", "users": USERS}, {"kind": "submissions", "users": USERS})
            self._server(name, {version: (address, there)}, services)
            yield Group(name, None, (version,), f"{named.rule.place} names {named.name}")

    def _outsiders(self) -> Iterator[Group]:
        """Hosts outside that rules about mail name as senders."""
        count = 0
        for named in unlike_first(self._facts.sources):
            if not (self._host or from_outside(self._facts, named)) or not has_hosts(named.network):
                continue
            if count >= MOST_OUTSIDERS:
                self._left_out.append(named)
                continue
            address = self._addresses.host_in(named.network)
            if address in self._used:
                continue
            count += 1
            self._addresses.take(address)
            version = version_of(address)
            name = _node_name(named.name, self._nodes)
            self._server(name, {version: (address, self._addresses.spare(version)[2])}, ())
            yield Group(name, None, (version,), f"{named.rule.place} names {named.name}")

    # -- the inside ----------------------------------------------------------------------------------------------------

    def _inside(self) -> Iterator[Group]:
        alike: dict[object, list[str]] = {}
        for name in self._facts.inside:
            alike.setdefault(self._signature(name), []).append(name)
        shown = [names[0] for names in alike.values()]
        members: dict[str, list[tuple[str, dict[IpVersion, IPAddress], str]]] = {}
        nets = {name: {version: self._inside_net(name, version) for version in VERSIONS} for name in shown}
        for name in shown:
            own = {version: self._addresses.host_in(nets[name][version].network) for version in VERSIONS}
            self._used |= set(own.values())
            members[name] = [(_node_name(f"inside-{name}", self._nodes), own, f"behind {name}")]
        for named in unlike_first(self._facts.sources):
            self._add_named(named, shown, nets, members)
        for name in shown:
            yield from self._segment(name, nets[name], members[name], tuple(alike[self._signature(name)][1:]))

    def _signature(self, name: str) -> object:
        """What rules about mail say of an interface: those that name it, and those that name a part of its network."""
        port = self._facts.interface(name)
        nets = [address.network for address in port.addresses if not address.is_link_local]
        if name in self._given:
            return name
        said = []
        for rule in self._facts.rules():
            if not mail_ports(rule) and rule.table != "nat":
                continue
            for option in ("in-interface", "out-interface"):
                one = rule.header.option(option)
                if one is not None and fits(str(one.value), name):
                    said.append((rule.key, option))
            for side in ("source", "destination"):
                if any(overlap(net, other) for net in nets for other in networks(rule, side)):
                    said.append((rule.key, side))
        return tuple(said)

    def _inside_net(self, name: str, version: IpVersion) -> IPv4Interface | IPv6Interface:
        """The router's address on an inside interface, with its network."""
        own = own_address(self._facts.interface(name), version)
        if own is None:
            network = self._addresses.network(name, version)
            router = next(address for address in hosts(network) if address not in self._used)
            own = ip_interface(f"{router}/{network.prefixlen}")
        self._used.add(own.ip)
        return own

    def _add_named(
        self,
        named: Named,
        shown: list[str],
        nets: dict[str, dict[IpVersion, IPv4Interface | IPv6Interface]],
        members: dict[str, list[tuple[str, dict[IpVersion, IPAddress], str]]],
    ) -> None:
        """A host for a group that a rule names as senders, unless a whole interface's network is in it."""
        version = version_of(named.network.network_address)
        pattern = interface_of(named.rule, "in-interface")
        outside = from_outside(self._facts, named)
        covered = any(within(nets[name][version].network, named.network) for name in shown)
        if outside or covered or not shown or not has_hosts(named.network):
            return
        if sum(map(len, members.values())) >= MOST_NAMED + len(shown):
            self._left_out.append(named)
            return
        address = self._addresses.host_in(named.network)
        if address in self._used:
            return
        near = [name for name in shown if address in nets[name][version].network or name == self._routed(address)]
        by_rule = [name for name in shown if pattern is not None and fits(pattern, name)]
        behind = (near or by_rule or shown)[0]
        self._used.add(address)
        node = _node_name(f"{named.name}", self._nodes)
        if named.name in self._unknown_sets:
            self._made_up.add(node)
        for number, (other, own, why) in enumerate(members[behind]):
            if version not in own and _is_twin(node, other):
                members[behind][number] = (other, own | {version: address}, why)
                return
        members[behind].append((node, {version: address}, f"{named.rule.place} names {named.name}"))

    def _routed(self, address: IPAddress) -> str | None:
        """The interface to which the router's own routes send an address; None: that of the default route."""
        fitting = [
            route
            for route in self._snapshot.routes
            if route.to.prefixlen and route.to.version == address.version and address in route.to
        ]
        return max(fitting, key=lambda route: route.to.prefixlen).interface if fitting else None

    def _segment(
        self,
        name: str,
        nets: dict[IpVersion, IPv4Interface | IPv6Interface],
        hosts: list[tuple[str, dict[IpVersion, IPAddress], str]],
        same: tuple[str, ...],
    ) -> Iterator[Group]:
        """The hosts behind one interface, joined by a switch where there are several."""
        self._ports[ROUTER].append(
            InterfacePlan(name=name, **{field_of(version): own for version, own in nets.items()})
        )
        switch = f"switch-{name}" if len(hosts) > 1 else None
        if switch is not None:
            ports = tuple(f"port{number}" for number in range(len(hosts) + 1))
            self._nodes[switch] = NodePlan(
                name=switch,
                interfaces=tuple(InterfacePlan(name=port) for port in ports),
                bridges={"br0": BridgePlan(ports=ports)},
            )
            self._links.append(LinkPlan(node1=ROUTER, interface1=name, node2=switch, interface2=ports[0]))
        for number, (node, own, why) in enumerate(hosts, 1):
            service = {"kind": "mx", "domains": [f"{node}.example"]}
            self._host_at(node, own, {version: nets[version].ip for version in own}, (service,))
            far = (switch, f"port{number}") if switch is not None else (ROUTER, name)
            self._links.append(LinkPlan(node1=far[0], interface1=far[1], node2=node, interface2="eth0"))
            for version, address in own.items():
                if address not in nets[version].network:
                    self._routes[ROUTER].append(Route(to=ip_network(address), via=None, interface=name))
                back = next(one for one in self._own[ROUTER] if one.version == version)
                self._routes[INTERNET].append(Route(to=ip_network(address), via=back))
            yield Group(node, name, tuple(sorted(own)), why, same if number == 1 else ())

    def _behind(self, address: IPAddress) -> bool:
        """Whether an address is inside: on an interface's network, or the router's own."""
        inside = [
            own.network
            for name in self._facts.inside
            for own in self._facts.interface(name).addresses
            if own.network.prefixlen
        ]
        return (
            self._routed(address) in self._facts.inside
            or any(address.version == net.version and address in net for net in inside)
            or (not inside and is_private(address))
        )

    def _is_public(self, version: IpVersion) -> bool:
        return version == 6 or not (
            version in self._facts.translates
            or all(
                is_private(address)
                for node in self._nodes.values()
                if node.name.startswith("inside-")
                for address in node.public
                if address.version == version
            )
        )


def _is_twin(name: str, other: str) -> bool:
    """Whether one is the name of the same set for the other IP version: ``customers`` and ``customers6``."""
    ends = ("", "6", "-6", "v6", "-v6", "-ipv6", "4", "-4", "v4", "-v4", "-ipv4")
    stems = [{text.removesuffix(end) for end in ends if text.endswith(end)} for text in (name, other)]
    return bool((stems[0] & stems[1]) - {"from"})


def _node_name(text: str, taken: Iterable[str]) -> str:
    """A name for a node: letters, digits and hyphens, as DNS wants them (RFC 1123)."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower() or "host"
    if not name[0].isalpha():
        name = f"from-{name}"
    return name if name not in (ROUTER, INTERNET, *taken) else f"{name}-2"
