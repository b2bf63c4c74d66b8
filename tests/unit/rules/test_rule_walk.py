"""One packet along a ruleset: what matched, what decides, and what is not known."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest

from port25lab.rules import Decision, Outcome, Packet, Ruleset, Sets, Walk, answers_of, no_sets, parse, sets_of, walk
from port25lab.rules.packet import ACK
from rule_packets import SYN, loaded


def met(rules: str, packet: Packet = SYN, way: str = "forward", sets: Sets = no_sets) -> Walk:
    return walk(loaded(rules), packet, way, sets=sets)


def only(found: Walk) -> Outcome:
    assert found.certain is not None
    return found.certain


def lines(outcome: Outcome) -> tuple[list[int], int | None]:
    """Lines of the open jumps, and of the decider."""
    return [rule.place.line for rule in outcome.jumps], outcome.decider.place.line if outcome.decider else None


def test_the_first_rule_that_decides_decides() -> None:
    one = only(
        met(
            "-A FORWARD -p udp -j DROP\n-A FORWARD -p tcp --dport 25 -j LOG\n"
            "-A FORWARD -p tcp --dport 25 -j DROP\n-A FORWARD"
        )
    )
    assert (one.decision, one.decider and one.decider.place.line, one.assumed) == (Decision.DROP, 4, ())
    assert [(step.rule.place.line, step.matched) for step in one.steps] == [(2, False), (3, True), (4, True)]


def test_the_policy_decides_at_the_end_and_behind_a_return() -> None:
    for rules in (
        ":FORWARD DROP\n-A FORWARD -p udp -j ACCEPT",
        ":FORWARD DROP\n-A FORWARD -j RETURN\n-A FORWARD -j ACCEPT",
    ):
        one = only(met(rules))
        assert (one.decision, one.decider, one.table, one.chain) == (Decision.DROP, None, "filter", "FORWARD")


def test_jumps_that_are_open_lead_to_the_decider_and_others_do_not() -> None:
    one = only(
        met(
            ":A - [0:0]\n:B - [0:0]\n-A FORWARD -j B\n-A FORWARD -p tcp -j A\n-A A -p udp -j DROP\n-A A -j B\n"
            "-A B -p tcp --dport 25 -j RETURN\n-A A -j DROP"
        )
    )
    assert lines(one) == ([5], 9)


def test_a_chain_that_is_gone_to_does_not_come_back() -> None:
    rules = (
        ":A - [0:0]\n:B - [0:0]\n:FORWARD DROP\n-A FORWARD -j A\n-A FORWARD -j ACCEPT\n-A A -g B\n"
        "-A A -j DROP\n-A B -p udp -j DROP"
    )
    one = only(met(rules))
    # B ends, and the packet is back where A was called.
    assert (one.decision, lines(one)) == (Decision.ACCEPT, ([], 6))
    last = only(met(rules.replace("-A B -p udp", "-A B -p tcp")))
    assert (last.decision, lines(last)) == (Decision.DROP, ([5, 7], 9))


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ("-s 198.51.100.128/25", True), ("! -s 198.51.100.128/25", False), ("-s 0.0.0.130/0.0.0.255", True),
        ("-i access+", True), ("-i access", False), ("-o core0", True), ("! -i access0", False),
        ("-p tcp --syn", True), ("-p tcp ! --syn", False), ("-p tcp --tcp-flags ALL SYN", True),
        ("-p tcp --sport 1024:", True), ("-p tcp -m multiport --ports 1:3,25", True),
        ("-p tcp -m multiport ! --dports 25", False), ("-m state --state NEW", True),
        ("-m conntrack --ctstate ESTABLISHED", False),
        ("-m iprange --dst-range 203.0.113.0-203.0.113.24", False), ("-m mark --mark 0/1", True),
        ("-m mark ! --mark 0", False),
        ("-f", False), ("! -f", True), ("-m dscp --dscp-class ef", False), ("-m ttl --ttl-lt 5", None),
        ("-m limit", None),
        ("-m u32 --u32 0=1", None), ("-m recent --set", None), ("-m foo --bar", None), ("-p udp -m limit", False),
        ("-m set --match-set unknown src", None), ("-m comment --comment x", True), ("-p icmp --icmp-type any", False),
        ("-p tcp -m length --length 30:20", None), ("-m owner --uid-owner 0", None), ("-m length --length 40:60", None),
    ],
)  # fmt: skip
def test_a_match_holds_or_not_or_is_not_known(rule: str, matches: bool | None) -> None:
    decisions = {outcome.decision for outcome in met(f"-A FORWARD {rule} -j DROP").outcomes}
    expected = {True: {Decision.DROP}, False: {Decision.ACCEPT}, None: {Decision.DROP, Decision.ACCEPT}}
    assert decisions == expected[matches]


def test_what_the_packet_does_not_tell_is_not_known() -> None:
    unknown = replace(SYN, destination_port=None, mark=None, in_interface=None)
    for rule in ("-p tcp --dport 25", "-m mark --mark 1", "-i access0"):
        assert met(f"-A FORWARD {rule} -j DROP", unknown).passes is None


def test_a_later_fragment_has_no_ports() -> None:
    fragment = replace(SYN, fragment_offset=1480)
    assert only(met("-A FORWARD -p tcp --dport 25 -j DROP", fragment)).passes
    assert not only(met("-A FORWARD -f -j DROP", fragment)).passes


def test_a_range_turned_round_never_matches() -> None:
    assert only(met("-A FORWARD -p udp --dport 53:25 -j DROP", replace(SYN, protocol=17, destination_port=30))).passes


def test_icmp_types_and_codes() -> None:
    ping = replace(SYN, protocol=1, icmp=(8, 0), source_port=None, destination_port=None)
    assert not only(met("-A FORWARD -p icmp --icmp-type ping -j DROP", ping)).passes
    assert only(met("-A FORWARD -p icmp --icmp-type 3/4 -j DROP", ping)).passes
    six = Packet("ip6", IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2"), 58, icmp=(135, 0))
    ruleset = parse("*filter\n-A INPUT -p icmpv6 --icmpv6-type neighbour-solicitation -j DROP\nCOMMIT\n", "ip6")
    assert not only(walk(ruleset, six, "input")).passes


def test_sets_are_asked() -> None:
    customers = sets_of({"dynamic": [IPv4Network("198.51.100.128/25")], "relays": [IPv4Network("203.0.113.25/32")]})
    rules = "-A FORWARD -m set --match-set relays dst -j ACCEPT\n-A FORWARD -m set --match-set dynamic src -j DROP"
    assert only(met(rules, sets=customers)).passes
    other = replace(SYN, destination=IPv4Address("203.0.113.26"))
    assert only(met(rules, other, sets=customers)).decision is Decision.DROP
    assert met(rules.replace("relays", "nowhere"), sets=customers).passes is None


def test_a_mark_of_one_table_is_seen_by_the_next() -> None:
    text = (
        "*mangle\n-A PREROUTING -p tcp --dport 25 -j MARK --set-mark 7\n"
        "-A PREROUTING -m mark --mark 7 -j CONNMARK --save-mark\nCOMMIT\n"
        "*filter\n:Q - [0:0]\n-A FORWARD -m mark --mark 7/0xf -j Q\n-A Q -m connmark --mark 7 -j DROP\nCOMMIT\n"
    )
    one = only(walk(parse(text, "ip"), SYN, "forward"))
    assert (one.decision, one.table, one.packet.mark) == (Decision.DROP, "filter", 7)
    assert [rule.place.line for rule in one.altered] == [2, 3]
    assert lines(one) == ([7], 8)


def test_nat_changes_what_later_tables_see_and_only_for_the_first_packet() -> None:
    text = (
        "*nat\n-A PREROUTING -p tcp --dport 25 -j DNAT --to-destination 10.0.0.1:2525\nCOMMIT\n"
        "*filter\n-A FORWARD -d 10.0.0.1 -p tcp --dport 2525 -m conntrack --ctstate DNAT -j DROP\nCOMMIT\n"
    )
    ruleset = parse(text, "ip")
    one = only(walk(ruleset, SYN, "forward"))
    assert (one.decision, one.packet.destination_port) == (Decision.DROP, 2525)
    assert [rule.place.line for rule in one.altered] == [2]
    established = replace(SYN, state="ESTABLISHED", tcp_flags=ACK)
    assert only(walk(ruleset, established, "forward")).passes


def test_a_choice_of_nat_is_not_known_afterwards() -> None:
    text = (
        "*nat\n-A PREROUTING -p tcp -j DNAT --to-destination 10.0.0.1-10.0.0.2\nCOMMIT\n"
        "*filter\n-A FORWARD -d 10.0.0.1 -j DROP\nCOMMIT\n"
    )
    assert walk(parse(text, "ip"), SYN, "forward").passes is None


def test_a_network_is_mapped() -> None:
    ruleset = parse("*nat\n-A POSTROUTING -j NETMAP --to 10.9.0.0/16\nCOMMIT\n", "ip")
    one = only(walk(ruleset, SYN, (("nat", "POSTROUTING"),)))
    assert one.packet.source == IPv4Address("10.9.100.130")


def test_connection_tracking_can_be_left_out() -> None:
    text = (
        "*raw\n-A PREROUTING -p tcp -j CT --notrack\nCOMMIT\n*filter\n"
        "-A FORWARD -m conntrack --ctstate UNTRACKED -j DROP\nCOMMIT\n"
    )
    assert only(walk(parse(text, "ip"), SYN, "forward")).decision is Decision.DROP


def test_a_rule_about_what_is_not_known_yet_does_not_match() -> None:
    text = "*raw\n:Q - [0:0]\n-A PREROUTING -j Q\n-A Q -o core0 -j DROP\nCOMMIT\n"
    assert only(walk(parse(text, "ip"), SYN, "forward")).passes


def test_an_unknown_answer_leads_both_ways() -> None:
    found = met("-A FORWARD -m recent --rcheck --name x -p tcp -j REJECT\n-A FORWARD -j DROP")
    by_decision = {outcome.decision: outcome for outcome in found.outcomes}
    assert set(by_decision) == {Decision.REJECT, Decision.DROP}
    assert [assumed.holds for assumed in by_decision[Decision.REJECT].assumed] == [True]
    assert [assumed.holds for assumed in by_decision[Decision.DROP].assumed] == [False]
    assert found.passes is False
    assert found.certain is None


def test_two_unknown_answers_in_one_rule() -> None:
    found = met("-A FORWARD -m limit -m recent --rcheck -j DROP")
    assert {outcome.decision for outcome in found.outcomes} == {Decision.DROP, Decision.ACCEPT}
    (dropped,) = (outcome for outcome in found.outcomes if outcome.decision is Decision.DROP)
    assert [assumed.holds for assumed in dropped.assumed] == [True, True]


def test_a_rule_that_only_logs_makes_no_difference() -> None:
    one = only(met("-A FORWARD -m limit -j LOG\n-A FORWARD -j DROP"))
    assert one.assumed == ()
    assert [step.matched for step in one.steps] == [None, True]


def test_known_answers_are_taken() -> None:
    ruleset = loaded("-A FORWARD -m limit -j ACCEPT\n-A FORWARD -j DROP")
    for under, decision in ((True, Decision.ACCEPT), (False, Decision.DROP)):
        found = walk(ruleset, SYN, "forward", answers=answers_of(ruleset, {"limit": under}))
        assert only(found).decision is decision


def test_rules_that_the_packet_is_known_to_have_met_answer_for_it() -> None:
    rules = (
        "-A FORWARD -m recent --rcheck -j RETURN\n-A FORWARD -m limit -j ACCEPT\n"
        "-A FORWARD -m limit -j LOG\n-A FORWARD -j DROP"
    )
    ruleset = loaded(rules)
    for met_rules, decision, holds in (
        ([("filter", "FORWARD", 4)], Decision.DROP, [False, False]),
        ([("filter", "FORWARD", 2)], Decision.ACCEPT, [False, True]),
        ([("filter", "FORWARD", 1)], Decision.ACCEPT, [True]),
    ):
        one = only(walk(ruleset, SYN, "forward", met=met_rules))
        assert (one.decision, [assumed.holds for assumed in one.assumed]) == (decision, holds)


def test_many_unknown_answers_stay_few_outcomes() -> None:
    rules = "\n".join(f"-A FORWARD -m recent --rcheck --name n{number} -j Q" for number in range(60))
    found = met(f":Q - [0:0]\n{rules}\n-A Q -m limit -j RETURN\n-A Q -m limit -j DROP")
    assert found.complete
    assert {outcome.decision for outcome in found.outcomes} == {Decision.DROP, Decision.ACCEPT}


def test_too_many_ways_are_told() -> None:
    rules = "\n".join(
        f"-A FORWARD -m recent --rcheck --name n{number} -j MARK --or-mark {1 << number}" for number in range(20)
    )
    found = walk(loaded(rules), SYN, "forward", most=500)
    assert not found.complete
    assert found.certain is None


def test_an_unknown_target_may_do_anything() -> None:
    ruleset = loaded("-A FORWARD -j NETFLOW\n-A FORWARD -p tcp -j DROP")
    assert {outcome.decision for outcome in walk(ruleset, SYN, "forward").outcomes} == {Decision.ACCEPT, Decision.DROP}


@pytest.mark.parametrize(
    ("target", "decision"),
    [
        ("REJECT", Decision.REJECT), ("NFQUEUE --queue-num 5", Decision.QUEUE), ("TARPIT", Decision.STOLEN),
        ("SYNPROXY --mss 1460", Decision.STOLEN), ("LOG", Decision.ACCEPT), ("NFLOG", Decision.ACCEPT),
    ],
)  # fmt: skip
def test_targets_end_the_way_or_not(target: str, decision: Decision) -> None:
    assert only(met(f"-A FORWARD -p tcp -j {target}")).decision is decision


def test_a_packet_that_meets_no_rules_passes() -> None:
    assert only(walk(Ruleset("ip"), SYN, "forward")).passes


def test_the_tables_are_met_in_the_kernels_order() -> None:
    chains = {
        "raw": "PREROUTING",
        "mangle": "FORWARD",
        "nat": "POSTROUTING",
        "filter": "FORWARD",
        "security": "FORWARD",
    }
    text = "".join(f"*{table}\n-A {chain} -j LOG\nCOMMIT\n" for table, chain in chains.items())
    steps = only(walk(parse(text, "ip"), SYN, "forward")).steps
    assert [step.rule.table for step in steps] == ["raw", "mangle", "filter", "security", "nat"]
