"""A topology as a drawing: plain text, Mermaid, DOT, and SVG. Pure.

Names of nodes may have dots and hyphens, which Mermaid and DOT do not take as identifiers: nodes are numbered there,
and their names are labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

from port25lab.model.counters import NodeCounters
from port25lab.model.plan import LinkPlan, NodePlan, Plan

Policies = Mapping[str, Sequence[str]]
"""The names of the policies under test, by node."""

Counters = Mapping[str, NodeCounters]
"""What the nodes of a running lab have counted; empty for a topology alone."""

_WIDTH, _HEIGHT, _MARGIN = 150, 90, 90
"""Of an SVG drawing, in pixels: room for each node, and around all of them."""


def text(plan: Plan, policies: Policies, counters: Counters) -> str:
    """Each node with the links that begin there."""
    lines = []
    for node in plan.nodes.values():
        lines.append(" ".join(_words(node, policies)))
        lines += [f"  {words}" for words in _counted(counters, node.name)]
        for link in plan.links:
            if link.node1 == node.name:
                sent = _sent(counters, node.name, link.interface1)
                lines.append(f"  {link.interface1} -- {link.interface2} {link.node2}{sent}{_conditions(link)}")
            if link.node2 == node.name:
                sent = _sent(counters, node.name, link.interface2)
                lines.append(f"  {link.interface2} -- {link.interface1} {link.node1}{sent}{_conditions(link)}")
    return "\n".join(lines)


def dot(plan: Plan, policies: Policies, counters: Counters) -> str:
    """For Graphviz."""
    number = _numbers(plan)
    lines = [f"graph {_quoted(plan.name)} {{", "  node [shape=box];"]
    for node in plan.nodes.values():
        style = " style=bold" if node.name in policies else ""
        lines.append(f"  n{number[node.name]} [label={_quoted(chr(10).join(_words(node, policies)))}{style}];")
    for link in plan.links:
        tail = link.interface1 + _sent(counters, link.node1, link.interface1)
        head = link.interface2 + _sent(counters, link.node2, link.interface2)
        ends = f"taillabel={_quoted(tail)} headlabel={_quoted(head)}"
        ends += f" label={_quoted(_conditions(link)[2:])}" if link.conditions else ""
        lines.append(f"  n{number[link.node1]} -- n{number[link.node2]} [{ends}];")
    return "\n".join([*lines, "}"])


def mermaid(plan: Plan, policies: Policies, counters: Counters) -> str:
    """For Markdown pages."""
    number = _numbers(plan)
    lines = ["graph LR"]
    for node in plan.nodes.values():
        words = "<br>".join(_entity(one) for one in _words(node, policies))
        lines.append(f'  n{number[node.name]}["{words}"]')
    for link in plan.links:
        ends = ((link.node1, link.interface1), (link.node2, link.interface2))
        label = _entity(" - ".join(name + _sent(counters, node, name) for node, name in ends) + _conditions(link))
        lines.append(f'  n{number[link.node1]} ---|"{label}"| n{number[link.node2]}')
    return "\n".join(lines)


def svg(plan: Plan, policies: Policies, counters: Counters) -> str:
    """A picture: nodes in rows by their distance from the first node with most links."""
    place = {name: (_MARGIN + x * _WIDTH, _MARGIN + y * _HEIGHT) for name, (x, y) in _places(plan).items()}
    width = max((x for x, _ in place.values()), default=0) + _MARGIN
    height = max((y for _, y in place.values()), default=0) + _MARGIN
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">']
    lines.append(f"<title>{escape(plan.name)}</title>")
    for link in plan.links:
        (x1, y1), (x2, y2) = place[link.node1], place[link.node2]
        ends = ((link.node1, link.interface1), (link.node2, link.interface2))
        title = escape(
            " -- ".join(f"{node} {name}{_sent(counters, node, name)}" for node, name in ends) + _conditions(link)
        )
        lines.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#888"><title>{title}</title></line>')
        if counters:
            numbers = " / ".join(str(counters[node].interfaces[name].sent_packets) for node, name in ends)
            middle = f'x="{(x1 + x2) // 2}" y="{(y1 + y2) // 2}" text-anchor="middle" font-size="9" fill="#666"'
            lines.append(f"<text {middle}>{numbers}</text>")
    for node in plan.nodes.values():
        x, y = place[node.name]
        colour = "#c22" if node.name in policies else "#333"
        lines.append(f'<rect x="{x - 62}" y="{y - 20}" width="124" height="40" fill="#fff" stroke="{colour}"/>')
        first, *more = _words(node, policies)
        lines.append(f'<text x="{x}" y="{y - 3}" text-anchor="middle">{escape(first)}</text>')
        lines.append(f'<text x="{x}" y="{y + 12}" text-anchor="middle" font-size="9">{escape(" ".join(more))}</text>')
    return "\n".join([*lines, "</svg>"])


FORMATS: dict[str, Callable[[Plan, Policies, Counters], str]] = {
    "text": text,
    "svg": svg,
    "dot": dot,
    "mermaid": mermaid,
}


def _words(node: NodePlan, policies: Policies) -> Iterator[str]:
    """The node's name, its services, and its policies."""
    yield node.name
    if services := list(dict.fromkeys(str(service["kind"]) for service in node.services)):
        yield f"({', '.join(services)})"
    if names := [*node.policies, *policies.get(node.name, ())]:
        yield f"[{' + '.join(names)}]"


