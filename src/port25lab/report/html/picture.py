"""A network as a picture: an SVG with a box for each node and a line for each link. Pure.

In: a topology as results have it. Out: SVG without styles of its own: the page's style sheet colours it, and its script
marks the nodes and links of a path by their names. Left are homes, offices and instances, then the routers on their way
to the node in the middle, an exchange in most networks, and right of it the servers that stand there.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

COLUMN, ROW, BOX_WIDTH, BOX_HEIGHT, MARGIN = 172, 40, 132, 28, 12

MOST_ALIKE = 8
"""Of more hosts behind one router that no path names, one box stands for all."""

LONGEST_NAME = 18


@dataclass
class _Box:
    name: str
    label: str
    column: int
    row: float = 0.0


def picture(topology: Mapping[str, Any], policies: Mapping[str, Iterable[str]], named: Iterable[str]) -> str:
    """The SVG of a topology.

    ``policies``: names of policies by node. ``named``: nodes that are never folded, since a path begins or ends there.
    """
    nodes = {node["name"]: node for node in topology["nodes"]}
    links = [(one["node"], two["node"]) for one, two in topology["links"]]
    folded = _folded(nodes, links, set(named) | set(policies))
    around: dict[str, list[str]] = {name: [] for name in nodes if name not in folded}
    for one, two in links:
        if one in around and two in around and two not in around[one]:
            around[one].append(two)
            around[two].append(one)
    boxes = _placed(nodes, around, Counter(folded.values()))
    own = {name: list(node["policies"]) for name, node in nodes.items()}
    return _svg(boxes, links, {name: list(some) for name, some in policies.items()}, own, folded)


def _folded(nodes: Mapping[str, Any], links: Sequence[tuple[str, str]], kept: set[str]) -> dict[str, str]:
    """Hosts that are not drawn, each with the drawn one that stands for it."""
    neighbours: dict[str, set[str]] = {name: set() for name in nodes}
    for one, two in links:
        neighbours[one].add(two)
        neighbours[two].add(one)
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, others in neighbours.items():
        if name not in kept and len(others) == 1 and not nodes[name]["services"]:
            groups.setdefault(tuple(others), []).append(name)
    return {name: same[0] for same in groups.values() if len(same) > MOST_ALIKE for name in same[1:]}


def _placed(
    nodes: Mapping[str, Any], around: Mapping[str, list[str]], stands_for: Mapping[str, int]
) -> dict[str, _Box]:
    """A box for each node: columns by the distance from the middle, rows so that no two lie on each other."""
    boxes: dict[str, _Box] = {}
    row = 0
    waiting = list(around)
    while waiting:  # a network in several parts is drawn part below part
        part = _Part(nodes, around, waiting, row)
        for name, column in part.columns.items():
            label = f"{name} +{stands_for[name]}" if stands_for.get(name) else name
            boxes[name] = _Box(name, label, column, part.rows[name])
        row = part.below
        waiting = [name for name in waiting if name not in part.columns]
    least = min((box.column for box in boxes.values()), default=0)
    for box in boxes.values():
        box.column -= least
    return boxes


class _Part:
    """Nodes that hang together, around the one with most links: hosts there to the right, all others to the left."""

    def __init__(
        self, nodes: Mapping[str, Any], around: Mapping[str, list[str]], names: Iterable[str], first_row: int
    ) -> None:
        middle = max(names, key=lambda name: (len(around[name]), nodes[name]["forward"], name))
        parents, order = _tree(middle, around)
        self._children: dict[str, list[str]] = {name: [] for name in order}
        for name in order[1:]:
            self._children[parents[name]].append(name)
        hosts = [one for one in self._children[middle] if not self._children[one] and not nodes[one]["forward"]]
        self._children[middle] = [one for one in self._children[middle] if one not in hosts]
        self.columns = {middle: 0} | dict.fromkeys(hosts, 1)
        for name in order[1:]:
            self.columns.setdefault(name, self.columns[parents[name]] - 1)
        self.rows: dict[str, float] = {host: float(first_row + n) for n, host in enumerate(sorted(hosts))}
        self.below = first_row
        for name in reversed(self._by_depth(middle)):
            self._place(name)
        self._centre(hosts, first_row)

    def _centre(self, hosts: list[str], first_row: int) -> None:
        """Move the lower one of both sides down by half of the difference."""
        left = [name for name in self.columns if name not in hosts]
        spare = len(hosts) - (self.below - first_row)
        for name in left if spare > 0 else hosts:
            self.rows[name] += abs(spare) / 2
        self.below = max(self.below, first_row + len(hosts))

    def _by_depth(self, root: str) -> list[str]:
        """Children after their parents, and in reverse in the order in which leaves get their rows."""
        found, waiting = [], [root]
        while waiting:
            here = waiting.pop()
            found.append(here)
            waiting += self._children[here]
        return found

    def _place(self, name: str) -> None:
        rows = [self.rows[child] for child in self._children[name]]
        if not rows:
            rows = [float(self.below)]
            self.below += 1
        self.rows[name] = sum(rows) / len(rows)


def _tree(root: str, around: Mapping[str, list[str]]) -> tuple[dict[str, str], list[str]]:
    """The nodes that hang together with one, nearest first, and the one before each on the way there."""
    parents, order, waiting = {root: root}, [root], deque([root])
    while waiting:
        here = waiting.popleft()
        for there in around[here]:
            if there not in parents:
                parents[there] = here
                order.append(there)
                waiting.append(there)
    return parents, order


def _svg(
    boxes: Mapping[str, _Box],
    links: Sequence[tuple[str, str]],
    policies: Mapping[str, Sequence[str]],
    own: Mapping[str, Sequence[str]],
    folded: Mapping[str, str],
) -> str:
    width = MARGIN * 2 + COLUMN * max((box.column for box in boxes.values()), default=0) + BOX_WIDTH
    height = MARGIN * 2 + ROW * max((box.row for box in boxes.values()), default=0) + BOX_HEIGHT + 12
    view = f"0 0 {width} {height:g}"
    svg = Element("svg", {"class": "network", "viewBox": view, "role": "img", "xmlns": "http://www.w3.org/2000/svg"})
    SubElement(svg, "title").text = "The network, and the way of the chosen path through it"
    wires = SubElement(svg, "g", {"class": "wires"})
    for one, two in dict.fromkeys((folded.get(a, a), folded.get(b, b)) for a, b in links):
        if one in boxes and two in boxes and one != two:
            SubElement(
                wires, "path", {"d": _line(boxes[one], boxes[two]), "data-a": one, "data-b": two, "fill": "none"}
            )
    for box in boxes.values():
        x, y = _corner(box)
        group = SubElement(svg, "g", {"class": "node", "data-node": box.name, "transform": f"translate({x:g} {y:g})"})
        SubElement(group, "title").text = " ".join([box.name, *policies.get(box.name, ())])
        SubElement(group, "rect", {"width": str(BOX_WIDTH), "height": str(BOX_HEIGHT), "rx": "5"})
        text = SubElement(group, "text", {"x": str(BOX_WIDTH / 2), "y": "18", "text-anchor": "middle"})
        text.text = box.label if len(box.label) <= LONGEST_NAME else f"{box.label[: LONGEST_NAME - 1]}…"
        if policies.get(box.name):
            badge = SubElement(group, "text", {"class": "policy", "x": str(BOX_WIDTH / 2), "y": "39"})
            badge.set("text-anchor", "middle")
            badge.set("data-own", ", ".join(own.get(box.name, ())))
            badge.text = ", ".join(policies[box.name])
    return tostring(svg, encoding="unicode")


def _corner(box: _Box) -> tuple[float, float]:
    return MARGIN + COLUMN * box.column, MARGIN + ROW * box.row


def _line(one: _Box, two: _Box) -> str:
    left, right = sorted((one, two), key=lambda box: box.column)
    (x1, y1), (x2, y2) = _corner(left), _corner(right)
    y1, y2 = y1 + BOX_HEIGHT / 2, y2 + BOX_HEIGHT / 2
    if left.column == right.column:  # a link within a column bends to the right
        x1 = x2 = x1 + BOX_WIDTH
        return f"M{x1:g} {y1:g}C{x1 + 24:g} {y1:g} {x2 + 24:g} {y2:g} {x2:g} {y2:g}"
    x1 += BOX_WIDTH
    middle = (x1 + x2) / 2
    return f"M{x1:g} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}"
