"""A verdict in words: complete, in one place each, and harmless whatever a server said."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

import pytest

from evidence_factory import HOSTILE, MX, changed, decision, hop, led, rule, seen, verdict, wire
from port25lab.model import evidence
from port25lab.model.evidence import Effect, IcmpError, PacketSeen, Stage, TrailRule
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.model.verdict import Control, Verdict
from port25lab.report import describe, explain
from port25lab.report.text import duration, visible


def fact(of: Verdict, key: str) -> str:
    return dict(explain.facts(of)).get(key, "")


# -- text from outside ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("550 no\r\n", "550 no"),
        ("one\r\ntwo\nthree", "one / two / three"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\rb", r"a\rb"),
        ("\x00\x07\x7f\x9b", r"\x00\x07\x7f\x9b"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\udcff", r"\udcff"),
        ("\u2028x", r"\u2028x"),
        ("拒否 é", "拒否 é"),
        ("[red]x[/red] <b>", "[red]x[/red] <b>"),
        ("", ""),
    ],
)
def test_text_from_outside_shows_everything_and_does_nothing(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_hostile_reply_is_harmless_in_a_verdicts_whole_story() -> None:
    bad = verdict(
        Outcome.REJECTED,
        expected=Outcome.DELIVERED,
        scenario="a\x1bb",
        name="n\x1bn",
        expected_by="x\x1b\ny",
        reason=f"r {HOSTILE}",
        disagreement=f"d {HOSTILE}",
        observation=seen(Stage.RCPT, smtp_code=550, reply=HOSTILE, enhanced_code="5\x1b"),
        hops=[hop(Stage.RCPT, smtp_code=550, reply=HOSTILE, node="r\x1b", to="t\x1b")],
        decisions=[decision(blame=rule("n\x1b", rule="r\x1b"))],
        blame=rule("n\x1b", rule="r\x1b", chain="c\x1b", file="/f\x1b"),
        policies={"e\x1b": ["p\x1b"]},
        icmp=[IcmpError(sender="s\x1b", ip_version=4, type=3, code=13)],
    )
    told = explain.explain(bad)
    assert all(line.isprintable() for line in told.split("\n"))
    assert r"\x1b[2J" in told
    assert len(told.split("\n")) == len(
        explain.explain(changed(bad, observation=seen(), reason="r", disagreement="d")).split("\n")
    )


def test_a_reply_of_a_megabyte_is_cut_and_its_length_said() -> None:
    told = explain.explain(
        verdict(Outcome.REJECTED, observation=seen(Stage.RCPT, smtp_code=550, reply="x" * 1_000_000))
    )
    assert "(1000004 characters)" in told  # with its code
    assert len(told) < 2000


# -- the question -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "home-server -> MX of example.net:25, IPv4"),
        ({"ip_version": None}, "home-server -> MX of example.net:25, IPv4 or IPv6"),
        ({"to": "2001:db8::25", "ip_version": 6}, "home-server -> [2001:db8::25]:25, IPv6"),
        (
            {"to": "own-server", "port": 587, "security": "starttls", "auth": "alice", "client": "swaks"},
            "home-server -> own-server:587, STARTTLS, auth alice, swaks, IPv4",
        ),
        (
            {"to": "own-server", "port": 465, "security": "implicit", "auth": "alice", "bad_auth": True},
            "home-server -> own-server:465, TLS, wrong auth alice, IPv4",
        ),
        ({"size": 25_000}, "home-server -> MX of example.net:25, 25000 bytes, IPv4"),
        (
            {"ref": "my-badauth", "bare_id": "my-badauth-case-25B/ipv4", "auth": "alice"},
            "home-server -> MX of example.net:25, auth alice, IPv4",
        ),
    ],
)
def test_a_path_in_words_is_its_whole_question(more: dict[str, object], text: str) -> None:
    assert describe.path_words(verdict(**more)) == text


def test_the_same_question_of_both_ip_versions_and_of_any_variant_is_one() -> None:
    other = verdict(ip_version=6, variant="open", bare_id="S3-home-server-to-mx:example.net-25/ipv6")
    assert describe.same_question(verdict()) == describe.same_question(other)
    assert describe.same_question(verdict()) != describe.same_question(verdict(port=587))


def test_the_command_repeats_the_path_from_any_shell() -> None:
    plain = describe.repeat_command(verdict())
    assert plain == "port25lab run residential -k 'residential/op25b/S3-home-server-to-mx:example.net-25/ipv4'"
    odd = verdict(scenario="my labs/it's.yaml", variant="it's", bare_id="S3")
    assert shlex.split(describe.repeat_command(odd)) == [
        *("port25lab", "run", "my labs/it's.yaml"),
        *("-k", "my labs/it's.yaml/it's/S3"),
    ]


# -- expected and found -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (verdict(), "delivered, as expected"),
        (verdict(expected=None), "delivered, nothing expected"),
        (verdict(expected=Outcome.DROPPED, ok=False), "expected dropped, found delivered"),
        (verdict(Outcome.DROPPED, expected_by="hotel", ok=False), "dropped, expected at hotel"),
        (verdict(Outcome.DEFERRED, expected_by="hotel", blame=rule(), ok=False), "deferred, expected at hotel"),
        (
            verdict(Outcome.DROPPED, expected_how=Mechanism.ANSWER_DROP, ok=False),
            "dropped by syn-drop, expected by answer-drop",
        ),
        (
            verdict(Outcome.DROPPED, expected_by="isp-edge", ok=False, disagreement="the client saw …"),
            "dropped as expected, but not proven",
        ),
        (verdict(Outcome.ERROR, expected=Outcome.DROPPED), "error, port25lab could not tell"),
    ],
)
def test_a_mismatch_is_said_in_one_line(found: Verdict, text: str) -> None:
    assert explain.mismatch(found) == text


def test_a_title_names_the_row_the_lab_and_the_mismatch() -> None:
    found = verdict(Outcome.DELIVERED, expected=Outcome.DROPPED, ok=False)
    assert explain.title(found) == "S3 in residential/op25b: expected dropped, found delivered"


def test_a_failures_story_has_the_path_both_outcomes_the_clients_words_the_rule_and_the_command() -> None:
    found = verdict(
        Outcome.DROPPED,
        expected=Outcome.DELIVERED,
        control=Control(outcome=Outcome.DELIVERED, through=True),
        decisions=[decision()],
    )
    assert explain.explain(found).split("\n") == [
        "S3 in residential/op25b: expected delivered, found dropped",
        "  path      home-server -> MX of example.net:25, IPv4",
        "  policy    op25b on isp-edge",
        "  expected  delivered",
        "  found     dropped: a rule drops the SYN and says nothing",
        "  how       syn-drop: a rule drops the client's SYN and says nothing",
        f"  client    connect to {MX}: ETIMEDOUT (Connection timed out) after 1.3 s",
        "  rule      -A op25b -m set --match-set dynamic-customers src -j DROP",
        "            isp-edge op25b op25b #4 (/catalogue/policies/op25b/rules.v4:12)",
        f"            SYN 198.51.100.7:20000 > {MX}:25 dropped",
        "  control   without the policy the same path gets through (delivered)",
        "  repeat    port25lab run residential -k 'residential/op25b/S3-home-server-to-mx:example.net-25/ipv4'",
    ]


def test_an_error_says_why_and_nothing_of_a_client_that_never_started() -> None:
    found = verdict(Outcome.ERROR, reason="the lab broke; ENOSPC", observation=seen(Stage.RESOLVE))
    assert fact(found, "why") == "the lab broke; ENOSPC"
    assert fact(found, "client") == ""
    assert fact(found, "rule") == ""


def test_the_reason_leaves_out_what_is_said_elsewhere() -> None:
    found = verdict(
        Outcome.DROPPED,
        ok=False,
        disagreement="the client saw EACCES; and more",
        expected_by="hotel",
    )
    assert fact(found, "differ") == "the client saw EACCES; and more"
    assert fact(found, "why") == "expected a rule on hotel to decide, found isp-edge"
    other = verdict(Outcome.DELIVERED, expected=Outcome.DROPPED, expected_how=Mechanism.SYN_DROP)
    assert fact(other, "why") == "expected syn-drop at work, found none"
    broken = verdict(Outcome.ERROR, expected=Outcome.DROPPED, reason="no memory; none at all")
    assert fact(broken, "why") == "no memory; none at all; expected dropped, found error"


def test_why_a_path_was_tried_again_is_a_fact_of_a_failure_and_of_nothing_else() -> None:
    lost = "the kernel lost trace events of isp-edge (ENOBUFS)"
    assert fact(verdict(retried=lost, ok=False), "retried") == f"alone in a new lab, because {lost}"
    assert "retried" not in dict(explain.facts(verdict(ok=False)))


def test_a_delivery_that_should_have_been_blocked_says_that_no_rule_dropped_it() -> None:
    assert fact(verdict(expected=Outcome.DROPPED, ok=False), "rule") == "no rule dropped it"


# -- client, relay, rule ----------------------------------------------------------------------------------------------


def test_the_clients_words_tell_what_it_did_and_what_came_of_it() -> None:
    reply = seen(Stage.RCPT, smtp_code=550, enhanced_code="5.7.1", reply="5.7.1 Relaying denied", seconds=0.041)
    assert describe.client_words(reply) == f'RCPT TO to {MX}: "550 5.7.1 Relaying denied" after 41 ms'
    silence = seen(Stage.BANNER, reply=None, seconds=5.0)
    assert describe.client_words(silence) == f"greeting of {MX}: no reply after 5.0 s"
    unknown = seen(Stage.RESOLVE, reply="example.org has no MX", address=None)
    assert describe.client_words(unknown) == 'resolve the name: "example.org has no MX" after 20 ms'
    reset = seen(Stage.DATA, errno="ECONNRESET", reply="Connection reset by peer")
    assert describe.client_words(reset) == f"DATA to {MX}: ECONNRESET (Connection reset by peer) after 20 ms"


def test_a_reply_has_each_code_once() -> None:
    assert describe.reply_words(seen(smtp_code=250, reply="250 2.0.0 Ok", enhanced_code="2.0.0")) == "250 2.0.0 Ok"
    assert describe.reply_words(seen(smtp_code=550, reply="no", enhanced_code="5.7.1")) == "550 5.7.1 no"
    assert describe.reply_text(seen(smtp_code=550, reply="550-5.7.1 no", enhanced_code="5.7.1")) == "no"


def test_what_a_client_saw_in_short_is_its_errno_or_the_codes_or_the_stage() -> None:
    assert describe.client_saw(seen(Stage.CONNECT, errno="EACCES")) == "EACCES"
    assert describe.client_saw(seen(Stage.RCPT, smtp_code=530, enhanced_code="5.7.0")) == "530 5.7.0"
    assert describe.client_saw(seen(Stage.BANNER)) == "at banner"


@pytest.mark.parametrize(
    ("leaving", "how", "text"),
    [
        (True, "no-answer", "left pc/eth0 and was seen nowhere after that: nothing answers there"),
        (
            False,
            "no-route",
            "came to pc/eth0 and was seen nowhere after that: no route for it, or for the answer to it, from there",
        ),
    ],
)
def test_where_an_attempt_ended_without_a_rule_is_said(
    leaving: bool, how: Literal["no-route", "no-answer"], text: str
) -> None:
    packet = wire()[0].model_copy(update={"leaving": leaving})
    found = verdict(Outcome.UNREACHABLE, ended=evidence.Ended(packet=packet, how=how))
    assert fact(found, "ended") == f"the SYN {text}"
    assert fact(verdict(Outcome.DROPPED), "ended") == ""


def test_a_relays_tries_are_said_once_for_all_that_failed_alike() -> None:
    tries = [hop(errno="ETIMEDOUT", decisions=[decision()]) for _ in range(3)] + [hop(Stage.DONE)]
    assert fact(verdict(Outcome.DEFERRED, hops=tries), "relay") == (
        f"isp-relay -> mx.example.net: connect to {MX}: ETIMEDOUT (Connection timed out) after 20 ms; "
        "isp-edge op25b op25b #4 (3 tries)"
    )


def test_a_relay_that_got_through_in_the_end_failed_nowhere() -> None:
    assert describe.failing_hop(verdict(hops=[hop(errno="ETIMEDOUT"), hop(Stage.DONE)])) is None
    assert describe.failing_hop(verdict(Outcome.DEFERRED, hops=[hop(errno="ETIMEDOUT"), hop(Stage.DONE)]))


def test_icmp_errors_are_named_and_equal_ones_said_once() -> None:
    prohibited = IcmpError(sender="198.51.100.1", ip_version=4, type=3, code=13)
    unknown = IcmpError(sender="2001:db8::1", ip_version=6, type=1, code=9)
    assert fact(verdict(icmp=[prohibited, prohibited, unknown]), "icmp") == (
        "type 3 code 13 from 198.51.100.1: communication administratively prohibited\n"
        "ICMPv6 type 1 code 9 from 2001:db8::1"
    )


@pytest.mark.parametrize(
    ("blame", "label"),
    [
        (rule(), "isp-edge op25b op25b #4"),
        (rule(number=None, chain="FORWARD"), "isp-edge op25b FORWARD policy"),
        (rule(table="mangle", chain="FORWARD", policy=None), "isp-edge mangle FORWARD #4"),
    ],
)
def test_a_rule_is_called_by_node_policy_chain_and_number(blame: evidence.Blame, label: str) -> None:
    assert describe.rule_label(blame) == label


def test_a_rules_place_is_relative_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert describe.place(rule(file=str(tmp_path / "op25b/rules.v4"))) == "op25b/rules.v4:12"
    assert describe.place(rule(file="/elsewhere/rules.v4", line=None)) == "/elsewhere/rules.v4"
    assert describe.place(rule(file=None)) == ""


def test_a_packet_says_what_its_rule_did_to_it() -> None:
    for effect, said in (
        (Effect.DROP, "dropped"),
        (Effect.REJECT_ICMP, "rejected with an ICMP error"),
        (Effect.REJECT_RESET, "rejected with RST"),
    ):
        assert fact(verdict(Outcome.DROPPED, decisions=[decision(effect)]), "rule").endswith(f":25 {said}")


def test_durations_change_their_unit_at_a_second() -> None:
    assert [duration(s) for s in (0, 0.0414, 0.9994, 0.9996, 1.25)] == [
        "0 ms",
        "41 ms",
        "999 ms",
        "1.0 s",
        "1.2 s",
    ]


def test_packets_are_told_one_a_line_with_where_and_when() -> None:
    syn = PacketSeen(
        node="pc",
        interface="eth0",
        seconds=1.0,
        leaving=True,
        kind="SYN",
        source="2001:db8::1",
        source_port=20000,
        destination="2001:db8::25",
        destination_port=25,
        ttl=64,
        retransmission=True,
    )
    icmp = PacketSeen(
        node="isp-edge",
        interface="core0",
        seconds=1.00004,
        leaving=False,
        kind="ICMP",
        source="198.51.100.1",
        destination="198.51.100.7",
        ttl=63,
        icmp=(3, 13),
    )
    assert describe.packets_words([syn, icmp]).splitlines() == [
        "+1.0000 s pc/eth0 sent SYN [2001:db8::1]:20000 > [2001:db8::25]:25, TTL 64, again",
        "+1.0000 s isp-edge/core0 got ICMP type 3 code 13 198.51.100.1 > 198.51.100.7, TTL 63",
    ]
    many = describe.packets_words([syn] * 20).splitlines()
    assert (len(many), many[-1]) == (describe.MOST_PACKETS + 1, "... and 12 more")
    fin = syn.model_copy(update={"kind": "FIN"})
    assert "FIN" not in describe.packets_words([syn, fin])
    assert "FIN" in describe.packets_words([fin])
    assert describe.packets_words([]) == ""


# -- what is at work --------------------------------------------------------------------------------------------------


def test_what_is_at_work_is_said_with_the_node_that_answers() -> None:
    taken = verdict(Outcome.INTERCEPTED, mechanism=Mechanism.TARPIT, answered_by="isp-edge")
    assert explain.mechanism_words(taken) == (
        "tarpit: a middlebox takes the connection and keeps the client waiting (isp-edge answers)"
    )


def test_nothing_is_said_where_nothing_is_at_work_unless_something_should_be() -> None:
    assert explain.mechanism_words(verdict()) == ""
    missed = verdict(expected_how=Mechanism.STARTTLS_STRIPPING, ok=False)
    assert explain.mechanism_words(missed).startswith("none: ")
    assert ("expected", "delivered, how: starttls-stripping") in explain.facts(missed)


def test_an_error_has_no_mechanism() -> None:
    assert explain.mechanism_words(verdict(Outcome.ERROR, mechanism=Mechanism.UNKNOWN)) == ""


# -- the rules that led to a decision ---------------------------------------------------------------------------------


def test_the_rules_that_led_to_the_decision_are_told_in_one_line() -> None:
    blame = led(("FORWARD", 3), ("mail", 2))
    assert describe.trail_words(blame) == "via FORWARD #3 -> mail #2"
    told = fact(verdict(Outcome.DROPPED, blame=blame, decisions=[decision(blame=blame)]), "rule")
    assert told.splitlines()[1].startswith("isp-edge op25b mail #2 ")
    assert told.splitlines()[2] == "via FORWARD #3 -> mail #2"


def test_a_single_rule_has_no_line_of_its_own_for_that() -> None:
    assert describe.trail_words(led(("FORWARD", 3))) == ""
    assert describe.trail_words(rule()) == ""


def test_a_rule_of_another_table_and_a_policy_are_told_as_such() -> None:
    trail = (
        TrailRule(table="mangle", chain="PREROUTING", rule_number=1, rule="-A …"),
        TrailRule(table="filter", chain="FORWARD", rule_number=None, rule=":FORWARD DROP"),
    )
    assert describe.trail_words(rule(trail=trail)) == "via mangle PREROUTING #1 -> FORWARD policy"
