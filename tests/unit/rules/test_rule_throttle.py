"""Whether a limit decided: with its answer turned round, the packet passes."""

from __future__ import annotations

import pytest

from port25lab.rules import (
    Decision,
    Source,
    by_chance,
    changed_by_chance,
    diverts,
    over_limit,
    refill_seconds,
    stack,
    throttled,
    walk,
)
from rule_packets import SYN, loaded

ABOVE = "-m hashlimit --hashlimit-above 3/hour --hashlimit-mode srcip --hashlimit-name a"
UPTO = "-m hashlimit --hashlimit-upto 3/hour --hashlimit-mode srcip --hashlimit-name a"


def limit_line(rules: str, decision: Decision, line: int | None = None) -> int | None:
    """The line whose limit decided that the packet met this decision, in the rule of a line."""
    ruleset = loaded(rules)
    found = walk(ruleset, SYN, "forward")
    outcomes = [
        outcome
        for outcome in found.outcomes
        if outcome.decision is decision and (line is None or (outcome.decider and outcome.decider.place.line == line))
    ]
    assert outcomes
    (answer,) = {throttled(ruleset, SYN, "forward", outcome) for outcome in outcomes}
    return answer.place.line if answer else None


@pytest.mark.parametrize(
    ("rules", "decision", "line"),
    [
        (f"-A FORWARD -p tcp --dport 25 {ABOVE} -j DROP", Decision.DROP, 2),
        (f"-A FORWARD {ABOVE} -j REJECT", Decision.REJECT, 2),
        (f"-A FORWARD {UPTO} -j ACCEPT\n-A FORWARD -j DROP", Decision.DROP, 2),
        (f"-A FORWARD {UPTO} -j ACCEPT\n-A FORWARD -j LOG\n-A FORWARD -j DROP", Decision.DROP, 2),
        (f":FORWARD DROP\n-A FORWARD {UPTO} -j ACCEPT", Decision.DROP, 3),
        (f":Q - [0:0]\n-A FORWARD -j Q\n-A FORWARD -j DROP\n-A Q {UPTO} -j ACCEPT", Decision.DROP, 5),
        (f":Q - [0:0]\n-A FORWARD -j Q\n-A Q {UPTO} -j RETURN\n-A Q -j DROP", Decision.DROP, 4),
        ("-A FORWARD -m connlimit --connlimit-above 2 -j DROP", Decision.DROP, 2),
        ("-A FORWARD -m connlimit ! --connlimit-upto 2 -j DROP", Decision.DROP, 2),
        ("-A FORWARD -m quota --quota 1000 -j ACCEPT\n-A FORWARD -j DROP", Decision.DROP, 2),
    ],
)
def test_what_is_over_a_limit_is_throttled(rules: str, decision: Decision, line: int) -> None:
    assert limit_line(rules, decision) == line


@pytest.mark.parametrize(
    ("rules", "decision", "line"),
    [
        # A limit on the answers: nothing ever passes.
        ("-A FORWARD -m limit --limit 10/sec -j REJECT\n-A FORWARD -j DROP", Decision.REJECT, 2),
        ("-A FORWARD -m limit --limit 10/sec -j REJECT\n-A FORWARD -j DROP", Decision.DROP, 3),
        # It refuses what is under the limit.
        ("-A FORWARD -m connlimit --connlimit-upto 2 -j REJECT", Decision.REJECT, 2),
        ("-A FORWARD -m limit --limit 1/min -j DROP", Decision.DROP, 2),
        # A list, not a rate.
        ("-A FORWARD -m recent --set --name seen -j REJECT", Decision.REJECT, 2),
        # The limit is about the log.
        ("-A FORWARD -m limit --limit 5/min -j LOG\n-A FORWARD -j DROP", Decision.DROP, 3),
        # Another rule drops all the same.
        (f"-A FORWARD {ABOVE} -j DROP\n-A FORWARD -j DROP", Decision.DROP, 2),
        ('-A FORWARD -m comment --comment "-m limit was here" -j DROP', Decision.DROP, 2),
    ],
)
def test_what_no_limit_decided_is_not_throttled(rules: str, decision: Decision, line: int) -> None:
    assert limit_line(rules, decision, line) is None


