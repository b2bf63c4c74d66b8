"""When a verdict is ok, and which rule it blames."""

from __future__ import annotations

import pytest

from evidence_factory import (
    MX6,
    decision,
    delivered,
    diverted,
    dropped,
    ended,
    hop,
    in_session,
    of_neighbour,
    on_answer,
    replied,
    rule,
    wire,
)
from port25lab.model.evidence import Effect, Evidence, IcmpError, Stage
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import AnyOf, Expected, Outcome
from port25lab.verdict.blame import blamed
from port25lab.verdict.control import got_through
from port25lab.verdict.judge import Judgement, judge
from port25lab.verdict.pipeline import classify

# -- judge ------------------------------------------------------------------------------------------------------------


def judged(
    evidence: Evidence,
    expected: Expected | None,
    *,
    by: str | None = None,
    control: Evidence | None = None,
) -> Judgement:
    return judge(evidence, expected, by, control)


def test_the_rule_that_dropped_neighbour_discovery_is_blamed_where_the_host_is_unreachable() -> None:
    lost = ended(Stage.CONNECT, "EHOSTUNREACH", decisions=[of_neighbour()], diverted=[diverted()])
    found = judge(lost, Outcome.UNREACHABLE, "isp-edge", delivered(), Mechanism.NEIGHBOUR_DISCOVERY)
    assert found.ok
    assert found.blame == of_neighbour().blame
    alike = judged(lost, Outcome.UNREACHABLE, control=ended(Stage.CONNECT, "EHOSTUNREACH"))
    assert alike.blame is None


@pytest.mark.parametrize("effect", [Effect.DROP, Effect.THROTTLE])
def test_any_way_of_blocking_meets_blocked(effect: Effect) -> None:
    lost = dropped(decisions=[decision(effect)])
    assert judged(lost, AnyOf.BLOCKED, by="isp-edge", control=delivered()).ok
    assert not judged(lost, AnyOf.BLOCKED, by="cpe", control=delivered()).ok
    found = judged(delivered(), AnyOf.BLOCKED)
    assert found.reason == "expected blocked, found delivered"


def test_blocked_as_expected_with_a_rule_and_a_control_is_ok() -> None:
    found = judged(dropped(), Outcome.DROPPED, by="isp-edge", control=delivered())
    assert found.ok
    assert found.outcome is Outcome.DROPPED
    assert found.blame == rule()
    assert found.reason is None
    assert found.control
    assert found.control.through


@pytest.mark.parametrize(
    "evidence",
    [
        dropped(),
        ended(Stage.CONNECT, "EHOSTUNREACH", decisions=[decision(Effect.REJECT_ICMP)]),
        ended(Stage.CONNECT, "ECONNREFUSED", decisions=[decision(Effect.REJECT_RESET)]),
    ],
)
def test_blocked_without_a_control_is_an_error(evidence: Evidence) -> None:
    for expected in (classify(evidence).outcome, None):
        found = judged(evidence, expected)
        assert found.outcome is Outcome.ERROR
        assert not found.ok
        assert found.reason
        assert "no control was run" in found.reason


def test_a_control_that_finds_the_port_closed_reached_the_destination() -> None:
    found = judged(dropped(), Outcome.DROPPED, control=ended(Stage.CONNECT, "ECONNREFUSED"))
    assert found.ok
    assert found.control
    assert found.control.outcome is Outcome.CLOSED


