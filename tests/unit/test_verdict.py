"""Which evidence proves which outcome, and when a verdict is ok."""

from __future__ import annotations

import pytest
from making import MX6, decision, delivered, dropped, ended, hop, replied, rule, seen

from port25lab.classifier import classify
from port25lab.classifier.rules import ERRNOS_OF_EFFECT, UNREACHABLE_ERRNOS, disagreement
from port25lab.classifier.servers import of_reply
from port25lab.evidence import Decision, Effect, Evidence, Observation, Stage
from port25lab.outcome import Outcome
from port25lab.verdict import Judgement, blamed, got_through, judge

# -- classify: the evidence and what it proves ------------------------------------------------------------------------


def test_a_token_in_the_mailbox_is_delivered() -> None:
    assert classify(delivered()).outcome is Outcome.DELIVERED


def test_an_accepted_message_without_its_token_in_the_mailbox_is_not_delivered() -> None:
    assert classify(ended(Stage.DONE)).outcome is Outcome.ERROR


def test_a_failure_of_the_tool_is_an_error_whatever_else_was_seen() -> None:
    for evidence in (delivered(), dropped(), replied(Stage.RCPT, 550)):
        assert classify(evidence.model_copy(update={"error": "trace lost"})).outcome is Outcome.ERROR


def test_a_name_that_does_not_resolve_is_a_dns_failure() -> None:
    assert classify(ended(Stage.RESOLVE, reply="example.org has no MX")).outcome is Outcome.DNS_FAILURE


@pytest.mark.parametrize(
    ("effect", "errno", "outcome"),
    [
        (Effect.DROP, "ETIMEDOUT", Outcome.DROPPED),
        (Effect.REJECT_ICMP, "ECONNREFUSED", Outcome.REJECTED_ICMP),
        (Effect.REJECT_ICMP, "EHOSTUNREACH", Outcome.REJECTED_ICMP),
        (Effect.REJECT_ICMP, "ENETUNREACH", Outcome.REJECTED_ICMP),
        (Effect.REJECT_ICMP, "EACCES", Outcome.REJECTED_ICMP),
        (Effect.REJECT_ICMP, "ENOPROTOOPT", Outcome.REJECTED_ICMP),
        (Effect.REJECT_RESET, "ECONNREFUSED", Outcome.REJECTED_RESET),
    ],
)
def test_a_rule_that_kept_the_client_from_connecting_gives_its_effect(
    effect: Effect, errno: str, outcome: Outcome
) -> None:
    evidence = ended(Stage.CONNECT, errno, decisions=[decision(effect)])
    assert classify(evidence).outcome is outcome
    assert disagreement(evidence) is None


def test_a_reset_without_any_rule_says_that_nothing_listens() -> None:
    assert classify(ended(Stage.CONNECT, "ECONNREFUSED")).outcome is Outcome.CLOSED


@pytest.mark.parametrize("errno", ["EHOSTUNREACH", "ENETUNREACH", "EACCES", "ENOPROTOOPT"])
def test_no_route_without_any_rule_is_unreachable(errno: str) -> None:
    assert classify(ended(Stage.CONNECT, errno)).outcome is Outcome.UNREACHABLE


@pytest.mark.parametrize("errno", ["ETIMEDOUT", "EADDRINUSE", None])
def test_no_connection_and_no_rule_to_explain_it_is_an_error(errno: str | None) -> None:
    assert classify(ended(Stage.CONNECT, errno)).outcome is Outcome.ERROR


def test_an_answer_from_another_server_than_the_one_dialled_is_intercepted() -> None:
    evidence = replied(Stage.RCPT, 550, "5.7.1 no", answered_by="isp-relay", dialled="example-mx")
    assert classify(evidence).outcome is Outcome.INTERCEPTED


def test_an_answer_from_the_server_that_was_dialled_is_judged_by_its_words() -> None:
    evidence = replied(Stage.RCPT, 550, "5.7.1 no", answered_by="example-mx", dialled="example-mx")
    assert classify(evidence).outcome is Outcome.REJECTED


def test_a_session_that_breaks_without_a_last_reply_is_tampered_with() -> None:
    for stage in (Stage.BANNER, Stage.EHLO, Stage.MAIL, Stage.RCPT, Stage.DATA):
        assert classify(ended(stage, "ECONNRESET")).outcome is Outcome.TAMPERED
        assert classify(ended(stage, reply="no reply within 5 s")).outcome is Outcome.TAMPERED


