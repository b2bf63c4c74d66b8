"""A packet that opens a connection to port 25, and rules around it."""

from __future__ import annotations

from ipaddress import IPv4Address

from port25lab.rules.iptables import parse
from port25lab.rules.model import Ruleset
from port25lab.rules.packet import Packet

SYN = Packet(
    "ip",
    IPv4Address("198.51.100.130"),
    IPv4Address("203.0.113.25"),
    source_port=40000,
    destination_port=25,
    in_interface="access0",
    out_interface="core0",
)


def loaded(rules: str, table: str = "filter") -> Ruleset:
    return parse(f"*{table}\n{rules}\nCOMMIT\n", "ip", file="f")