def _sent(counters: Counters, node: str, interface: str) -> str:
    """``, 12 packets sent``; nothing without a lab."""
    found = counters.get(node)
    return "" if found is None else f", {found.interfaces[interface].sent_packets} packets sent"


def _conditions(link: LinkPlan) -> str:
    """``, 20 ms ± 2 ms, loses 1 %``; nothing for a link without conditions."""
    conditions = link.conditions
    jitter = f" ± {conditions.jitter * 1000:g} ms" if conditions.jitter else ""
    delay = f", {conditions.delay * 1000:g} ms{jitter}" if conditions.delay else ""
    return delay + (f", loses {conditions.loss * 100:g} %" if conditions.loss else "")


def _counted(counters: Counters, node: str) -> Iterator[str]:
    """The counter of each rule that has met a packet."""
    for rule in counters[node].rules if node in counters else ():
        if rule.packets:
            yield f"{rule.packets} packets: {rule.text}"


def _numbers(plan: Plan) -> dict[str, int]:
    return {name: number for number, name in enumerate(plan.nodes)}


def _places(plan: Plan) -> dict[str, tuple[int, int]]:
    """Column and row of each node. Those of a distance are in one row; a long one goes on in the next."""
    joined: dict[str, list[str]] = {name: [] for name in plan.nodes}
    for link in plan.links:
        joined[link.node1].append(link.node2)
        joined[link.node2].append(link.node1)
    distance: dict[str, int] = {}
    for begin in sorted(joined, key=lambda name: len(joined[name]), reverse=True):
        if begin in distance:
            continue
        distance[begin] = max(distance.values(), default=-1) + 1
        near = [begin]
        while near:
            near = list(dict.fromkeys(other for name in near for other in joined[name] if other not in distance))
            distance |= dict.fromkeys(near, max(distance.values()) + 1)
    columns = max(1, math.ceil(math.sqrt(2 * len(distance))))
    places: dict[str, tuple[int, int]] = {}
    row = 0
    for wanted in sorted(set(distance.values())):
        names = [name for name, found in distance.items() if found == wanted]
        for number, name in enumerate(names):
            places[name] = number % columns, row + number // columns
        row += math.ceil(len(names) / columns)
    return places


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _entity(text: str) -> str:
    """Text inside quotes in Mermaid, which has entities of its own."""
    return "".join(character if character not in '"#;<>&`' else f"#{ord(character)};" for character in text)
