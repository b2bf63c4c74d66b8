"""Labs of hundreds of nodes: what is made or captured only where it is needed is right all the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from port25lab.engine.engine import Engine
from port25lab.engine.progress import Quiet
from port25lab.kernel.own_python import search_path
from port25lab.model.outcome import Outcome
from port25lab.model.path import PathSpec
from port25lab.model.verdict import Verdict
from port25lab.model.ways import EVERY_NODE
from port25lab.scenario.questions import lab_config, question_about

CUSTOMERS = 70
"""The last of them are outside of 198.51.100.0/24."""

REPLAYER = Path(__file__).parent / "support/replayer.py"


SOURCES = ("pc-3", "pc-62", "pc-63", f"pc-{CUSTOMERS + 2}")

PATHS = {
    **{
        f"{source} v{version}": (PathSpec(source=source, to="mx:example.net", ip_version=version), Outcome.DROPPED)
        for source in SOURCES
        for version in (4, 6)
    },
    "relay": (PathSpec(source=SOURCES[-1], to="isp-relay", ip_version=4), Outcome.DELIVERED),
    "neighbour": (PathSpec(source="pc-9", to="pc-68", ip_version=6, port=2525), Outcome.CLOSED),
    "router": (PathSpec(source="cpe-5", to="mx:example.net", ip_version=4), Outcome.DROPPED),
}


@pytest.fixture(scope="module")
def found() -> dict[str, Verdict]:
    config = lab_config("residential_isp", {"isp-edge": "op25b"}, {"customers": CUSTOMERS})
    assert len(config.plan.nodes) > EVERY_NODE
    with Engine(Quiet()) as engine:
        verdicts = engine.verdicts([question_about(path, config, expected=outcome) for path, outcome in PATHS.values()])
    return dict(zip(PATHS, verdicts, strict=True))


@pytest.mark.parametrize("name", PATHS)
def test_each_path_of_a_large_lab_is_as_expected(found: dict[str, Verdict], name: str) -> None:
    assert found[name].ok, found[name].judgement.reason


@pytest.mark.parametrize("source", SOURCES)
def test_a_blocked_household_is_seen_from_its_own_pc_on(found: dict[str, Verdict], source: str) -> None:
    for verdict in (found[f"{source} v4"], found[f"{source} v6"]):
        assert verdict.blame is not None
        assert (verdict.blame.node, verdict.blame.policy) == ("isp-edge", "op25b")
        assert [seen.node for seen in verdict.evidence.packets[:2]] == [source, "isp-edge"]


def test_what_a_household_answers_is_its_own(found: dict[str, Verdict]) -> None:
    assert "pc-68" in {seen.node for seen in found["neighbour"].evidence.packets if seen.kind == "RST"}


def test_a_client_on_a_router_that_translates_is_known(found: dict[str, Verdict]) -> None:
    assert found["router"].evidence.packets[0].node == "cpe-5"


NAT = Path("policies/cpe-nat/rules.v4").read_text()
FORWARDED = f"{NAT}*filter\n:own - [0:0]\n-A FORWARD -j own\n-A own -i wan0 -j ACCEPT\nCOMMIT\n"
OF_A_PROTOCOL = "*nat\n-A PREROUTING -i wan0 -p tcp -m tcp --dport 25 -j DNAT --to-destination 192.168.1.25\nCOMMIT\n"
NOT_TAKEN = "*filter\n-A FORWARD -p udp -m multiport --dports 1,2 -j LOG\nCOMMIT\n"


def test_rules_made_again_are_those_that_iptables_made() -> None:
    texts = [NAT, FORWARDED, OF_A_PROTOCOL, NOT_TAKEN]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", sys.executable, str(REPLAYER)],
        input=json.dumps(texts) + "\n",
        env={"PATH": search_path()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *taken, refused = map(json.loads, done.stdout.splitlines())
    for found in taken:
        assert found["taken"]
        assert found["first"] == found["second"] != []
    assert (refused["taken"], refused["second"]) == (False, []), "without a trace: iptables can load them then"