def test_a_failed_handshake_is_tls_failed() -> None:
    assert classify(ended(Stage.TLS, reply="certificate verify failed")).outcome is Outcome.TLS_FAILED


@pytest.mark.parametrize("code", [454, 500, 502])
def test_a_refused_starttls_command_is_tls_failed(code: int) -> None:
    assert classify(replied(Stage.STARTTLS, code, "TLS not available")).outcome is Outcome.TLS_FAILED


def test_a_server_without_starttls_fails_a_client_that_wants_it() -> None:
    assert classify(ended(Stage.STARTTLS, missing="STARTTLS")).outcome is Outcome.TLS_FAILED


def test_a_server_without_auth_fails_a_client_that_wants_it_and_is_not_tampered_with() -> None:
    assert classify(ended(Stage.AUTH, missing="AUTH")).outcome is Outcome.AUTH_FAILED


def test_a_relay_that_took_the_message_and_cannot_pass_it_on_defers_it() -> None:
    assert classify(ended(Stage.DONE, hops=[hop(errno="ETIMEDOUT")])).outcome is Outcome.DEFERRED
    assert (
        classify(ended(Stage.DONE, hops=[hop(Stage.RCPT, smtp_code=450, reply="greylisted")])).outcome
        is Outcome.DEFERRED
    )
    assert classify(ended(Stage.DONE, hops=[hop(Stage.DONE)])).outcome is Outcome.DEFERRED


def test_a_message_that_bounced_behind_a_relay_has_the_outcome_of_the_reply_that_bounced_it() -> None:
    unknown = hop(Stage.RCPT, smtp_code=550, enhanced_code="5.1.1", reply="5.1.1 user unknown")
    denied = hop(Stage.RCPT, smtp_code=554, enhanced_code="5.7.1", reply="5.7.1 Relay access denied")
    assert classify(ended(Stage.DONE, hops=[unknown])).outcome is Outcome.REJECTED
    assert classify(ended(Stage.DONE, hops=[denied])).outcome is Outcome.RELAY_DENIED


def test_a_message_bounces_for_want_of_a_domain() -> None:
    nowhere = hop(Stage.RESOLVE, smtp_code=550, enhanced_code="5.1.2", reply="example.org does not exist")
    assert classify(ended(Stage.DONE, hops=[nowhere])).outcome is Outcome.DNS_FAILURE


def test_a_relay_that_is_refused_at_the_greeting_keeps_the_message_for_later() -> None:
    for stage in (Stage.BANNER, Stage.EHLO):
        listed = hop(stage, smtp_code=554, enhanced_code="5.7.1", reply="5.7.1 dynamic address")
        assert classify(ended(Stage.DONE, hops=[listed])).outcome is Outcome.DEFERRED


def test_a_relay_keeps_trying_after_a_timeout_and_bounces_at_the_last_word() -> None:
    unknown = hop(Stage.RCPT, smtp_code=550, enhanced_code="5.1.1", reply="5.1.1 user unknown")
    assert classify(ended(Stage.DONE, hops=[hop(errno="ETIMEDOUT"), unknown])).outcome is Outcome.REJECTED
    assert classify(ended(Stage.DONE, hops=[hop(Stage.DONE), unknown])).outcome is Outcome.REJECTED


def test_a_message_in_the_mailbox_is_delivered_although_a_relay_failed_once() -> None:
    evidence = delivered().model_copy(update={"hops": [hop(errno="ETIMEDOUT"), hop(Stage.DONE)]})
    assert classify(evidence).outcome is Outcome.DELIVERED


# -- the table of replies ---------------------------------------------------------------------------------------------

