"""The kinds of service that a node may have, as data. A new kind of mail server is one row of ``SERVICE_KINDS``.

In a topology a service is ``{"kind": "mx", "domains": ["example.net"]}``. ``check`` refuses a plan with a wrong service
before any lab starts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Any

from port25lab.errors import InputError, nearest
from port25lab.model.plan import NodePlan, Plan

DNS_PORT = 53


class Role(StrEnum):
    """Which program serves a kind."""

    MAIL = "mail"
    AUTHORITY = "authority"
    RESOLVER = "resolver"
    STAND_IN = "stand-in"
    """Takes connections in a server's place (``middleboxes.fake_servers``)."""
    PROXY = "proxy"
    """Forwards sessions to their destination, altered (``middleboxes.proxy``)."""
    OWN = "own"
    """A program of the user's (``middleboxes.own_program``)."""
    QUEUE = "queue"
    """Alters packets that pass (``middleboxes.packet_rewriter``)."""


@dataclass(frozen=True)
class ListenPort:
    """One port of a mail server, and what a client has to do there."""

    port: int
    implicit_tls: bool = False
    """TLS from the first byte (RFC 8314); every other port offers STARTTLS (RFC 3207)."""
    auth_required: bool = False
    auth_in_clear: bool = False
    """Whether AUTH is offered before TLS, as was common on port 25."""


@dataclass(frozen=True)
class Kind:
    """A kind of service: its program, its ports, and the parameters that a topology must and may give."""

    role: Role
    listen_ports: tuple[ListenPort, ...] = ()
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    relays_for_everybody: bool = False
    needs: str | None = None
    """The feature of the kernel that it needs, by its name in ``machine``."""


MX = ListenPort(25, auth_in_clear=True)

SUBMISSION = ListenPort(587, auth_required=True)

SUBMISSIONS = ListenPort(465, implicit_tls=True, auth_required=True, auth_in_clear=True)

ALTERNATIVE = ListenPort(2525, auth_required=True)
"""In no RFC. Relay services listen here because some clouds block the three other ports."""

ANY_PORT = 0

OWN = ListenPort(ANY_PORT, auth_in_clear=True)
"""At the port that the service names: the rules of a policy send connections there."""

MIDDLEBOXES: Mapping[str, Kind] = {
    "interceptor": Kind(Role.MAIL, (OWN,), required=("port",), optional=("refusal",), relays_for_everybody=True),
    "greeting": Kind(Role.STAND_IN, required=("port", "reply")),
    "hang-up": Kind(Role.STAND_IN, required=("port",)),
    "tarpit": Kind(Role.STAND_IN, required=("port",), optional=("seconds",)),
    "endless-banner": Kind(Role.STAND_IN, required=("port",)),
    "long-line": Kind(Role.STAND_IN, required=("port",)),
    "garbage": Kind(Role.STAND_IN, required=("port",)),
    "never-closing": Kind(Role.STAND_IN, required=("port",)),
    "smtp-fixup": Kind(Role.PROXY, required=("port",)),
    "banner-mask": Kind(Role.PROXY, required=("port",)),
    "extension-mask": Kind(Role.PROXY, required=("port",)),
    "smtp-fixup-inline": Kind(Role.QUEUE, required=("queue",), needs="NFQUEUE"),
}
"""Services between a client and its server, which a policy brings. ``mail.middleboxes`` describes each."""

OWN_KIND = "own"
"""What a service becomes whose kind is a file of the user's: ``./slow.py:handle``."""

SERVICE_KINDS: Mapping[str, Kind] = {
    "mx": Kind(Role.MAIL, (MX,), required=("domains",), optional=("users", "greylist", "dnsbl")),
    "submission": Kind(Role.MAIL, (SUBMISSION,), required=("users",)),
    "submissions": Kind(Role.MAIL, (SUBMISSIONS,), required=("users",)),
    "relay": Kind(Role.MAIL, (MX, SUBMISSION, SUBMISSIONS), required=("networks",), optional=("domains", "users")),
    "relay-service": Kind(Role.MAIL, (SUBMISSION, SUBMISSIONS, ALTERNATIVE), required=("users",)),
    "open-relay": Kind(Role.MAIL, (MX,), optional=("domains",), relays_for_everybody=True),
    "dns": Kind(Role.AUTHORITY, optional=("blocklists",)),
    "resolver": Kind(Role.RESOLVER, required=("upstream",)),
    OWN_KIND: Kind(Role.OWN, required=("port", "program"), optional=("domains", "users", "parameters")),
    **MIDDLEBOXES,
}


def check(plan: Plan) -> None:
    """Raise InputError for the first service or name of a plan with which no server could be started."""
    for node in plan.nodes.values():
        for text in _wrong(node, plan):
            raise InputError(f"node {node.name!r}: {text.what}", allowed=text.allowed, file=plan.file)


def troubles(service: Mapping[str, Any]) -> Iterator[Wrong]:
    """All that is wrong with one service by itself, the worst first."""
    name = service.get("kind")
    if name is None:
        yield Wrong(f"service {dict(service)!r} has no kind", f"known: {', '.join(sorted(SERVICE_KINDS))}")
    elif not isinstance(name, str) or name not in SERVICE_KINDS:
        yield Wrong(f"unknown kind of service {name!r}", nearest(str(name), SERVICE_KINDS), "kind")
    else:
        yield from _wrong_parameters(name, service)


