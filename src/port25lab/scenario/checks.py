"""Checks of a scenario against the topology, the policies and the servers that it names."""

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
from port25lab.model.outcome import DECIDED_BY_RULES, Expected, Outcome
from port25lab.model.packet_kinds import PACKET_KINDS, kind_of
from port25lab.model.path import MX_PREFIX, Auth, PacketFunction
from port25lab.model.plan import Plan
from port25lab.model.policy import Policy
from port25lab.model.question import LabConfig
from port25lab.scenario.document import Key
from port25lab.scenario.packet_file import FORM, is_packet_file, load_packet
from port25lab.scenario.policy import load_policy
from port25lab.scenario.scenario_file import (
    ANY,
    ANY_OUTCOME,
    DNS_NAME,
    OUTCOMES_OF_PACKETS,
    VERSION_NAMES,
    Expectation,
    PathEntry,
    TopologyChoice,
)
from port25lab.scenario.topology import load_topology


class _ErrorAt(Protocol):
    """Makes an error about the value under ``keys``; about the last key itself where ``at_key`` is true."""

    def __call__(self, what: str, allowed: str, *keys: Key, at_key: bool = False) -> InputError: ...


def under(error_at: _ErrorAt, *outer: Key) -> _ErrorAt:
    """A function that makes errors about places below the ``outer`` keys."""

    def error(what: str, allowed: str, *keys: Key, at_key: bool = False) -> InputError:
        return error_at(what, allowed, *outer, *keys, at_key=at_key)

    return error


def without_place(what: str, allowed: str, *_: Key, at_key: bool = False) -> InputError:
    """An error about a question from Python, where there is no file."""
    return InputError(what, allowed=allowed)


