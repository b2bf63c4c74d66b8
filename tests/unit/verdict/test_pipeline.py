"""Which evidence proves which outcome and which mechanism, classifier by classifier."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from evidence_factory import (
    MX6,
    decision,
    delivered,
    difference,
    diverted,
    dropped,
    ended,
    hop,
    in_session,
    of_neighbour,
    on_answer,
    replied,
    rule,
    seen,
    wire,
)
from port25lab.model.evidence import (
    ICMP_ERROR,
    Arrival,
    Decision,
    Effect,
    Ended,
    Evidence,
    IcmpError,
    Observation,
    PacketSummary,
    Stage,
)
from port25lab.model.mechanism import MECHANISM_INFO, Mechanism
from port25lab.model.outcome import Outcome
from port25lab.verdict import middleboxes, pipeline, replies
from port25lab.verdict.pipeline import CLASSIFIERS, classify
from port25lab.verdict.replies import meaning_of, of_reply
from port25lab.verdict.rules import ERRNOS_OF_EFFECT, UNREACHABLE_ERRNOS, disagreement
from port25lab.verdict.views import Classification, Views, decisive_try, first_to_end, relayed

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
        assert classify(ended(stage, **SILENT)).outcome is Outcome.TAMPERED


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
    assert said == f"the client saw {errno}, and the trace has {effect} on isp-edge"


def test_a_timeout_without_a_rule_is_a_disagreement() -> None:
    assert "has no rule" in (disagreement(ended(Stage.CONNECT, "ETIMEDOUT")) or "")


def test_a_session_although_the_kernel_dropped_its_syn_is_a_disagreement() -> None:
    evidence = replied(Stage.RCPT, 550, decisions=[decision()])
    assert disagreement(evidence) == "the client reached stage rcpt, and the trace has drop on isp-edge"


def test_a_neighbour_that_is_not_found_explains_an_unreachable_host_or_silence_and_nothing_else() -> None:
    for errno in ("EHOSTUNREACH", "ETIMEDOUT"):
        assert disagreement(ended(Stage.CONNECT, errno, decisions=[of_neighbour()])) is None
    said = disagreement(ended(Stage.CONNECT, "ECONNREFUSED", decisions=[of_neighbour()]))
    assert said == "the client saw ECONNREFUSED, and the trace has a dropped neighbour solicitation for 2001:db8::1"


def test_a_session_although_a_neighbour_was_not_found_at_first_is_no_disagreement() -> None:
    """Another address of the same server was dialled before."""
    assert disagreement(ended(Stage.RCPT, smtp_code=550, decisions=[of_neighbour()])) is None


def test_an_undisturbed_delivery_is_no_disagreement() -> None:
    assert disagreement(delivered()) is None


def test_a_drop_on_ipv6_does_not_contradict_a_session_over_ipv4_afterwards() -> None:
    evidence = delivered().model_copy(update={"decisions": [decision(blame=rule(family="ip6"))]})
    assert disagreement(evidence) is None
    assert classify(evidence).outcome is Outcome.DELIVERED


def test_the_errnos_of_each_effect_are_those_of_the_domain_table() -> None:
    assert ERRNOS_OF_EFFECT[Effect.DROP] == {"ETIMEDOUT"}
    assert ERRNOS_OF_EFFECT[Effect.REJECT_RESET] == {"ECONNREFUSED"}
    icmp = {"ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EACCES", "ENOPROTOOPT"}
    assert icmp <= ERRNOS_OF_EFFECT[Effect.REJECT_ICMP]
    assert "ETIMEDOUT" not in ERRNOS_OF_EFFECT[Effect.REJECT_ICMP] | UNREACHABLE_ERRNOS


def test_a_decision_of_a_dual_stack_rule_counts_for_the_address_dialled() -> None:
    inet = Decision(blame=rule(family="inet"), effect=Effect.DROP, traced=PacketSummary(kind="SYN"))
    seen_v6 = Observation(stage=Stage.CONNECT, errno="ETIMEDOUT", address=MX6)
    assert classify(Evidence(observation=seen_v6, decisions=[inet])).outcome is Outcome.DROPPED


# -- outcome and mechanism together -----------------------------------------------------------------------------------

RIGHT = {"answered_by": "example-mx", "dialled": "example-mx"}
WRONG = {"answered_by": "isp-edge", "dialled": "example-mx"}
CONTROL = ended(Stage.DONE, delivered_to="example-mx", banner="mx.example.net", keywords=("SIZE", "STARTTLS"), **RIGHT)
IN_TLS = ended(Stage.DONE, delivered_to="example-mx", keywords=("AUTH", "SIZE"), tls="TLSv1.3", **RIGHT)
SILENT = {"reply": "no reply within 5 s", "timed_out": True}
CLOSED = {"reply": "the server closed the connection"}
RESET_AT_WORDS = in_session(Effect.REJECT_RESET, "string")
LOST = Ended(packet=wire()[0], how="no-answer")
OF_ERROR = decision().model_copy(update={"traced": PacketSummary(kind=ICMP_ERROR)})
FEWER_HOPS = diverted("TTL", 1, Effect.CHANGE).model_copy(update={"in_session": True})
EXCEEDED = wire("ICMP isp-edge")[1].model_copy(update={"icmp": (11, 0)})
TOO_LONG = in_session(Effect.DROP, "tcp", "length")


@dataclass(frozen=True)
class Example:
    """Evidence, perhaps with a control, and what it proves."""

    what: str
    evidence: Evidence
    outcome: Outcome
    mechanism: Mechanism
    control: Evidence | None = None

    @property
    def found(self) -> Classification:
        return Classification(self.outcome, self.mechanism)


def probed(reached: str | None, *decisions: Decision, packet: str = "syn", error: str | None = None) -> Evidence:
    arrival = Arrival(packet=packet, reached=reached)
    return ended(Stage.CONNECT, arrival=arrival, decisions=list(decisions), error=error)


def astray(answer: str | None) -> Evidence:
    """A hand-made packet that a rule sent elsewhere."""
    told = [IcmpError(sender="198.51.100.1", ip_version=4, type=3, code=0)] if answer == "ICMP" else []
    arrival = Arrival(packet="syn", answer=answer)
    return ended(Stage.CONNECT, arrival=arrival, diverted=[diverted()], icmp=told)


EXAMPLES = [
    # the tool, the name, a probe
    Example("the tool failed", delivered().model_copy(update={"error": "!"}), Outcome.ERROR, Mechanism.UNKNOWN),
    Example("nothing fits", ended(Stage.DONE), Outcome.ERROR, Mechanism.UNKNOWN),
    Example("no name", ended(Stage.RESOLVE), Outcome.DNS_FAILURE, Mechanism.NO_NAME),
    Example(
        "a DNS query is dropped",
        ended(Stage.RESOLVE, unanswered=True, decisions=[decision()]),
        Outcome.DNS_FAILURE,
        Mechanism.NAME_SERVICE,
    ),
    Example(
        "another DNS server answers that there is no such name",
        ended(Stage.RESOLVE, diverted=[diverted()]),
        Outcome.DNS_FAILURE,
        Mechanism.NAME_SERVICE,
        control=delivered(),
    ),
    Example(
        "no DNS server answers, and none does without the policy",
        ended(Stage.RESOLVE, unanswered=True),
        Outcome.DNS_FAILURE,
        Mechanism.NO_NAME,
        control=ended(Stage.RESOLVE, unanswered=True),
    ),
    Example(
        "no DNS server answers, no rule dropped a query, and without the policy one does",
        ended(Stage.RESOLVE, unanswered=True),
        Outcome.ERROR,
        Mechanism.UNKNOWN,
        control=delivered(),
    ),
    Example("a probe arrives", probed("mx"), Outcome.REACHED, Mechanism.NONE),
    Example("a probe is dropped", probed(None, decision()), Outcome.DROPPED, Mechanism.SYN_DROP),
    Example("a probe's answer is dropped", probed(None, on_answer()), Outcome.DROPPED, Mechanism.ANSWER_DROP),
    Example("a probe is lost", probed(None), Outcome.ERROR, Mechanism.UNKNOWN),
    Example("a probe is sent to nobody", astray(None), Outcome.UNREACHABLE, Mechanism.NO_ANSWER),
    Example("a probe is sent to another server", astray("SYN-ACK"), Outcome.INTERCEPTED, Mechanism.INTERCEPTION),
    Example("a probe is sent to a closed port", astray("RST"), Outcome.REJECTED_RESET, Mechanism.NO_LISTENER),
    Example("a probe is sent where no way leads", astray("ICMP"), Outcome.UNREACHABLE, Mechanism.NO_ROUTE),
    Example(
        "an old session is dropped", probed(None, decision(), packet="held"), Outcome.DROPPED, Mechanism.SESSION_CUT
    ),
    # no connection
    Example("SYN dropped", dropped(), Outcome.DROPPED, Mechanism.SYN_DROP),
    Example("answer dropped", dropped(decisions=[on_answer()]), Outcome.DROPPED, Mechanism.ANSWER_DROP),
    Example(
        "answer rejected, which the client never hears",
        dropped(decisions=[on_answer(Effect.REJECT_RESET)]),
        Outcome.DROPPED,
        Mechanism.ANSWER_DROP,
    ),
    Example(
        "answer over a limit",
        dropped(decisions=[on_answer(Effect.THROTTLE)]),
        Outcome.THROTTLED,
        Mechanism.RATE_LIMIT,
    ),
    Example(
        "ICMP",
        ended(Stage.CONNECT, "EHOSTUNREACH", decisions=[decision(Effect.REJECT_ICMP)]),
        Outcome.REJECTED_ICMP,
        Mechanism.REJECT_ICMP,
    ),
    Example(
        "RST",
        ended(Stage.CONNECT, "ECONNREFUSED", decisions=[decision(Effect.REJECT_RESET)]),
        Outcome.REJECTED_RESET,
        Mechanism.REJECT_RESET,
    ),
    Example("limit", dropped(decisions=[decision(Effect.THROTTLE)]), Outcome.THROTTLED, Mechanism.RATE_LIMIT),
    Example(
        "a router does not find the next one",
        ended(Stage.CONNECT, "EHOSTUNREACH", decisions=[of_neighbour()]),
        Outcome.UNREACHABLE,
        Mechanism.NEIGHBOUR_DISCOVERY,
    ),
    Example(
        "the answer's next hop is not found",
        ended(Stage.CONNECT, "ETIMEDOUT", decisions=[of_neighbour()]),
        Outcome.DROPPED,
        Mechanism.NEIGHBOUR_DISCOVERY,
    ),
    Example(
        "a hand-made packet that waits for its next hop",
        probed(None, of_neighbour()),
        Outcome.DROPPED,
        Mechanism.NEIGHBOUR_DISCOVERY,
    ),
    Example("nothing listens", ended(Stage.CONNECT, "ECONNREFUSED"), Outcome.CLOSED, Mechanism.NO_LISTENER),
    Example("no route", ended(Stage.CONNECT, "ENETUNREACH"), Outcome.UNREACHABLE, Mechanism.NO_ROUTE),
    Example(
        "redirected to where nothing listens",
        ended(
            Stage.CONNECT, "ECONNREFUSED", diverted=[diverted("REDIRECT")], packets=wire("RST isp-edge"), dialled="mx"
        ),
        Outcome.REJECTED_RESET,
        Mechanism.NO_LISTENER,
    ),
    Example(
        "another port of the same server is closed",
        ended(Stage.CONNECT, "ECONNREFUSED", diverted=[diverted()], packets=wire("RST mx"), dialled="mx"),
        Outcome.CLOSED,
        Mechanism.NO_LISTENER,
    ),
    Example(
        "translated to where no host is",
        ended(Stage.CONNECT, "ETIMEDOUT", diverted=[diverted()]),
        Outcome.UNREACHABLE,
        Mechanism.NO_ANSWER,
    ),
    Example(
        "another source, to which no answer comes back",
        ended(Stage.CONNECT, "ETIMEDOUT", diverted=[diverted("SNAT", 1, Effect.CHANGE)], packets=wire("SYN-ACK mx")),
        Outcome.UNREACHABLE,
        Mechanism.NO_ANSWER,
    ),
    Example(
        "lifetimes of a session's packets that end on the way",
        ended(Stage.CONNECT, "EHOSTUNREACH", diverted=[FEWER_HOPS], packets=[*wire("SYN-ACK mx"), EXCEEDED]),
        Outcome.TAMPERED,
        Mechanism.SESSION_CUT,
    ),
    Example(
        "lifetimes that are changed and last",
        ended(Stage.CONNECT, "EHOSTUNREACH", diverted=[FEWER_HOPS], packets=wire("SYN-ACK mx")),
        Outcome.UNREACHABLE,
        Mechanism.NO_ROUTE,
    ),
    Example(
        "another source, which the destination does not find",
        ended(
            Stage.CONNECT,
            "ETIMEDOUT",
            diverted=[diverted("SNAT", 1, Effect.CHANGE)],
            packets=wire(),
            dialled="mx",
            ended=Ended(packet=wire()[0].model_copy(update={"node": "mx", "leaving": False}), how="no-answer"),
        ),
        Outcome.UNREACHABLE,
        Mechanism.NO_ANSWER,
    ),
    Example(
        "another source, and no answer was made",
        ended(Stage.CONNECT, "ETIMEDOUT", diverted=[diverted("SNAT", 1, Effect.CHANGE)], packets=wire()),
        Outcome.ERROR,
        Mechanism.UNKNOWN,
    ),
    Example(
        "dropped by chance",
        dropped(decisions=[decision().model_copy(update={"by_chance": True})]),
        Outcome.DROPPED,
        Mechanism.RANDOM_LOSS,
    ),
    Example(
        "delivered in spite of chance",
        delivered().model_copy(update={"decisions": [decision().model_copy(update={"by_chance": True})]}),
        Outcome.DELIVERED,
        Mechanism.RANDOM_LOSS,
    ),
    Example(
        "reset before the client knows that it is connected",
        ended(Stage.CONNECT, "ECONNRESET", decisions=[in_session(Effect.REJECT_RESET)]),
        Outcome.TAMPERED,
        Mechanism.SESSION_CUT,
    ),
    Example("no rule, no errno", ended(Stage.CONNECT, "ETIMEDOUT"), Outcome.ERROR, Mechanism.UNKNOWN),
    # another server
    Example("another relays", ended(Stage.DONE, **WRONG), Outcome.INTERCEPTED, Mechanism.INTERCEPTION),
    Example("another refuses", replied(Stage.RCPT, 550, **WRONG), Outcome.INTERCEPTED, Mechanism.INTERCEPTION),
    Example(
        "another greets with 554", replied(Stage.BANNER, 554, **WRONG), Outcome.INTERCEPTED, Mechanism.REFUSING_GREETING
    ),
    Example(
        "another hangs up",
        ended(Stage.BANNER, packets=wire("FIN isp-edge", "FIN pc"), **CLOSED, **WRONG),
        Outcome.INTERCEPTED,
        Mechanism.ACCEPT_CLOSE,
    ),
    Example(
        "another hangs up, unseen", ended(Stage.TLS, **CLOSED, **WRONG), Outcome.INTERCEPTED, Mechanism.ACCEPT_CLOSE
    ),
    Example(
        "another keeps waiting",
        ended(Stage.BANNER, packets=wire("FIN pc"), **SILENT, **WRONG),
        Outcome.INTERCEPTED,
        Mechanism.TARPIT,
    ),
    Example(
        "another keeps waiting, unseen", ended(Stage.EHLO, **SILENT, **WRONG), Outcome.INTERCEPTED, Mechanism.TARPIT
    ),
    Example(
        "another keeps waiting, as the kernel says",
        ended(Stage.BANNER, "ETIMEDOUT", packets=wire("FIN pc"), **WRONG),
        Outcome.INTERCEPTED,
        Mechanism.TARPIT,
    ),
    Example(
        "another speaks no SMTP",
        ended(Stage.BANNER, reply="garbage", packets=wire("FIN pc"), **WRONG),
        Outcome.INTERCEPTED,
        Mechanism.INTERCEPTION,
    ),
    Example(
        "another hangs up in mid-session",
        ended(Stage.RCPT, packets=wire("FIN isp-edge"), **CLOSED, **WRONG),
        Outcome.INTERCEPTED,
        Mechanism.INTERCEPTION,
    ),
    # delivered, with and without something at work
    Example("delivered", CONTROL, Outcome.DELIVERED, Mechanism.NONE, CONTROL),
    Example("delivered, no control", CONTROL, Outcome.DELIVERED, Mechanism.NONE),
    Example(
        "delivered without STARTTLS",
        ended(Stage.DONE, delivered_to="example-mx", banner="***", keywords=("SIZE",), **RIGHT),
        Outcome.DELIVERED,
        Mechanism.STARTTLS_STRIPPING,
        CONTROL,
    ),
    Example(
        "delivered, masked",
        ended(Stage.DONE, delivered_to="example-mx", banner="***", keywords=("STARTTLS",), **RIGHT),
        Outcome.DELIVERED,
        Mechanism.BANNER_MASKING,
        CONTROL,
    ),
    Example(
        "delivered, masked as the wire has it",
        ended(Stage.DONE, delivered_to="mx", difference=difference("220 **", "220 mx")),
        Outcome.DELIVERED,
        Mechanism.BANNER_MASKING,
    ),
    Example(
        "delivered, stripped as the wire has it",
        ended(Stage.DONE, delivered_to="mx", difference=difference("250-X", "250-STARTTLS")),
        Outcome.DELIVERED,
        Mechanism.STARTTLS_STRIPPING,
    ),
    Example(
        "delivered, something else was altered",
        ended(Stage.DONE, delivered_to="mx", difference=difference("X", "Y")),
        Outcome.DELIVERED,
        Mechanism.UNKNOWN,
    ),
    Example(
        "delivered by a relay that came again",
        delivered().model_copy(update={"hops": [hop(Stage.RCPT, smtp_code=450, reply="greylisted"), hop(Stage.DONE)]}),
        Outcome.DELIVERED,
        Mechanism.GREYLISTING,
    ),
    Example(
        "delivered, and the relay's own session was taken",
        delivered().model_copy(update={"hops": [hop(Stage.DONE, **WRONG)]}),
        Outcome.DELIVERED,
        Mechanism.INTERCEPTION,
    ),
    Example(
        "delivered, masked, by a relay that came again",
        ended(
            Stage.DONE,
            delivered_to="mx",
            difference=difference("220 **", "220 mx"),
            hops=[hop(Stage.RCPT, smtp_code=450, reply="greylisted"), hop(Stage.DONE)],
        ),
        Outcome.DELIVERED,
        Mechanism.BANNER_MASKING,
    ),
    Example(
        "delivered by a relay whose first address was blocked",
        delivered().model_copy(update={"hops": [hop(errno="ETIMEDOUT", decisions=[decision()]), hop(Stage.DONE)]}),
        Outcome.DELIVERED,
        Mechanism.SYN_DROP,
    ),
    Example(
        "delivered by a relay whose first address leads nowhere",
        delivered().model_copy(update={"hops": [hop(errno="ENETUNREACH"), hop(Stage.DONE)]}),
        Outcome.DELIVERED,
        Mechanism.NONE,
    ),
    Example(
        "delivered by a relay that was refused by somebody between at first",
        delivered().model_copy(update={"hops": [hop(Stage.BANNER, smtp_code=421, **WRONG), hop(Stage.DONE)]}),
        Outcome.DELIVERED,
        Mechanism.REFUSING_GREETING,
    ),
    Example(
        "delivered, and no book tells who answered",
        ended(Stage.DONE, delivered_to="example-mx", dialled="example-mx"),
        Outcome.DELIVERED,
        Mechanism.NONE,
    ),
    # a session that a rule cut
    Example(
        "refused, and a retransmitted SYN was over a limit",
        replied(Stage.RCPT, 550, decisions=[decision(Effect.THROTTLE)], **RIGHT),
        Outcome.REJECTED,
        Mechanism.SERVER_REFUSAL,
    ),
    Example(
        "the farewell of a session was dropped",
        ended(Stage.DONE, decisions=[in_session()], hops=[hop(Stage.RCPT, smtp_code=450)]),
        Outcome.DEFERRED,
        Mechanism.SERVER_REFUSAL,
    ),
    Example(
        "large packets refused, which is no black hole",
        ended(Stage.DATA, "ECONNRESET", decisions=[TOO_LONG.model_copy(update={"effect": Effect.REJECT_RESET})]),
        Outcome.TAMPERED,
        Mechanism.SESSION_CUT,
    ),
    Example(
        "cut at the name",
        ended(Stage.TLS, "ECONNRESET", decisions=[RESET_AT_WORDS], **RIGHT),
        Outcome.TAMPERED,
        Mechanism.SNI_RESET,
    ),
    Example(
        "cut at other words",
        ended(Stage.EHLO, "ECONNRESET", decisions=[RESET_AT_WORDS], **RIGHT),
        Outcome.TAMPERED,
        Mechanism.SESSION_CUT,
    ),
    Example(
        "large packets dropped",
        ended(Stage.DATA, decisions=[TOO_LONG], **SILENT, **RIGHT),
        Outcome.TAMPERED,
        Mechanism.MTU_BLACK_HOLE,
    ),
    Example(
        "all packets dropped",
        ended(Stage.DATA, decisions=[in_session()], **SILENT, **RIGHT),
        Outcome.TAMPERED,
        Mechanism.SESSION_CUT,
    ),
    Example(
        "a session over a limit",
        ended(Stage.DATA, decisions=[in_session(Effect.THROTTLE)], **SILENT, **RIGHT),
        Outcome.THROTTLED,
        Mechanism.RATE_LIMIT,
    ),
    # a session that no rule is known to have cut
    Example(
        "reset in the handshake by a node between",
        ended(Stage.TLS, "ECONNRESET", packets=wire("RST isp-edge"), **RIGHT),
        Outcome.TAMPERED,
        Mechanism.SNI_RESET,
        IN_TLS,
    ),
    Example(
        "reset by a node between",
        ended(Stage.EHLO, "ECONNRESET", packets=wire("RST isp-edge"), **RIGHT),
        Outcome.TAMPERED,
        Mechanism.SESSION_CUT,
        CONTROL,
    ),
    Example(
        "a message that hangs",
        ended(Stage.DATA, packets=wire(), **SILENT, **RIGHT),
        Outcome.TAMPERED,
        Mechanism.MTU_BLACK_HOLE,
        CONTROL,
    ),
    Example("a server that is silent", ended(Stage.DATA, **SILENT, **RIGHT), Outcome.TAMPERED, Mechanism.TARPIT),
    Example("a server that hangs up", ended(Stage.BANNER, **CLOSED, **RIGHT), Outcome.TAMPERED, Mechanism.ACCEPT_CLOSE),
    Example(
        "a server that hangs up later", ended(Stage.RCPT, **CLOSED, **RIGHT), Outcome.TAMPERED, Mechanism.SESSION_CUT
    ),
    Example(
        "a server that talks nonsense",
        ended(Stage.BANNER, reply="garbage", packets=wire("FIN pc"), **RIGHT),
        Outcome.TAMPERED,
        Mechanism.UNKNOWN,
    ),
    Example(
        "silence after the greeting, and not in the control",
        ended(Stage.EHLO, **SILENT, **RIGHT),
        Outcome.TAMPERED,
        Mechanism.UNKNOWN,
        CONTROL,
    ),
    Example(
        "a server that never says a word",
        ended(Stage.BANNER, **SILENT, **RIGHT),
        Outcome.TAMPERED,
        Mechanism.TARPIT,
        ended(Stage.BANNER, **SILENT, **RIGHT),
    ),
    Example(
        "a reset right behind the handshake",
        ended(Stage.CONNECT, "ECONNRESET", packets=wire("RST mx"), **RIGHT),
        Outcome.TAMPERED,
        Mechanism.SESSION_CUT,
        CONTROL,
    ),
    Example(
        "a host that is off",
        ended(Stage.CONNECT, "ETIMEDOUT", ended=LOST),
        Outcome.UNREACHABLE,
        Mechanism.NO_ANSWER,
        ended(Stage.CONNECT, "ETIMEDOUT", ended=LOST),
    ),
    Example(
        "a host that a router could not find",
        ended(Stage.CONNECT, "EHOSTUNREACH", ended=LOST),
        Outcome.UNREACHABLE,
        Mechanism.NO_ANSWER,
    ),
    Example(
        "silence, and only with the policy",
        ended(Stage.CONNECT, "ETIMEDOUT", ended=LOST),
        Outcome.ERROR,
        Mechanism.UNKNOWN,
        CONTROL,
    ),
    Example(
        "the error of a REJECT got lost",
        ended(Stage.CONNECT, "ETIMEDOUT", decisions=[decision(Effect.REJECT_ICMP), OF_ERROR]),
        Outcome.DROPPED,
        Mechanism.ANSWER_DROP,
    ),
    Example(
        "the error of a router without a route got lost",
        ended(Stage.CONNECT, "ETIMEDOUT", decisions=[OF_ERROR]),
        Outcome.UNREACHABLE,
        Mechanism.NO_ANSWER,
        ended(Stage.CONNECT, "EHOSTUNREACH", ended=LOST),
    ),
    Example(
        "the error of a REJECT to a host that is off got lost",
        ended(Stage.CONNECT, "ETIMEDOUT", decisions=[decision(Effect.REJECT_ICMP), OF_ERROR]),
        Outcome.DROPPED,
        Mechanism.ANSWER_DROP,
        ended(Stage.CONNECT, "EHOSTUNREACH", ended=LOST),
    ),
    Example(
        "one of two errors of a REJECT got lost",
        ended(Stage.CONNECT, "EHOSTUNREACH", decisions=[decision(Effect.REJECT_ICMP), OF_ERROR]),
        Outcome.REJECTED_ICMP,
        Mechanism.REJECT_ICMP,
    ),
    Example(
        "nonsense in answer to the message",
        ended(Stage.DATA, reply="garbage", packets=wire("FIN pc"), **RIGHT),
        Outcome.TAMPERED,
        Mechanism.UNKNOWN,
        CONTROL,
    ),
    Example(
        "a message after which the server hangs up, whatever the client says",
        ended(Stage.DATA, packets=wire("FIN example-mx"), **SILENT, **RIGHT),
        Outcome.TAMPERED,
        Mechanism.SESSION_CUT,
        CONTROL,
    ),
    Example(
        "a server that hangs up, at an address that nobody is known to own",
        ended(Stage.BANNER, packets=wire("FIN example-mx"), answered_by="example-mx", **CLOSED),
        Outcome.TAMPERED,
        Mechanism.ACCEPT_CLOSE,
    ),
    Example(
        "refused, and then a node between hung up",
        replied(Stage.RCPT, 550, packets=wire("FIN isp-edge"), **RIGHT),
        Outcome.REJECTED,
        Mechanism.SERVER_REFUSAL,
    ),
    # what was taken out on the way
    Example(
        "STARTTLS refused by another server than the control's",
        replied(Stage.STARTTLS, 502, answered_by="other", dialled="other"),
        Outcome.TLS_FAILED,
        Mechanism.SERVER_REFUSAL,
        IN_TLS,
    ),
    Example(
        "STARTTLS missed, which the control had",
        ended(Stage.STARTTLS, missing="STARTTLS", keywords=("SIZE",), **RIGHT),
        Outcome.TAMPERED,
        Mechanism.STARTTLS_STRIPPING,
        IN_TLS,
    ),
    Example(
        "STARTTLS refused, which the control had",
        replied(Stage.STARTTLS, 502, **RIGHT),
        Outcome.TAMPERED,
        Mechanism.STARTTLS_STRIPPING,
        IN_TLS,
    ),
    Example(
        "AUTH missed, which the control had",
        ended(Stage.AUTH, missing="AUTH", **RIGHT),
        Outcome.TAMPERED,
        Mechanism.UNKNOWN,
        IN_TLS,
    ),
    Example(
        "STARTTLS missed, and in the control as well",
        ended(Stage.STARTTLS, missing="STARTTLS", **RIGHT),
        Outcome.TLS_FAILED,
        Mechanism.SERVER_REFUSAL,
        ended(Stage.STARTTLS, missing="STARTTLS", **RIGHT),
    ),
    Example(
        "STARTTLS missed at another server than the control's",
        ended(Stage.STARTTLS, missing="STARTTLS", answered_by="other", dialled="other"),
        Outcome.TLS_FAILED,
        Mechanism.SERVER_REFUSAL,
        IN_TLS,
    ),
    # the real server's doing
    Example("no AUTH", ended(Stage.AUTH, missing="AUTH"), Outcome.AUTH_FAILED, Mechanism.SERVER_REFUSAL),
    Example("STARTTLS refused", replied(Stage.STARTTLS, 454), Outcome.TLS_FAILED, Mechanism.SERVER_REFUSAL),
    Example("handshake failed", ended(Stage.TLS, reply="expired"), Outcome.TLS_FAILED, Mechanism.SERVER_REFUSAL),
    Example(
        "handshake failed, and not in the control",
        ended(Stage.TLS, reply="expired"),
        Outcome.TLS_FAILED,
        Mechanism.UNKNOWN,
        IN_TLS,
    ),
    Example("greylisted", replied(Stage.RCPT, 450, "Greylisted"), Outcome.TEMPFAIL, Mechanism.GREYLISTING),
    Example("listed", replied(Stage.RCPT, 554, "see dnsbl.example"), Outcome.REJECTED, Mechanism.DNSBL_LISTING),
    Example("554 of the real server", replied(Stage.BANNER, 554, **RIGHT), Outcome.REJECTED, Mechanism.SERVER_REFUSAL),
    # behind a relay
    Example(
        "bounced",
        ended(Stage.DONE, hops=[hop(Stage.RCPT, smtp_code=550, reply="unknown")]),
        Outcome.REJECTED,
        Mechanism.SERVER_REFUSAL,
    ),
    Example(
        "bounced by somebody in between",
        ended(Stage.DONE, hops=[hop(Stage.RCPT, smtp_code=550, **WRONG)]),
        Outcome.REJECTED,
        Mechanism.INTERCEPTION,
    ),
    Example(
        "bounced for want of a name",
        ended(Stage.DONE, hops=[hop(Stage.RESOLVE, smtp_code=550)]),
        Outcome.DNS_FAILURE,
        Mechanism.NO_NAME,
    ),
    Example(
        "the relay's SYN dropped",
        ended(Stage.DONE, hops=[hop(errno="ETIMEDOUT", decisions=[decision()])]),
        Outcome.DEFERRED,
        Mechanism.SYN_DROP,
    ),
    Example(
        "the relay greylisted",
        ended(Stage.DONE, hops=[hop(Stage.RCPT, smtp_code=451, reply="greylisting")]),
        Outcome.DEFERRED,
        Mechanism.GREYLISTING,
    ),
    Example("handed on, and lost", ended(Stage.DONE, hops=[hop(Stage.DONE)]), Outcome.DEFERRED, Mechanism.UNKNOWN),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.what)
def test_evidence_proves_outcome_and_mechanism(example: Example) -> None:
    assert classify(example.evidence, example.control) == example.found


def test_every_mechanism_has_an_example_and_a_meaning() -> None:
    assert {example.mechanism for example in EXAMPLES} == set(Mechanism) == set(MECHANISM_INFO)


def wrong_without() -> list[str]:
    """The examples of which something else is found now."""
    return [one.what for one in EXAMPLES if _found(one) != one.found]


def _found(example: Example) -> Classification | None:
    try:
        return classify(example.evidence, example.control)
    except StopIteration:  # no classifier was left for it
        return None


@pytest.mark.parametrize("row", CLASSIFIERS, ids=lambda row: row.__name__)
def test_every_row_of_the_pipeline_matters(row: pipeline.Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wrong_without() == []
    monkeypatch.setattr(pipeline, "CLASSIFIERS", tuple(one for one in CLASSIFIERS if one is not row))
    assert wrong_without() != []


@pytest.mark.parametrize("number", range(len(replies.REPLY_PATTERNS)))
def test_every_row_of_the_table_of_replies_matters(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [reply for reply in REPLIES if _means(*reply[:3]) is not reply[3]] == []
    others = replies.REPLY_PATTERNS[:number] + replies.REPLY_PATTERNS[number + 1 :]
    monkeypatch.setattr(replies, "REPLY_PATTERNS", others)
    outcomes = [reply for reply in REPLIES if _means(*reply[:3]) is not reply[3]]
    mechanisms = [words for words, mechanism in LISTS if _blames(words) is not mechanism]
    unclear = [words for words, maybe in UNCLEAR if _maybe(*words) is not maybe]
    assert outcomes or mechanisms or unclear


def _means(stage: Stage, code: int, reply: str) -> Outcome | None:
    first = reply.split(" ")[0]
    found = of_reply(seen(stage, smtp_code=code, reply=reply, enhanced_code=first if first[0].isdigit() else None))
    return found.outcome if found else None


LISTS = [
    ((550, "5.7.1 Client host blocked: dynamic address"), Mechanism.DNSBL_LISTING),
    ((554, "5.7.1 Service unavailable; client host [192.0.2.1] blocked using dnsbl.example"), Mechanism.DNSBL_LISTING),
    ((550, "rejected because 192.0.2.1 is in a black list at zen.spamhaus.org"), Mechanism.DNSBL_LISTING),
    ((450, "4.7.1 client host is listed by rbl.example, try later"), Mechanism.DNSBL_LISTING),
    ((554, "5.7.1 dynamic address, please use your provider's relay"), Mechanism.DNSBL_LISTING),
    ((550, "5.7.1 you are on our blocklist"), Mechanism.DNSBL_LISTING),
    (
        (450, "4.2.0 <a@example.net>: Recipient address rejected: Greylisted, see http://postgrey"),
        Mechanism.GREYLISTING,
    ),
    ((451, "4.7.1 Greylisting in action, please come back later"), Mechanism.GREYLISTING),
    ((421, "4.7.1 grey-listed"), Mechanism.GREYLISTING),
    ((450, "4.7.1 gray list, wait"), Mechanism.GREYLISTING),
    ((554, "5.7.1 your address is in a block list"), Mechanism.DNSBL_LISTING),
    ((554, "5.7.1 192.0.2.1 is listed"), Mechanism.DNSBL_LISTING),
    ((554, "5.7.1 Listed by dnsbl.example"), Mechanism.DNSBL_LISTING),
    ((550, "5.1.1 User bob not listed in Domino Directory"), Mechanism.SERVER_REFUSAL),
    ((550, "5.7.1 the sender must be listed in SPF"), Mechanism.SERVER_REFUSAL),
    ((451, "4.7.1 Service unavailable - try again later"), Mechanism.SERVER_REFUSAL),
    ((450, "4.2.2 mailbox full"), Mechanism.SERVER_REFUSAL),
    ((550, "5.1.1 user unknown"), Mechanism.SERVER_REFUSAL),
    ((550, "5.7.1 blocked for content"), Mechanism.SERVER_REFUSAL),
    ((450, "4.7.1 too much mail"), Mechanism.SERVER_REFUSAL),
]


def _blames(said: tuple[int, str]) -> Mechanism | None:
    found = of_reply(seen(Stage.RCPT, smtp_code=said[0], reply=said[1]))
    return found.mechanism if found else None


UNCLEAR = [
    ((451, "4.7.1 Service unavailable - try again later"), Mechanism.GREYLISTING),
    ((450, "Temporary failure, come back in 5 minutes"), Mechanism.GREYLISTING),
    ((450, "4.7.1 Greylisted, try again later"), None),
    ((450, "4.2.2 mailbox full"), None),
    ((421, "4.3.2 shutting down, try again later"), None),
]


def _maybe(code: int, text: str) -> Mechanism | None:
    found = meaning_of(code, None, text, Stage.RCPT)
    return found.maybe if found else None


@pytest.mark.parametrize(("said", "maybe"), UNCLEAR)
def test_a_reply_that_a_greylisting_server_would_write_too(said: tuple[int, str], maybe: Mechanism | None) -> None:
    assert _maybe(*said) is maybe


@pytest.mark.parametrize("code", [None, 220, 250, 354])
def test_a_reply_that_refuses_nothing_has_no_meaning(code: int | None) -> None:
    assert meaning_of(code, None, "listed, try again later", Stage.RCPT) is None


@pytest.mark.parametrize("row", replies.REPLY_PATTERNS, ids=lambda row: f"{row.outcome} {row.source}")
def test_every_row_of_the_table_of_replies_names_its_rfc(row: replies.ReplyPattern) -> None:
    assert re.fullmatch(r"RFC \d{4}( [\d.]+)?( \(X[.]\d[.]\d\))?", row.source)


@pytest.mark.parametrize(("said", "mechanism"), LISTS)
def test_a_servers_words_tell_lists_from_other_refusals(said: tuple[int, str], mechanism: Mechanism) -> None:
    assert _blames(said) is mechanism


# -- the views --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packets", "node"),
    [
        ((), None),
        (("FIN pc", "FIN mx"), "pc"),
        (("RST isp-edge", "FIN pc"), "isp-edge"),
        (("SYN-ACK mx",), None),
        (("RST mx", "SYN pc", "FIN pc"), "pc"),
    ],
)
def test_who_ended_the_last_connection_first_is_read_from_the_wire(packets: tuple[str, ...], node: str | None) -> None:
    assert first_to_end(ended(Stage.BANNER, packets=wire(*packets))) == node


def test_nobody_is_said_to_have_ended_it_where_packets_were_lost_or_none_was_seen() -> None:
    assert first_to_end(ended(Stage.BANNER, packets=wire("FIN mx"), packets_lost=1)) is None
    assert first_to_end(ended(Stage.BANNER)) is None


def test_where_packets_were_lost_the_clients_word_counts() -> None:
    lost = {"packets": wire("FIN pc"), "packets_lost": 3}
    assert Views(ended(Stage.BANNER, **CLOSED, **lost)).closed_on_client
    assert not Views(ended(Stage.BANNER, **SILENT, **lost)).closed_on_client


def test_a_reply_that_talks_of_a_timeout_is_no_silence() -> None:
    assert Views(ended(Stage.BANNER, **SILENT)).silent
    assert not Views(replied(Stage.BANNER, 421, "no reply within 5 s")).silent


def test_a_packet_that_came_in_tells_nothing_of_its_maker() -> None:
    packets = [packet.model_copy(update={"leaving": packet.kind == "SYN"}) for packet in wire("FIN mx")]
    assert first_to_end(ended(Stage.BANNER, packets=packets)) is None


def test_a_greeting_that_refuses_is_no_mask() -> None:
    busy = replied(Stage.BANNER, 421, "4.3.2 too busy", banner="4.3.2 too busy", **RIGHT)
    assert middleboxes.alteration(Views(busy, CONTROL)) is None


def test_a_control_without_a_banner_proves_no_mask() -> None:
    assert middleboxes.alteration(Views(CONTROL, IN_TLS)) is None


def test_a_client_that_tells_no_keywords_proves_no_stripping() -> None:
    quiet = ended(Stage.DONE, delivered_to="example-mx", banner="mx.example.net", **RIGHT)
    assert middleboxes.alteration(Views(quiet, CONTROL)) is None


def test_in_tls_nobody_offers_starttls_any_more() -> None:
    assert middleboxes.alteration(Views(IN_TLS, IN_TLS.model_copy())) is None


def test_a_relays_session_is_held_against_the_same_one_of_the_control() -> None:
    open_hop = hop(Stage.DONE, keywords=("STARTTLS",), answered_by="mx", dialled="mx")
    bare_hop = hop(Stage.DONE, keywords=("SIZE",), answered_by="mx", dialled="mx")
    control = delivered().model_copy(update={"hops": [hop(errno="ETIMEDOUT"), open_hop]})
    evidence = delivered().model_copy(update={"hops": [bare_hop]})
    assert classify(evidence, control) == Classification(Outcome.DELIVERED, Mechanism.STARTTLS_STRIPPING)
    (only,) = relayed(Views(evidence, control))
    assert only.control is not None
    assert only.control.observation == open_hop.observation


def test_a_relays_session_to_another_address_is_no_control() -> None:
    other = hop(Stage.DONE, address=MX6, keywords=("STARTTLS",))
    (only,) = relayed(Views(ended(Stage.DONE, hops=[hop(Stage.DONE)]), ended(Stage.DONE, hops=[other])))
    assert only.control is None


def test_the_try_that_tells_is_the_last_one_unless_it_found_no_way_at_all() -> None:
    ruled, lost = hop(errno="ETIMEDOUT", decisions=[decision()]), hop(errno="ENETUNREACH", address=MX6)
    listed = hop(Stage.RCPT, smtp_code=450)
    assert decisive_try([]) is None
    assert decisive_try([hop(Stage.DONE)]) is None
    assert decisive_try([ruled, lost]) is ruled
    assert decisive_try([ruled, listed]) is listed
    assert decisive_try([lost]) is lost


def test_a_rejected_answer_and_a_clients_timeout_do_not_contradict_each_other() -> None:
    assert disagreement(dropped(decisions=[on_answer(Effect.REJECT_RESET)])) is None
