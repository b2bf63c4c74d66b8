"""Rules files as people keep them: what reaches the kernel, and which line each of its rules comes from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from port25lab.pytest_plugin.labs import LabFactory

MX: dict[str, Any] = {"source": "sender", "to": "mx:example.net", "ip_version": 4}

FILES = {
    "indented": ("*filter\n\t -A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n", 2),
    "inserted": ("*filter\n-A FORWARD -j ACCEPT\n-I FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n", 3),
    "deleted": (
        "*filter\n-A FORWARD -j ACCEPT\n-A FORWARD -p tcp --dport smtp -j DROP\n-D FORWARD -j ACCEPT\nCOMMIT\n",
        3,
    ),
    "policy-command": ("*filter\n-A FORWARD -j LOG\n-P FORWARD DROP\nCOMMIT\n", 3),
    "list": ("*filter\n-A FORWARD --dest 10.0.0.1,192.0.2.0/24 -p tcp --dport 25 -j DROP\nCOMMIT\n", 2),
    "host-name": ("*filter\n-A FORWARD -d mx.example.net -p tcp --dport 25 -j DROP\nCOMMIT\n", 2),
    "of-both-families": ("*filter\n-A FORWARD -6 -j ACCEPT\n-4 -A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n", 3),
    "table-twice": (
        "*filter\n-A FORWARD -j ACCEPT\nCOMMIT\n*filter\n-A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n",
        5,
    ),
    "chain-twice": (
        "*filter\n:own - [0:0]\n-A own -j ACCEPT\n-A FORWARD -j own\n:own - [0:0]\n"
        "-A own -p tcp --dport 25 -j DROP\nCOMMIT\n",
        6,
    ),
    "counted": ("*filter\n[7:420] -A FORWARD -p tcp --dport 25 -j DROP -c 7 420\nCOMMIT\n", 2),
}


@pytest.mark.parametrize("kind", FILES)
def test_the_rule_that_decides_is_found_in_every_form_that_iptables_restore_takes(
    lab: LabFactory, street: str, make_policy: Callable[..., str], kind: str
) -> None:
    rules, line = FILES[kind]
    verdict = lab(street, {"edge": make_policy(kind, v4=rules)}).expect("dropped", by="edge", **MX)
    assert verdict.blame is not None
    assert verdict.blame.line == line


def test_bytes_that_are_not_utf_8_reach_the_kernel_as_they_are(
    lab: LabFactory, street: str, make_policy: Callable[..., str]
) -> None:
    policy = make_policy("latin", v4="*filter\nCOMMIT\n")
    comment = b'-A FORWARD -p tcp --dport 25 -m comment --comment "caf\xe9" -j DROP'
    (Path(policy) / "rules.v4").write_bytes(b"# caf\xe9\n*filter\n" + comment + b"\nCOMMIT\n")
    street_lab = lab(street, {"edge": policy})
    blame = street_lab.expect("dropped", by="edge", **MX).blame
    assert blame is not None
    assert (blame.line, blame.comment) == (3, r"caf\xe9")
    listed = street_lab.run("edge", "sh", "-c", "iptables-save | od -An -tx1 | tr -d ' \\n'")["stdout"]
    assert b"caf\xe9".hex() in listed


def test_a_file_with_thousands_of_rules_is_loaded(
    lab: LabFactory, street: str, make_policy: Callable[..., str]
) -> None:
    others = "".join(
        f"-A FORWARD -s 10.{number // 250}.{number % 250}.0/24 -p tcp -m tcp --dport 4025 -j ACCEPT\n"
        for number in range(6000)
    )
    rules = f"*filter\n{others}-A FORWARD -p tcp --dport 25 -j REJECT\nCOMMIT\n"
    blame = lab(street, {"edge": make_policy("many", v4=rules)}).expect("rejected-icmp", by="edge", **MX).blame
    assert blame is not None
    assert (blame.rule_number, blame.line) == (6001, 6002)
