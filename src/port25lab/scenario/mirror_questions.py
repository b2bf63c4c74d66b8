"""The questions that ``check`` asks of a mirror: from each group to each kind of destination, and from outside in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace

from port25lab.errors import InputError, nearest
from port25lab.model.addresses import IpVersion
from port25lab.model.path import Auth, PathSpec, Security
from port25lab.model.question import LabConfig, Question
from port25lab.rules import Rule, Ruleset
from port25lab.scenario.mail_rules import mail_ports
from port25lab.scenario.mirror import Mirror
from port25lab.scenario.mirror_addresses import VERSIONS
from port25lab.scenario.mirror_network import ROUTER
from port25lab.scenario.mirror_walk import met, sets_in
from port25lab.scenario.questions import question_about
from port25lab.scenario.router_facts import RuleKey

ALICE = Auth(user="alice")

_OUTBOUND: tuple[tuple[str, int, Security, Auth | None], ...] = (
    ("mx:example.net", 25, Security.NONE, None),
    ("provider", 25, Security.STARTTLS, ALICE),
    ("provider", 587, Security.STARTTLS, ALICE),
    ("provider", 465, Security.IMPLICIT, ALICE),
    ("relay-service", 2525, Security.STARTTLS, ALICE),
)
"""Where mail goes: the recipient's MX, another provider on port 25 and by submission, a relay service."""

_SECURITY = {587: Security.STARTTLS, 2525: Security.STARTTLS, 465: Security.IMPLICIT}

OUTSIDE = "outside"

_NOTES = ("LOG", "NFLOG", "ULOG", "AUDIT", "TRACE")
"""Targets after which a packet goes on as it was."""

_COUNTING = ("limit", "hashlimit", "recent", "connlimit", "quota", "statistic")


def questions_of(
    mirror: Mirror, variant: str, asked: Sequence[str] = (), versions: Iterable[IpVersion] = VERSIONS
) -> list[Question]:
    """All questions, over the IP versions that both ends have.

    ``variant``: the name of these rules in results. ``asked``: more questions, each ``FROM:TO:PORT``. A question
    whose packets may meet a rule that counts connections or remembers hosts gets a lab of its own: the first connection
    of a quiet hour is asked about. Raises InputError.
    """
    paths = [*_outbound(mirror), *_inbound(mirror), *(_asked(mirror, text) for text in asked)]
    found: list[Question] = []
    counts = counting_rules(mirror)
    for path in dict.fromkeys(paths):
        for version in versions:
            if version in versions_of_path(mirror, path):
                asked_path = path.model_copy(update={"ip_version": version})
                one = question_about(asked_path, config_of_mirror(mirror, asked_path, counts))
                found.append(replace(one, scenario="check", variant=variant))
    return found


def _outbound(mirror: Mirror) -> Iterator[PathSpec]:
    for group in mirror.groups:
        for to, port, security, auth in _OUTBOUND:
            yield _path(group.node, to, port, security, auth)
        for server in mirror.listed:
            yield _path(group.node, server.node, 25)
            yield _path(group.node, server.node, 587, Security.STARTTLS, ALICE)


def _inbound(mirror: Mirror) -> Iterator[PathSpec]:
    for source in (OUTSIDE, *(group.node for group in mirror.outsiders)):
        yield _path(source, ROUTER, 25)
        for group in mirror.groups:
            if group.interface is not None:
                yield _path(source, group.node, 25)


def _path(source: str, to: str, port: int, security: Security = Security.NONE, auth: Auth | None = None) -> PathSpec:
    domain = to.removeprefix("mx:") if to.startswith("mx:") else f"{to}.example"
    recipient = "recipient@example.net" if to == "relay-service" or port in (465, 587) else f"recipient@{domain}"
    return PathSpec(source=source, to=to, port=port, security=security, auth=auth, recipient=recipient)


