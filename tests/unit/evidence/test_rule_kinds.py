"""Rules that keep no packet from passing."""

from __future__ import annotations

import pytest

from port25lab.evidence.rule_kinds import only_translates
from port25lab.rules import parse

NAT = """\
*nat
:own - [0:0]
-A POSTROUTING -j own
-A own -o wan0 -j MASQUERADE
-A PREROUTING -p tcp -j DNAT --to 10.0.0.1
"""
OTHERS = {
    "nothing": ("*filter\nCOMMIT\n", True),
    "accept": ("*filter\n-A FORWARD -j LOG\n-A FORWARD -p tcp -j ACCEPT\nCOMMIT\n", True),
    "drop": ("*filter\n-A FORWARD -p tcp -j DROP\nCOMMIT\n", False),
    "reject": ("*filter\n-A FORWARD -p tcp -j REJECT\nCOMMIT\n", False),
    "policy": ("*filter\n:FORWARD DROP [0:0]\n-A FORWARD -j ACCEPT\nCOMMIT\n", False),
    "queue": ("*filter\n-A FORWARD -p tcp -j NFQUEUE --queue-num 1\nCOMMIT\n", False),
    "mark": ("*mangle\n-A PREROUTING -j MARK --set-mark 1\nCOMMIT\n", False),
    "ttl": ("*mangle\n-A PREROUTING -j TTL --ttl-set 1\nCOMMIT\n", False),
    "program": ("*mangle\n-A PREROUTING -p tcp -j TPROXY --on-port 25\nCOMMIT\n", False),
}


@pytest.mark.parametrize("name", OTHERS)
def test_rules_that_let_every_packet_pass(name: str) -> None:
    text, passes = OTHERS[name]
    assert only_translates(parse(f"{NAT}COMMIT\n{text}", "ip", file="f")) is passes
