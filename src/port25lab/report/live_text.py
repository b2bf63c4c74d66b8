"""Labs that stay up, as plain text: the table of ``ps``, and what ``inspect`` says. In: what a keeper said."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from port25lab.model.counters import NodeCounters
from port25lab.model.log_line import LogLine
from port25lab.model.plan import Plan
from port25lab.model.policy import Policy
from port25lab.report.text import visible


@dataclass(frozen=True)
class LabRow:
    """A lab that is up."""

    name: str
    topology: str
    policies: str
    up_seconds: float | None
    """None: it is still starting."""
    left_seconds: float | None
    """None: it stays up until it is ended."""
    keeper: int | None


def lab_lines(rows: Sequence[LabRow]) -> list[str]:
    """The table of ``ps``."""
    if not rows:
        return ["no lab is up"]
    cells = [("NAME", "TOPOLOGY", "POLICIES", "UP", "ENDS", "KEEPER")]
    for row in rows:
        up = "starting" if row.up_seconds is None else span(row.up_seconds)
        ends = "at down" if row.left_seconds is None else f"in {span(row.left_seconds)}"
        cells.append((row.name, row.topology, row.policies or "none", up, ends, str(row.keeper or "-")))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def span(seconds: float) -> str:
    """A time in one or two units: ``1 h 5 min``."""
    whole = max(0, int(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def stacks(policies: Mapping[str, Iterable[Policy]]) -> str:
    """The policies of a lab in a few words: ``isp-edge: op25b + ip25b``."""
    return ", ".join(f"{node}: {' + '.join(one.name for one in stack)}" for node, stack in policies.items())


def node_lines(
    plan: Plan, policies: Mapping[str, Sequence[Policy]], counted: Mapping[str, NodeCounters]
) -> Iterator[str]:
    """Each node with its interfaces, services and policies, and with what it has counted."""
    for node in plan.nodes.values():
        counters = counted[node.name]
        yield node.name + (" (router)" if node.forward else "")
        for port in node.interfaces:
            addresses = " ".join(str(address) for address in (port.ip, port.ip6) if address is not None)
            yield f"  {port.name}  {addresses}".rstrip() + _packets(counters, port.name)
        for name, bridge in node.bridges.items():
            addresses = " ".join(str(address) for address in (bridge.ip, bridge.ip6) if address is not None)
            yield f"  {name}  {addresses}  bridge of {', '.join(bridge.ports)}" + _packets(counters, name)
        if node.services:
            yield f"  services: {', '.join(str(service['kind']) for service in node.services)}"
        names = [*node.policies, *(one.name for one in policies.get(node.name, ()))]
        if names:
            yield f"  policies: {' + '.join(names)}"
        for rule in counters.rules:
            tool = "iptables" if rule.family == "ip" else "ip6tables"
            yield f"    {_count(rule.packets, 'packet'):>12}  {tool} -t {rule.table} {visible(rule.text)}"


def log_lines(lines: Iterable[LogLine]) -> Iterator[str]:
    """The log of a lab's services, a line for each."""
    for line in lines:
        clock = time.strftime("%H:%M:%S", time.localtime(line.time))
        yield f"{clock}.{int(line.time % 1 * 1000):03}  {line.node}  {line.what}: {visible(line.text)}"


def _packets(counters: NodeCounters, interface: str) -> str:
    """``, 12 packets in, 9 out``."""
    found = counters.interfaces.get(interface)
    return "" if found is None else f", {_count(found.received_packets, 'packet')} in, {found.sent_packets} out"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