@pytest.mark.parametrize(
    "evidence",
    [
        ended(Stage.BANNER, answered_by="isp-relay", dialled="mx"),
        ended(Stage.EHLO, decisions=[in_session()]),
        ended(Stage.CONNECT, "ECONNREFUSED", diverted=[diverted()]),
        ended(Stage.CONNECT, "EHOSTUNREACH"),
        ended(Stage.TLS, "ECONNRESET"),
    ],
    ids=["intercepted", "tampered", "closed", "unreachable", "tls-failed"],
)
def test_a_control_that_proves_nothing_is_said_and_does_not_change_the_outcome_quietly(evidence: Evidence) -> None:
    outcome = classify(evidence).outcome
    broken = delivered().model_copy(update={"error": "the lab's process ended"})
    for control in (ended(Stage.CONNECT, "ETIMEDOUT"), dropped(), broken):
        found = judged(evidence, outcome, control=control)
        assert found.outcome is Outcome.ERROR
        assert found.reason
        assert f"{outcome} by the policy is not proven" in found.reason
    assert "(error, the lab's process ended)" in (judged(evidence, outcome, control=broken).reason or "")
    assert judged(evidence, outcome, control=replied(Stage.RCPT, 550)).ok


@pytest.mark.parametrize(
    "evidence",
    [ended(Stage.CONNECT, "ECONNREFUSED"), ended(Stage.CONNECT, "EHOSTUNREACH")],
    ids=["closed", "unreachable"],
)
def test_what_ends_alike_without_the_policy_is_no_doing_of_the_policy(evidence: Evidence) -> None:
    with_nat = evidence.model_copy(update={"diverted": [diverted("MASQUERADE", effect=Effect.CHANGE)]})
    found = judged(with_nat, classify(evidence).outcome, control=evidence)
    assert found.ok
    assert found.blame is None


def test_a_path_that_is_intercepted_without_the_policy_too_proves_nothing_about_its_rule() -> None:
    evidence = ended(Stage.BANNER, answered_by="isp-relay", dialled="mx", diverted=[diverted()])
    assert judged(evidence, Outcome.INTERCEPTED, control=evidence).outcome is Outcome.ERROR
    by_the_network = evidence.model_copy(update={"diverted": []})
    assert judged(by_the_network, Outcome.INTERCEPTED, control=by_the_network).ok


# -- which of several rules --------------------------------------------------------------------------------------------

QUEUE = diverted("NFQUEUE", 1)
DNAT = diverted("DNAT", 2)
BEHIND = diverted("NFQUEUE", 3)
SOURCE = diverted("MASQUERADE", 4, Effect.CHANGE)


def test_of_several_rules_the_one_that_chose_the_server_is_blamed_for_an_interception() -> None:
    evidence = ended(Stage.BANNER, diverted=[QUEUE, DNAT, BEHIND, SOURCE])
    assert blamed(evidence, Outcome.INTERCEPTED) == DNAT.blame
    assert blamed(evidence, Outcome.TAMPERED) == BEHIND.blame
    assert (
        blamed(ended(Stage.BANNER, diverted=[DNAT, diverted("DNAT", 7)]), Outcome.INTERCEPTED)
        == diverted(number=7).blame
    )


@pytest.mark.parametrize("target", ["DNAT", "REDIRECT", "NETMAP", "TPROXY", "DNPT", "SYNPROXY"])
def test_every_target_that_chooses_a_server_is_blamed_for_it(target: str) -> None:
    evidence = ended(Stage.BANNER, diverted=[diverted(target, 2), BEHIND])
    assert blamed(evidence, Outcome.INTERCEPTED) == diverted(target, 2).blame


def test_a_rule_that_sends_the_connection_to_another_port_is_blamed_for_what_that_port_says() -> None:
    evidence = replied(Stage.MAIL, 530, "Authentication required", "5.7.0", diverted=[DNAT, SOURCE])
    found = judged(evidence, Outcome.AUTH_REQUIRED, by="isp-edge", control=delivered())
    assert found.ok
    assert found.blame == DNAT.blame
    assert judged(evidence, Outcome.AUTH_REQUIRED, control=evidence).blame is None


