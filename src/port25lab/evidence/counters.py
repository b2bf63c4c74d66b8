"""The counters of a node, read from its kernel."""

from __future__ import annotations

from pathlib import Path

from port25lab.evidence.rule_map import FAMILIES
from port25lab.model.counters import InterfaceCounters, NodeCounters, RuleCounters
from port25lab.network import firewall
from port25lab.network.builder import LabNode
from port25lab.rules import decode, parse_listing

_RECEIVED_BYTES, _RECEIVED_PACKETS, _SENT_BYTES, _SENT_PACKETS = 0, 1, 8, 9
"""Columns of ``/proc/net/dev`` behind the name (proc_pid_net(5))."""


def read_counters(node: LabNode, *, ruled: bool) -> NodeCounters:
    """What a node has counted so far. ``ruled``: whether it has rules. Raises LabError where they cannot be listed."""
    interfaces: dict[str, InterfaceCounters] = node.run_inside(_interfaces)
    return NodeCounters(interfaces=interfaces, rules=tuple(_rules(node)) if ruled else ())


def _interfaces() -> dict[str, InterfaceCounters]:
    found = {}
    for line in Path("/proc/thread-self/net/dev").read_text(encoding="ascii").splitlines()[2:]:
        name, _, numbers = line.partition(":")
        counts = [int(number) for number in numbers.split()]
        found[name.strip()] = InterfaceCounters(
            received_packets=counts[_RECEIVED_PACKETS],
            received_bytes=counts[_RECEIVED_BYTES],
            sent_packets=counts[_SENT_PACKETS],
            sent_bytes=counts[_SENT_BYTES],
        )
    return found


def _rules(node: LabNode) -> list[RuleCounters]:
    return [
        RuleCounters(
            family=family,
            table=rule.table,
            chain=rule.chain,
            number=rule.number,
            packets=rule.counters[0],
            bytes=rule.counters[1],
            text=str(rule),
        )
        for family in FAMILIES
        for table in parse_listing(decode(firewall.saved(node, family)), family).tables.values()
        for chain in table.chains.values()
        for rule in chain.rules
    ]
