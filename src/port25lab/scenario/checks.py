"""A scenario held against the topology, the policies and the servers that it names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

from port25lab.errors import InputError, nearest
from port25lab.model import service_kinds
from port25lab.model.addresses import IpVersion
from port25lab.model.outcome import DECIDED_BY_RULES, Outcome
from port25lab.model.packet_kinds import PACKET_KINDS
from port25lab.model.path import MX_PREFIX, Auth
from port25lab.model.plan import Plan
from port25lab.model.policy import Policy
from port25lab.model.question import LabConfig
from port25lab.scenario.document import Key
from port25lab.scenario.policy import load_policy
from port25lab.scenario.scenario_file import (
    ANY,
    DNS_NAME,
    OUTCOMES_OF_PROBES,
    VERSION_NAMES,
    Expectation,
    PathEntry,
    TopologyChoice,
)
from port25lab.scenario.topology import load_topology


class _Complain(Protocol):
    """Makes an error about what stands under ``keys``, or at their last one."""

    def __call__(self, what: str, allowed: str, *keys: Key, at_key: bool = False) -> InputError: ...


def under(complain: _Complain, *outer: Key) -> _Complain:
    """The same complaint, about a place below these keys."""

    def error(what: str, allowed: str, *keys: Key, at_key: bool = False) -> InputError:
        return complain(what, allowed, *outer, *keys, at_key=at_key)

    return error


def without_place(what: str, allowed: str, *_: Key, at_key: bool = False) -> InputError:
    """A complaint about what was asked from Python, where there is no file."""
    return InputError(what, allowed=allowed)


def plan_for(choice: TopologyChoice, complain: _Complain, relative_to: Path | None = None) -> Plan:
    """The topology as a plan, its services checked."""
    try:
        plan = load_topology(choice.name, choice.parameters, relative_to)
    except InputError as error:
        at_fault = [key for key in choice.parameters if re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", error.what)]
        if error.file is None:
            raise complain(error.what, error.allowed, "topology", "name") from None
        if at_fault and error.line is None:
            raise complain(error.what, error.allowed, "topology", at_fault[0]) from None
        raise
    service_kinds.check(plan)
    return plan


def _network_policies(plan: Plan) -> dict[str, list[Policy]]:
    """The rules that belong to the network itself, by node, checked."""
    found: dict[str, list[Policy]] = {}
    for node in plan.nodes.values():
        for name in node.policies:
            try:
                policy = load_policy(name, relative_to=plan.file)
            except InputError as error:
                if error.file is not None:
                    raise
                raise InputError(f"node {node.name!r}: {error.what}", allowed=error.allowed, file=plan.file) from None
            stack = found.setdefault(node.name, [])
            if trouble := _cannot_join(policy, stack, plan, node.name):
                what, allowed = trouble
                raise InputError(what, allowed=allowed, file=plan.file)
            stack.append(policy)
    return found


def config_of(
    plan: Plan,
    stacks: Mapping[str, tuple[str, ...]],
    complain: _Complain,
    relative_to: Path | None = None,
) -> LabConfig:
    """A lab of this topology with these policies, all of them read and checked."""
    network = _network_policies(plan)
    routers = [node.name for node in plan.nodes.values() if node.forward]
    folders: dict[str, tuple[Path, ...]] = {}
    for node, names in stacks.items():
        if node not in routers:
            what = f"{node!r} does not forward packets" if node in plan.nodes else f"no node {node!r}"
            raise complain(what, f"a router of {plan.name}: {nearest(node, routers)}", node, at_key=True)
        stack = list(network.get(node, []))
        for number, name in enumerate(names):
            try:
                policy = load_policy(name, relative_to)
            except InputError as error:
                if error.file is not None:
                    raise
                raise complain(error.what, error.allowed, node, number) from None
            if trouble := _cannot_join(policy, stack, plan, node):
                raise complain(*trouble, node, number)
            stack.append(policy)
        brought = [service for policy in stack for service in policy.services]
        service_kinds.check(plan.with_services({node: brought}))
        if names:
            folders[node] = tuple(policy.folder.absolute() for policy in stack[-len(names) :])
    return LabConfig(plan=plan, policies=tuple(sorted(folders.items())))


def _cannot_join(policy: Policy, stack: Iterable[Policy], plan: Plan, node: str) -> tuple[str, str] | None:
    """Why a policy cannot be loaded after those of the stack, and what is allowed; None if it can."""
    for name in policy.sets:
        if name not in plan.sets:
            return f"policy {policy.name} needs the set {name!r}, which {plan.name} does not fill", nearest(
                name, plan.sets
            )
    for earlier in stack:
        if earlier.folder.resolve() == policy.folder.resolve():
            return f"policy {policy.name} is on {node} already", "each policy once on a node"
        for family in ("ip", "ip6"):
            # To declare a chain again empties it: the earlier policy would be half gone, without a word.
            ours, theirs = (
                {chain for ruleset in one.rulesets if ruleset.family == family for chain in ruleset.own_chains}
                for one in (policy, earlier)
            )
            for table, chain in sorted(ours & theirs):
                what = f"policies {earlier.name} and {policy.name} both have the chain {chain} in {table}"
                return what, "chains of its own for each policy on a node"
    return None


def check_ends(plan: Plan, source: str, to: str, versions: Sequence[IpVersion | None], complain: _Complain) -> None:
    """The sender is a node; the destination need not exist, but a name that is misspelt is no question."""
    if source not in plan.nodes:
        raise complain(f"no node {source!r}", f"a node of {plan.name}: {nearest(source, plan.nodes)}", "from")
    if to.startswith(MX_PREFIX):
        if not DNS_NAME.fullmatch(to.removeprefix(MX_PREFIX)):
            raise complain(f"{to!r} names no domain", "mx:DOMAIN, such as mx:example.net", "to")
        return
    literal = _address_version(to)
    if literal is None and plan.server(to) is None and not DNS_NAME.fullmatch(to):
        known = [*plan.nodes, *(f"{MX_PREFIX}{domain}" for node in plan.nodes.values() for domain in node.domains)]
        raise complain(f"no node {to!r}", f"a DNS name, an address, or {nearest(to, known)}", "to")
    for number, version in enumerate(versions):
        if literal is not None and version not in (None, literal):
            raise complain(f"IPv{version} to {to}, which is an IPv{literal} address", f"ip: {literal}", "ip", number)


def check_credentials(plan: Plan, to: str, auth: Auth | None, complain: _Complain) -> None:
    """A password that is not given has to be known. With one, any user may be tried."""
    if auth is None or auth.password is not None:
        return
    server = plan.server(to)
    if server is None:
        what = f"the password of {auth.user!r} at {to} is not known, for {to} is no server of {plan.name}"
        raise complain(what, "{user: …, password: …}", "auth", "user")
    if auth.user not in server.users:
        allowed = f"{nearest(auth.user, server.users)}; or any user with a password"
        raise complain(f"no user {auth.user!r} at {server.name}", allowed, "auth", "user")


def check_blame(plan: Plan, outcome: Outcome, by: str | None, complain: _Complain) -> None:
    """A rule decides where a path is blocked, and where a relay's own way is."""
    if by is None:
        return
    if outcome not in DECIDED_BY_RULES:
        raise complain(f"`by` with {outcome}, which no rule decides", f"`by` with {', '.join(DECIDED_BY_RULES)}", "by")
    if by not in plan.nodes:
        raise complain(f"no node {by!r}", f"a node of {plan.name}: {nearest(by, plan.nodes)}", "by")


