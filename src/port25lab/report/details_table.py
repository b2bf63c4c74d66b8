"""All that is known of one thing of the catalogue, for ``port25lab list NAME``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Column
from rich.text import Text

from port25lab.report.console import emit
from port25lab.report.console_tables import bare_table
from port25lab.report.text import visible

_SHOWN_FIRST = ("file", "topology", "source", "services", "questions")
"""Facts that take one line each."""

_WORDS = {"topologies": "topology", "policies": "policy", "scenarios": "scenario"}


def print_details(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """One block for each thing."""
    for one in found:
        emit(console, Group(*_block(one), Text()))


def _block(one: Mapping[str, Any]) -> list[RenderableType]:
    heading = Text.assemble((visible(one["name"]), "bold"), f"  {_WORDS[one['kind']]}")
    if one.get("title"):
        heading.append(f": {visible(one['title'])}")
    parts: list[RenderableType] = [heading]
    if one.get("description"):
        parts.append(Text("\n".join(map(visible, one["description"].splitlines()))))
    for key in _SHOWN_FIRST:
        if one.get(key):
            parts.append(Text.assemble((f"{key:<10}", "dim"), _line(one[key])))
    parts += [part for key, make in _TABLES.items() if one.get(key) for part in make(one[key])]
    return parts


def _line(value: Any) -> str:
    if isinstance(value, list):
        return visible(", ".join(str(item.get("kind", item) if isinstance(item, dict) else item) for item in value))
    return visible(str(value))


def _nodes(nodes: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    table = bare_table([Column("node"), Column("routes"), Column("services"), Column("own policies")])
    for node in nodes:
        routes = "yes" if node["routes_packets"] else ""
        table.add_row(visible(node["name"]), routes, _line(node["services"]), _line(node["policies"]))
    return [Text(), table]


def _interfaces(ports: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    table = bare_table([Column("interface"), Column("IPv4"), Column("IPv6"), Column("leads to")])
    for port in ports:
        there = port["leads_to"] or ""
        there += f" in {port['bridge']}" * bool(port["bridge"])
        name = visible(f"{port['node']}/{port['interface']}")
        table.add_row(name, port["ip"] or "", port["ip6"] or "", visible(there.strip()))
    return [Text(), table]


def _sets(sets: Mapping[str, Sequence[str]] | Sequence[str]) -> list[RenderableType]:
    if not isinstance(sets, Mapping):
        return [Text.assemble((f"{'sets':<10}", "dim"), _line(list(sets)))]
    table = bare_table([Column("set"), Column("members", overflow="fold")])
    for name, members in sets.items():
        table.add_row(visible(name), visible(", ".join(members)))
    return [Text(), table]


def _variants(variants: Mapping[str, Mapping[str, Sequence[str]]]) -> list[RenderableType]:
    table = bare_table([Column("variant"), Column("policies", overflow="fold")])
    for name, stacks in variants.items():
        table.add_row(
            visible(name), visible(", ".join(f"{', '.join(own)} on {node}" for node, own in stacks.items())) or "none"
        )
    return [Text(), table]


def _paths(paths: Sequence[str]) -> list[RenderableType]:
    return [Text(), Text("\n".join(["paths", *(f"  {visible(path)}" for path in paths)]))]


def _rules(files: Mapping[str, str]) -> list[RenderableType]:
    found: list[RenderableType] = []
    for name, text in files.items():
        lines = "\n".join(visible(line) for line in text.rstrip("\n").split("\n"))
        found += [Text(), Text(visible(name), "dim"), Text(lines, no_wrap=True, overflow="ignore")]
    return found


_TABLES: dict[str, Callable[[Any], list[RenderableType]]] = {
    "nodes": _nodes,
    "interfaces": _interfaces,
    "sets": _sets,
    "variants": _variants,
    "paths": _paths,
    "rules": _rules,
}