def test_what_the_icmp_error_tells_is_blamed() -> None:
    ttl = diverted("TTL", 9, Effect.CHANGE)
    exceeded = IcmpError(sender="198.51.100.1", ip_version=4, type=11, code=0)
    evidence = ended(Stage.CONNECT, "EHOSTUNREACH", diverted=[ttl, DNAT], icmp=[exceeded])
    assert blamed(evidence, Outcome.UNREACHABLE) == ttl.blame
    assert blamed(evidence.model_copy(update={"icmp": []}), Outcome.UNREACHABLE) == DNAT.blame
    assert blamed(ended(Stage.CONNECT, "EHOSTUNREACH", diverted=[SOURCE]), Outcome.UNREACHABLE) == SOURCE.blame


def test_a_lifetime_that_ended_in_the_session_is_blamed() -> None:
    ttl = diverted("HL", 9, Effect.CHANGE).model_copy(update={"in_session": True})
    (_, error) = wire("ICMP isp-edge")
    told = error.model_copy(update={"icmp": (3, 0), "source": "2001:db8::1"})
    assert blamed(ended(Stage.BANNER, diverted=[ttl], packets=[told]), Outcome.TAMPERED) == ttl.blame
    assert blamed(ended(Stage.BANNER, diverted=[ttl], packets=[error]), Outcome.TAMPERED) is None


@pytest.mark.parametrize(
    ("node", "ttl", "by_ttl"), [("isp-edge", 60, True), ("isp-cgn", 1, True), ("isp-cgn", 60, False)]
)
def test_a_lifetime_that_ended_on_the_way_back_is_blamed(node: str, ttl: int, by_ttl: bool) -> None:
    """The router's error goes to the server: the client hears nothing."""
    answer = diverted("TTL", 9, Effect.CHANGE).model_copy(update={"traced": on_answer().traced})
    syn, made = wire("SYN-ACK mx")
    lost = made.model_copy(update={"node": node, "ttl": ttl, "leaving": False})
    evidence = ended(Stage.CONNECT, "ETIMEDOUT", diverted=[answer, SOURCE], packets=[syn, made, lost])
    assert blamed(evidence, Outcome.UNREACHABLE) == (answer if by_ttl else SOURCE).blame


def test_a_reset_by_a_node_on_the_way_blames_the_rule_that_led_there() -> None:
    evidence = ended(
        Stage.CONNECT, "ECONNREFUSED", diverted=[diverted("REDIRECT")], packets=wire("RST isp-edge"), dialled="mx"
    )
    found = judged(evidence, Outcome.REJECTED_RESET, by="isp-edge", control=delivered())
    assert found.ok


@pytest.mark.parametrize(
    "control",
    [
        dropped(),
        ended(Stage.CONNECT, "EHOSTUNREACH"),
        ended(Stage.RESOLVE),
        delivered().model_copy(update={"error": "trace lost"}),
    ],
)
def test_blocked_with_a_control_that_did_not_get_through_is_an_error(control: Evidence) -> None:
    found = judged(dropped(), Outcome.DROPPED, control=control)
    assert found.outcome is Outcome.ERROR
    assert not found.ok
    assert found.reason
    assert "does not get through either" in found.reason


def test_a_control_gets_through_when_a_server_answers_whatever_it_answers() -> None:
    assert got_through(replied(Stage.RCPT, 550))
    assert judged(dropped(), Outcome.DROPPED, control=replied(Stage.RCPT, 550)).ok


def test_an_error_is_never_ok_even_where_it_is_expected() -> None:
    for expected in (Outcome.ERROR, Outcome.DROPPED, None):
        found = judged(ended(Stage.DONE, error="the kernel lost trace events"), expected, control=delivered())
        assert found.outcome is Outcome.ERROR
        assert not found.ok
        assert found.blame is None
        assert found.reason
        assert found.reason.startswith("the kernel lost trace events")


def test_a_timeout_that_no_rule_explains_is_an_error_and_not_a_blocked_path() -> None:
    found = judged(ended(Stage.CONNECT, "ETIMEDOUT"), Outcome.DROPPED, control=delivered())
    assert found.outcome is Outcome.ERROR
    assert not found.ok
    assert found.blame is None


