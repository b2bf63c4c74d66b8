"""A scenario: a file in, questions out. Everything in it is checked before any lab starts.

``load_questions`` holds a file (``scenariofile``) against the topology, the policies and the servers that it names, and
multiplies its paths by variants, client programs and IP versions. ``lab_config`` and ``question_about`` do the same for
somebody who asks from Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from itertools import product
from pathlib import Path
from typing import Any, Literal, Protocol

from port25lab import catalogue, services
from port25lab.catalogue import Document, Key
from port25lab.clients import CLIENTS
from port25lab.errors import InputError, nearest
from port25lab.mailpath import MX_PREFIX, Auth, MailPath, Security
from port25lab.mechanism import Mechanism
from port25lab.outcome import DECIDED_BY_RULES, Outcome, Should
from port25lab.policy import Policy, load_policy
from port25lab.rawpackets import KINDS
from port25lab.scenariofile import (
    ANY,
    DEFAULT_CLIENT,
    DNS_NAME,
    OUTCOMES_OF_PROBES,
    VERSION_NAMES,
    Expectation,
    IpVersion,
    PathEntry,
    ScenarioFile,
    TopologyChoice,
)
from port25lab.topology import NodePlan, Plan, load_topology


@dataclass(frozen=True)
class LabConfig:
    """What a lab is made of. Equal ones share a lab."""

    topology: Path
    parameters: tuple[tuple[str, Any], ...] = ()
    policies: tuple[tuple[str, tuple[Path, ...]], ...] = ()
    """Folders by node, stacked in this order. Nodes without any are left out."""

    @property
    def policy_names(self) -> dict[str, tuple[str, ...]]:
        """Names in place of folders."""
        return {node: tuple(folder.name for folder in folders) for node, folders in self.policies}


@dataclass(frozen=True)
class Question:
    """One path in one variant of a scenario, by one client and over one IP version: what one verdict answers."""

    scenario: str
    """A name of the catalogue, or the path that the user gave: `port25lab run` takes it again."""
    variant: str
    id: str
    name: str | None
    ref: str | None
    path: MailPath
    expected: Outcome | None
    """None: whatever comes is fine."""
    by: str | None
    """The node whose rule should decide; None: any."""
    config: LabConfig
    sequential: bool
    """Its scenario's paths depend on one another, and are tried one by one."""
    how: Mechanism | None = None
    """What should be at work; None: whatever it is."""
    repeat: int = 1
    """How often the path is tried in all; which of these attempts is meant, ``path.attempt`` says."""
    expected_from: int | None = None
    """The attempt at which the expectation turns; None: it is the same for all."""
    should: Should | None = None
    """What a correct policy does with the path."""
    matrix: bool = False
    """The scenario asks for a table of its paths by its variants."""


def load_questions(name: str) -> list[Question]:
    """All questions of a scenario of the catalogue or of a file. Raises InputError for the first thing wrong in it."""
    document = catalogue.read_yaml(catalogue.find("scenarios", name))
    scenario = catalogue.validated(document, ScenarioFile)
    plan = _plan(scenario.topology, document.error, relative_to=document.file)
    configs = {
        variant: _config(scenario.topology, plan, stacks, _under(document.error, "variants", variant), document.file)
        for variant, stacks in scenario.variants.items()
    }
    for number, entry in enumerate(scenario.paths):
        if entry.repeat > 1 and scenario.attempts != "sequential":
            what = "`repeat` in a scenario whose attempts go side by side"
            raise document.error(what, "attempts: sequential", "paths", number, "repeat")
        _PathCheck(plan, list(configs), entry, _under(document.error, "paths", number)).all()
    _refuse_duplicates(document, scenario, plan)
    return [
        Question(
            scenario=name,
            variant=variant,
            id=f"{name}/{variant}/{_bare_id(path, entry.ref, plan, entry.repeat)}",
            name=entry.name,
            ref=entry.ref,
            path=path,
            expected=expectation.of(path.attempt).outcome,
            by=expectation.of(path.attempt).by,
            config=config,
            sequential=scenario.attempts == "sequential",
            how=expectation.of(path.attempt).how,
            repeat=entry.repeat,
            expected_from=expectation.first,
            should=entry.should,
            matrix=scenario.matrix,
        )
        for variant, config in configs.items()
        for entry in scenario.paths
        for path, expectation in _asked(entry, variant)
    ]


def lab_config(
    topology: str, policies: Mapping[str, str | Sequence[str]], parameters: Mapping[str, int | bool | str]
) -> LabConfig:
    """What a variant of a scenario file would say, from Python. Raises InputError as such a file would."""
    choice = TopologyChoice(name=topology, parameters=dict(parameters))
    stacks = {node: (names,) if isinstance(names, str) else tuple(names) for node, names in policies.items()}
    return _config(choice, _plan(choice, _without_place), stacks, _without_place)


