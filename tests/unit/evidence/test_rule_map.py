"""The places that the kernel's trace names, and the rules that stand there."""

from __future__ import annotations

import struct
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import pytest

from port25lab.errors import LabError
from port25lab.evidence.loaded_rules import join_rules
from port25lab.evidence.rule_map import LoadedRules, Place
from port25lab.evidence.traced_packet import Passage
from port25lab.model.evidence import Effect, PacketSummary
from port25lab.model.policy import Origin, Policy, RulesFile
from port25lab.network import firewall
from port25lab.rules import parse


def loaded(
    *rules: str,
    table: str = "filter",
    chain: str = "FORWARD",
    origin: Origin = "user",
    queues: Callable[[], Container[int]] = frozenset,
) -> LoadedRules:
    """A node with these rules in one chain. Their handles are 1, 2, 3 …"""
    text = "\n".join([f"*{table}", f":{chain} - [0:0]", *(f"-A {chain} {rule}" for rule in rules), "COMMIT", ""])
    file = RulesFile(family="ip", file=Path("rules.v4"), content=text.encode("utf-8", "surrogateescape"))
    policy = Policy(
        name="mine", folder=Path(), title="", description="", source="", sets=(), rules_files=(file,), origin=origin
    )
    found = LoadedRules("edge", [policy], queues=queues)
    found.learn(parse(text, "ip", file="rules.v4"), {("ip", table, chain): list(range(1, len(rules) + 1))})
    return found


def at(handle: int | None, table: str = "filter", chain: str = "FORWARD") -> Place:
    return Place("ip", table, chain, handle)


def passage(*handles: int, table: str = "filter", chain: str = "FORWARD") -> Passage:
    """A SYN to port 25 that has matched these rules."""
    network = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 60, 0, 0, 64, 6, 0, bytes([198, 51, 100, 7]), bytes([203, 0, 113, 25])
    )
    transport = struct.pack(">HHIIBBHHH", 20_000, 25, 1, 0, 0x50, 0x02, 64_240, 0, 0)
    found = Passage((network, transport), 0)
    found.matched = [(2, table.encode(), chain.encode(), handle) for handle in handles]
    return found


def test_a_blame_has_the_rule_as_it_was_written_and_its_place() -> None:
    rules = loaded("-j LOG", '-p tcp  --dport 25 -m comment --comment "no mail" -j DROP')
    blame = rules.blame(at(2))
    assert (blame.node, blame.table, blame.chain, blame.rule_number) == ("edge", "filter", "FORWARD", 2)
    assert blame.rule == '-A FORWARD -p tcp  --dport 25 -m comment --comment "no mail" -j DROP'
    assert (blame.policy, blame.file, blame.line, blame.comment) == ("mine", "rules.v4", 4, "no mail")


def test_bytes_that_are_not_utf_8_do_not_break_the_blame() -> None:
    blame = loaded("-m comment --comment \udce9 -j DROP").blame(at(1))
    assert (blame.rule, blame.comment) == (r"-A FORWARD -m comment --comment \xe9 -j DROP", r"\xe9")
    assert blame.model_dump_json()


@pytest.mark.parametrize(
    ("rule", "effect"),
    [
        ("-j DROP", Effect.DROP),
        ("-m comment --comment 'was -j REJECT' -j DROP", Effect.DROP),
        ('-m comment --comment "-m limit was here" -j DROP', Effect.DROP),
        ("-j REJECT", Effect.REJECT_ICMP),
        ("-p tcp -j REJECT --reject-with tcp-reset", Effect.REJECT_RESET),
        ("-p tcp -j REJECT --reject-with tcp-rst", Effect.REJECT_RESET),
    ],
)
def test_what_a_rule_does_comes_from_its_target(rule: str, effect: Effect) -> None:
    found = loaded(rule.replace("'", '"')).decision(at(1), passage(1), PacketSummary(kind="SYN"))
    assert (found.effect, found.by_chance) == (effect, False)


@pytest.mark.parametrize(
    ("rule", "diverts"),
    [
        ("-p tcp -j DNAT --to-destination 192.0.2.1", True),
        ("-p tcp -j REDIRECT --to-ports 2525", True),
        ('-m comment --comment "no -j REDIRECT" -j ACCEPT', False),
    ],
)
def test_a_diversion_is_known_by_its_target(rule: str, diverts: bool) -> None:
    place = at(1, "nat", "PREROUTING")
    found = loaded(rule, table="nat", chain="PREROUTING")
    assert found.steering(place, "PREROUTING") == (Effect.DIVERT if diverts else None)
    assert found.steers is diverts
    assert not loaded(rule, table="nat", chain="PREROUTING", origin="network").steers