def check_probe(plan: Plan, packet: str | None, spoof: str | None, complain: _Complain) -> None:
    """A kind that exists, and a node to lend its address."""
    if packet is not None and packet not in PACKET_KINDS:
        raise complain(f"unknown packet {packet!r}", nearest(packet, PACKET_KINDS), "packet")
    if spoof is None:
        return
    if packet is None or PACKET_KINDS[packet].early:
        what = "a session has two sides" if packet else "no mail program can do that"
        raise complain(f"`spoof`, and {what}", "`spoof` with a packet of one's own making", "spoof")
    if spoof not in plan.nodes:
        raise complain(f"no node {spoof!r}", f"a node of {plan.name}: {nearest(spoof, plan.nodes)}", "spoof")


NOT_OF_PROBES = ("security", "auth", "client", "repeat", "hold", "recipient", "sender", "size")


@dataclass(frozen=True)
class PathCheck:
    """Holds one path of the file against the topology and the variants."""

    plan: Plan
    known_variants: list[str]
    entry: PathEntry
    complain: _Complain

    def all(self) -> None:
        """Raises InputError for the first thing that is wrong."""
        check_ends(self.plan, self.entry.source, self.entry.to, self.entry.ip or (), self.complain)
        check_credentials(self.plan, self.entry.to, self.entry.auth, self.complain)
        self.probe()
        self.variants()
        self.expectations()

    def probe(self) -> None:
        """A probe is one packet: nobody logs in, and no message is sent."""
        check_probe(self.plan, self.entry.packet, self.entry.spoof, self.complain)
        for key in NOT_OF_PROBES if self.entry.packet else ():
            if key in self.entry.model_fields_set:
                raise self.complain(f"`{key}` of a packet", "`from`, `to`, `port`, `ip` and `spoof`", key)
        for variant, by_version in self.entry.expect.items():
            for version, expectation in by_version.items():
                complain = under(self.complain, "expect", variant, version)
                if self.entry.packet and expectation.outcome not in OUTCOMES_OF_PROBES:
                    raise complain(f"{expectation.outcome} of a packet", ", ".join(OUTCOMES_OF_PROBES))
                if not self.entry.packet and expectation.outcome is Outcome.REACHED:
                    raise complain(f"{expectation.outcome} of a message", "delivered, or `packet: KIND`")

    def variants(self) -> None:
        mine = self.entry.variants or ()
        for number, variant in enumerate(mine):
            if variant not in self.known_variants:
                allowed = nearest(variant, self.known_variants)
                raise self.complain(f"no variant {variant!r}", allowed, "variants", number)
            if variant in mine[:number]:
                raise self.complain(f"the variant {variant!r} is named twice", "each variant once", "variants", number)

    def expectations(self) -> None:
        expect, mine = self.entry.expect, self.entry.variants or self.known_variants
        complain = under(self.complain, "expect")
        for variant in (name for name in expect if name not in (ANY, *mine)):
            if variant in self.known_variants:
                what = f"the path is not tried in {variant}"
                raise complain(what, f"its variants: {', '.join(mine)}", variant, at_key=True)
            raise complain(f"no variant {variant!r}", nearest(variant, mine), variant, at_key=True)
        if missing := [variant for variant in mine if not {variant, ANY} & expect.keys()]:
            what = f"no expectation for {_joined('variant', missing)}"
            raise complain(what, "one for each variant in which the path is tried")
        for variant, by_version in expect.items():
            self.versions(by_version, under(complain, variant))

    def versions(self, by_version: Mapping[str, Expectation], complain: _Complain) -> None:
        asked = [version_name(version) for version in versions_of(self.entry)]
        for version in by_version:
            if version not in (ANY, *asked):
                known = version in VERSION_NAMES
                what = f"the path is not tried over {version}" if known else f"no IP version {version!r}"
                raise complain(what, f"its IP versions: {', '.join(asked)}", version, at_key=True)
        if ANY not in by_version and (missing := [version for version in asked if version not in by_version]):
            what = f"no expectation for {_joined('IP version', missing)}"
            raise complain(what, "one for each IP version over which the path is tried")
        for version, expectation in by_version.items():
            check_blame(self.plan, expectation.outcome, expectation.by, under(complain, version))
            if expectation.first is not None and expectation.first > self.entry.repeat:
                what = f"`from` is {expectation.first}, and the path is tried {_times(self.entry.repeat)}"
                raise complain(what, "an attempt that is made: see `repeat`", version, "from")


def versions_of(entry: PathEntry) -> tuple[IpVersion | None, ...]:
    """The IP versions over which a path is tried; None leaves the choice to the client."""
    if entry.ip is not None:
        return entry.ip
    literal = _address_version(entry.to)
    return (literal,) if literal is not None else (4, 6)


def _address_version(text: str) -> IpVersion | None:
    try:
        return ip_address(text).version
    except ValueError:
        return None


def version_name(version: IpVersion | None) -> str:
    """An IP version as ids and expectations say it."""
    return f"ipv{version}" if version else "auto"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _joined(noun: str, names: list[str]) -> str:
    return f"{noun}{'s' * (len(names) > 1)} {', '.join(names)}"