def plan_for(choice: TopologyChoice, error_at: _ErrorAt, relative_to: Path | None = None) -> Plan:
    """The plan of a topology, its services checked. Raises InputError.

    ``choice``: the topology and its parameters. ``error_at``: makes errors about what the user wrote. ``relative_to``:
    the file in which the user wrote it; None in Python.
    """
    try:
        plan = load_topology(choice.name, choice.parameters, relative_to)
    except InputError as error:
        at_fault = [key for key in choice.parameters if re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", error.what)]
        if error.file is None:
            raise error_at(error.what, error.allowed, "topology", "name") from None
        if at_fault and error.line is None:
            raise error_at(error.what, error.allowed, "topology", at_fault[0]) from None
        raise
    service_kinds.check(plan)
    return plan


def _network_policies(plan: Plan) -> dict[str, list[Policy]]:
    """The policies of the network itself, by node, checked."""
    stacks: dict[str, list[Policy]] = {}
    for node in plan.nodes.values():
        for name in node.policies:
            try:
                policy = load_policy(name, plan.file, "network")
            except InputError as error:
                if error.file is not None:
                    raise
                raise InputError(f"node {node.name!r}: {error.what}", allowed=error.allowed, file=plan.file) from None
            stack = stacks.setdefault(node.name, [])
            if trouble := _cannot_join(policy, stack, plan, node.name):
                what, allowed = trouble
                raise InputError(what, allowed=allowed, file=plan.file)
            stack.append(policy)
    return stacks


def config_of(
    plan: Plan,
    stacks: Mapping[str, tuple[str, ...]],
    error_at: _ErrorAt,
    relative_to: Path | None = None,
) -> LabConfig:
    """A lab of this topology with these policies, all of them read and checked. Raises InputError.

    ``stacks``: names or paths of policies by node. ``error_at``: makes errors about places below the nodes.
    ``relative_to``: the file that names the policies; None in Python.
    """
    network = _network_policies(plan)
    routers = [node.name for node in plan.nodes.values() if node.forward]
    folders: dict[str, tuple[Path, ...]] = {}
    for node, names in stacks.items():
        if node not in routers:
            what = f"{node!r} does not forward packets" if node in plan.nodes else f"no node {node!r}"
            raise error_at(what, f"a router of {plan.name}: {nearest(node, routers)}", node, at_key=True)
        stack = list(network.get(node, []))
        for number, name in enumerate(names):
            try:
                policy = load_policy(name, relative_to)
            except InputError as error:
                if error.file is not None:
                    raise
                raise error_at(error.what, error.allowed, node, number) from None
            if trouble := _cannot_join(policy, stack, plan, node):
                raise error_at(*trouble, node, number)
            stack.append(policy)
        brought = [service for policy in stack for service in policy.services]
        service_kinds.check(plan.with_services({node: brought}))
        if names:
            folders[node] = tuple(policy.folder.absolute() for policy in stack[-len(names) :])
    return LabConfig(plan=plan, policies=tuple(sorted(folders.items())))


def _cannot_join(policy: Policy, stack: Iterable[Policy], plan: Plan, node: str) -> tuple[str, str] | None:
    """Why a policy cannot be loaded on a node after its ``stack``, and what is allowed; None if it can."""
    for name in policy.sets:
        if name not in plan.sets:
            return f"policy {policy.name} needs the set {name!r}, which {plan.name} does not fill", nearest(
                name, plan.sets
            )
    for earlier in stack:
        if earlier.folder.resolve() == policy.folder.resolve():
            return f"policy {policy.name} is on {node} already", "each policy once on a node"
        for family in ("ip", "ip6"):
            # A chain that is declared again is emptied: the earlier policy would lose rules without a message.
            ours, theirs = (
                {chain for file in one.rules_files if file.family == family for chain in file.chains}
                for one in (policy, earlier)
            )
            for table, chain in sorted(ours & theirs):
                what = f"policies {earlier.name} and {policy.name} both have the chain {chain} in {table}"
                return what, "chains of its own for each policy on a node"
    return None


def check_ends(plan: Plan, source: str, to: str, versions: Sequence[IpVersion | None], error_at: _ErrorAt) -> None:
    """Check that the sender is a node, and the destination a node, an address or a name.

    An address or a DNS name need not be in the topology. ``versions``: the IP versions over which the path is tried.
    Raises InputError, as the other checks do.
    """
    if source not in plan.nodes:
        raise error_at(f"no node {source!r}", f"a node of {plan.name}: {nearest(source, plan.nodes)}", "from")
    if to.startswith(MX_PREFIX):
        if not DNS_NAME.fullmatch(to.removeprefix(MX_PREFIX)):
            raise error_at(f"{to!r} names no domain", "mx:DOMAIN, such as mx:example.net", "to")
        return
    literal = _address_version(to)
    if literal is None and plan.server(to) is None and not DNS_NAME.fullmatch(to):
        known = [*plan.nodes, *(f"{MX_PREFIX}{domain}" for node in plan.nodes.values() for domain in node.domains)]
        raise error_at(f"no node {to!r}", f"a DNS name, an address, or {nearest(to, known)}", "to")
    if literal is None and plan.server(to) is None and plan.server(f"{MX_PREFIX}{to}") is not None:
        domains = ", ".join(sorted(domain for node in plan.nodes.values() for domain in node.domains))
        allowed = f"did you mean '{MX_PREFIX}{to}', the domain's MX? domains: {domains}"
        raise error_at(f"no server is called {to!r}", allowed, "to")
    for number, version in enumerate(versions):
        if literal is not None and version not in (None, literal):
            raise error_at(f"IPv{version} to {to}, which is an IPv{literal} address", f"ip: {literal}", "ip", number)


def check_credentials(plan: Plan, to: str, auth: Auth | None, error_at: _ErrorAt) -> None:
    """Check that a user without a password is one of the server's. With a password, any user may be tried."""
    if auth is None or auth.password is not None:
        return
    server = plan.server(to)
    if server is None:
        what = f"the password of {auth.user!r} at {to} is not known, for {to} is no server of {plan.name}"
        raise error_at(what, "{user: …, password: …}", "auth", "user")
    if auth.user not in server.users:
        allowed = f"{nearest(auth.user, server.users)}; or any user with a password"
        raise error_at(f"no user {auth.user!r} at {server.name}", allowed, "auth", "user")


def check_blame(plan: Plan, outcome: Expected | None, by: str | None, error_at: _ErrorAt) -> None:
    """Check that ``by`` is a node, and that a rule can decide the outcome."""
    if by is None:
        return
    if outcome not in DECIDED_BY_RULES:
        raise error_at(
            f"`by` with {outcome or ANY_OUTCOME}, which no rule decides",
            f"`by` with {', '.join(DECIDED_BY_RULES)}",
            "by",
        )
    if by not in plan.nodes:
        raise error_at(f"no node {by!r}", f"a node of {plan.name}: {nearest(by, plan.nodes)}", "by")


def check_packet(plan: Plan, packet: str | None, spoof: str | None, error_at: _ErrorAt) -> None:
    """Check that the kind of packet exists, and that ``spoof`` is a node whose address it can have."""
    if packet is not None and not is_packet_file(packet) and packet not in PACKET_KINDS:
        allowed = f"{nearest(packet, PACKET_KINDS)}; or {FORM}"
        raise error_at(f"unknown packet {packet!r}", allowed, "packet")
    if spoof is None:
        return
    if packet is None or kind_of(packet).early:
        what = "a session has two sides" if packet else "no mail program can do that"
        raise error_at(f"`spoof`, and {what}", "`spoof` with a packet of one's own making", "spoof")
    if spoof not in plan.nodes:
        raise error_at(f"no node {spoof!r}", f"a node of {plan.name}: {nearest(spoof, plan.nodes)}", "spoof")


def packet_function(packet: str | None, relative_to: Path | None, error_at: _ErrorAt) -> PacketFunction | None:
    """The user's function that makes the packets; None for the kinds that port25lab makes."""
    if packet is None or not is_packet_file(packet):
        return None
    try:
        return load_packet(packet, relative_to)
    except InputError as error:
        if error.file is not None:
            raise
        raise error_at(error.what, error.allowed, "packet") from None


NOT_OF_PACKETS = ("security", "auth", "client", "repeat", "hold", "recipient", "sender", "size")


@dataclass(frozen=True)
class PathCheck:
    """The checks of one path of the file against the topology and the variants."""

    plan: Plan
    known_variants: list[str]
    entry: PathEntry
    error_at: _ErrorAt

    def all(self) -> None:
        """Raise InputError for the first thing that is wrong."""
        check_ends(self.plan, self.entry.source, self.entry.to, self.entry.ip or (), self.error_at)
        check_credentials(self.plan, self.entry.to, self.entry.auth, self.error_at)
        self.packet()
        self.variants()
        self.expectations()

    def packet(self) -> None:
        """Check the keys and outcomes of a path with ``packet``: it has no session and no message."""
        check_packet(self.plan, self.entry.packet, self.entry.spoof, self.error_at)
        for key in NOT_OF_PACKETS if self.entry.packet else ():
            if key in self.entry.model_fields_set:
                raise self.error_at(f"`{key}` of a packet", "`from`, `to`, `port`, `ip` and `spoof`", key)
        for variant, by_version in self.entry.expect.items():
            for version, expectation in by_version.items():
                error_at = under(self.error_at, "expect", variant, version)
                if self.entry.packet and expectation.outcome not in (None, *OUTCOMES_OF_PACKETS):
                    raise error_at(f"{expectation.outcome} of a packet", ", ".join(OUTCOMES_OF_PACKETS))
                if not self.entry.packet and expectation.outcome is Outcome.REACHED:
                    raise error_at(f"{expectation.outcome} of a message", "delivered, or `packet: KIND`")

    def variants(self) -> None:
        own = self.entry.variants or ()
        for number, variant in enumerate(own):
            if variant not in self.known_variants:
                allowed = nearest(variant, self.known_variants)
                raise self.error_at(f"no variant {variant!r}", allowed, "variants", number)
            if variant in own[:number]:
                raise self.error_at(f"the variant {variant!r} is named twice", "each variant once", "variants", number)

    def expectations(self) -> None:
        expect, tried = self.entry.expect, self.entry.variants or self.known_variants
        error_at = under(self.error_at, "expect")
        for variant in (name for name in expect if name not in (ANY, *tried)):
            if variant in self.known_variants:
                what = f"the path is not tried in {variant}"
                raise error_at(what, f"its variants: {', '.join(tried)}", variant, at_key=True)
            raise error_at(f"no variant {variant!r}", nearest(variant, tried), variant, at_key=True)
        if missing := [variant for variant in tried if not {variant, ANY} & expect.keys()]:
            what = f"no expectation for {_joined('variant', missing)}"
            raise error_at(what, "one for each variant in which the path is tried")
        for variant, by_version in expect.items():
            self.versions(by_version, under(error_at, variant))

    def versions(self, by_version: Mapping[str, Expectation], error_at: _ErrorAt) -> None:
        asked = [version_name(version) for version in versions_of(self.entry)]
        for version in by_version:
            if version not in (ANY, *asked):
                known = version in VERSION_NAMES
                what = f"the path is not tried over {version}" if known else f"no IP version {version!r}"
                raise error_at(what, f"its IP versions: {', '.join(asked)}", version, at_key=True)
        if ANY not in by_version and (missing := [version for version in asked if version not in by_version]):
            what = f"no expectation for {_joined('IP version', missing)}"
            raise error_at(what, "one for each IP version over which the path is tried")
        for version, expectation in by_version.items():
            check_blame(self.plan, expectation.outcome, expectation.by, under(error_at, version))
            if expectation.first is not None and expectation.first > self.entry.repeat:
                what = f"`from` is {expectation.first}, and the path is tried {_times(self.entry.repeat)}"
                raise error_at(what, "an attempt that is made: see `repeat`", version, "from")


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
