"""Hand-made packets in real labs: they arrive, or the rule is named that kept them from arriving."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from command import MakePolicy
from port25lab.engine.engine import Engine
from port25lab.engine.progress import Quiet
from port25lab.model.evidence import Arrival
from port25lab.model.outcome import Outcome
from port25lab.model.packet_kinds import PACKET_KINDS
from port25lab.model.path import PathSpec
from port25lab.model.verdict import Verdict
from port25lab.pytest_plugin.labs import LabFactory
from port25lab.scenario.questions import lab_config, question_about

VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])


def probe(kind: str, version: int = 4, **more: Any) -> dict[str, Any]:
    return {"source": "sender", "to": "mx:example.net", "packet": kind, "ip_version": version} | more


Ask = Callable[..., list[Verdict]]


@pytest.fixture(scope="module")
def verdicts(street: str) -> Iterator[Ask]:
    """Ask about paths of the street under these policies; all of a module's tests share one engine."""
    with Engine(Quiet()) as engine:

        def ask(policies: dict[str, str], *paths: dict[str, Any]) -> list[Verdict]:
            config = lab_config(street, policies, {})
            return engine.verdicts([question_about(PathSpec(**path), config) for path in paths])

        yield ask


def arrival(verdict: Verdict) -> Arrival:
    assert verdict.evidence.arrival
    return verdict.evidence.arrival


def test_without_a_policy_every_probe_arrives(verdicts: Ask) -> None:
    paths = [probe(kind, version) for kind in PACKET_KINDS for version in (4, 6)]
    found = verdicts({}, *paths)
    assert [(verdict.id, verdict.judgement.reason) for verdict in found if verdict.outcome is not Outcome.REACHED] == []
    places = {verdict.question.path.packet: arrival(verdict).reached for verdict in found}
    assert places.pop("answer") == places.pop("too-big") == "sender"
    assert set(places.values()) == {"server"}
    answers = {
        verdict.question.path.packet: arrival(verdict).answer
        for verdict in found
        if verdict.question.path.ip_version == 4
    }
    assert {kind for kind, answer in answers.items() if answer == "SYN-ACK"} >= {
        kind for kind, row in PACKET_KINDS.items() if row.answered
    }


def test_a_rule_without_qualifiers_stops_every_probe_to_the_port(
    verdicts: Ask, make_policy: Callable[..., str]
) -> None:
    rules = "*filter\n-A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n"
    kinds = [kind for kind, row in PACKET_KINDS.items() if row.ported and kind not in ("udp", "sctp")]
    paths = [probe(kind, version) for kind in kinds for version in (4, 6)]
    for verdict in verdicts({"edge": make_policy("all", v4=rules, v6=rules)}, *paths):
        assert (verdict.question.path.packet, verdict.outcome, verdict.judgement.reason) == (
            verdict.question.path.packet,
            Outcome.DROPPED,
            None,
        )
        assert verdict.blame
        assert (verdict.blame.node, verdict.blame.rule) == ("edge", "-A FORWARD -p tcp --dport 25 -j DROP")
        assert verdict.judgement.control
        assert verdict.judgement.control.outcome is Outcome.REACHED


@VERSIONS
def test_a_rule_for_later_fragments_is_named(verdicts: Ask, make_policy: Callable[..., str], version: int) -> None:
    v4 = "*filter\n-A FORWARD -f -j DROP\nCOMMIT\n"
    v6 = "*filter\n-A FORWARD -m frag --fragmore -j DROP\n-A FORWARD -m frag --fraglast -j DROP\nCOMMIT\n"
    [verdict] = verdicts({"edge": make_policy("frag", v4=v4, v6=v6)}, probe("fragments", version))
    assert verdict.outcome is Outcome.DROPPED
    assert verdict.blame
    assert verdict.blame.rule_number == 1


@VERSIONS
@pytest.mark.parametrize("kind", ["udp", "sctp", "gre", "wireguard", "ping"])
def test_other_protocols_are_traced_as_well(
    verdicts: Ask, make_policy: Callable[..., str], kind: str, version: int
) -> None:
    names = "-A FORWARD -p udp --dport 53 -j ACCEPT\n-A FORWARD -p udp --sport 53 -j ACCEPT\n"
    rules = f"*filter\n:FORWARD DROP [0:0]\n{names}COMMIT\n"
    [verdict] = verdicts({"edge": make_policy("names-only", v4=rules, v6=rules)}, probe(kind, version))
    assert verdict.outcome is Outcome.DROPPED
    assert verdict.blame
    assert (verdict.blame.chain, verdict.blame.rule_number) == ("FORWARD", None)


def test_a_packet_that_is_sent_elsewhere_and_one_to_the_port_of_dns_are_followed(
    verdicts: Ask, make_policy: Callable[..., str]
) -> None:
    rules = "*nat\n-A PREROUTING -p tcp --dport 25 -j DNAT --to-destination 192.0.2.29\nCOMMIT\n"
    rules += "*filter\n-A FORWARD -p udp --dport 53 -j DROP\nCOMMIT\n"
    found = verdicts({"edge": make_policy("elsewhere", v4=rules)}, probe("syn"), probe("udp", to="server", port=53))
    assert [(one.outcome, one.blame and one.blame.line) for one in found] == [("intercepted", 2), ("dropped", 5)]


