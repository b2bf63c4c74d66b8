"""Which rules may stop a session that is open: their nodes are traced as a whole."""

from __future__ import annotations

import pytest

from port25lab.evidence.session_rules import act_in_sessions
from port25lab.rules import parse

NEW = "-A FORWARD -m conntrack --ctstate NEW -j ACCEPT"
OPEN = "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
TO_25 = "-A FORWARD -p tcp --dport 25"
CLOSED = ":FORWARD DROP [0:0]"


@pytest.mark.parametrize(
    ("lines", "acts"),
    [
        ([f"{TO_25} -m conntrack --ctstatus ASSURED -j DROP"], True),
        ([f"{TO_25} -m conntrack --ctstatus ASSURED -j ACCEPT"], False),
        ([f"{TO_25} ! --tcp-option 2 -j DROP"], True),
        ([f"{TO_25} -m length --length 0:200 -j ACCEPT", "-A FORWARD -j DROP"], True),
        ([f"{TO_25} -m statistic --mode random --probability 0.1 -j DROP"], True),
        ([f"{TO_25} -m recent --name a --rcheck -j DROP"], True),
        ([f"{TO_25} --syn -m recent --name a --rcheck -j DROP"], False),
        ([f"{TO_25} -j SET --add-set a src"], True),
        ([f"{TO_25} -m conntrack --ctstate NEW -j SET --add-set a src"], False),
        ([CLOSED, NEW, "-A FORWARD -m conntrack --ctstate INVALID -j ACCEPT"], True),
        ([CLOSED, NEW], True),
        ([NEW, "-A FORWARD -j DROP"], True),
        ([NEW], False),
        ([CLOSED, OPEN, NEW], False),
        ([CLOSED, OPEN, f"{TO_25} --syn -j ACCEPT"], False),
        ([CLOSED, f"{TO_25} --tcp-flags SYN SYN -j ACCEPT"], True),
        ([CLOSED, f"{TO_25} -m conntrack --ctstate ESTABLISHED -j ACCEPT", NEW], True),
        ([CLOSED, "-A FORWARD -m conntrack ! --ctstate ESTABLISHED -j ACCEPT"], True),
        ([CLOSED, OPEN, NEW, "-A INPUT -p tcp --dport 22 -j DROP"], True),
        ([CLOSED, TO_25 + " -j ACCEPT"], False),
    ],
)
def test_rules_that_may_stop_an_open_session(lines: list[str], acts: bool) -> None:
    assert act_in_sessions(parse("\n".join(["*filter", *lines, "COMMIT", ""]), "ip")) is acts


@pytest.mark.parametrize("later", ["! --syn ", ""])
def test_a_lifetime_may_end_in_a_session_where_it_differs_from_that_of_the_syn(later: str) -> None:
    assert act_in_sessions(parse(f"*mangle\n{TO_25} {later}-j TTL --ttl-set 1\nCOMMIT\n", "ip")) is bool(later)


@pytest.mark.parametrize("drops", [True, False])
@pytest.mark.parametrize("kind", ["mark", "connmark"])
def test_a_mark_stops_a_session_where_a_rule_drops_by_marks(kind: str, drops: bool) -> None:
    says = f"{TO_25} -m conntrack --ctstate ESTABLISHED -j {kind.upper()} --set-mark 7"
    target = "DROP" if drops else "ACCEPT"
    rules = f"*mangle\n{says}\nCOMMIT\n*filter\n-A FORWARD -m {kind} --mark 7 -j {target}\nCOMMIT\n"
    assert act_in_sessions(parse(rules, "ip")) is drops