def question_about(
    path: MailPath,
    config: LabConfig,
    expected: Outcome | None = None,
    by: str | None = None,
    how: Mechanism | None = None,
) -> Question:
    """A question asked from Python. Raises InputError as a scenario file would."""
    plan = _plan_again(config.topology, config.parameters)
    _check_ends(plan, path.source, path.to, (path.ip_version,), _without_place)
    _check_credentials(plan, path.to, path.auth, _without_place)
    _check_probe(plan, path.packet, path.spoof, _without_place)
    if path.client not in CLIENTS:
        raise InputError(f"unknown client {path.client!r}", allowed=nearest(path.client, CLIENTS))
    if expected is not None:
        _check_blame(plan, expected, by, _without_place)
    stacks = ",".join(f"{node}={'+'.join(names)}" for node, names in config.policy_names.items())
    scenario, variant = config.topology.stem, stacks or "open"
    return Question(
        scenario=scenario,
        variant=variant,
        id=f"{scenario}/{variant}/{_bare_id(path, None, plan)}",
        name=None,
        ref=None,
        path=path,
        expected=expected,
        by=by,
        config=config,
        sequential=False,
        how=how,
    )


class _Complain(Protocol):
    """Makes an error about what stands under ``keys``, or at their last one."""

    def __call__(self, what: str, allowed: str, *keys: Key, at_key: bool = False) -> InputError: ...


def _under(complain: _Complain, *outer: Key) -> _Complain:
    def error(what: str, allowed: str, *keys: Key, at_key: bool = False) -> InputError:
        return complain(what, allowed, *outer, *keys, at_key=at_key)

    return error


def _without_place(what: str, allowed: str, *_: Key, at_key: bool = False) -> InputError:
    return InputError(what, allowed=allowed)


def _plan(choice: TopologyChoice, complain: _Complain, relative_to: Path | None = None) -> Plan:
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
    services.check(plan)
    return plan


@lru_cache(maxsize=64)
def _plan_again(topology: Path, parameters: tuple[tuple[str, Any], ...]) -> Plan:
    return load_topology(str(topology), dict(parameters))


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