def test_evidence_that_fits_no_outcome_says_so() -> None:
    assert judged(ended(Stage.DONE), None).reason == "the evidence fits no outcome"


@pytest.mark.parametrize("expected", [Outcome.DROPPED, None])
def test_a_disagreement_is_not_ok_although_the_outcome_is_the_expected_one(expected: Outcome | None) -> None:
    found = judged(ended(Stage.CONNECT, "EHOSTUNREACH", decisions=[decision()]), expected, control=delivered())
    assert found.outcome is Outcome.DROPPED
    assert not found.ok
    assert found.disagreement
    assert found.reason == found.disagreement


def test_another_outcome_than_the_expected_one_is_not_ok() -> None:
    found = judged(delivered(), Outcome.DROPPED, control=delivered())
    assert not found.ok
    assert found.outcome is Outcome.DELIVERED
    assert found.reason == "expected dropped, found delivered"


def test_a_path_without_expectation_is_ok_when_it_is_clear_what_happened() -> None:
    assert judged(delivered(), None).ok
    assert judged(dropped(), None, control=delivered()).ok


def test_blocked_by_a_rule_on_another_node_than_expected_is_not_ok() -> None:
    found = judged(dropped(), Outcome.DROPPED, by="hotel-router", control=delivered())
    assert found.outcome is Outcome.DROPPED
    assert not found.ok
    assert found.reason == "expected a rule on hotel-router to decide, found isp-edge"


def test_a_node_that_should_decide_is_missed_where_no_rule_decided() -> None:
    evidence = ended(Stage.DONE, hops=[hop(errno="ECONNREFUSED")])
    found = judged(evidence, Outcome.DEFERRED, by="isp-edge")
    assert (found.outcome, found.blame) == (Outcome.DEFERRED, None)
    assert not found.ok
    assert found.reason == "expected a rule on isp-edge to decide, found none"


def test_who_should_block_does_not_matter_where_nothing_should_be_blocked() -> None:
    assert judged(delivered(), Outcome.DELIVERED, by="isp-edge").ok


def test_a_delivered_path_needs_no_control() -> None:
    assert judged(delivered(), Outcome.DELIVERED).ok


def test_a_deferred_message_blames_the_rule_that_its_relay_met() -> None:
    met = rule("isp-core", 2)
    evidence = ended(Stage.DONE, hops=[hop(errno="ETIMEDOUT", decisions=[decision(blame=met)])])
    assert judged(evidence, Outcome.DEFERRED).blame == met
    assert judged(evidence, Outcome.DEFERRED, by="isp-core").ok
    assert not judged(evidence, Outcome.DEFERRED, by="isp-edge").ok


def test_a_deferred_message_blames_the_rule_although_the_relay_found_no_route_over_ipv6_after_it() -> None:
    tries = [hop(errno="ETIMEDOUT", decisions=[decision()]), hop(errno="ENETUNREACH", address=MX6)]
    assert judged(ended(Stage.DONE, hops=tries), Outcome.DEFERRED).blame == rule()


def test_of_several_rules_that_a_relay_met_the_last_one_is_blamed() -> None:
    both = [decision(Effect.REJECT_RESET, rule(number=1)), decision(blame=rule(number=2))]
    evidence = ended(Stage.DONE, hops=[hop(errno="ETIMEDOUT", decisions=both)])
    assert judged(evidence, Outcome.DEFERRED).blame == rule(number=2)


def test_of_several_tries_that_a_rule_blocked_the_last_one_is_blamed() -> None:
    tries = [hop(errno="ETIMEDOUT", decisions=[decision(blame=rule(number=number))]) for number in (1, 2)]
    assert judged(ended(Stage.DONE, hops=tries), Outcome.DEFERRED).blame == rule(number=2)