REPLIES = [
    # AUTH: RFC 4954
    (Stage.MAIL, 530, "5.7.0 Authentication required", Outcome.AUTH_REQUIRED),
    (Stage.AUTH, 535, "5.7.8 Authentication credentials invalid", Outcome.AUTH_FAILED),
    (Stage.AUTH, 535, "authentication failed", Outcome.AUTH_FAILED),
    (Stage.AUTH, 534, "5.7.9 Authentication mechanism is too weak", Outcome.AUTH_FAILED),
    (Stage.AUTH, 538, "5.7.11 Encryption required for requested authentication mechanism", Outcome.TLS_REQUIRED),
    (Stage.AUTH, 454, "4.7.0 Temporary authentication failure", Outcome.TEMPFAIL),
    (Stage.RCPT, 550, "authentication required", Outcome.AUTH_REQUIRED),
    (Stage.RCPT, 550, "relay not permitted, authentication required", Outcome.AUTH_REQUIRED),
    (Stage.RCPT, 553, "5.7.1 <a@example.com>: Sender address rejected: not logged in", Outcome.AUTH_REQUIRED),
    # SPF and DKIM are about the message, not about the client
    (Stage.DATA, 550, "5.7.26 Unauthenticated email from example.com is not accepted", Outcome.REJECTED),
    # STARTTLS: RFC 3207
    (Stage.MAIL, 530, "5.7.0 Must issue a STARTTLS command first", Outcome.TLS_REQUIRED),
    (Stage.AUTH, 530, "Must issue a STARTTLS command first", Outcome.TLS_REQUIRED),
    # relay denied, as Postfix, Sendmail, Exim, Exchange and qmail say it
    (Stage.RCPT, 554, "5.7.1 <a@example.net>: Relay access denied", Outcome.RELAY_DENIED),
    (Stage.RCPT, 454, "4.7.1 <a@example.net>: Relay access denied", Outcome.RELAY_DENIED),
    (Stage.RCPT, 454, "4.3.0 try again later", Outcome.TEMPFAIL),
    (Stage.RCPT, 550, "5.7.1 <a@example.net>... Relaying denied", Outcome.RELAY_DENIED),
    (Stage.RCPT, 550, "relay not permitted", Outcome.RELAY_DENIED),
    (Stage.RCPT, 550, "5.7.1 Unable to relay", Outcome.RELAY_DENIED),
    (Stage.RCPT, 551, "we do not relay", Outcome.RELAY_DENIED),
    (Stage.RCPT, 553, "that domain isn't in my list of allowed rcpthosts (#5.7.1)", Outcome.RELAY_DENIED),
    # a listed dynamic address
    (Stage.RCPT, 550, "5.7.1 Client host blocked: dynamic address", Outcome.REJECTED),
    (Stage.RCPT, 554, "5.7.1 dynamic address, please use your provider's relay", Outcome.REJECTED),
    (Stage.RCPT, 550, "5.7.1 not accepted, use your provider's relay", Outcome.REJECTED),
    (Stage.BANNER, 554, "5.7.1 no relay for dynamic addresses", Outcome.REJECTED),
    # no mail here: RFC 7504, RFC 7505
    (Stage.BANNER, 521, "does not accept mail", Outcome.REJECTED),
    (Stage.RCPT, 556, "5.1.10 null MX", Outcome.REJECTED),
    # greylist, shutdown
    (Stage.RCPT, 450, "4.7.1 Greylisted, come back in 300 s", Outcome.TEMPFAIL),
    (Stage.RCPT, 451, "4.7.1 Greylisted by corporate policy", Outcome.TEMPFAIL),
    (Stage.RCPT, 421, "4.3.2 shutting down", Outcome.TEMPFAIL),
    (Stage.BANNER, 421, "4.3.2 shutting down", Outcome.TEMPFAIL),
    # limits: of a client's rate, and not of one message
    (Stage.BANNER, 421, "4.7.0 mx.example.net Error: too many connections", Outcome.THROTTLED),
    (Stage.RCPT, 450, "4.7.1 Error: too much mail from 198.51.100.7", Outcome.THROTTLED),
    (Stage.MAIL, 451, "4.7.1 rate limit exceeded", Outcome.THROTTLED),
    (Stage.RCPT, 452, "4.5.3 Too many recipients", Outcome.TEMPFAIL),
    # the rest
    (Stage.RCPT, 452, "4.3.1 Insufficient system storage", Outcome.TEMPFAIL),
    (Stage.RCPT, 550, "5.1.1 user unknown", Outcome.REJECTED),
    (Stage.EHLO, 502, "5.5.1 not implemented", Outcome.REJECTED),
]


@pytest.mark.parametrize(("stage", "code", "reply", "outcome"), REPLIES)
def test_a_reply_means_its_outcome(stage: Stage, code: int, reply: str, outcome: Outcome) -> None:
    first = reply.split(" ")[0]
    enhanced = first if first[0].isdigit() else None
    assert classify(replied(stage, code, reply, enhanced)).outcome is outcome


@pytest.mark.parametrize("code", [220, 235, 250, 334, 354, None])
def test_a_reply_that_refuses_nothing_has_no_outcome(code: int | None) -> None:
    assert of_reply(seen(Stage.DATA, smtp_code=code, reply="rate limit, relay denied")) is None


