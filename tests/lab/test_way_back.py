"""What is lost on its way back, on routers that never saw the SYN; and silence for which no rule is the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from port25lab.engine.engine import Engine
from port25lab.model.path import PathSpec
from port25lab.model.verdict import Verdict
from port25lab.scenario.questions import lab_config, question_about

ROUNDABOUT = str(Path(__file__).parent / "support/roundabout.py")

REFUSES = "*filter\n-A FORWARD -p tcp --dport 25 -j REJECT\nCOMMIT\n"

LOSES_ANSWERS = "*filter\n-A FORWARD -p {icmp} -j DROP\n-A FORWARD -p tcp --tcp-flags RST RST -j DROP\nCOMMIT\n"

MASQUERADES = "*nat\n-A POSTROUTING -o wan+ -j MASQUERADE\nCOMMIT\n"

NO_ANSWERS_OF_ITS_OWN = REFUSES.replace("*filter\n", "*filter\n-A OUTPUT -p {icmp} -j DROP\n")

SYNPROXY = """\
*raw
-A PREROUTING -p tcp --dport 25 --syn -j CT --notrack
COMMIT
*filter
-A FORWARD -p tcp --dport 25 -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --mss 1460
COMMIT
"""

MARKS = """\
*mangle
-A FORWARD -p tcp -m string --algo bm --string EHLO -j CONNMARK --set-mark 7
COMMIT
*filter
-A FORWARD -m connmark --mark 7 -j DROP
COMMIT
"""

BOTH = (4, 6)


def judged(
    engine: Engine, topology: str, policies: dict[str, str], paths: list[dict[str, Any]], **parameters: Any
) -> list[Verdict]:
    """The verdicts on these paths over both IP versions, tried in one lab."""
    config = lab_config(topology, policies, parameters)
    specs = [PathSpec(**path | {"ip_version": version}) for path in paths for version in BOTH]
    return engine.verdicts([question_about(spec, config) for spec in specs])


def said(verdict: Verdict) -> tuple[str, str, str | None, int | None]:
    """Outcome, mechanism, and node and line of the blame."""
    blame = verdict.blame
    return verdict.outcome, verdict.mechanism, blame and blame.node, blame and blame.line


@pytest.mark.parametrize("behind_nat", [False, True])
def test_errors_and_resets_are_followed_on_a_way_back_of_their_own(
    engine: Engine, make_policy: Callable[..., str], behind_nat: bool
) -> None:
    loses = make_policy("loses", v4=LOSES_ANSWERS.format(icmp="icmp"), v6=LOSES_ANSWERS.format(icmp="icmpv6"))
    policies = {"far": make_policy("refuses", v4=REFUSES, v6=REFUSES), "back": loses}
    if behind_nat:
        policies["cpe"] = make_policy("masquerades", v4=MASQUERADES)
    paths = [{"source": "client", "to": "server", "port": port} for port in (25, 587)]
    found = judged(engine, ROUNDABOUT, policies, paths)
    error, reset = ("dropped", "answer-drop", "back", 2), ("dropped", "answer-drop", "back", 3)
    assert [said(verdict) for verdict in found] == [error, error, reset, reset]
    kinds = [[one.traced.kind for one in verdict.evidence.decisions] for verdict in found]
    assert kinds == [["SYN", "ICMP error"]] * 2 + [["RST"]] * 2
    assert all(verdict.judgement.disagreement is None for verdict in found)


def test_a_router_may_drop_the_errors_that_it_makes_itself(
    engine: Engine, street: str, make_policy: Callable[..., str]
) -> None:
    rules = {f"v{n}": NO_ANSWERS_OF_ITS_OWN.format(icmp=icmp) for n, icmp in ((4, "icmp"), (6, "icmpv6"))}
    if "v6" in rules:  # neighbours must be found
        rules["v6"] = rules["v6"].replace("-p icmpv6", "-p icmpv6 --icmpv6-type destination-unreachable")
    found = judged(engine, street, {"edge": make_policy("quiet", **rules)}, [{"source": "sender", "to": "server"}])
    assert [said(verdict) for verdict in found] == [("dropped", "answer-drop", "edge", 2)] * 2


SILENT = {
    "hole": "no-route",
    "gone": "no-answer",
    "gateway": "no-answer",
    "lost": "no-route",
    "quiet": "no-route",
}
"""Names that lead nowhere: why."""


def test_silence_without_a_rule_is_unreachable(engine: Engine) -> None:
    found = judged(engine, ROUNDABOUT, {}, [{"source": "client", "to": name} for name in SILENT])
    expected = [("unreachable", how, None, None) for how in SILENT.values() for _ in BOTH]
    assert [said(verdict) for verdict in found] == expected
    ends = [verdict.evidence.ended and verdict.evidence.ended.packet.node for verdict in found]
    assert ends == ["far"] * 8 + ["quiet"] * 2
    assert all(verdict.ok for verdict in found)


def test_a_rule_that_hides_the_error_of_a_router_did_not_cause_it(
    engine: Engine, make_policy: Callable[..., str]
) -> None:
    loses = make_policy("loses", v4=LOSES_ANSWERS.format(icmp="icmp"), v6=LOSES_ANSWERS.format(icmp="icmpv6"))
    found = judged(engine, ROUNDABOUT, {"back": loses}, [{"source": "client", "to": "lost"}])
    assert [said(verdict) for verdict in found] == [("unreachable", "no-route", None, None)] * 2
    assert [[one.traced.kind for one in verdict.evidence.decisions] for verdict in found] == [["ICMP error"]] * 2


def test_an_answer_without_a_way_back_is_unreachable(engine: Engine) -> None:
    paths = [{"source": "client", "to": "server", "port": port} for port in (25, 587)]
    found = judged(engine, ROUNDABOUT, {}, paths, lost=True)
    assert [said(verdict) for verdict in found] == [("unreachable", "no-route", None, None)] * 4
    ends = [verdict.evidence.ended for verdict in found]
    assert [(end.packet.node, end.packet.kind) for end in ends if end] == [("back", "SYN-ACK")] * 2 + [
        ("back", "RST")
    ] * 2


def test_a_proxy_for_syns_is_named_where_the_session_fails(
    engine: Engine, street: str, make_policy: Callable[..., str]
) -> None:
    policy = make_policy("synproxy", v4=SYNPROXY, v6=SYNPROXY)
    found = judged(engine, street, {"edge": policy}, [{"source": "sender", "to": "server"}])
    assert [said(verdict) for verdict in found] == [("tampered", "session-cut", "edge", 5)] * 2


def test_a_mark_that_is_set_in_a_session_is_followed(
    engine: Engine, street: str, make_policy: Callable[..., str]
) -> None:
    policy = make_policy("marks", v4=MARKS, v6=MARKS)
    found = judged(engine, street, {"edge": policy}, [{"source": "sender", "to": "server"}])
    assert [said(verdict) for verdict in found] == [("tampered", "session-cut", "edge", 5)] * 2