@pytest.mark.parametrize("errno", ["ECONNREFUSED", "ETIMEDOUT"])
def test_the_rule_that_sent_a_relay_elsewhere_is_blamed(errno: str) -> None:
    evidence = ended(Stage.DONE, hops=[hop(errno=errno, diverted=[DNAT])])
    assert judged(evidence, Outcome.DEFERRED, control=delivered()).blame == DNAT.blame
    assert judged(evidence, Outcome.DEFERRED, control=evidence).blame is None


def test_the_rule_that_sent_a_relay_to_a_server_that_refuses_is_blamed() -> None:
    refused = hop(Stage.RCPT, smtp_code=550, reply="relaying denied", enhanced_code="5.7.1", diverted=[DNAT])
    evidence = ended(Stage.DONE, hops=[refused])
    assert judged(evidence, Outcome.RELAY_DENIED, control=delivered()).blame == DNAT.blame


def test_a_greylisted_message_blames_no_rule_although_an_earlier_try_met_one() -> None:
    tries = [hop(errno="ETIMEDOUT", decisions=[decision()]), hop(Stage.RCPT, smtp_code=450, reply="greylisted")]
    assert judged(ended(Stage.DONE, hops=tries), Outcome.DEFERRED).blame is None


def test_a_rule_is_not_blamed_for_what_a_server_says() -> None:
    relay_denied = replied(Stage.RCPT, 554, "5.7.1 Relay access denied", "5.7.1")
    assert judged(relay_denied, Outcome.RELAY_DENIED).blame is None


def test_the_address_dialled_last_decides_whose_rule_is_to_blame() -> None:
    both = [decision(blame=rule(family="ip6", number=9)), decision(blame=rule(number=4))]
    assert blamed(dropped(decisions=both), Outcome.DROPPED) == rule(number=4)
    assert blamed(dropped(decisions=both, address=MX6), Outcome.DROPPED) == rule(family="ip6", number=9)


def test_the_last_rule_that_kept_a_packet_from_passing_decides() -> None:
    evidence = dropped(decisions=[decision(Effect.REJECT_RESET, rule(number=1)), decision(blame=rule(number=2))])
    assert classify(evidence).outcome is Outcome.DROPPED
    assert blamed(evidence, Outcome.DROPPED) == rule(number=2)


# -- mechanisms -------------------------------------------------------------------------------------------------------


def test_the_mechanism_that_is_expected_has_to_be_at_work() -> None:
    assert judge(dropped(), Outcome.DROPPED, None, delivered(), Mechanism.SYN_DROP).ok
    found = judge(dropped(), Outcome.DROPPED, None, delivered(), Mechanism.ANSWER_DROP)
    assert not found.ok
    assert found.mechanism is Mechanism.SYN_DROP
    assert found.reason == "expected answer-drop at work, found syn-drop"


def test_outcome_and_mechanism_that_are_not_the_expected_ones_are_both_said() -> None:
    reason = judge(delivered(), Outcome.DROPPED, None, delivered(), Mechanism.SYN_DROP).reason
    assert reason == "expected dropped, found delivered; expected syn-drop at work, found none"


def test_an_error_says_nothing_about_a_mechanism() -> None:
    assert judge(dropped(), Outcome.DROPPED, None, None).mechanism is Mechanism.UNKNOWN


def test_the_control_tells_stripping_from_a_server_without_starttls() -> None:
    ends = {"answered_by": "mx", "dialled": "mx"}
    missed = ended(Stage.STARTTLS, missing="STARTTLS", **ends)
    assert judge(missed, None, None, ended(Stage.DONE, delivered_to="mx", tls="TLSv1.3", **ends)).outcome is (
        Outcome.TAMPERED
    )
    assert judge(missed, None, None, missed).outcome is Outcome.TLS_FAILED


def test_no_rule_is_blamed_for_an_alteration_that_no_rule_made() -> None:
    assert blamed(ended(Stage.EHLO, decisions=[decision(Effect.THROTTLE)]), Outcome.TAMPERED) is None
    assert blamed(ended(Stage.EHLO, decisions=[in_session()]), Outcome.TAMPERED) is not None
