"""Rules files that are larger than one message of an ordinary user to the kernel (net.core.wmem_max).

In a user namespace the kernel has the same limit for root.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from port25lab.kernel.own_python import search_path
from port25lab.rules import Source, join, parse_listing, stack

LOADER = Path(__file__).parent / "support/loader.py"
PLAIN = "".join(f"-A FORWARD -s 10.{n // 250}.{n % 250}.0/24 -p tcp --dport {n % 9 + 1} -j own\n" for n in range(6000))
HEAVY = "".join(
    f"-I FORWARD -s 10.0.{n // 250}.{n % 250} -p tcp -m multiport --dports 1,2,3,4,5,6,7,8"
    f' -m comment --comment "{n:0200}" -j own\n'
    for n in range(900)
)
SMALL = "*nat\n-A POSTROUTING -s 192.168.0.0/16 -j MASQUERADE\nCOMMIT\n*filter\n:FORWARD DROP [7:420]\nCOMMIT\n"
NAT = "*nat\n-A POSTROUTING -o wan0 -j MASQUERADE\nCOMMIT\n"
LARGE = f"*filter\n:own - [0:0]\n{PLAIN}{HEAVY}-A own -p tcp --dport 25 -j REJECT\nCOMMIT\n"
REFUSED = f"*filter\n:own - [0:0]\n{PLAIN}-A FORWARD -j nowhere\nCOMMIT\n"
STACKS = {
    "large": [LARGE],
    "on top of another": [SMALL, NAT + LARGE],
    "refused": [SMALL, f"*raw\n-A PREROUTING -j LOG\nCOMMIT\n{NAT}{REFUSED}"],
    "refused on top of large": [LARGE, REFUSED],
}


@pytest.fixture(scope="module")
def loaded() -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", sys.executable, str(LOADER)],
        input=json.dumps(list(STACKS.values())) + "\n",
        env={"PATH": search_path()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(STACKS, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", ["large", "on top of another"])
def test_the_kernel_has_every_rule_of_a_large_file_once_and_in_order(
    loaded: dict[str, dict[str, Any]], name: str
) -> None:
    assert loaded[name]["refused"] is None
    expected = stack([Source(text, str(n), noflush=n > 0) for n, text in enumerate(STACKS[name])], "ip")
    joined = join(parse_listing(loaded[name]["after"], "ip"), expected)
    assert [str(found) for found in joined.differences] == []
    assert len(list(joined.ruleset.rules())) == len(list(expected.rules())) >= 6901


def test_one_message_would_have_been_too_long(loaded: dict[str, dict[str, Any]]) -> None:
    command = ["unshare", "--user", "--map-root-user", "--net", "iptables-restore"]
    done = subprocess.run(
        command, input=LARGE, env={"PATH": search_path()}, capture_output=True, text=True, check=False
    )
    assert "Message too long" in done.stderr


@pytest.mark.parametrize("name", ["refused", "refused on top of large"])
def test_a_large_file_with_a_wrong_rule_changes_nothing(loaded: dict[str, dict[str, Any]], name: str) -> None:
    line, words = loaded[name]["refused"]
    assert STACKS[name][-1].split("\n")[line - 1] == "-A FORWARD -j nowhere"
    assert "nowhere" in words
    assert loaded[name]["after"] == loaded[name]["before"] != ""
