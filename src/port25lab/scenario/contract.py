"""A contract: what a correct policy does with mail, whatever the router looks like.

Its rows name kinds of hosts (`inside`, `named`, `router`, `outside`); in a mirror they become questions. A row without
a host of its kind is not asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import Field

from port25lab.errors import InputError, nearest
from port25lab.model.addresses import IpVersion
from port25lab.model.outcome import Should
from port25lab.model.path import PathSpec, Port
from port25lab.model.question import Question
from port25lab.scenario import document as document_module
from port25lab.scenario.document import Strict
from port25lab.scenario.mirror import Mirror
from port25lab.scenario.mirror_network import ROUTER
from port25lab.scenario.mirror_questions import (
    OUTSIDE,
    config_of_mirror,
    counting_rules,
    path_between,
    versions_of_path,
)
from port25lab.scenario.mirror_walk import blocked, sets_in
from port25lab.scenario.questions import question_about

_FOLDER = "port25lab.scenario"

SMTP = 25

KINDS = ("inside", "named", "router", "outside", "listed", "mx", "provider", "relay-service")
"""Kinds of hosts in rows. Any other word is the name of a node of the mirror."""


class Row(Strict):
    """One row: a path between kinds of hosts, and what a correct policy does with it."""

    text: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(alias="from")]
    to: str
    port: Port = 25
    packet: str | None = None
    ip: IpVersion | None = None
    should: Should


class Contract(Strict):
    """The whole file."""

    title: Annotated[str, Field(min_length=1)]
    source: str = ""
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class AskedRow:
    """A row, and its questions in a mirror; none: the mirror has no hosts of its kinds."""

    row: Row
    questions: tuple[Question, ...]


def read_contract(name: str) -> Contract:
    """Read a contract of port25lab's by its name, or a file of the user's. Raises InputError."""
    folder = resources.files(_FOLDER).joinpath("contracts")
    known = sorted(one.name.removesuffix(".yaml") for one in folder.iterdir())
    file = Path(name)
    if name in known:
        with resources.as_file(folder.joinpath(f"{name}.yaml")) as own:
            return document_module.validated(document_module.read_yaml(own), Contract)
    if not file.exists():
        raise InputError(f"no contract {name!r}", allowed=f"{nearest(name, known)}, or a YAML file")
    return document_module.validated(document_module.read_yaml(file), Contract)


def asked_rows(contract: Contract, mirror: Mirror, variant: str, versions: Iterable[IpVersion]) -> list[AskedRow]:
    """The questions of each row. Raises InputError for a node or a packet that does not exist."""
    wanted = tuple(versions)
    counts, found = counting_rules(mirror), []
    hosts = {version: _hosts_by_kind(mirror, version) for version in wanted}
    for row in contract.rows:
        questions = []
        for version in wanted:
            for path in _paths(row, mirror, hosts[version]):
                if version in versions_of_path(mirror, path) and row.ip in (None, version):
                    asked = path.model_copy(update={"ip_version": version})
                    one = question_about(asked, config_of_mirror(mirror, asked, counts))
                    questions.append(replace(one, scenario="check", variant=variant, should=row.should, name=row.text))
        found.append(AskedRow(row, tuple(questions)))
    return found


def _paths(row: Row, mirror: Mirror, hosts: Mapping[str, Sequence[str]]) -> Iterator[PathSpec]:
    for source in _hosts(row.source, mirror, hosts):
        for to in _hosts(row.to, mirror, hosts):
            if source != to:
                yield path_between(source, to, row.port, row.packet)


def _hosts_by_kind(mirror: Mirror, version: IpVersion) -> dict[str, list[str]]:
    """The hosts of each kind over one IP version.

    Rules may block by a set of senders whose members are not known. Then its host stands for those inside: which of the
    others are in the set is not known either, and of these only the blocked ones are asked about.
    """
    behind = [group.node for group in mirror.groups if group.interface is not None and version in group.versions]
    first = [node for node in behind if node.startswith("inside-")]
    stopped = set(_blocked(mirror, version, behind))
    by_set = [node for node in behind if node in mirror.made_up & stopped]
    inside = [node for node in first if not by_set or node in stopped] + by_set
    return {
        "inside": inside,
        "named": [node for node in behind if node not in (*first, *by_set)],
        "router": [ROUTER],
        "outside": [OUTSIDE],
        "listed": [group.node for group in mirror.listed],
        "mx": ["mx"],
        "provider": ["provider"],
        "relay-service": ["relay-service"],
    }


def _blocked(mirror: Mirror, version: IpVersion, nodes: Iterable[str]) -> Iterator[str]:
    """Hosts whose mail to an MX the rules are sure to block."""
    sets = sets_in(mirror.policy)
    for node in nodes:
        path = path_between(node, "mx", SMTP).model_copy(update={"ip_version": version})
        if blocked(mirror.facts.rulesets.values(), mirror.plan, path, sets):
            yield node


def _hosts(kind: str, mirror: Mirror, kinds: Mapping[str, Sequence[str]]) -> Sequence[str]:
    if kind in kinds:
        return kinds[kind]
    if kind not in mirror.plan.nodes:
        raise InputError(f"no host {kind!r} in this mirror", allowed=nearest(kind, {*KINDS, *mirror.plan.nodes}))
    return [kind]