def test_a_limit_on_what_is_logged_decides_about_no_packet() -> None:
    assert not loaded("-m limit --limit 5/min -j LOG").acts_in_sessions
    assert loaded("-m limit --limit 5/min -j ACCEPT").acts_in_sessions


ACCEPTED = (
    "-p tcp --dport 25 --syn -m hashlimit --hashlimit-upto 1/min --hashlimit-mode srcip --hashlimit-name a -j ACCEPT"
)
LOGGED = '-p tcp --dport 25 --syn -j LOG --log-prefix "over: "'
DROPPED = "-p tcp --dport 25 --syn -j DROP"


@pytest.mark.parametrize(
    ("rules", "matched", "effect"),
    [
        ((ACCEPTED, DROPPED), (2,), Effect.THROTTLE),
        ((ACCEPTED, LOGGED, DROPPED), (2, 3), Effect.THROTTLE),
        (("-p tcp -m connlimit --connlimit-above 2 -j REJECT",), (1,), Effect.THROTTLE),
        (("-p tcp -m connlimit --connlimit-upto 2 -j REJECT",), (1,), Effect.REJECT_ICMP),
        (("-p tcp -m limit --limit 10/sec -j REJECT", "-p tcp -j DROP"), (1,), Effect.REJECT_ICMP),
        (("-p tcp -m limit --limit 10/sec -j REJECT", "-p tcp -j DROP"), (2,), Effect.DROP),
        (("-m recent --set --name seen --rsource -j REJECT",), (1,), Effect.REJECT_ICMP),
        ((f"{ACCEPTED.replace('25', '587')}", DROPPED), (2,), Effect.DROP),
    ],
)
def test_a_limit_decides_where_the_packet_passes_with_its_answer_turned_round(
    rules: tuple[str, ...], matched: tuple[int, ...], effect: Effect
) -> None:
    found = loaded(*rules).decision(at(matched[-1]), passage(*matched), PacketSummary(kind="SYN"))
    assert (found.effect, found.by_chance) == (effect, False)


def test_what_chance_decides_is_no_rule_for_every_packet() -> None:
    found = loaded("-p tcp -m statistic --mode random --probability 0.5 -j DROP").decision(
        at(1), passage(1), PacketSummary(kind="SYN")
    )
    assert (found.effect, found.by_chance) == (Effect.DROP, True)


@pytest.mark.parametrize("every", ["-m statistic --mode nth --every 2 --packet 0 ", ""])
def test_a_rule_that_diverts_by_chance_says_so(every: str) -> None:
    rules = loaded(f"-p tcp {every}-j DNAT --to-destination 192.0.2.9", table="nat", chain="PREROUTING")
    met = passage(1, table="nat", chain="PREROUTING")
    found = rules.diversion(at(1, "nat", "PREROUTING"), Effect.DIVERT, met, PacketSummary(kind="SYN"))
    assert found.by_chance is bool(every)


def test_a_blame_has_the_rules_that_led_to_it() -> None:
    text = """\
*mangle
-A PREROUTING -p tcp --dport 25 -j MARK --set-mark 1
COMMIT
*filter
:FORWARD DROP [0:0]
:mail - [0:0]
-A FORWARD -j LOG
-A FORWARD -p tcp -j mail
-A mail -m mark --mark 1 -m comment --comment no -j DROP
COMMIT
"""
    rules = LoadedRules("edge")
    handles = {("ip", "mangle", "PREROUTING"): [1], ("ip", "filter", "FORWARD"): [1, 2], ("ip", "filter", "mail"): [3]}
    rules.learn(parse(text, "ip", file="rules.v4"), handles)
    way = passage()
    way.matched = [
        (2, b"mangle", b"PREROUTING", 1),
        (2, b"filter", b"FORWARD", 1),
        (2, b"filter", b"FORWARD", 2),
        (2, b"filter", b"mail", 3),
    ]
    blame = rules.blame(at(3, chain="mail"), way)
    assert [(rule.table, rule.chain, rule.rule_number, rule.line) for rule in blame.trail] == [
        ("mangle", "PREROUTING", 1, 2),
        ("filter", "FORWARD", 2, 8),
        ("filter", "mail", 1, 9),
    ]
    assert blame.trail[-1].comment == "no"
    policy = rules.blame(at(None), way)
    assert [(rule.rule, rule.rule_number, rule.line) for rule in policy.trail] == [(":FORWARD DROP", None, 5)]


