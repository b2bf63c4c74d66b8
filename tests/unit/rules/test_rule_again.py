"""Which rules judge a second SYN from the same port as they judged the first."""

from __future__ import annotations

import pytest

from port25lab.rules import Source, judges_alike, stack
from port25lab.rules.again import DIFFERS, JUDGES_ALIKE
from port25lab.rules.effects import LIMITS, RANDOM


def alike(*rules: str, table: str = "filter") -> bool:
    text = "\n".join([f"*{table}", *rules, "COMMIT", ""])
    return judges_alike(stack([Source(text, "a")], "ip"))


@pytest.mark.parametrize(
    "rule",
    [
        "-A FORWARD -s 10.0.0.0/8 -p tcp --dport 25 -j DROP",
        "-A FORWARD -p tcp -m multiport --dports 25,465 -j REJECT --reject-with tcp-reset",
        "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        "-A FORWARD -m state --state NEW -m mark --mark 7 -j DROP",
        "-A FORWARD -m set --match-set dynamic src -j DROP",
        "-A FORWARD -m comment --comment limit -j LOG",
    ],
)
def test_the_packet_and_what_is_set_up_are_the_same(rule: str) -> None:
    assert alike(rule)


@pytest.mark.parametrize(
    "rule",
    [
        "-A FORWARD -m limit --limit 3/min -j ACCEPT",
        "-A FORWARD -m hashlimit --hashlimit-above 3/min --hashlimit-name x -j DROP",
        "-A FORWARD -m connlimit --connlimit-above 3 -j DROP",
        "-A FORWARD -m recent --set",
        "-A FORWARD -m statistic --mode random --probability 0.5 -j DROP",
        "-A FORWARD -m quota --quota 100 -j ACCEPT",
        "-A FORWARD -m time --timestart 08:00 -j DROP",
        '-A FORWARD -m u32 --u32 "2&0xFFFF=0x1" -j DROP',
        "-A FORWARD -m string --algo bm --string x -j DROP",
        "-A FORWARD -m conntrack --ctexpire 5 -j DROP",
        "-A FORWARD -m set --match-set dynamic src --packets-gt 3 -j DROP",
        "-A FORWARD -j NFQUEUE --queue-num 1",
        "-A FORWARD -j SET --add-set dynamic src",
    ],
)
def test_everything_that_remembers_counts_or_looks_at_the_clock_may_judge_otherwise(rule: str) -> None:
    assert not alike(rule)
    assert not alike("-A FORWARD -p tcp --dport 25 -j DROP", rule)  # wherever it stands


def test_nat_that_takes_a_port_at_random_may_give_another_one() -> None:
    assert alike("-A POSTROUTING -j MASQUERADE", table="nat")
    assert not alike("-A POSTROUTING -j MASQUERADE --random", table="nat")


def test_no_limit_and_no_chance_is_in_the_table() -> None:
    modules = [module for group in JUDGES_ALIKE.values() for module in group]
    assert len(modules) == len(set(modules))
    assert not {*LIMITS, *RANDOM, "recent", "time", "u32", "bpf", "string", "connbytes", "rateest"} & set(modules)
    assert "ACCEPT" not in DIFFERS