def _config(
    choice: TopologyChoice,
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
        services.check(plan.with_services({node: brought}))
        if names:
            folders[node] = tuple(policy.folder.absolute() for policy in stack[-len(names) :])
    return LabConfig(
        topology=plan.file.absolute(),
        parameters=tuple(sorted(choice.parameters.items())),
        policies=tuple(sorted(folders.items())),
    )


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


def _check_ends(plan: Plan, source: str, to: str, versions: Sequence[IpVersion], complain: _Complain) -> None:
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


def _check_credentials(plan: Plan, to: str, auth: Auth | None, complain: _Complain) -> None:
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


def _check_blame(plan: Plan, outcome: Outcome, by: str | None, complain: _Complain) -> None:
    """A rule decides where a path is blocked, and where a relay's own way is."""
    if by is None:
        return
    if outcome not in DECIDED_BY_RULES:
        raise complain(f"`by` with {outcome}, which no rule decides", f"`by` with {', '.join(DECIDED_BY_RULES)}", "by")
    if by not in plan.nodes:
        raise complain(f"no node {by!r}", f"a node of {plan.name}: {nearest(by, plan.nodes)}", "by")


def _check_probe(plan: Plan, packet: str | None, spoof: str | None, complain: _Complain) -> None:
    """A kind that exists, and a node to lend its address."""
    if packet is not None and packet not in KINDS:
        raise complain(f"unknown packet {packet!r}", nearest(packet, KINDS), "packet")
    if spoof is None:
        return
    if packet is None or KINDS[packet].early:
        what = "a session has two sides" if packet else "no mail program can do that"
        raise complain(f"`spoof`, and {what}", "`spoof` with a packet of one's own making", "spoof")
    if spoof not in plan.nodes:
        raise complain(f"no node {spoof!r}", f"a node of {plan.name}: {nearest(spoof, plan.nodes)}", "spoof")


NOT_OF_PROBES = ("security", "auth", "client", "repeat", "hold", "recipient", "sender", "size")


@dataclass(frozen=True)
class _PathCheck:
    """Holds one path of the file against the topology and the variants."""

    plan: Plan
    known_variants: list[str]
    entry: PathEntry
    complain: _Complain

    def all(self) -> None:
        """Raises InputError for the first thing that is wrong."""
        _check_ends(self.plan, self.entry.source, self.entry.to, self.entry.ip or (), self.complain)
        _check_credentials(self.plan, self.entry.to, self.entry.auth, self.complain)
        self.probe()
        self.variants()
        self.expectations()

    def probe(self) -> None:
        """A probe is one packet: nobody logs in, and no message is sent."""
        _check_probe(self.plan, self.entry.packet, self.entry.spoof, self.complain)
        for key in NOT_OF_PROBES if self.entry.packet else ():
            if key in self.entry.model_fields_set:
                raise self.complain(f"`{key}` of a packet", "`from`, `to`, `port`, `ip` and `spoof`", key)
        for variant, by_version in self.entry.expect.items():
            for version, expectation in by_version.items():
                complain = _under(self.complain, "expect", variant, version)
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
        complain = _under(self.complain, "expect")
        for variant in (name for name in expect if name not in (ANY, *mine)):
            if variant in self.known_variants:
                what = f"the path is not tried in {variant}"
                raise complain(what, f"its variants: {', '.join(mine)}", variant, at_key=True)
            raise complain(f"no variant {variant!r}", nearest(variant, mine), variant, at_key=True)
        if missing := [variant for variant in mine if not {variant, ANY} & expect.keys()]:
            what = f"no expectation for {_joined('variant', missing)}"
            raise complain(what, "one for each variant in which the path is tried")
        for variant, by_version in expect.items():
            self.versions(by_version, _under(complain, variant))

    def versions(self, by_version: Mapping[str, Expectation], complain: _Complain) -> None:
        asked = [_version_name(version) for version in _versions(self.entry)]
        for version in by_version:
            if version not in (ANY, *asked):
                known = version in VERSION_NAMES
                what = f"the path is not tried over {version}" if known else f"no IP version {version!r}"
                raise complain(what, f"its IP versions: {', '.join(asked)}", version, at_key=True)
        if ANY not in by_version and (missing := [version for version in asked if version not in by_version]):
            what = f"no expectation for {_joined('IP version', missing)}"
            raise complain(what, "one for each IP version over which the path is tried")
        for version, expectation in by_version.items():
            _check_blame(self.plan, expectation.outcome, expectation.by, _under(complain, version))
            if expectation.first is not None and expectation.first > self.entry.repeat:
                what = f"`from` is {expectation.first}, and the path is tried {_times(self.entry.repeat)}"
                raise complain(what, "an attempt that is made: see `repeat`", version, "from")


def _asked(entry: PathEntry, variant: str) -> Iterator[tuple[MailPath, Expectation]]:
    """The paths of one entry in one variant, each with what is expected of it."""
    if entry.variants is not None and variant not in entry.variants:
        return
    by_version = entry.expect[variant if variant in entry.expect else ANY]
    for path in _paths(entry):
        name = _version_name(path.ip_version)
        yield path, by_version[name if name in by_version else ANY]


def _paths(entry: PathEntry) -> Iterator[MailPath]:
    for client in entry.client:
        for version, attempt in product(_versions(entry), range(1, 1 + entry.repeat)):
            yield MailPath(
                source=entry.source,
                to=entry.to,
                port=entry.port,
                security=entry.security,
                auth=Auth(user=entry.auth.user, password=entry.auth.password) if entry.auth else None,
                client=client,
                ip_version=version,
                recipient=entry.recipient,
                sender=entry.sender,
                attempt=attempt,
                hold=entry.hold,
                size=entry.size,
                packet=entry.packet,
                spoof=entry.spoof,
            )


def _versions(entry: PathEntry) -> tuple[IpVersion, ...]:
    if entry.ip is not None:
        return entry.ip
    literal = _address_version(entry.to)
    return (literal,) if literal is not None else (4, 6)


def _address_version(text: str) -> Literal[4, 6] | None:
    try:
        return ip_address(text).version
    except ValueError:
        return None


def _version_name(version: IpVersion) -> str:
    return f"ipv{version}" if version else "auto"


def _bare_id(path: MailPath, ref: str | None, plan: Plan, repeat: int = 1) -> str:
    """A path's id within its scenario and variant; ``report.words`` reads it."""
    parts = [
        *([ref] if ref else []),
        f"{path.source}-to-{path.to}-{path.port}",
        *([path.security.value] if path.security is not Security.NONE else []),
        *([path.auth.user] if path.auth else []),
        *(["badauth"] if path.auth and not _right(path.auth, plan.server(path.to)) else []),
        *([f"{path.size}B"] if path.size else []),
        *([path.client] if path.client != DEFAULT_CLIENT else []),
        *([path.packet] if path.packet else []),
        *([f"as-{path.spoof}"] if path.spoof else []),
    ]
    attempt = f"/{path.attempt}" if repeat > 1 else ""
    return f"{'-'.join(parts)}/{_version_name(path.ip_version)}{attempt}"


def _right(auth: Auth, server: NodePlan | None) -> bool:
    return auth.password is None or (server is not None and server.users.get(auth.user) == auth.password)


def _refuse_duplicates(document: Document, scenario: ScenarioFile, plan: Plan) -> None:
    seen: dict[tuple[str, str], int] = {}
    for number, entry in enumerate(scenario.paths):
        for variant in entry.variants or scenario.variants:
            for path in _paths(entry):
                bare = _bare_id(path, entry.ref, plan, entry.repeat)
                if (variant, bare) in seen:
                    what = f"path {number + 1} has the same id as path {seen[variant, bare] + 1}: {bare}"
                    raise document.error(what, "each path once, or a `ref` that tells them apart", "paths", number)
                seen[variant, bare] = number


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _joined(noun: str, names: list[str]) -> str:
    return f"{noun}{'s' * (len(names) > 1)} {', '.join(names)}"