def _asked(mirror: Mirror, text: str) -> PathSpec:
    """``FROM:TO:PORT``; ``mx`` stands for the MX of a domain outside."""
    parts = text.split(":")
    if len(parts) != 3 or not parts[2].isdigit() or not 0 < int(parts[2]) < 65536:
        raise InputError(f"{text!r} is no question", allowed="FROM:TO:PORT, such as router:mx:25")
    source, to, port = parts[0], parts[1], int(parts[2])
    for node in (source, to):
        if node not in mirror.plan.nodes:
            raise InputError(f"no node {node!r} in this mirror", allowed=nearest(node, mirror.plan.nodes))
    path = path_between(source, to, port)
    server = mirror.plan.server(path.to)
    return path if server is None or server.users else path.model_copy(update={"auth": None})


def path_between(source: str, to: str, port: int, packet: str | None = None) -> PathSpec:
    """The usual path from a node to a server at a port: with TLS and AUTH where submission wants them."""
    to = "mx:example.net" if to == "mx" else to
    if packet is not None:
        return PathSpec(source=source, to=to, port=port, packet=packet)
    security = _SECURITY.get(port, Security.NONE)
    auth = ALICE if security is not Security.NONE else None
    if (to, port) == ("provider", 25):
        security, auth = Security.STARTTLS, ALICE
    return _path(source, to, port, security, auth)


def config_of_mirror(mirror: Mirror, path: PathSpec, counts: Counting) -> LabConfig:
    """The lab for a path over one IP version: one of its own where it meets a rule that counts."""
    config = LabConfig(plan=mirror.plan, policies=((ROUTER, (mirror.policy,)),))
    sets = sets_in(mirror.policy)
    alone = any(keys & met(ruleset, mirror.plan, path, sets) for ruleset, keys in counts)
    return replace(config, alone=path) if alone else config


def versions_of_path(mirror: Mirror, path: PathSpec) -> list[IpVersion]:
    """The IP versions of both ends; over IPv4, nothing comes in to a private address."""
    source, to = mirror.plan.nodes.get(path.source), mirror.plan.server(path.to)
    own = () if source is None else tuple(address.ip for address in source.addresses)
    ends = [own, *([to.published] if to is not None else [])]
    outside = {OUTSIDE, *(group.node for group in mirror.outsiders)}
    inbound = path.source in outside and path.to != ROUTER
    carried = mirror.own if ROUTER in (path.source, path.to) else mirror.forwarded
    return [
        version
        for version in VERSIONS
        if version in carried
        and all(any(address.version == version for address in end) for end in ends)
        and not (inbound and not mirror.public[version] and not _is_forwarded(mirror, path.to, version))
    ]


def _is_forwarded(mirror: Mirror, to: str, version: IpVersion) -> bool:
    """Whether a host inside is reached by the router's own address."""
    node = mirror.plan.nodes.get(to)
    own = () if node is None else tuple(address.ip for address in node.addresses)
    return node is not None and any(one.version == version and one not in own for one in node.published)


Counting = Sequence[tuple[Ruleset, Set[RuleKey]]]
"""Rulesets, and the rules in each that count connections or remember hosts."""


def counting_rules(mirror: Mirror) -> Counting:
    """The rules that mail may meet, and whose answer depends on what went before."""
    found = [(ruleset, {rule.key for rule in ruleset.rules() if _counts(rule)}) for ruleset in _rulesets(mirror)]
    return [(ruleset, keys) for ruleset, keys in found if keys]


def _rulesets(mirror: Mirror) -> Sequence[Ruleset]:
    """Those of both versions where two are compared: a question has the same kind of lab under both."""
    return (*mirror.facts.all_rulesets(), *mirror.shape.all_rulesets())


def _counts(rule: Rule) -> bool:
    remembers = any(map(rule.uses, _COUNTING)) or (rule.target is not None and rule.target.name == "SET")
    return remembers and bool(mail_ports(rule)) and (rule.target is None or rule.target.name not in _NOTES)
