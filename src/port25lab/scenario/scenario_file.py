"""The format of scenario files, its short forms, and its JSON Schema.

In: YAML. Out: a ``ScenarioFile``. Where the format has short forms, a validator turns them into the long form, and the
schema names both. Whether a scenario fits its topology is checked in ``checks``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from port25lab.errors import nearest
from port25lab.model.addresses import IpVersion
from port25lab.model.client_kinds import CLIENT_KINDS
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import AnyOf, Expected, Outcome, Should
from port25lab.model.packet_kinds import PACKET_KINDS
from port25lab.model.path import DEFAULT_CLIENT, DEFAULT_RECIPIENT, LARGEST_MESSAGE, Auth, Security
from port25lab.scenario import catalogue, document
from port25lab.scenario.document import Strict, listed, shown, wrong
from port25lab.scenario.link_conditions import LinkEntry

VERSION_NAMES: dict[str, IpVersion | None] = {"ipv4": 4, "ipv6": 6, "auto": None}

ANY = "*"
"""Key of an expectation that is the same for every variant or every IP version."""

MOST_ATTEMPTS = 100
"""The most attempts of one path."""

ANY_OUTCOME = "any"

OUTCOMES = [*(outcome.value for outcome in Outcome if outcome is not Outcome.ERROR), *AnyOf, ANY_OUTCOME]
"""What can be expected: every outcome but `error`, which says nothing about a path; several together; or nothing."""

MECHANISMS = [mechanism.value for mechanism in Mechanism if mechanism is not Mechanism.UNKNOWN]

DNS_NAME = re.compile(
    r"(?=.{1,253}$)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
"""A full DNS name (RFC 1123): with a dot, and a last label that does not begin with a digit."""

OUTCOMES_OF_PACKETS: tuple[Expected, ...] = (
    Outcome.REACHED,
    Outcome.DROPPED,
    Outcome.REJECTED_ICMP,
    Outcome.REJECTED_RESET,
    Outcome.THROTTLED,
    Outcome.INTERCEPTED,
    Outcome.UNREACHABLE,
    *AnyOf,
)


def topology_long(value: Any) -> Any:
    """A topology with its parameters apart, from the forms in which a file may name it."""
    if isinstance(value, str):
        return {"name": value, "parameters": {}}
    if isinstance(value, dict):
        head = {"name": value["name"]} if "name" in value else {}
        return head | {"parameters": {key: item for key, item in value.items() if key != "name"}}
    return wrong("topology is no name", "NAME, or {name: NAME, PARAMETER: VALUE}")


def _auth_long(value: Any) -> Any:
    return {"user": value} if isinstance(value, str) else value


def _versions_listed(value: Any) -> tuple[IpVersion | None, ...]:
    versions = listed(value)
    for number, version in enumerate(versions):
        if type(version) not in (int, str) or version not in (4, 6, "auto") or version in versions[:number]:
            wrong(f"ip is {shown(value)}", "4, 6, auto, or a list of them", number)
    if not versions:
        wrong("ip is a list without entries", "4, 6, auto, or a list of them")
    return tuple(None if version == "auto" else version for version in versions)


def _port(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        wrong(f"port is {shown(value)}", "a whole number from 1 to 65535")
    return int(value)


def _outcome(value: Any) -> Expected | None:
    if value not in OUTCOMES:
        wrong(f"no outcome {shown(value)} can be expected", nearest(str(value), OUTCOMES))
    if value == ANY_OUTCOME:
        return None
    return AnyOf(value) if value in list(AnyOf) else Outcome(value)


def _mechanism(value: Any) -> Mechanism:
    if value not in MECHANISMS:
        wrong(f"no mechanism {shown(value)} can be expected", nearest(str(value), MECHANISMS))
    return Mechanism(value)


def _count(value: Any, name: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        wrong(f"{name} is {shown(value)}", f"a whole number from {least} to {most}")
    return int(value)


def _expectation_long(value: Any) -> Any:
    if isinstance(value, str):
        return {"outcome": value}
    if not isinstance(value, dict):
        allowed = "OUTCOME, or {outcome: …, by: NODE, how: MECHANISM, from: ATTEMPT}"
        return wrong(f"an expectation is {shown(value)}", allowed)
    return value


_EXPECTATION_KEYS = ("outcome", "by", "how", "from", "before")


def _by_version(value: Any) -> Any:
    return value if isinstance(value, dict) and VERSION_NAMES.keys() & value.keys() else {ANY: value}


def _by_variant(value: Any) -> Any:
    one_for_all = not isinstance(value, dict) or value.keys() & {*_EXPECTATION_KEYS, *VERSION_NAMES}
    return {ANY: value} if one_for_all else value


def _one_or_more(item: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]})


Text = Annotated[str, Field(min_length=1)]

Node = Annotated[Text, Field(description="Name of a node of the topology.")]

Stack = Annotated[
    tuple[Text, ...],
    BeforeValidator(listed),
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
    """How a path should end, on which node a rule should decide, and which mechanism should be at work."""

    outcome: Annotated[Expected | None, BeforeValidator(_outcome)]
    """None: any."""
    by: Node | None = None
    how: Annotated[Mechanism | None, BeforeValidator(_mechanism)] = None
    first: Annotated[int | None, BeforeValidator(lambda value: _count(value, "from", 2, MOST_ATTEMPTS))] = Field(
        None, alias="from"
    )
    """The first attempt for which this is expected; None: it is expected of all."""
    before: Annotated[Expected | None, BeforeValidator(_outcome)] = Outcome.DELIVERED
    """How the attempts before that should end."""

    @model_validator(mode="after")
    def _changes_once(self) -> Self:
        if self.first is None and "before" in self.model_fields_set:
            wrong("`before` without `from`", "from: the first attempt that ends in the outcome", "before")
        if self.first is not None and self.before is self.outcome:
            wrong(f"{self.outcome} from attempt {self.first} on, and before", "two outcomes that differ", "from")
        return self

    def of(self, attempt: int) -> Expectation:
        """What is expected of one attempt."""
        return self if attempt >= (self.first or 1) else Expectation(outcome=self.before or ANY_OUTCOME)


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
    client: Annotated[tuple[str, ...], BeforeValidator(listed), _one_or_more({"enum": sorted(CLIENT_KINDS)})] = Field(
        (DEFAULT_CLIENT,), min_length=1, description="Client program; of a list, each is tried."
    )
    packet: Annotated[
        str | None,
        WithJsonSchema({"anyOf": [{"enum": sorted(PACKET_KINDS)}, {"type": "string", "pattern": r"\.py(:\w+)?$"}]}),
    ] = Field(
        None,
        description="A packet made by hand in place of a client; it has arrived when it is seen at the destination. "
        "A Python file's function makes packets of one's own.",
        examples=["syn", "fragments", "source-port-25", "./odd.py:tiny_fragments"],
    )
    spoof: Node | None = Field(None, description="Of a packet: the node whose address it has as its source.")
    should: Should | None = Field(
        None,
        description="What a correct policy does with this path, whatever is expected of the one at hand; tables of "
        "paths by variants tell leaks and over-blocking by it.",
    )
    ip: Annotated[
        tuple[IpVersion | None, ...] | None, BeforeValidator(_versions_listed), _one_or_more({"enum": [4, 6, "auto"]})
    ] = Field(
        None,
        description="IP version, each of a list is tried; auto: as the client likes. Both unless `to` is an address.",
    )
    repeat: Annotated[int, BeforeValidator(lambda value: _count(value, "repeat", 1, MOST_ATTEMPTS))] = Field(
        1,
        ge=1,
        le=MOST_ATTEMPTS,
        description="How often the path is tried, one attempt after another; needs `attempts: sequential`.",
    )
    hold: bool = Field(
        False,
        description="Each attempt of a repeated path leaves a connection open, for limits on how many there may be.",
    )
    size: Annotated[int, BeforeValidator(lambda value: _count(value, "size", 0, LARGEST_MESSAGE))] = Field(
        0,
        ge=0,
        le=LARGEST_MESSAGE,
        description="Bytes to which the message is padded, for paths that let only small ones through.",
    )
    recipient: Text = Field(DEFAULT_RECIPIENT, description="Recipient of the message.")
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
        default_factory=lambda: {ANY: {ANY: Expectation.model_validate({"outcome": ANY_OUTCOME})}},
        min_length=1,
        description="Outcome, `any` if left out; or {outcome, by: NODE, how: MECHANISM, from: ATTEMPT, before: "
        "OUTCOME}; either of them by variant, by IP version, or by both.",
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
            if client not in CLIENT_KINDS:
                wrong(f"unknown client {client!r}", nearest(client, CLIENT_KINDS), number)
            if client in clients[:number]:
                wrong(f"the client {client!r} is named twice", "each client once", number)
        return clients

    @field_validator("recipient", "sender")
    @classmethod
    def _mail_address(cls, value: str | None) -> str | None:
        if value is not None:
            local, _, domain = value.rpartition("@")
            if not re.fullmatch(r"[^\s@<>]+", local) or not DNS_NAME.fullmatch(domain):
                wrong(f"{value!r} is no mail address", "NAME@DOMAIN, such as recipient@example.net")
        return value


class ScenarioFile(Strict):
    """A port25lab scenario: a topology, policies on its nodes, paths, and what should become of each."""

    title: Text = Field(description="One line.", examples=["A household at a residential ISP"])
    description: str = Field("", description="What the scenario shows, and why.")
    topology: Annotated[
        TopologyChoice,
        BeforeValidator(topology_long),
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
    links: tuple[LinkEntry, ...] = Field(
        (),
        description="Delay and loss on links. Takes a kernel with netem.",
        examples=[[{"nodes": "isp-edge", "delay": "20ms", "loss": "1%"}]],
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
                        "description": "Of a repeated path, the first attempt that ends in this outcome.",
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
    """A scenario's title. The topology and the policies that it names are not read."""
    return document.validated(document.read_yaml(catalogue.find("scenarios", name)), ScenarioFile).title