@VERSIONS
def test_a_reject_is_told_from_a_drop(verdicts: Ask, make_policy: Callable[..., str], version: int) -> None:
    rules = "*filter\n-A FORWARD -p tcp --dport 25 -j REJECT\nCOMMIT\n"
    [verdict] = verdicts({"edge": make_policy("reject", v4=rules, v6=rules)}, probe("syn", version))
    assert (verdict.outcome, arrival(verdict).answer) == (
        Outcome.REJECTED_ICMP,
        "ICMP",
    )


@VERSIONS
@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ("-A FORWARD -p tcp --dport 25 -j DROP", Outcome.DROPPED),
        ("-A FORWARD -p tcp --dport 25 --syn -j DROP", Outcome.REACHED),
        ("-A FORWARD -p tcp --dport 25 -j REJECT --reject-with tcp-reset", Outcome.REJECTED_RESET),
    ],
)
def test_a_session_from_before_the_policy(
    verdicts: Ask, make_policy: Callable[..., str], rule: str, outcome: Outcome, version: int
) -> None:
    rules = f"*filter\n{rule}\nCOMMIT\n"
    [verdict] = verdicts({"edge": make_policy("late", v4=rules, v6=rules)}, probe("held", version))
    assert (verdict.outcome, verdict.judgement.reason) == (outcome, None)


def test_a_session_is_older_than_the_policy_also_in_a_lab_that_is_asked_again(lab: LabFactory, street: str) -> None:
    streets = lab(street)
    streets.expect("delivered", source="sender", to="mx:example.net")
    streets.expect("reached", **probe("held"))


@VERSIONS
def test_a_spoofed_source_and_the_answer_to_it(verdicts: Ask, make_policy: Callable[..., str], version: int) -> None:
    rules = "*raw\n-A PREROUTING -i access+ -m rpfilter --invert -j DROP\nCOMMIT\n"
    paths = [probe("syn", version, spoof="other"), probe("answer", version, spoof="other"), probe("syn", version)]
    opened = verdicts({}, *paths)
    assert [arrival(verdict).reached for verdict in opened] == [
        "server",
        "other",
        "server",
    ]
    strict = verdicts({"edge": make_policy("bcp38", v4=rules, v6=rules)}, *paths)
    assert [verdict.outcome for verdict in strict] == [Outcome.DROPPED, Outcome.DROPPED, Outcome.REACHED]


def test_a_probe_whose_lifetime_a_rule_ends_is_unreachable(verdicts: Ask, make_policy: Callable[..., str]) -> None:
    rules = "*mangle\n-A PREROUTING -p tcp --dport 25 -j TTL --ttl-set 1\nCOMMIT\n"
    [verdict] = verdicts({"edge": make_policy("ttl", v4=rules)}, probe("syn"))
    assert (verdict.outcome, verdict.blame and verdict.blame.line) == (Outcome.UNREACHABLE, 2)


def test_a_probe_that_vanishes_without_a_rule_is_an_error(own_lab: LabFactory, street: str) -> None:
    """A route that swallows is no rule of the policy's: nothing names it, so nothing is proven."""
    streets = own_lab(street)
    streets.run("far", "ip", "route", "replace", "blackhole", "192.0.2.24/30")
    verdict = streets.send(**probe("syn", to="server"))
    assert verdict.outcome is Outcome.ERROR
    assert "a plain SYN did not arrive at server within 0.5 s, and no rule dropped it" in str(verdict.judgement.reason)


def test_nat_changes_the_source_and_not_the_verdict(lab: LabFactory, street: str) -> None:
    home = lab(street, home=True)
    for version in (4, 6):
        home.expect("reached", **probe("syn", version))
        home.expect("reached", **probe("too-big", version, port=587))


def odd_syn(p: Any) -> Any:
    """A SYN with a window of zero, which no TCP sends."""
    from scapy.layers.inet import IP, TCP
    from scapy.layers.inet6 import IPv6

    ip = (IP if p.version == 4 else IPv6)(src=p.source, dst=p.destination)
    return ip / TCP(sport=p.source_port, dport=p.port, flags="S", window=0)


def odd_esp(p: Any) -> Any:
    """A packet of a protocol of which nothing but its IP header is known."""
    from scapy.layers.inet import IP

    return IP(src=p.source, dst=p.destination, proto=50) / bytes(32)


def broken(p: Any) -> Any:
    raise KeyError(p.port)


@VERSIONS
def test_packets_of_a_users_function_arrive_or_a_rule_is_named(
    lab: LabFactory, street: str, make_policy: MakePolicy, version: int
) -> None:
    rules = "*filter\n-A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n"
    path = {"source": "sender", "to": "mx:example.net", "ip_version": version}
    assert lab(street).packet(odd_syn, **path).outcome is Outcome.REACHED
    blocked = lab(street, {"edge": make_policy("drop", v4=rules, v6=rules)}).packet(odd_syn, **path)
    assert blocked.outcome is Outcome.DROPPED
    assert blocked.blame is not None
    assert blocked.blame.node == "edge"


def test_a_users_packet_of_any_protocol_is_known_by_its_identification(lab: LabFactory, street: str) -> None:
    path = {"source": "sender", "to": "mx:example.net", "ip_version": 4}
    assert lab(street).packet(odd_esp, **path).outcome is Outcome.REACHED


def test_a_users_function_that_fails_is_an_error_with_its_line(lab: LabFactory, street: str) -> None:
    verdict = lab(street).packet(broken, source="sender", to="mx:example.net", ip_version=4)
    assert verdict.outcome is Outcome.ERROR
    assert "KeyError: 25" in verdict.judgement.reason
    assert "test_packets.py:" in verdict.judgement.reason
