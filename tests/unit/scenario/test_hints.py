"""Hints about a router's rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.scenario.hints import hints
from port25lab.scenario.router_facts import read_router
from router_snapshots import rules

PLAIN = "*filter\n-A FORWARD -i lan -o wan -p tcp --dport 25 -j DROP\nCOMMIT\n"


@pytest.mark.parametrize(
    ("v4", "v6", "kind", "line"),
    [
        (PLAIN, "", "one-family", None),
        ("*filter\n:FORWARD DROP\n-A FORWARD -i lan -o wan -j ACCEPT\nCOMMIT\n", PLAIN, "no-established", 2),
        ("*filter\n-A INPUT -p tcp --dport 25 -j DROP\nCOMMIT\n", PLAIN, "wrong-chain", 2),
        ("*filter\n:MAIL - [0:0]\n-A MAIL -p tcp --dport 25 -j DROP\nCOMMIT\n", PLAIN, "chain-never-called", 2),
        ("*filter\n-A FORWARD -i lan -o wan -p udp --dport 53 -j DROP\nCOMMIT\n", PLAIN, "dns-dropped", 2),
        (PLAIN, "*filter\n-A FORWARD -p ipv6-icmp -j DROP\nCOMMIT\n", "packet-too-big-dropped", 2),
        (
            "*filter\n[9:99] -A FORWARD -j LOG\n[0:0] -A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n",
            PLAIN,
            "counter-zero",
            3,
        ),
    ],
)
def test_what_the_hint_is_about_and_its_line(tmp_path: Path, v4: str, v6: str, kind: str, line: int | None) -> None:
    found = [hint for hint in hints(read_router(rules(tmp_path, v4, v6)), []) if hint.kind == kind]
    assert found
    assert (found[0].place.line if found[0].place is not None else None) == line


def test_plain_rules_of_both_families_get_no_hint(tmp_path: Path) -> None:
    assert hints(read_router(rules(tmp_path, PLAIN, PLAIN)), []) == []
