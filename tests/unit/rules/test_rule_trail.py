"""Which rules led to a decision."""

from __future__ import annotations

import pytest

from port25lab.rules import parse, trail, walk
from rule_packets import SYN

LOGDROP = (
    "*filter\n:LOGDROP - [0:0]\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
    "-A FORWARD -p tcp -m tcp --dport 25 -j LOGDROP\n-A FORWARD -p tcp -j LOGDROP\n"
    '-A LOGDROP -m limit --limit 5/min -j LOG --log-prefix "fw: "\n-A LOGDROP -j DROP\nCOMMIT\n'
)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (LOGDROP, [4, 7]),
        # A chain that returned did not lead here.
        ("*filter\n:A - [0:0]\n-A FORWARD -j A\n-A FORWARD -j DROP\n-A A -p tcp -j RETURN\nCOMMIT\n", [4]),
        # The second way into the same chain.
        ("*filter\n:A - [0:0]\n-A FORWARD -j A\n-A FORWARD -p tcp -j MARK --set-mark 1\n-A FORWARD -j A\n"
         "-A A -m mark --mark 1 -j DROP\nCOMMIT\n", [4, 5, 6]),
        # A mark that the decider asks for, set in another table; and one that nothing asks for.
        ("*mangle\n:M - [0:0]\n-A PREROUTING -j M\n-A M -p tcp -j MARK --set-mark 7\n-A M -j TTL --ttl-set 9\nCOMMIT\n"
         "*filter\n-A FORWARD -m mark --mark 7 -j DROP\nCOMMIT\n", [4, 8]),
        ("*mangle\n-A PREROUTING -p tcp -j MARK --set-mark 7\nCOMMIT\n*filter\n-A FORWARD -j DROP\nCOMMIT\n", [5]),
        # By way of the connection.
        ("*mangle\n-A PREROUTING -p tcp -j CONNMARK --set-mark 7\n-A PREROUTING -j CONNMARK --restore-mark\nCOMMIT\n"
         "*filter\n-A FORWARD -m mark --mark 7 -j DROP\nCOMMIT\n", [2, 3, 6]),
        # A mark that was overwritten, and one of which a part is left.
        ("*mangle\n-A PREROUTING -j MARK --set-mark 1\n-A PREROUTING -j MARK --set-mark 2\nCOMMIT\n"
         "*filter\n-A FORWARD -m mark --mark 2 -j DROP\nCOMMIT\n", [3, 6]),
        ("*mangle\n-A PREROUTING -j MARK --or-mark 1\n-A PREROUTING -j MARK --or-mark 2\nCOMMIT\n"
         "*filter\n-A FORWARD -m mark --mark 3 -j DROP\nCOMMIT\n", [2, 3, 6]),
        # The mark of the connection is not that of the packet.
        ("*mangle\n-A PREROUTING -j CONNMARK --set-mark 1\nCOMMIT\n"
         "*filter\n-A FORWARD -m mark --mark 0 -j DROP\nCOMMIT\n", [5]),
        # A jump that asks for the mark.
        ("*mangle\n-A PREROUTING -j MARK --set-mark 7\nCOMMIT\n"
         "*filter\n:A - [0:0]\n-A FORWARD -m mark --mark 7 -g A\n-A A -j DROP\nCOMMIT\n", [2, 6, 7]),
        # NAT leads elsewhere, whatever is asked afterwards.
        ("*nat\n-A PREROUTING -p tcp --dport 25 -j DNAT --to-destination 10.0.0.1\nCOMMIT\n"
         "*filter\n-A FORWARD -j DROP\nCOMMIT\n", [2, 5]),
    ],
)  # fmt: skip
def test_the_trail_has_what_led_to_the_decision_and_nothing_else(text: str, lines: list[int]) -> None:
    outcome = walk(parse(text, "ip"), SYN, "forward").certain
    assert outcome is not None
    assert [rule.place.line for rule in trail([step.rule for step in outcome.steps if step.matched])] == lines


def test_nothing_led_nowhere() -> None:
    assert trail([]) == ()
