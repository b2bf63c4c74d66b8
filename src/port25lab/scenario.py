"""A scenario: a YAML file in, questions out. Everything in it is checked before any lab starts.

``ScenarioFile`` is the format, and its JSON Schema. ``load_questions`` holds a file against the topology, the policies
and the servers that it names, and multiplies its paths by variants, client programs and IP versions. ``lab_config``
and ``question_about`` do the same for somebody who asks from Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from port25lab import catalogue, services
from port25lab.catalogue import Document, Key, Strict, shown, wrong
from port25lab.clients import CLIENTS
from port25lab.errors import InputError, nearest
from port25lab.mailpath import DEFAULT_RECIPIENT, LARGEST_MESSAGE, MX_PREFIX, Auth, MailPath, Security
from port25lab.mechanism import Mechanism
from port25lab.outcome import DECIDED_BY_RULES, Outcome, Should
from port25lab.policy import Policy, load_policy
from port25lab.rawpackets import KINDS
from port25lab.topology import NodePlan, Plan, load_topology

IpVersion = Literal[4, 6] | None
"""None: the client takes whatever address it comes to first."""

VERSION_NAMES: dict[str, IpVersion] = {"ipv4": 4, "ipv6": 6, "auto": None}
ANY = "*"
"""Stands for every variant or every IP version, where an expectation does not tell them apart."""

MOST_ATTEMPTS = 100
"""How often a path may be repeated."""

DEFAULT_CLIENT = "aiosmtplib"
OUTCOMES = [outcome.value for outcome in Outcome if outcome is not Outcome.ERROR]
"""What can be expected. An `error` says nothing about a path."""

MECHANISMS = [mechanism.value for mechanism in Mechanism if mechanism is not Mechanism.UNKNOWN]

OUTCOMES_OF_PROBES = (
    Outcome.REACHED,
    Outcome.DROPPED,
    Outcome.REJECTED_ICMP,
    Outcome.REJECTED_RESET,
    Outcome.THROTTLED,
)


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


# The format. Where it has short forms, a validator writes them out, and the schema names both.


def _topology_long(given: Any) -> Any:
    if isinstance(given, str):
        return {"name": given, "parameters": {}}
    if isinstance(given, dict):
        head = {"name": given["name"]} if "name" in given else {}
        return head | {"parameters": {key: value for key, value in given.items() if key != "name"}}
    return wrong("topology is no name", "NAME, or {name: NAME, PARAMETER: VALUE}")


def _listed(given: Any) -> Any:
    return given if isinstance(given, list) else [given]


def _auth_long(given: Any) -> Any:
    return {"user": given} if isinstance(given, str) else given


def _versions_listed(given: Any) -> tuple[IpVersion, ...]:
    versions = _listed(given)
    for number, version in enumerate(versions):
        if type(version) not in (int, str) or version not in (4, 6, "auto") or version in versions[:number]:
            wrong(f"ip is {shown(given)}", "4, 6, auto, or a list of them", number)
    if not versions:
        wrong("ip is a list without entries", "4, 6, auto, or a list of them")
    return tuple(None if version == "auto" else version for version in versions)


def _port(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= 65535:
        wrong(f"port is {shown(given)}", "a whole number from 1 to 65535")
    return int(given)


def _outcome(given: Any) -> Outcome:
    if given not in OUTCOMES:
        wrong(f"no outcome {shown(given)} can be expected", nearest(str(given), OUTCOMES))
    return Outcome(given)


def _mechanism(given: Any) -> Mechanism:
    if given not in MECHANISMS:
        wrong(f"no mechanism {shown(given)} can be expected", nearest(str(given), MECHANISMS))
    return Mechanism(given)


def _count(given: Any, name: str, least: int, most: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        wrong(f"{name} is {shown(given)}", f"a whole number from {least} to {most}")
    return int(given)


def _expectation_long(given: Any) -> Any:
    if isinstance(given, str):
        return {"outcome": given}
    if not isinstance(given, dict):
        allowed = "OUTCOME, or {outcome: …, by: NODE, how: MECHANISM, from: ATTEMPT}"
        return wrong(f"an expectation is {shown(given)}", allowed)
    return given


_EXPECTATION_KEYS = ("outcome", "by", "how", "from", "before")


def _by_version(given: Any) -> Any:
    return given if isinstance(given, dict) and VERSION_NAMES.keys() & given.keys() else {ANY: given}


def _by_variant(given: Any) -> Any:
    one_for_all = not isinstance(given, dict) or given.keys() & {*_EXPECTATION_KEYS, *VERSION_NAMES}
    return {ANY: given} if one_for_all else given


def _one_or_more(item: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]})


Text = Annotated[str, Field(min_length=1)]
Node = Annotated[Text, Field(description="Name of a node of the topology.")]
Stack = Annotated[
    tuple[Text, ...],
    BeforeValidator(_listed),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            "description": "Policies of the catalogue or folders, stacked in this order.",
        }
    ),
]


class TopologyChoice(Strict):
    """A topology and its parameters."""

    name: Text
    parameters: dict[str, int | bool | str]


class Expectation(Strict):
    """What should become of a path, by whose rule, and by what mechanism."""

    outcome: Annotated[Outcome, BeforeValidator(_outcome)]
    by: Node | None = None
    how: Annotated[Mechanism | None, BeforeValidator(_mechanism)] = None
    first: Annotated[int | None, BeforeValidator(lambda given: _count(given, "from", 2, MOST_ATTEMPTS))] = Field(
        None, alias="from"
    )
    """The first attempt of which this is true; None: of all."""
    before: Annotated[Outcome, BeforeValidator(_outcome)] = Outcome.DELIVERED
    """What should become of the attempts before that."""

    @model_validator(mode="after")
    def _turns_once(self) -> Self:
        if self.first is None and "before" in self.model_fields_set:
            wrong("`before` without `from`", "from: the first attempt that ends in the outcome", "before")
        if self.first is not None and self.before is self.outcome:
            wrong(f"{self.outcome} from attempt {self.first} on, and before", "two outcomes that differ", "from")
        return self

    def of(self, attempt: int) -> Expectation:
        """What is expected of one attempt."""
        return self if attempt >= (self.first or 1) else Expectation(outcome=self.before)


class AuthEntry(Auth, Strict):
    """SMTP AUTH; the right password unless another is given."""


class PathEntry(Strict):
    """One path, or several that differ in client program and IP version."""

    ref: str | None = Field(None, description="Reference of your own, for --ref.", examples=["S3"])
    name: Text | None = Field(None, description="The path in words.", examples=["self-hosted server to the MX"])
    source: Node = Field(alias="from", description="Node that sends.", examples=["home-server"])
    to: Text = Field(
        description="Node, DNS name, address, or mx:DOMAIN for what the DNS says is the domain's MX.",
        examples=["mx:example.net", "isp-relay", "smtp.relay.example"],
    )
    port: Annotated[int, BeforeValidator(_port)] = Field(25, ge=1, le=65535, examples=[25, 587, 465])
    security: Security = Field(
        Security.NONE, description="TLS: not at all, by STARTTLS, or from the first byte (port 465)."
    )
    auth: Annotated[AuthEntry | None, BeforeValidator(_auth_long)] = Field(
        None,
        description="User for SMTP AUTH, with the right password unless another one is given.",
        examples=["alice", {"user": "alice", "password": "wrong"}],
    )
    client: Annotated[tuple[str, ...], BeforeValidator(_listed), _one_or_more({"enum": sorted(CLIENTS)})] = Field(
        (DEFAULT_CLIENT,), min_length=1, description="Client program; of a list, each is tried."
    )
    packet: Annotated[str | None, WithJsonSchema({"enum": sorted(KINDS)})] = Field(
        None,
        description="A raw-packet probe in place of a client; it has arrived when it is seen at the destination.",
        examples=["syn", "fragments", "source-port-25"],
    )
    spoof: Node | None = Field(None, description="Of a probe: the node whose address it has as its source.")
    should: Should | None = Field(
        None,
        description="What a correct policy does with this path, whatever is expected of the one at hand; tables of "
        "paths by variants tell leaks and over-blocking by it.",
    )
    ip: Annotated[
        tuple[IpVersion, ...] | None, BeforeValidator(_versions_listed), _one_or_more({"enum": [4, 6, "auto"]})
    ] = Field(
        None,
        description="IP version, each of a list is tried; auto: as the client likes. Both unless `to` is an address.",
    )
    repeat: Annotated[int, BeforeValidator(lambda given: _count(given, "repeat", 1, MOST_ATTEMPTS))] = Field(
        1,
        ge=1,
        le=MOST_ATTEMPTS,
        description="How often the path is tried, one attempt after another; needs `attempts: sequential`.",
    )
    hold: bool = Field(
        False,
        description="Each attempt of a repeated path leaves a connection open, for limits on how many there may be.",
    )
    size: Annotated[int, BeforeValidator(lambda given: _count(given, "size", 0, LARGEST_MESSAGE))] = Field(
        0,
        ge=0,
        le=LARGEST_MESSAGE,
        description="Bytes to which the message is padded, for paths that let only small ones through.",
    )
    recipient: Text = Field(DEFAULT_RECIPIENT, description="Whom the message is for.")
    sender: Text | None = Field(None, description="Envelope sender; NODE@port25lab.example if left out.")
    expect: Annotated[
        dict[
            str,
            Annotated[
                dict[str, Annotated[Expectation, BeforeValidator(_expectation_long)]], BeforeValidator(_by_version)
            ],
        ],
        BeforeValidator(_by_variant),
        WithJsonSchema({"type": ["string", "object"]}),
    ] = Field(
        min_length=1,
        description="Outcome; or {outcome, by: NODE, how: MECHANISM, from: ATTEMPT, before: OUTCOME}; either of them "
        "by variant, by IP version, or by both.",
        examples=["delivered", {"open": "delivered", "op25b": {"outcome": "dropped", "by": "isp-edge"}}],
    )
    variants: tuple[Text, ...] | None = Field(None, min_length=1, description="Variants to try it in; all if left out.")

    @field_validator("ref")
    @classmethod
    def _one_word(cls, ref: str | None) -> str | None:
        if ref is not None and not re.fullmatch(r"[A-Za-z0-9_.-]+", ref):
            wrong(f"{ref!r} is no ref", "letters, digits and _ . -")
        return ref

    @field_validator("client")
    @classmethod
    def _known_clients(cls, clients: tuple[str, ...]) -> tuple[str, ...]:
        for number, client in enumerate(clients):
            if client not in CLIENTS:
                wrong(f"unknown client {client!r}", nearest(client, CLIENTS), number)
            if client in clients[:number]:
                wrong(f"the client {client!r} is named twice", "each client once", number)
        return clients

    @field_validator("recipient", "sender")
    @classmethod
    def _mail_address(cls, given: str | None) -> str | None:
        if given is not None:
            local, _, domain = given.rpartition("@")
            if not re.fullmatch(r"[^\s@<>]+", local) or not _DNS_NAME.fullmatch(domain):
                wrong(f"{given!r} is no mail address", "NAME@DOMAIN, such as recipient@example.net")
        return given


class ScenarioFile(Strict):
    """A port25lab scenario: a topology, policies on its nodes, paths, and what should become of each."""

    title: Text = Field(description="One line.", examples=["A household at a residential ISP"])
    description: str = Field("", description="What the scenario shows, and why.")
    topology: Annotated[
        TopologyChoice,
        BeforeValidator(_topology_long),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string"},
                    {
                        "type": "object",
                        "properties": {"name": {"type": "string"}},
                        "required": ["name"],
                        "additionalProperties": {"type": ["integer", "boolean", "string"]},
                    },
                ]
            }
        ),
    ] = Field(
        description="Topology of the catalogue or a Python file; as a mapping, with its parameters.",
        examples=["residential_isp", {"name": "residential_isp", "customers": 2}],
    )
    variants: dict[str, dict[str, Stack]] = Field(
        min_length=1,
        description="Each is a lab: policies by node. Empty: the network without any policy, the control.",
        examples=[{"open": {}, "op25b": {"isp-edge": "op25b"}}],
    )
    attempts: Literal["concurrent", "sequential"] = Field(
        "concurrent", description="sequential: paths depend on one another, as with rate limits, and go one by one."
    )
    matrix: bool = Field(False, description="Print a table of all paths by all variants after the run.")
    paths: tuple[PathEntry, ...] = Field(min_length=1)

    @field_validator("variants")
    @classmethod
    def _names_of_variants(cls, variants: dict[str, Any]) -> dict[str, Any]:
        for name in variants:
            if not re.fullmatch(r"[A-Za-z0-9_.+-]+", name):
                wrong(f"{name!r} is no name for a variant", "letters, digits and _ . + -", name, at_key=True)
            if name in (*VERSION_NAMES, *_EXPECTATION_KEYS):
                wrong(f"a variant cannot be named {name!r}", "a word without a meaning of its own", name, at_key=True)
        return variants


def schema() -> dict[str, Any]:
    """JSON Schema of scenario files, for editors and validators."""
    made = ScenarioFile.model_json_schema(by_alias=True)
    path = made["$defs"]["PathEntry"]["properties"]
    path["auth"]["anyOf"].insert(0, {"type": "string"})
    del path["expect"]["type"]
    path["expect"]["anyOf"] = [{"$ref": f"#/$defs/{name}"} for name in _EXPECTATION_SCHEMAS]
    # Names of the catalogue are offered, and paths are still allowed.
    topology, policies = made["properties"]["topology"], made["properties"]["variants"]["additionalProperties"]
    topology["anyOf"].insert(0, {"enum": catalogue.names("topologies")})
    policies["additionalProperties"]["anyOf"].insert(0, {"enum": catalogue.names("policies")})
    made["$defs"] |= _EXPECTATION_SCHEMAS
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


_ONE = {"$ref": "#/$defs/ExpectedOutcome"}
_EXPECTATION_SCHEMAS: dict[str, Any] = {
    "ExpectedOutcome": {
        "anyOf": [
            {"enum": OUTCOMES},
            {
                "type": "object",
                "properties": {
                    "outcome": {"enum": OUTCOMES},
                    "by": {"type": "string", "description": "Node whose rule decides."},
                    "how": {"enum": MECHANISMS, "description": "What is at work."},
                    "from": {
                        "type": "integer",
                        "minimum": 2,
                        "maximum": MOST_ATTEMPTS,
                        "description": "Of a repeated path, the first attempt that ends so.",
                    },
                    "before": {"enum": OUTCOMES, "description": "How attempts before that end; delivered if left out."},
                },
                "required": ["outcome"],
                "additionalProperties": False,
            },
        ]
    },
    "ExpectedByVersion": {
        "type": "object",
        "properties": dict.fromkeys(VERSION_NAMES, _ONE),
        "minProperties": 1,
        "additionalProperties": False,
    },
    "ExpectedByVariant": {
        "type": "object",
        "propertyNames": {"not": {"enum": [*_EXPECTATION_KEYS, *VERSION_NAMES]}},
        "minProperties": 1,
        "additionalProperties": {"anyOf": [_ONE, {"$ref": "#/$defs/ExpectedByVersion"}]},
    },
}


def title_of(name: str) -> str:
    """A scenario's title, without a look at what it refers to."""
    return catalogue.validated(catalogue.read_yaml(catalogue.find("scenarios", name)), ScenarioFile).title


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


_DNS_NAME = re.compile(
    r"(?=.{1,253}$)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
"""A full name (RFC 1123): with a dot, and a last part that does not look like a number."""


def _check_ends(plan: Plan, source: str, to: str, versions: Sequence[IpVersion], complain: _Complain) -> None:
    """The sender is a node; the destination need not exist, but a name that is misspelt is no question."""
    if source not in plan.nodes:
        raise complain(f"no node {source!r}", f"a node of {plan.name}: {nearest(source, plan.nodes)}", "from")
    if to.startswith(MX_PREFIX):
        if not _DNS_NAME.fullmatch(to.removeprefix(MX_PREFIX)):
            raise complain(f"{to!r} names no domain", "mx:DOMAIN, such as mx:example.net", "to")
        return
    literal = _address_version(to)
    if literal is None and plan.server(to) is None and not _DNS_NAME.fullmatch(to):
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
