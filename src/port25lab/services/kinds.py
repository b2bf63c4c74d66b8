"""The kinds of service that a node may have. Data alone: a new kind of mail server is one row of ``KINDS``.

In a topology a service is ``{"kind": "mx", "domains": ["example.net"]}``; ``check`` says before anything starts whether
all of a plan's services make sense.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Any

from port25lab.errors import InputError, nearest
from port25lab.topology import NodePlan, Plan

DNS_PORT = 53


class Role(StrEnum):
    """Which program serves a kind."""

    MAIL = "mail"
    AUTHORITY = "authority"
    RESOLVER = "resolver"


@dataclass(frozen=True)
class Door:
    """One port of a mail server, and what it asks of those who come in."""

    port: int
    implicit_tls: bool = False
    """TLS from the first byte (RFC 8314); every other door offers STARTTLS (RFC 3207)."""
    auth_required: bool = False
    auth_in_clear: bool = False
    """Whether AUTH is offered before TLS, as was common on port 25."""


@dataclass(frozen=True)
class Kind:
    """A kind of service: who serves it, where, and what a topology has to say and may say of it."""

    role: Role
    doors: tuple[Door, ...] = ()
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    relays_for_everybody: bool = False


MX = Door(25, auth_in_clear=True)
SUBMISSION = Door(587, auth_required=True)
SUBMISSIONS = Door(465, implicit_tls=True, auth_required=True, auth_in_clear=True)
ALTERNATIVE = Door(2525, auth_required=True)
"""No RFC has it; relay services do, because some clouds block all three others."""

KINDS: Mapping[str, Kind] = {
    "mx": Kind(Role.MAIL, (MX,), required=("domains",), optional=("users",)),
    "submission": Kind(Role.MAIL, (SUBMISSION,), required=("users",)),
    "submissions": Kind(Role.MAIL, (SUBMISSIONS,), required=("users",)),
    "relay": Kind(Role.MAIL, (MX, SUBMISSION, SUBMISSIONS), required=("networks",), optional=("domains", "users")),
    "relay-service": Kind(Role.MAIL, (SUBMISSION, SUBMISSIONS, ALTERNATIVE), required=("users",)),
    "open-relay": Kind(Role.MAIL, (MX,), optional=("domains",), relays_for_everybody=True),
    "dns": Kind(Role.AUTHORITY),
    "resolver": Kind(Role.RESOLVER, required=("upstream",)),
}


def check(plan: Plan) -> None:
    """Look at every service and name in a plan. Raises InputError for what no server could be started from."""
    for node in plan.nodes.values():
        for text in _wrong(node):
            raise InputError(f"node {node.name!r}: {text.what}", allowed=text.allowed, file=plan.file)


def doors_of(service: Mapping[str, Any]) -> tuple[Door, ...]:
    """The doors of a mail service. One that asks everybody to log in stays shut where nobody could."""
    return tuple(door for door in KINDS[service["kind"]].doors if service.get("users") or not door.auth_required)


@dataclass(frozen=True)
class _Wrong:
    what: str
    allowed: str


def _wrong(node: NodePlan) -> Iterator[_Wrong]:
    """Everything that is wrong with a node, the gravest first."""
    taken: dict[int, str] = {}
    for service in node.services:
        name = service.get("kind")
        if name is None:
            yield _Wrong(f"service {service!r} has no kind", f"known: {', '.join(sorted(KINDS))}")
            return
        if name not in KINDS:
            yield _Wrong(f"unknown kind of service {name!r}", nearest(str(name), KINDS))
            return
        yield from _wrong_parameters(name, service)
        for port in _ports(service):
            if port in taken:
                other = taken[port]
                yield _Wrong(f"services {other!r} and {name!r} both want port {port}", "one service for each port")
            taken[port] = name
    yield from _wrong_names(node)


def _wrong_parameters(name: str, service: Mapping[str, Any]) -> Iterator[_Wrong]:
    kind = KINDS[name]
    known = (*kind.required, *kind.optional)
    for parameter in service:
        if parameter not in (*known, "kind"):
            yield _Wrong(f"unknown parameter {parameter!r} of service {name!r}", nearest(str(parameter), known))
    for parameter in kind.required:
        if not service.get(parameter):
            yield _Wrong(f"service {name!r} needs {parameter!r}", _PARAMETERS[parameter].allowed)
    for parameter in known:
        value = service.get(parameter)
        if value and not _PARAMETERS[parameter].fits(value):
            yield _Wrong(f"{parameter!r} of service {name!r} is {value!r}", _PARAMETERS[parameter].allowed)


def _wrong_names(node: NodePlan) -> Iterator[_Wrong]:
    names = node.names or ((node.hostname,) if node.services else ())
    for name in names:
        if not _is_host_name(name):
            yield _Wrong(f"{name!r} is no host name", "allowed are labels of letters, digits and hyphens (RFC 1123)")


def _ports(service: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(door.port for door in doors_of(service)) if KINDS[service["kind"]].doors else (DNS_PORT,)


_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


def _is_host_name(name: object) -> bool:
    return isinstance(name, str) and len(name) < 254 and all(_LABEL.fullmatch(label) for label in name.split("."))


def _is_address(text: object) -> bool:
    return isinstance(text, str) and _parses(ip_address, text)


def _is_network(text: object) -> bool:
    return isinstance(text, str) and _parses(ip_network, text)


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _all(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list | tuple) and all(fits(item) for item in value)


def _are_users(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(text, str) and text for pair in value.items() for text in pair)


@dataclass(frozen=True)
class _Parameter:
    fits: Callable[[object], bool]
    allowed: str


_PARAMETERS: Mapping[str, _Parameter] = {
    "domains": _Parameter(_all(_is_host_name), "allowed is a list of domains, such as ['example.net']"),
    "users": _Parameter(_are_users, "allowed are users with their passwords, such as {'alice': 'secret'}"),
    "networks": _Parameter(_all(_is_network), "allowed is a list of networks, such as ['192.0.2.0/24']"),
    "upstream": _Parameter(_is_address, "allowed is the address of a DNS server, such as '192.0.2.53'"),
}