def test_the_kernels_trace_tells_which_way_a_packet_came() -> None:
    """The policy drops what returns early, and what is over the limit: only the second is throttled."""
    ruleset = loaded(f":FORWARD DROP\n-A FORWARD -m recent --rcheck -j RETURN\n-A FORWARD {UPTO} -j ACCEPT")
    for met, line in (([("filter", "FORWARD", 1)], None), ([], 4)):
        outcome = walk(ruleset, SYN, "forward", met=met).certain
        assert outcome is not None
        rule = throttled(ruleset, SYN, "forward", outcome)
        assert (rule.place.line if rule else None) == line


def test_what_passes_is_not_throttled() -> None:
    assert limit_line(f"-A FORWARD {UPTO} -j ACCEPT\n-A FORWARD -j DROP", Decision.ACCEPT) is None


def test_chance_decides_too() -> None:
    ruleset = loaded("-A FORWARD -m statistic --mode random --probability 0.3 -j DROP")
    (lost,) = (one for one in walk(ruleset, SYN, "forward").outcomes if one.decision is Decision.DROP)
    rule = by_chance(ruleset, SYN, "forward", lost)
    assert rule is not None
    assert rule.place.line == 2
    assert throttled(ruleset, SYN, "forward", lost) is None


EVERY_OTHER = "-A PREROUTING -m statistic --mode nth --every 2 --packet 0"
DIVERTED = "-j DNAT --to-destination 192.0.2.9"


@pytest.mark.parametrize(
    ("rules", "chance"),
    [
        (f"{EVERY_OTHER} {DIVERTED}", True),
        (f"{EVERY_OTHER} -j ACCEPT\n-A PREROUTING {DIVERTED}", True),
        (f"{EVERY_OTHER} -j LOG\n-A PREROUTING {DIVERTED}", False),
        (f"-A PREROUTING -m limit -j ACCEPT\n-A PREROUTING {DIVERTED}", False),
    ],
)
def test_chance_decides_where_packets_go_too(rules: str, chance: bool) -> None:
    ruleset = loaded(rules, "nat")
    changer = ruleset.tables["nat"].chains["PREROUTING"].rules[-1]
    outcomes = walk(ruleset, SYN, "forward").outcomes
    (outcome,) = (one for one in outcomes if changer in (*one.altered, one.decider))
    assert changed_by_chance(ruleset, SYN, "forward", outcome, changer) is chance


@pytest.mark.parametrize(
    ("rule", "over"),
    [
        (ABOVE, True),
        (UPTO, False),
        ("-m connlimit --connlimit-above 2", True),
        ("-m connlimit --connlimit-upto 2", False),
        ("-m quota ! --quota 5", True),
        ("-m limit", False),
        ("-m recent --rcheck --seconds 60 --hitcount 3", None),
        ("-p tcp --dport 25", None),
    ],
)
def test_the_answer_of_a_limit_to_what_is_over_it(rule: str, over: bool | None) -> None:
    (match,) = loaded(f"-A FORWARD {rule}").tables["filter"].chains["FORWARD"].rules[0].matches
    assert over_limit(match) is over


def test_rules_that_lead_elsewhere_are_known() -> None:
    text = "-A PREROUTING -p tcp -j REDIRECT --to-ports 25\n-A POSTROUTING -j MASQUERADE"
    first, second = loaded(text, "nat").rules()
    assert diverts(first.target)
    assert not diverts(second.target)
    (proxied,) = loaded("-A PREROUTING -p tcp --dport 25 -j TPROXY --on-port 2525", "mangle").rules()
    assert diverts(proxied.target)


@pytest.mark.parametrize(
    ("match", "seconds"),
    [
        ("-m limit --limit 3/min", 20.0),
        ("-m limit --limit 10/sec", 0.1),
        ("-m hashlimit --hashlimit-above 5/hour --hashlimit-name x", 720.0),
        ("-m hashlimit --hashlimit-upto 1mb/s --hashlimit-name x", 1.0),
        ("-m recent --update --seconds 60 --hitcount 3", 60.0),
        ("-m recent --set", None),
        ("-m connlimit --connlimit-above 3", None),
    ],
)
def test_after_which_time_a_limit_lets_one_more_pass(match: str, seconds: float | None) -> None:
    source = stack([Source(f"*filter\n-A FORWARD -p tcp {match} -j DROP\nCOMMIT\n", "a")], "ip")
    [rule] = source.rules()
    found = [refill_seconds(one) for one in rule.all_matches()]
    assert next((value for value in found if value is not None), None) == seconds
