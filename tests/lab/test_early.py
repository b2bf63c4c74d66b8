"""Verdicts as soon as they are proven: where every rule judges the next SYN alike, one more SYN ends the wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from port25lab.engine.engine import Engine
from port25lab.model.path import PathSpec
from port25lab.model.verdict import Verdict
from port25lab.pytest_plugin import LabFactory
from port25lab.scenario.questions import lab_config, question_about

MX: dict[str, Any] = {"source": "sender", "to": "mx:example.net"}
SMTP = "-A FORWARD -p tcp --dport 25"
DROPS = f"*filter\n{SMTP} -j DROP\nCOMMIT\n"


def judged(engine: Engine, street: str, policy: str, version: int = 4, **more: Any) -> Verdict:
    config = lab_config(street, {"edge": policy}, {})
    [verdict] = engine.verdicts([question_about(PathSpec(**MX | {"ip_version": version} | more), config)])
    return verdict


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("target", "outcome", "errno"),
    [
        ("DROP", "dropped", {"ETIMEDOUT"}),
        ("REJECT", "rejected-icmp", {"ECONNREFUSED"}),
        ("REJECT --reject-with tcp-reset", "rejected-reset", {"ECONNREFUSED"}),
    ],
)
def test_what_every_rule_judges_alike_is_known_at_once(
    engine: Engine,
    street: str,
    make_policy: Callable[..., str],
    target: str,
    version: int,
    outcome: str,
    errno: set[str],
) -> None:
    rules = f"*filter\n{SMTP} -j {target}\nCOMMIT\n"
    verdict = judged(engine, street, make_policy("at-once", v4=rules, v6=rules), version)
    observed = verdict.observation
    assert (verdict.outcome, verdict.blame and verdict.blame.line) == (outcome, 2)
    assert observed.errno in errno
    # An error that answers the first SYN at once needs no second one.
    assert observed.early is (target == "DROP" or (target == "REJECT" and version == 6))
    syns = [packet for packet in verdict.evidence.packets if packet.kind == "SYN" and packet.leaving]
    assert len({packet.source_port for packet in syns}) == 1
    assert len({packet.sequence for packet in syns}) == 1 + observed.early


@pytest.mark.parametrize(
    "before",
    [
        f"{SMTP} -m hashlimit --hashlimit-upto 1/sec --hashlimit-burst 1 --hashlimit-name once -j ACCEPT",
        "-A FORWARD -p udp -m limit --limit 1/min -j ACCEPT",
        f"{SMTP} -m recent --set",
        f"{SMTP} -m statistic --mode nth --every 50 --packet 7 -j ACCEPT",
    ],
)
def test_where_a_rule_may_judge_otherwise_the_client_waits_for_its_own_time(
    engine: Engine, street: str, make_policy: Callable[..., str], before: str
) -> None:
    rules = f"*filter\n{before}\n{SMTP} -j DROP\nCOMMIT\n"
    policy = make_policy("waits", v4=rules)
    verdict = judged(engine, street, policy, sender="first@sender.example")
    assert not verdict.observation.early
    if verdict.outcome != "delivered":
        assert verdict.observation.seconds > 1


def test_where_a_user_ran_a_program_nothing_is_concluded_early(
    lab: LabFactory, street: str, make_policy: Callable[..., str]
) -> None:
    small = lab(street, policies={"edge": make_policy("drops", v4=DROPS)})
    assert small.send(**MX, ip_version=4).observation.early
    small.run("edge", "true")
    found = small.send(**MX, ip_version=4, sender="again@sender.example")
    assert (found.outcome, found.observation.early) == ("dropped", False)


def test_a_dropped_answer_is_waited_for(engine: Engine, street: str, make_policy: Callable[..., str]) -> None:
    rules = "*filter\n-A FORWARD -p tcp --sport 25 -j DROP\nCOMMIT\n"
    verdict = judged(engine, street, make_policy("answers", v4=rules))
    assert (verdict.outcome, verdict.mechanism, verdict.observation.early) == ("dropped", "answer-drop", False)
