"""Verdicts under rules of every kind: what a rule does comes from rule and packet, and the blame has a trail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from port25lab.model.verdict import Verdict
from port25lab.pytest_plugin.labs import LabFactory

MX: dict[str, Any] = {"source": "sender", "to": "mx:example.net", "ip_version": 4}
SMTP = "-p tcp -m tcp --dport 25"


@dataclass(frozen=True)
class Case:
    """Rules of the edge, and what the verdict on mail from the sender must say."""

    rules: str
    outcome: str
    how: str
    trail: tuple[int, ...]
    """Lines of the rules that led to the end, the deciding one last."""


def table(name: str, *lines: str) -> str:
    return "\n".join([f"*{name}", *lines, "COMMIT", ""])


CASES = {
    "a comment that names a limit": Case(
        table("filter", f'-A FORWARD {SMTP} -m comment --comment "-m limit --limit 3/min" -j DROP'),
        "dropped", "syn-drop", (2,),
    ),
    "a comment that names a target": Case(
        table("filter", f'-A FORWARD {SMTP} -m comment --comment "-j REJECT --reject-with tcp-reset" -j DROP'),
        "dropped", "syn-drop", (2,),
    ),
    "a limit on the answers": Case(
        table("filter", f"-A FORWARD {SMTP} -m limit --limit 50/sec -j REJECT", f"-A FORWARD {SMTP} -j DROP"),
        "rejected-icmp", "reject-icmp", (2,),
    ),
    "what is under a limit is rejected": Case(
        table("filter", f"-A FORWARD {SMTP} -m connlimit --connlimit-upto 5 -j REJECT --reject-with tcp-reset"),
        "rejected-reset", "reject-reset", (2,),
    ),
    "a list that remembers": Case(
        table("filter", f"-A FORWARD {SMTP} -m recent --name known --set --rsource -j REJECT"),
        "rejected-icmp", "reject-icmp", (2,),
    ),
    "over a limit at once, with rules between": Case(
        table(
            "filter",
            f"-A FORWARD {SMTP} --syn -m connlimit --connlimit-upto 0 -j ACCEPT",
            f"-A FORWARD {SMTP} --syn -j LOG",
            "-A FORWARD -p udp -j ACCEPT",
            f"-A FORWARD {SMTP} -j DROP",
        ),
        "throttled", "rate-limit", (5,),
    ),
    "over a limit, by the policy of the chain": Case(
        table(
            "filter",
            ":FORWARD DROP [0:0]",
            "-A FORWARD -p udp -j ACCEPT",
            "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT",
            f"-A FORWARD {SMTP} --syn -m connlimit --connlimit-upto 0 -j ACCEPT",
        ),
        "throttled", "rate-limit", (2,),
    ),
    "always by chance": Case(
        table("filter", f"-A FORWARD {SMTP} -m statistic --mode random --probability 0.99999 -j DROP"),
        "dropped", "random-loss", (2,),
    ),
    "a mark that a later rule looks at": Case(
        table("mangle", f"-A PREROUTING {SMTP} -j MARK --set-mark 7", "-A PREROUTING -j TOS --set-tos 8")
        + table("filter", "-N mail", "-A FORWARD -j LOG", "-A FORWARD -m mark --mark 7 -j mail", "-A mail -j DROP"),
        "dropped", "syn-drop", (2, 8, 9),
    ),
    "a chain that returned": Case(
        table(
            "filter", "-N seen", "-N mail", "-A seen -j LOG", "-A seen -j RETURN", f"-A FORWARD {SMTP} -j seen",
            f"-A FORWARD {SMTP} -g mail", "-A mail -j REJECT",
        ),
        "rejected-icmp", "reject-icmp", (7, 8),
    ),
    "redirected to where nothing listens": Case(
        table("nat", f"-A PREROUTING {SMTP} -j REDIRECT --to-ports 2525"), "rejected-reset", "no-listener", (2,)
    ),
    "translated to a closed port": Case(
        table("nat", f"-A PREROUTING {SMTP} -j DNAT --to-destination :26"), "closed", "no-listener", (2,)
    ),
    "translated to an address without a route": Case(
        table("nat", "-A PREROUTING -p udp -j ACCEPT", f"-A PREROUTING {SMTP} -j DNAT --to-destination 192.0.2.99:25"),
        "unreachable", "no-route", (3,),
    ),
    "a lifetime of one hop": Case(
        table("mangle", f"-A PREROUTING {SMTP} -j TTL --ttl-set 1"), "unreachable", "no-route", (2,)
    ),
    "an answer with a lifetime of one hop": Case(
        table("mangle", "-A PREROUTING -p tcp --sport 25 -j TTL --ttl-set 1"), "unreachable", "no-answer", (2,)
    ),
    "a lifetime of one hop behind the handshake": Case(
        table("mangle", f"-A PREROUTING {SMTP} ! --syn -j TTL --ttl-set 1"), "tampered", "session-cut", (2,)
    ),
    "another source, to which no way leads": Case(
        table("nat", f"-A POSTROUTING {SMTP} -j SNAT --to-source 192.0.2.77"), "unreachable", "no-answer", (2,)
    ),
    "translated to the port of submission": Case(
        table("nat", f"-A PREROUTING {SMTP} -j DNAT --to-destination :587"), "auth-required", "server-refusal", (2,)
    ),
    "another server, behind another source port": Case(
        table(
            "nat",
            f"-A PREROUTING {SMTP} -j DNAT --to-destination 192.0.2.29",
            "-A POSTROUTING -p tcp -j SNAT --to-source 203.0.113.2:20000-49999 --random",
        ),
        "intercepted", "interception", (2,),
    ),
    "a queue that no program reads": Case(
        table("filter", f"-A FORWARD {SMTP} -j NFQUEUE --queue-num 77"), "dropped", "syn-drop", (2,)
    ),
    "a queue with a bypass, and another server": Case(
        table("mangle", f"-A PREROUTING {SMTP} -j NFQUEUE --queue-num 77 --queue-bypass")
        + table("nat", f"-A PREROUTING {SMTP} -j DNAT --to-destination 192.0.2.29"),
        "intercepted", "interception", (5,),
    ),
    "everything but SYNs is reset": Case(
        table("filter", f"-A FORWARD {SMTP} ! --syn -j REJECT --reject-with tcp-reset"), "tampered", "session-cut", (2,)
    ),
}  # fmt: skip


def lines(verdict: Verdict) -> tuple[int | None, ...]:
    return tuple(rule.line for rule in verdict.blame.trail) if verdict.blame else ()


@pytest.mark.parametrize("kind", CASES)
def test_what_became_of_the_mail_and_which_rules_led_to_it(
    lab: LabFactory, street: str, make_policy: Callable[..., str], kind: str
) -> None:
    case = CASES[kind]
    verdict = lab(street, {"edge": make_policy("kind", v4=case.rules)}).send(**MX)
    found = (verdict.outcome, verdict.mechanism, lines(verdict))
    assert found == (case.outcome, case.how, case.trail), verdict.judgement.reason
    assert verdict.ok


@pytest.mark.parametrize(
    ("rules", "line"),
    [
        (table("nat", "-A PREROUTING -p tcp --dport 25 -j REDIRECT --to-ports 2525"), 2),
        (table("mangle", "-A PREROUTING -p tcp --dport 25 -j HL --hl-set 1"), 2),
        (table("nat", "-A PREROUTING -p tcp --dport 25 -j DNAT --to-destination [2001:db8:dead::1]:25"), 2),
        (table("nat", "-A POSTROUTING -p tcp --dport 25 -j SNAT --to-source 2001:db8:25::77"), 2),
    ],
    ids=["redirected", "one hop", "nowhere", "a source that the server does not find"],
)
def test_rules_that_change_where_a_packet_goes_are_blamed_over_ipv6(
    lab: LabFactory, street: str, make_policy: Callable[..., str], rules: str, line: int
) -> None:
    verdict = lab(street, {"edge": make_policy("kind6", v6=rules)}).send(**(MX | {"ip_version": 6}))
    assert verdict.ok
    assert lines(verdict) == (line,)


def test_two_ways_into_one_chain_are_told_apart(lab: LabFactory, street: str, make_policy: Callable[..., str]) -> None:
    rules = table(
        "filter", ":deny - [0:0]", f"-A FORWARD {SMTP} -j deny", "-A FORWARD -p tcp --dport 587 -j deny",
        "-A deny -m limit --limit 5/min -j LOG", "-A deny -j DROP",
    )  # fmt: skip
    edge = lab(street, {"edge": make_policy("ways", v4=rules)})
    assert lines(edge.expect("dropped", by="edge", **MX)) == (3, 6)
    submission = {"source": "sender", "to": "server", "port": 587, "ip_version": 4}
    assert lines(edge.expect("dropped", by="edge", **submission)) == (4, 6)


def test_the_answer_of_a_closed_port_is_dropped(lab: LabFactory, street: str, make_policy: Callable[..., str]) -> None:
    rules = table("filter", "-A FORWARD -p tcp --tcp-flags RST RST -j DROP")
    verdict = lab(street, {"edge": make_policy("quiet", v4=rules)}).send(
        source="sender", to="server", port=2626, ip_version=4
    )
    assert (verdict.outcome, verdict.mechanism, lines(verdict)) == ("dropped", "answer-drop", (2,))


def test_a_port_that_is_closed_without_the_policy_too_blames_none_of_its_rules(
    lab: LabFactory, street: str, make_policy: Callable[..., str]
) -> None:
    rules = table("nat", "-A POSTROUTING -p tcp -j MASQUERADE")
    verdict = lab(street, {"edge": make_policy("masked", v4=rules)}).send(
        source="sender", to="server", port=2626, ip_version=4
    )
    assert (verdict.outcome, verdict.blame) == ("closed", None)
    assert verdict.ok
