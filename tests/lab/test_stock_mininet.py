"""The topologies under stock Mininet: `mn --custom` loads them, and packets find their way there too."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from port25lab.scenario import catalogue
from unshared import ENVIRONMENT, UNSHARE

pytestmark = pytest.mark.skipif(not shutil.which("mn"), reason="no mn on this machine")

QUESTIONS = {
    "internet": [("company", "192.0.2.25"), ("company", "2001:db8:25::25"), ("dns", "192.0.2.89")],
    "residential_isp": [
        ("pc", "192.0.2.25"),
        ("pc", "2001:db8:25::25"),
        ("cgn-pc", "192.0.2.25"),
        ("cgn-pc", "2001:db8:25::25"),
        ("office", "198.51.100.25"),
        ("infected-pc", "2001:db8:29::29"),
    ],
    "hotel": [("guest-1", "192.0.2.65"), ("guest-1", "2001:db8:65::65")],
    "cloud_vpc": [
        ("instance-1", "192.0.2.25"),
        ("instance-1", "2001:db8:25::25"),
        ("private-1", "192.0.2.25"),
        ("outside", "203.0.113.31"),
        ("neighbour", "203.0.113.31"),
        ("neighbour", "2001:db8:200:1::31"),
        ("instance-1", "10.20.0.25"),
        ("instance-1", "192.168.0.25"),
        ("instance-1", "fd00:db8:16::25"),
    ],
    "hosting": [("vps-1", "192.0.2.25"), ("vps-1", "2001:db8:25::25")],
}


@pytest.mark.parametrize("topology", catalogue.names("topologies"))
def test_stock_mn_loads_a_topology_and_packets_find_their_way(topology: str) -> None:
    file = catalogue.root() / "topologies" / f"{topology}.py"
    # Nothing listens on port 9; who is refused by the destination has reached it, and its answer came back.
    asked = "".join(f"{source} timeout 9 bash -c '</dev/tcp/{to}/9'\n" for source, to in QUESTIONS.get(topology, ()))
    done = subprocess.run(
        [*UNSHARE, "mn", "--custom", str(file), "--topo", topology, "--controller", "none"],
        input=asked,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=Path("/"),
        env=ENVIRONMENT,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert said.count("connect: Connection refused") == len(QUESTIONS.get(topology, ())), said


def test_stock_mn_runs_a_topology_and_ends_as_its_users_know_it() -> None:
    file = catalogue.root() / "topologies" / "hotel.py"
    done = subprocess.run(
        [*UNSHARE, "mn", "--custom", str(file), "--topo", "hotel,rooms=1", "--controller", "none", "--test", "none"],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "guest-1" in done.stderr + done.stdout
    assert "guest-2" not in done.stderr + done.stdout
