"""The script of `port25lab collect` in a router of namespaces, and the routers of the tests in the kernel."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from command import port25lab
from port25lab.cli import collect
from port25lab.pytest_plugin.labs import LabFactory
from port25lab.scenario.snapshot import read_snapshot
from unshared import ENVIRONMENT, UNSHARE

ROUTERS = Path(__file__).parents[1] / "support/routers"
SHELLS = ("dash", "busybox ash")

ROUTER = """\
set -e
ip link set lo up
ip link add lan0 type veth peer name lan1
ip link add br0 type bridge
ip link set lan0 master br0
ip addr add 192.0.2.1/24 dev br0
ip addr add 2001:db8::1/64 dev br0 nodad
ip link set br0 up
ip link set lan0 up
ip route add default via 192.0.2.254
ip route add blackhole 198.51.100.0/24
ip -6 route add default via 2001:db8::fe
echo 1 > /proc/sys/net/ipv4/ip_forward
ipset create blocked hash:net
ipset add blocked 203.0.113.0/24
iptables -P FORWARD DROP
iptables -A FORWARD -i br0 -p tcp --dport 25 -m set --match-set blocked dst -j REJECT
iptables -t nat -A POSTROUTING -o br0 -j MASQUERADE
ip6tables -A FORWARD -d 2001:db8:1::/48 -j DROP
"""


def unshared(script: str, *, stdin: bytes = b"") -> bytes:
    """Run a script as root in new namespaces."""
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", script], input=stdin, capture_output=True, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_says_what_the_router_has(tmp_path: Path, shell: str) -> None:
    if not shutil.which(shell.split()[0]):
        pytest.skip(f"no {shell.split()[0]} on this machine")
    (tmp_path / "router.txt").write_bytes(unshared(f"{ROUTER}exec {shell}", stdin=collect.script().encode()))
    reading = read_snapshot([str(tmp_path / "router.txt")])
    found = reading.snapshot
    assert not reading.errors
    assert not found.notes
    interfaces = {(item.name, item.kind, item.master) for item in found.interfaces}
    assert interfaces >= {("br0", "bridge", None), ("lan0", "veth", "br0"), ("lan1", "veth", None)}
    (bridge,) = [item for item in found.interfaces if item.name == "br0"]
    assert {"192.0.2.1/24", "2001:db8::1/64"} <= {str(address) for address in bridge.addresses}
    routes = {(str(route.to), route.via and str(route.via), route.blackhole) for route in found.routes}
    assert routes >= {
        ("0.0.0.0/0", "192.0.2.254", False),
        ("198.51.100.0/24", None, True),
        ("::/0", "2001:db8::fe", False),
    }
    assert [(item.name, item.type, item.members) for item in found.sets] == [
        ("blocked", "hash:net", ("203.0.113.0/24",))
    ]
    assert [part.family for part in found.rules] == ["ip", "ip6"]
    assert b"--match-set blocked dst -j REJECT" in found.rules[0].content
    assert b"MASQUERADE" in found.rules[0].content
    assert found.sysctls["net.ipv4.ip_forward"] == "1"
    assert found.sysctls["net.ipv4.conf.br0.rp_filter"] in ("0", "1", "2")


def test_the_kernel_takes_every_router_of_the_tests(tmp_path: Path) -> None:
    script = ["set -e"]
    for file in sorted(ROUTERS.glob("*.txt")):
        found = read_snapshot([str(file)]).snapshot
        sets = "".join(
            f"{item.create}\n" + "".join(f"add {item.name} {member}\n" for member in item.members)
            for item in found.sets
        )
        (tmp_path / f"{file.stem}.sets").write_text(sets)
        script.append(f"ipset restore -exist < {tmp_path}/{file.stem}.sets")
        for part in found.rules:
            rules = tmp_path / f"{file.stem}.{part.family}"
            rules.write_bytes(part.content)
            script.append(f"{part.family}tables-restore --test < {rules} || {{ echo {file.name} >&2; exit 1; }}")
    assert len(script) > 20
    unshared("\n".join(script))


def test_the_mirror_of_a_labs_router_answers_as_that_router(lab: LabFactory, tmp_path: Path) -> None:
    isp = lab("residential_isp", policies={"isp-edge": "op25b"})
    (tmp_path / "edge.txt").write_text(isp.run("isp-edge", "sh", stdin=collect.script())["stdout"])
    done = port25lab("check", str(tmp_path / "edge.txt"), "--json", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    mirrored = {
        (one["from"], one["to"], one["ip_version"]): (one["outcome"], one["blame"] and one["blame"]["rule_number"])
        for one in json.loads((tmp_path / "out.json").read_text())["verdicts"]
        if one["port"] == 25
    }
    (inside,) = {source for source, _, _ in mirrored if source.startswith("inside-")}
    for version, relay in ((4, "to-isp-relays"), (6, "to-isp-relays6")):
        for live, there in (("mx:example.net", "mx:example.net"), ("isp-relay", relay)):
            verdict = isp.send(source="pc", to=live, port=25, ip_version=version)
            rule = verdict.blame and verdict.blame.rule_number
            assert mirrored[inside, there, version] == (verdict.outcome, rule)