def test_every_4xx_and_5xx_reply_has_an_outcome() -> None:
    for code in range(400, 600):
        assert of_reply(seen(Stage.RCPT, smtp_code=code)) is not None


# -- the kernel's word held against the client's ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "errno"),
    [
        (Effect.DROP, "ECONNREFUSED"),
        (Effect.DROP, "EHOSTUNREACH"),
        (Effect.REJECT_ICMP, "ETIMEDOUT"),
        (Effect.REJECT_RESET, "ETIMEDOUT"),
        (Effect.REJECT_RESET, "EHOSTUNREACH"),
    ],
)
def test_an_errno_that_the_rule_cannot_cause_is_a_disagreement(effect: Effect, errno: str) -> None:
    said = disagreement(ended(Stage.CONNECT, errno, decisions=[decision(effect)]))
    assert said == f"the client saw {errno}, and the kernel did {effect} at isp-edge"


def test_a_timeout_without_a_rule_is_a_disagreement() -> None:
    assert "saw no rule" in (disagreement(ended(Stage.CONNECT, "ETIMEDOUT")) or "")


def test_a_session_although_the_kernel_dropped_its_syn_is_a_disagreement() -> None:
    evidence = replied(Stage.RCPT, 550, decisions=[decision()])
    assert disagreement(evidence) == "the client came as far as rcpt, and the kernel did drop at isp-edge"


def test_an_undisturbed_delivery_is_no_disagreement() -> None:
    assert disagreement(delivered()) is None


def test_a_drop_on_ipv6_does_not_contradict_a_session_over_ipv4_afterwards() -> None:
    evidence = delivered().model_copy(update={"decisions": [decision(blame=rule(family="ip6"))]})
    assert disagreement(evidence) is None
    assert classify(evidence).outcome is Outcome.DELIVERED


def test_the_address_dialled_last_decides_whose_rule_is_to_blame() -> None:
    both = [decision(blame=rule(family="ip6", number=9)), decision(blame=rule(number=4))]
    assert blamed(dropped(decisions=both), Outcome.DROPPED) == rule(number=4)
    assert blamed(dropped(decisions=both, address=MX6), Outcome.DROPPED) == rule(family="ip6", number=9)


def test_the_last_rule_that_kept_a_packet_from_passing_decides() -> None:
    evidence = dropped(decisions=[decision(Effect.REJECT_RESET, rule(number=1)), decision(blame=rule(number=2))])
    assert classify(evidence).outcome is Outcome.DROPPED
    assert blamed(evidence, Outcome.DROPPED) == rule(number=2)


def test_the_errnos_of_each_effect_are_those_of_the_domain_table() -> None:
    assert ERRNOS_OF_EFFECT[Effect.DROP] == {"ETIMEDOUT"}
    assert ERRNOS_OF_EFFECT[Effect.REJECT_RESET] == {"ECONNREFUSED"}
    icmp = {"ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EACCES", "ENOPROTOOPT"}
    assert icmp <= ERRNOS_OF_EFFECT[Effect.REJECT_ICMP]
    assert "ETIMEDOUT" not in ERRNOS_OF_EFFECT[Effect.REJECT_ICMP] | UNREACHABLE_ERRNOS


# -- judge ------------------------------------------------------------------------------------------------------------


def judged(
    evidence: Evidence,
    expected: Outcome | None,
    *,
    by: str | None = None,
    control: Evidence | None = None,
) -> Judgement:
    return judge(evidence, expected, by, control)


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


def test_a_greylisted_message_blames_no_rule_although_an_earlier_try_met_one() -> None:
    tries = [hop(errno="ETIMEDOUT", decisions=[decision()]), hop(Stage.RCPT, smtp_code=450, reply="greylisted")]
    assert judged(ended(Stage.DONE, hops=tries), Outcome.DEFERRED).blame is None


def test_a_rule_is_not_blamed_for_what_a_server_says() -> None:
    relay_denied = replied(Stage.RCPT, 554, "5.7.1 Relay access denied", "5.7.1")
    assert judged(relay_denied, Outcome.RELAY_DENIED).blame is None


def test_a_decision_of_a_dual_stack_rule_counts_for_the_address_dialled() -> None:
    inet = Decision(blame=rule(family="inet"), effect=Effect.DROP, packet="SYN")
    seen_v6 = Observation(stage=Stage.CONNECT, errno="ETIMEDOUT", address=MX6)
    assert classify(Evidence(observation=seen_v6, decisions=[inet])).outcome is Outcome.DROPPED
