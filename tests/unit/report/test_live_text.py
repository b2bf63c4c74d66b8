"""Labs that stay up, as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.model.counters import InterfaceCounters, NodeCounters, RuleCounters
from port25lab.model.log_line import LogLine
from port25lab.model.plan import InterfacePlan, NodePlan, Plan
from port25lab.report.live_text import LabRow, lab_lines, log_lines, node_lines, span


def test_no_lab_is_a_sentence() -> None:
    assert lab_lines([]) == ["no lab is up"]


def test_each_lab_has_a_line_under_the_heading() -> None:
    rows = [
        LabRow("hotel", "hotel", "isp-edge: op25b", 61.0, None, 42),
        LabRow("b", "-", "-", None, None, None),
    ]
    assert lab_lines(rows) == [
        "NAME   TOPOLOGY  POLICIES         UP         ENDS     KEEPER",
        "hotel  hotel     isp-edge: op25b  1 min 1 s  at down  42",
        "b      -         -                starting   at down  -",
    ]


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (-3, "0 s"), (61, "1 min 1 s"), (3900, "1 h 5 min")])
def test_a_time_has_at_most_two_units(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_a_node_has_the_counters_of_its_interfaces_and_rules() -> None:
    plan = Plan(
        name="one",
        file=Path("/one.py"),
        nodes={"edge": NodePlan(name="edge", interfaces=(InterfacePlan(name="eth0"),), policies=("nat",))},
        links=(),
    )
    eth0 = InterfaceCounters(received_packets=1, received_bytes=60, sent_packets=7, sent_bytes=420)
    rule = RuleCounters(
        family="ip6", table="nat", chain="PREROUTING", number=1, packets=3, bytes=1, text="-A PREROUTING"
    )
    counted = {"edge": NodeCounters(interfaces={"eth0": eth0}, rules=(rule,))}
    assert list(node_lines(plan, {}, counted)) == [
        "edge",
        "  eth0, 1 packet in, 7 out",
        "  policies: nat",
        "       3 packets  ip6tables -t nat -A PREROUTING",
    ]


def test_a_line_of_the_log_cannot_act_on_the_terminal() -> None:
    line = LogLine(time=0.25, node="mx", what="smtp on port 25", text="EHLO \x1b[2J")
    (text,) = log_lines([line])
    assert text.endswith(".250  mx  smtp on port 25: EHLO \\x1b[2J")
