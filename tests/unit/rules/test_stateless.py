"""Which rules treat a SYN and its retransmission alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from port25lab.rules import Packet, is_stateless, remembers, repeats
from port25lab.rules.match_table import MATCHES
from port25lab.rules.stateless import OWN_MEMORY, STATELESS_MATCHES, STATELESS_TARGETS
from port25lab.rules.target_table import TARGETS
from rule_packets import SYN, loaded

FIXED = frozenset({"a"})
UPTO = "-m hashlimit --hashlimit-upto 3/hour --hashlimit-mode srcip --hashlimit-name a"


def again(rules: str, met: set[int], packet: Packet = SYN, table: str = "filter", way: str = "forward") -> bool:
    """Whether the retransmission of a packet that has matched the rules of these lines meets the same fate."""
    ruleset = loaded(rules, table)
    keys = {rule.key for rule in ruleset.rules() if rule.place.line in met}
    return repeats(ruleset, packet, way, met=keys, fixed_sets=FIXED) is not None


@pytest.mark.parametrize(
    ("rules", "met"),
    [
        ("-A FORWARD -p tcp --dport 25 -j DROP", {2}),
        (":FORWARD DROP [0:0]\n-A FORWARD -p udp -j ACCEPT", set()),
        ("-A FORWARD -m set --match-set a src -j DROP", {2}),
        ("-A FORWARD -m conntrack --ctstate NEW -j DROP", {2}),
        ("-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n-A FORWARD -j DROP", {3}),
        # A limit that the packet does not get to: an earlier match of the rule fails.
        (f"-A FORWARD -p tcp --dport 587 {UPTO} -j ACCEPT\n-A FORWARD -j DROP", {3}),
        # Behind the decision.
        (f"-A FORWARD -j DROP\n-A FORWARD {UPTO} -j ACCEPT", {2}),
        # In a chain to which nothing leads.
        (f":Q - [0:0]\n-A FORWARD -p udp -j Q\n-A FORWARD -j DROP\n-A Q {UPTO} -j ACCEPT", {4}),
        # A limit on the log decides nothing.
        ("-A FORWARD -m limit --limit 5/min -j LOG\n-A FORWARD -j DROP", {2, 3}),
    ],
)
def test_the_retransmission_meets_the_same_fate(rules: str, met: set[int]) -> None:
    assert again(rules, met)


@pytest.mark.parametrize(
    ("rules", "met"),
    [
        (f"-A FORWARD {UPTO} -j ACCEPT\n-A FORWARD -p tcp -j DROP", {3}),
        (f"-A FORWARD -m set --match-set a src {UPTO} -j ACCEPT\n-A FORWARD -j DROP", {3}),
        ("-A FORWARD -m recent --name r --set\n-A FORWARD -j DROP", {2, 3}),
        ("-A FORWARD -m recent --name r --set -j LOG\n-A FORWARD -j DROP", {2, 3}),
        ("-A FORWARD -j SET --add-set a src\n-A FORWARD -j DROP", {2, 3}),
        ("-A FORWARD -m set --match-set other src -j DROP", {2}),
        ("-A FORWARD -m set --match-set a src --packets-gt 3 -j DROP", {2}),
        ("-A FORWARD -m statistic --mode random --probability 0.5 -j DROP", {2}),
        ("-A FORWARD -m time --timestart 08:00 -j ACCEPT\n-A FORWARD -j DROP", {3}),
        ("-A FORWARD -m quota --quota 100 -j ACCEPT\n-A FORWARD -j DROP", {3}),
        ("-A FORWARD -m connlimit --connlimit-above 2 -j DROP", {2}),
        ("-A FORWARD -m connmark --mark 1 -j ACCEPT\n-A FORWARD -j DROP", {3}),
        ("-A FORWARD -m conntrack --ctstatus CONFIRMED -j ACCEPT\n-A FORWARD -j DROP", {3}),
        ("-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT\n-A FORWARD -j DROP", {3}),
        ("-A FORWARD -m u32 --u32 0x4=0x1 -j ACCEPT\n-A FORWARD -j DROP", {3}),
        ("-A FORWARD -m unheard --of x -j ACCEPT\n-A FORWARD -j DROP", {3}),
        ("-A FORWARD -j TEE --gateway 192.0.2.9\n-A FORWARD -j DROP", {2, 3}),
        ("-A FORWARD -j NFQUEUE --queue-num 1\n-A FORWARD -j DROP", {3}),
        # It is not known whether the packet got into the chain.
        (f":Q - [0:0]\n-A FORWARD -m unheard -j Q\n-A FORWARD -j DROP\n-A Q {UPTO} -j ACCEPT", {4}),
    ],
)
def test_what_remembers_may_treat_the_retransmission_in_another_way(rules: str, met: set[int]) -> None:
    assert not again(rules, met)


@pytest.mark.parametrize(
    ("rule", "stateless"),
    [
        ("-A PREROUTING -p tcp -j DNAT --to-destination 192.0.2.1:2525", True),
        ("-A PREROUTING -p tcp -j DNAT --to-destination 192.0.2.1:2525-2530", False),
        ("-A PREROUTING -p tcp -j DNAT --to-destination 192.0.2.1 --random", False),
        ("-A PREROUTING -p tcp -j REDIRECT --to-ports 2525", True),
        ("-A PREROUTING -p tcp -j REDIRECT --to-ports 2525-2530", False),
        # The connection keeps what was chosen: nothing drops packets behind it in the node.
        ("-A POSTROUTING -p tcp -j MASQUERADE --random", True),
    ],
)
def test_address_translation_that_chooses_by_chance_remembers(rule: str, stateless: bool) -> None:
    (one,) = loaded(rule, "nat").rules()
    assert (remembers(one, SYN, FIXED) is None) is stateless


def test_a_rule_asks_its_matches_in_their_order() -> None:
    first, second = loaded(
        "-A FORWARD -p tcp -m recent --name r --set -m tcp --dport 587\n"
        "-A FORWARD -p tcp -m tcp --dport 587 -m recent --name r --set"
    ).rules()
    assert remembers(first, SYN, FIXED) is not None
    assert remembers(second, SYN, FIXED) is None
    assert remembers(second, replace(SYN, destination_port=587), FIXED) is not None


def test_every_name_of_the_tables_is_known() -> None:
    matches, targets = {name for _, name in MATCHES} | {"header"}, {name for _, name in TARGETS}
    assert STATELESS_MATCHES.keys() | OWN_MEMORY <= matches
    assert STATELESS_TARGETS.keys() <= targets
    assert not (STATELESS_MATCHES.keys() - {"conntrack"}) & OWN_MEMORY


def test_stateless_matches_are_known() -> None:
    rules = loaded(
        "-A FORWARD -p tcp --dport 25 -m set --match-set a src -m conntrack --ctstate NEW -m foo --b"
    ).rules()
    answers = [is_stateless(match) for rule in rules for match in rule.all_matches()]
    assert answers == [True, True, True, True, False]
