"""A real Postfix at home: what it logs, what stays in its queue, and the ways out. Skipped where it cannot run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from port25lab.errors import MachineError
from port25lab.machine import doctor
from port25lab.model.path import PathSpec
from port25lab.model.verdict import Verdict
from port25lab.pytest_plugin.labs import LabFactory, LabUnderTest

TO_MX: dict[str, Any] = {"source": "home-server", "to": "mx:example.net", "sender": "owner@home.example"}
TO_RELAY: dict[str, Any] = {"source": "home-server", "to": "relay-service", "sender": "owner@home.example"}
QUEUES = "for config in /run/postfix/home-server-*/config; do postqueue -c $config -j; done"

both_versions = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])


@pytest.fixture(scope="module", autouse=True)
def _postfix() -> Iterator[None]:
    try:
        doctor.require_program("postfix", "client postfix")
    except MachineError as error:
        pytest.skip(str(error))
    yield


@pytest.fixture
def home(lab: LabFactory) -> LabUnderTest:
    """Customers of an ISP that applies OP25B."""
    return lab("residential_isp", {"isp-edge": "op25b"})


def queued(lab: LabUnderTest) -> list[dict[str, Any]]:
    """What is in the queues of all instances on the home server: postqueue(1), JSON."""
    return [json.loads(line) for line in lab.run("home-server", "sh", "-c", QUEUES)["stdout"].splitlines()]


def by_name(verdict: Verdict) -> str:
    assert verdict.blame is not None
    return f"{verdict.blame.node} {verdict.blame.policy}"


@both_versions
def test_under_op25b_the_log_has_the_line_that_people_find(home: LabUnderTest, version: int) -> None:
    verdict = home.expect("deferred", by="isp-edge", client="postfix", ip_version=version, **TO_MX)
    address = {4: "192.0.2.25", 6: "2001:db8:25::25"}[version]
    line = f"connect to mx.example.net[{address}]:25: Connection timed out"
    (hop,) = verdict.evidence.hops
    assert (hop.node, hop.observation.reply, hop.observation.errno) == ("home-server", line, "ETIMEDOUT")
    assert verdict.observation.reply is not None
    assert verdict.observation.reply.endswith(f"dsn=4.4.1, status=deferred ({line})")
    assert verdict.observation.enhanced_code == "4.4.1"
    assert by_name(verdict) == "isp-edge op25b"


def test_the_message_stays_in_the_queue_and_mailq_says_why(lab: LabFactory) -> None:
    home = lab("residential_isp", {"isp-edge": "op25b-all"})
    before = len(queued(home))
    home.expect("deferred", by="isp-edge", client="postfix", ip_version=4, **TO_MX)
    last = queued(home)[before:]
    assert [(message["queue_name"], message["sender"]) for message in last] == [("deferred", "owner@home.example")]
    assert last[0]["recipients"] == [
        {
            "address": "recipient@example.net",
            "delay_reason": "connect to mx.example.net[192.0.2.25]:25: Connection timed out",
        }
    ]


def test_left_to_choose_it_tries_both_versions_and_a_rule_stands_in_each_way(home: LabUnderTest) -> None:
    verdict = home.expect("deferred", by="isp-edge", client="postfix", **TO_MX)
    ways = {
        (hop.observation.address, decision.blame.family) for hop in verdict.evidence.hops for decision in hop.decisions
    }
    assert ways == {("192.0.2.25", "ip"), ("2001:db8:25::25", "ip6")}


@both_versions
def test_a_relayhost_on_587_with_sasl_is_a_way_out(home: LabUnderTest, version: int) -> None:
    path = {**TO_RELAY, "port": 587, "security": "starttls", "auth": {"user": "alice"}}
    verdict = home.expect("delivered", client="postfix", ip_version=version, **path)
    assert [(hop.node, hop.to) for hop in verdict.evidence.hops] == [
        ("home-server", "smtp.relay.example"),
        ("relay-service", "mx.example.net"),
    ]
    assert verdict.observation.enhanced_code == "2.0.0"


def test_the_isps_relay_as_smarthost_is_a_way_out(home: LabUnderTest) -> None:
    path = {**TO_RELAY, "to": "isp-relay"}
    verdict = home.expect("delivered", client="postfix", ip_version=4, **path)
    assert [hop.node for hop in verdict.evidence.hops] == ["home-server", "isp-relay"]


def test_attempts_side_by_side_have_ports_of_their_own(home: LabUnderTest) -> None:
    """The kernel's trace tells apart what one and the same host sends at the same time, whoever picks the port."""
    paths = [dict(TO_MX, client=client, ip_version=4) for client in ("postfix", "msmtp", "curl", "aiosmtplib")]
    evidence = [found for _, found in home.up.attempts([PathSpec(**path) for path in paths])]
    packets = [(found.hops[0].decisions if found.hops else found.decisions)[0].packet for found in evidence]
    assert len(set(packets)) == len(paths)


def test_nothing_of_it_is_left_running_and_the_kernels_ports_are_the_usual_ones(home: LabUnderTest) -> None:
    home.expect("deferred", client="postfix", ip_version=4, **TO_MX)
    assert "postfix" not in home.run("home-server", "ps", "-eo", "args")["stdout"]
    ports = home.run("home-server", "cat", "/proc/sys/net/ipv4/ip_local_port_range")["stdout"].split()
    assert ports == ["50000", "60999"]
