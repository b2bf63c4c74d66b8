"""Neighbours are real where rules are: what rules do to neighbour discovery and ARP decides as on a real router."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from port25lab.engine.engine import Engine
from port25lab.machine.capacity import Need
from port25lab.model.outcome import Outcome
from port25lab.model.path import PathSpec
from port25lab.model.verdict import Verdict
from port25lab.pytest_plugin.labs import LabFactory
from port25lab.scenario.questions import lab_config, question_about

MX: dict[str, Any] = {"source": "sender", "to": "mx:example.net"}

SIX = {"ip_version": 6}

FORGETS = "*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n"
"""The classic mistake: neighbour discovery belongs to no connection."""

LETS_PASS = FORGETS.replace("COMMIT", "-A INPUT -p icmpv6 -j ACCEPT\nCOMMIT")

NO_ANSWERS = """\
*filter
:icmp - [0:0]
-A OUTPUT -p icmpv6 -j icmp
-A icmp -p icmpv6 --icmpv6-type router-advertisement -j ACCEPT
-A icmp -p icmpv6 --icmpv6-type neighbour-advertisement -j DROP
COMMIT
"""

ONLY_TCP_AND_UDP = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -p tcp -j ACCEPT\n-A FORWARD -p udp -j ACCEPT\nCOMMIT\n"

LOSES_ANSWERS = "*filter\n-A INPUT -p icmpv6 --icmpv6-type neighbour-advertisement -j DROP\nCOMMIT\n"

NO_ARP = "add table arp t\nadd chain arp t in { type filter hook input priority 0; }\nadd rule arp t in drop\n"


def judged(engine: Engine, street: str, policies: dict[str, str], *paths: dict[str, Any]) -> list[Verdict]:
    """The verdicts on these paths, tried in one lab."""
    config = lab_config(street, policies, {})
    return engine.verdicts([question_about(PathSpec(**MX | path), config) for path in paths])


def said(verdict: Verdict) -> tuple[str, str, str | None, int | None]:
    """Outcome, mechanism, and node and line of the blame."""
    blame = verdict.blame
    return verdict.outcome, verdict.mechanism, blame and blame.node, blame and blame.line


def test_a_router_that_forgets_neighbour_discovery_has_no_ipv6_and_all_of_ipv4(
    engine: Engine, street: str, make_policy: Callable[..., str]
) -> None:
    policies = {"edge": make_policy("forgets", v4=FORGETS, v6=FORGETS)}
    four, six, packet, closed = judged(
        engine, street, policies, {"ip_version": 4}, SIX, SIX | {"packet": "syn", "to": "server"}, SIX | {"to": "other"}
    )
    assert said(four) == ("delivered", "none", None, None)
    for verdict in (six, closed):
        assert said(verdict) == ("unreachable", "neighbour-discovery", "edge", 2)
        assert verdict.observation.errno == "EHOSTUNREACH"
        assert [one.packet for one in verdict.evidence.decisions] == ["neighbour solicitation for 2001:db8:1::1"]
    assert said(packet) == ("dropped", "neighbour-discovery", "edge", 2)
    assert all(verdict.judgement.disagreement is None for verdict in (six, packet, closed))


def test_one_router_of_several_answers_no_neighbour(
    engine: Engine, street: str, make_policy: Callable[..., str]
) -> None:
    [six] = judged(engine, street, {"far": make_policy("no-answers", v6=NO_ANSWERS)}, SIX)
    assert said(six) == ("unreachable", "neighbour-discovery", "far", 5)
    assert six.blame
    assert [(rule.chain, rule.line) for rule in six.blame.trail] == [("OUTPUT", 3), ("icmp", 5)]
    assert [one.packet for one in six.evidence.decisions] == ["neighbour advertisement for 2001:db8:ff::1"]
    assert [error.sender for error in six.evidence.icmp] == ["2001:db8:1::1"]


def test_a_router_that_hears_no_answers_waits_for_the_next_one(
    engine: Engine, street: str, make_policy: Callable[..., str]
) -> None:
    [six] = judged(engine, street, {"edge": make_policy("loses", v6=LOSES_ANSWERS)}, SIX)
    assert said(six)[1:] == ("neighbour-discovery", "edge", 2)
    assert six.outcome in (Outcome.UNREACHABLE, Outcome.DROPPED)
    assert six.evidence.decisions[-1].packet == "neighbour advertisement for 2001:db8:ff::1"


@pytest.mark.parametrize("rules", [LETS_PASS, ONLY_TCP_AND_UDP], ids=["let pass", "not forwarded"])
def test_neighbour_discovery_that_no_rule_drops_hurts_nothing(
    engine: Engine, street: str, make_policy: Callable[..., str], rules: str
) -> None:
    [six] = judged(engine, street, {"edge": make_policy("passes", v6=rules)}, SIX)
    assert said(six) == ("delivered", "none", None, None)


def test_a_rule_that_met_the_packet_itself_is_blamed_before_one_that_met_a_neighbour(
    engine: Engine, street: str, make_policy: Callable[..., str]
) -> None:
    drop25 = "*filter\n-A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n"
    policies = {"edge": make_policy("drop25", v6=drop25), "far": make_policy("loses", v6=LOSES_ANSWERS)}
    mail, submission = judged(
        engine,
        street,
        policies,
        SIX,
        SIX | {"to": "server", "port": 587, "security": "starttls", "auth": {"user": "alice"}},
    )
    assert said(mail) == ("dropped", "syn-drop", "edge", 2)
    assert said(submission)[1:] == ("neighbour-discovery", "far", 2)


def test_neighbours_from_before_a_policy_are_forgotten(
    engine: Engine, street: str, make_policy: Callable[..., str]
) -> None:
    """The session was open before: without neighbours of its own, even its packets do not get through."""
    policies = {"edge": make_policy("forgets", v6=FORGETS)}
    [held] = judged(engine, street, policies, SIX | {"packet": "held", "to": "server"})
    assert said(held) == ("dropped", "neighbour-discovery", "edge", 2)


def test_arp_that_a_rule_of_nftables_drops_is_blamed(
    lab: LabFactory, street: str, make_policy: Callable[..., str]
) -> None:
    """Policies have no rules for ARP: the test loads its own into a lab that is up."""
    small = lab(street, policies={"edge": make_policy("logs", v6="*filter\n-A INPUT -j LOG\nCOMMIT\n")})
    done = small.run("edge", "nft", "-f", "-", stdin=NO_ARP)
    assert done["returncode"] == 0, done["stderr"]
    small.run("sender", "ip", "neigh", "flush", "all")
    small.run("edge", "ip", "neigh", "flush", "all")
    found = small.send(source="sender", to="192.0.2.25", ip_version=4)
    assert said(found)[:3] == ("unreachable", "neighbour-discovery", "edge")
    assert found.blame
    assert (found.blame.family, found.blame.chain) == ("arp", "in")
    assert found.evidence.decisions[-1].packet == "ARP request for 198.51.100.1"


def test_only_where_a_rule_sees_it_is_a_neighbour_resolved_and_no_more_than_the_lab_was_admitted_for(
    lab: LabFactory, make_policy: Callable[..., str]
) -> None:
    """gc_thresh3 is 1024 for all namespaces together; permanent entries do not count (Linux, net/core/neighbour.c)."""
    isp = lab(
        "residential_isp",
        policies={"isp-edge": ["op25b", make_policy("logs", v6="*filter\n-A INPUT -j LOG\nCOMMIT\n")]},
    )
    plan = isp.up.plan
    for version in (4, 6):
        isp.expect("delivered", source="office", to="mx:example.net", ip_version=version)
        isp.expect("dropped", source="home-server", to="mx:example.net", ip_version=version)
        isp.expect("delivered", source="home-server", to="isp-relay", ip_version=version)
    ruled = ["isp-edge"]
    resolving = {end for segment in plan.resolving(ruled) for end in segment}
    counts = {4: 0, 6: 0}
    for node in plan.nodes:
        for version in counts:
            for line in isp.run(node, "ip", f"-{version}", "neigh")["stdout"].splitlines():
                words = line.split()
                dynamic = words[-1] not in ("PERMANENT", "NOARP")
                assert not dynamic or (node, words[2]) in resolving, line
                assert words[-1] not in ("FAILED", "INCOMPLETE"), line
                counts[version] += dynamic
    admitted = Need.of(plan, 1, 0, ruled).neighbours
    assert 0 < max(counts.values()) <= admitted


def test_many_paths_that_wait_for_one_neighbour_all_end_alike(
    engine: Engine, street: str, make_policy: Callable[..., str]
) -> None:
    """More than the 50 ICMP errors that Linux allows a namespace at once."""
    policies = {"edge": make_policy("forgets", v6=FORGETS)}
    verdicts = judged(
        engine, street, policies, *(SIX | {"recipient": f"u{number}@example.net"} for number in range(90))
    )
    assert {(*said(verdict), verdict.evidence.retried) for verdict in verdicts} == {
        ("unreachable", "neighbour-discovery", "edge", 2, None)
    }
