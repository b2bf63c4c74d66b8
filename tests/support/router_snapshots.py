"""Snapshots of routers for tests: files of ``routers/``, and texts."""

from __future__ import annotations

from pathlib import Path

from port25lab.model.snapshot import Snapshot
from port25lab.scenario.snapshot import read_snapshot

ROUTERS = Path(__file__).with_name("routers")

RULES = """\
*nat
-A POSTROUTING -o wan+ -j MASQUERADE
-A PREROUTING -i wan+ -p tcp --dport 25 -j DNAT --to-destination 10.1.2.25
COMMIT
*filter
:MAIL - [0:0]
-A FORWARD -p tcp -m multiport --dports 25,465 -j MAIL
-A FORWARD -i lan0 -s 10.1.2.0/24 -j ACCEPT
-A FORWARD -i lan0 -p udp --dport 25 -j DROP
-A FORWARD -p tcp ! --dport 25 -s 10.9.0.0/16 -j ACCEPT
-A MAIL -d 203.0.113.25 -j RETURN
-A MAIL -m set --match-set static src -j RETURN
-A MAIL -j DROP
COMMIT
"""
"""Rules of a router with port forwarding, a chain for mail, and a set."""


def router(name: str) -> Snapshot:
    """One of the files of ``routers/``."""
    reading = read_snapshot([str(ROUTERS / f"{name}.txt")])
    assert not reading.errors
    return reading.snapshot


def rules(folder: Path, v4: str, v6: str = "") -> Snapshot:
    """Rules alone, as a user has them in files."""
    files = []
    for name, text in (("rules.v4", v4), ("rules.v6", v6)):
        if text:
            (folder / name).write_text(text)
            files.append(str(folder / name))
    return read_snapshot(files).snapshot