@pytest.mark.parametrize(
    ("rule", "read", "takes", "steers"),
    [
        ("-j NFQUEUE --queue-num 7", frozenset(), True, None),
        ("-j NFQUEUE --queue-num 7", {7}, False, Effect.DIVERT),
        ("-j NFQUEUE --queue-num 7 --queue-bypass", frozenset(), False, None),
        ("-j NFQUEUE --queue-balance 6:8", {7}, False, Effect.DIVERT),
        ("-j ACCEPT", frozenset(), False, None),
    ],
)
def test_a_queue_that_no_program_reads_takes_packets_away(
    rule: str, read: set[int], takes: bool, steers: Effect | None
) -> None:
    rules = loaded(rule, queues=lambda: read)
    assert rules.takes(at(1)) is takes
    assert rules.steering(at(1), "FORWARD") is steers


def test_a_queue_that_was_passed_by_led_nowhere() -> None:
    rules = loaded("-j NFQUEUE --queue-num 7 --queue-bypass", "-j DROP")
    assert [rule.rule_number for rule in rules.blame(at(2), passage(1, 2)).trail] == [2]


@pytest.mark.parametrize(
    ("rule", "chain", "effect"),
    [
        ("-j NETMAP --to 10.0.0.0/24", "PREROUTING", Effect.DIVERT),
        ("-j NETMAP --to 10.0.0.0/24", "POSTROUTING", Effect.CHANGE),
        ("-j MASQUERADE", "POSTROUTING", Effect.CHANGE),
    ],
)
def test_what_changes_the_source_alone_diverts_nothing(rule: str, chain: str, effect: Effect) -> None:
    assert loaded(rule, table="nat", chain=chain).steering(at(1, "nat", chain), chain) is effect


@pytest.mark.parametrize(
    ("rule", "acts"),
    [
        ("-p tcp ! --syn -j REJECT --reject-with tcp-reset", True),
        ("-p tcp --tcp-flags ALL NONE -j DROP", True),
        ("-m conntrack --ctstate INVALID -j DROP", True),
        ("-m conntrack ! --ctstate NEW -j DROP", True),
        ("-p tcp -m string --algo bm --string EHLO -j DROP", True),
        ("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", False),
        ("-m conntrack --ctstate NEW -j DROP", False),
        ("-p tcp --syn -j DROP", False),
        ("-p tcp --dport 25 -j DROP", False),
    ],
)
def test_rules_that_are_about_other_packets_than_syns_may_meet_a_session(rule: str, acts: bool) -> None:
    assert loaded(rule).acts_in_sessions is acts


def test_other_handles_than_rules_are_a_failure_of_the_tool() -> None:
    with pytest.raises(LabError, match="edge: filter/FORWARD has 1 rules in the listing and 2 in the kernel"):
        LoadedRules("edge").learn(
            parse("*filter\n-A FORWARD -j DROP\nCOMMIT\n", "ip"), {("ip", "filter", "FORWARD"): [1, 2]}
        )


class Node:
    """A node whose kernel has these rules."""

    name = "edge"

    @staticmethod
    def interface_indexes() -> dict[str, int]:
        return {"lo": 1}

    @staticmethod
    def run_inside(call: Callable[[], object]) -> object:
        return call()


@pytest.mark.parametrize(
    ("listed", "error"),
    [
        ("-A FORWARD -p tcp -j DROP", None),
        ("-A FORWARD -p udp -j DROP", r"the kernel has '-p udp -j DROP', expected was '-p tcp -j DROP' \(rules.v4:2\)"),
        ("-A FORWARD -p tcp -j DROP\n-A FORWARD -j LOG", "which no file brought"),
        ("", "the kernel does not have '-p tcp -j DROP'"),
    ],
)
def test_where_the_kernel_has_other_rules_than_were_read_the_tool_has_failed(
    monkeypatch: pytest.MonkeyPatch, listed: str, error: str | None
) -> None:
    file = RulesFile(family="ip", file=Path("rules.v4"), content=b"*filter\n-A FORWARD -p tcp -j DROP\nCOMMIT\n")
    policy = Policy(name="m", folder=Path(), title="", description="", source="", sets=(), rules_files=(file,))
    lines = list(filter(None, listed.split("\n")))
    saved = "\n".join(["*filter", ":FORWARD ACCEPT [0:0]", *lines, "COMMIT", ""])
    monkeypatch.setattr(firewall, "listing", lambda node, family: saved)
    handles = {("ip", "filter", "FORWARD"): list(range(len(lines)))}
    monkeypatch.setattr(firewall, "list_handles", lambda: handles)
    node: Any = Node()
    if error is None:
        assert join_rules(node, [policy]).blame(at(0)).line == 2
        return
    with pytest.raises(LabError, match=error):
        join_rules(node, [policy])