def listen_ports_of(service: Mapping[str, Any]) -> tuple[ListenPort, ...]:
    """The ports of a mail service. Without users, it has no port that requires AUTH."""
    return tuple(
        replace(port, port=port.port or service["port"])
        for port in SERVICE_KINDS[service["kind"]].listen_ports
        if service.get("users") or not port.auth_required
    )


@dataclass(frozen=True)
class Wrong:
    """What is wrong with a service, what is allowed, and which parameter it is about."""

    what: str
    allowed: str
    parameter: str | None = None


def _wrong(node: NodePlan, plan: Plan) -> Iterator[Wrong]:
    """All that is wrong with a node, the worst first."""
    taken: dict[int, str] = {}
    for service in node.services:
        wrong = list(troubles(service))
        if wrong:
            yield from wrong
            return
        name = service["kind"]
        for zone, members in service.get("blocklists", {}).items():
            if members not in plan.sets:
                yield Wrong(f"the blocklist {zone} is to hold the set {members!r}", nearest(members, plan.sets))
        for port in _ports(service):
            if port in taken:
                other = taken[port]
                yield Wrong(f"services {other!r} and {name!r} both want port {port}", "one service for each port")
            taken[port] = name
    yield from _wrong_names(node)


def _wrong_parameters(name: str, service: Mapping[str, Any]) -> Iterator[Wrong]:
    kind = SERVICE_KINDS[name]
    known = (*kind.required, *kind.optional)
    for parameter in service:
        if parameter not in (*known, "kind"):
            what = f"unknown parameter {parameter!r} of service {name!r}"
            yield Wrong(what, nearest(str(parameter), known), str(parameter))
    for parameter in kind.required:
        if not service.get(parameter):
            yield Wrong(f"service {name!r} needs {parameter!r}", _PARAMETERS[parameter].allowed)
    for parameter in known:
        value = service.get(parameter)
        if parameter in service and not _PARAMETERS[parameter].fits(value):
            what = f"{parameter!r} of service {name!r} is {value!r}"
            yield Wrong(what, _PARAMETERS[parameter].allowed, parameter)
        elif parameter in ("greylist", "dnsbl"):
            for domain in value or ():
                if domain not in service["domains"]:
                    what = f"{parameter!r} of service {name!r} is about {domain!r}"
                    yield Wrong(what, f"allowed are its own domains: {', '.join(service['domains'])}", parameter)


def _wrong_names(node: NodePlan) -> Iterator[Wrong]:
    names = node.names or ((node.hostname,) if node.services else ())
    for name in (*names, *node.aliases):
        if not _is_host_name(name):
            yield Wrong(f"{name!r} is no host name", "allowed are labels of letters, digits and hyphens (RFC 1123)")


def _ports(service: Mapping[str, Any]) -> tuple[int, ...]:
    """The TCP ports that a service occupies on its node."""
    role = SERVICE_KINDS[service["kind"]].role
    if role is Role.MAIL:
        return tuple(port.port for port in listen_ports_of(service))
    return _PORTS_OF_ROLE[role] if role in _PORTS_OF_ROLE else (service["port"],)


_PORTS_OF_ROLE: Mapping[Role, tuple[int, ...]] = {
    Role.AUTHORITY: (DNS_PORT,),
    Role.RESOLVER: (DNS_PORT,),
    Role.QUEUE: (),
}

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


def _whole(least: int, most: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _are_seconds(value: object) -> bool:
    return type(value) in (int, float) and 0 < value <= 3600  # type: ignore[operator]


def _by_domain(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, Mapping) and all(_is_host_name(domain) and fits(item) for domain, item in value.items())
    )


def _is_refusal(value: object) -> bool:
    """One line of a reply that refuses (RFC 5321 section 4.2), in ASCII."""
    return isinstance(value, str) and re.fullmatch(r"[45]\d\d [ -~]{1,500}", value) is not None


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
    "greylist": _Parameter(
        _by_domain(_are_seconds), "allowed are seconds by domain, such as {'example.net': 0.2}; up to 3600"
    ),
    "dnsbl": _Parameter(
        _by_domain(_is_host_name), "allowed is a DNS blocklist by domain, such as {'example.net': 'dnsbl.example'}"
    ),
    "blocklists": _Parameter(
        _by_domain(lambda value: isinstance(value, str)),
        "allowed is a set of the topology by zone, such as {'dnsbl.example': 'dynamic-customers'}",
    ),
    "port": _Parameter(_whole(1, 65535), "allowed is a whole number from 1 to 65535, as in `REDIRECT --to-ports`"),
    "queue": _Parameter(_whole(1, 65535), "allowed is a whole number from 1 to 65535, as in `NFQUEUE --queue-num`"),
    "seconds": _Parameter(_are_seconds, "allowed are seconds from a byte to the next one, more than 0 and up to 3600"),
    "reply": _Parameter(
        _is_refusal, "allowed is one line with a 4xx or 5xx code, such as '554 5.7.1 No mail from here'"
    ),
    "refusal": _Parameter(
        _is_refusal, "allowed is one line with a 4xx or 5xx code, such as '550 5.7.1 Use the relay of your provider'"
    ),
    "program": _Parameter(lambda value: isinstance(value, Mapping), "allowed is `kind: FILE.py:NAME`"),
    "parameters": _Parameter(lambda value: isinstance(value, Mapping), "allowed is a mapping, for your own program"),
    "upstream": _Parameter(_is_address, "allowed is the address of a DNS server, such as '192.0.2.53'"),
}
