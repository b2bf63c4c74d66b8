"""The pipeline: all classifiers in their order. The first one with an answer decides."""

from __future__ import annotations

from collections.abc import Callable

from port25lab.model.evidence import Effect, Evidence, Hop, Stage
from port25lab.model.mechanism import MECHANISM_INFO, Mechanism
from port25lab.model.outcome import Outcome
from port25lab.verdict import middleboxes, replies, rules
from port25lab.verdict.views import Classification, Views, decisive_try, failed_tries, of_hop

Classifier = Callable[[Views], Classification | None]


def classify(evidence: Evidence, control: Evidence | None = None) -> Classification:
    """What the evidence proves. ``control``: the evidence of the same path without the policy, where it was tried."""
    views = Views(evidence, control)
    return next(found for classifier in CLASSIFIERS if (found := classifier(views)) is not None)


def tool_failed(views: Views) -> Classification | None:
    """The tool failed, so the evidence says nothing about the path."""
    return Classification(Outcome.ERROR, Mechanism.UNKNOWN) if views.evidence.error else None


def name_unknown(views: Views) -> Classification | None:
    """The name could not be resolved, so no connection was tried. A rule may be the reason.

    A lookup that got no answer, that no rule dropped, and that works without the policy, is a failure of the tool.
    """
    if views.observed.stage is not Stage.RESOLVE:
        return None
    evidence, control = views.evidence, views.control
    resolved = control is not None and not control.error and control.observation.stage is not Stage.RESOLVE
    if evidence.decisions or (resolved and evidence.diverted):
        return Classification(Outcome.DNS_FAILURE, Mechanism.NAME_SERVICE)
    if evidence.unanswered and resolved:
        return Classification(Outcome.ERROR, Mechanism.UNKNOWN)
    return Classification(Outcome.DNS_FAILURE, Mechanism.NO_NAME)


def no_rule_matched(views: Views) -> Classification | None:
    """No connection, and no rule dropped a packet.

    The destination sent RST, a router had no route, a rule sent the SYN astray, or the tool missed something.
    """
    if views.observed.stage is not Stage.CONNECT or views.observed.errno == "ECONNRESET":
        return None  # a reset right behind the handshake may come before the client knows that it is connected
    if views.observed.errno == "ECONNREFUSED":
        # A rule may have sent the SYN to another node than the dialled one, and that node refused it.
        diverted = any(decision.effect is Effect.DIVERT for decision in views.evidence.diverted)
        elsewhere = diverted and views.ended_by not in (None, views.evidence.dialled)
        return Classification(Outcome.REJECTED_RESET if elsewhere else Outcome.CLOSED, Mechanism.NO_LISTENER)
    if views.observed.errno in rules.UNREACHABLE_ERRNOS:
        return Classification(Outcome.UNREACHABLE, rules.ended_by(views) or Mechanism.NO_ROUTE)
    if views.observed.errno == "ETIMEDOUT" and rules.sent_astray(views):
        return Classification(Outcome.UNREACHABLE, Mechanism.NO_ANSWER)
    if rules.vanished(views):
        return Classification(Outcome.UNREACHABLE, rules.ended_by(views) or Mechanism.UNKNOWN)
    return Classification(Outcome.ERROR, Mechanism.UNKNOWN)


def arrived(views: Views) -> Classification | None:
    """The token is in the mailbox. A mechanism may be at work nevertheless, also on an earlier try of a relay."""
    if not views.evidence.delivered_to:
        return None
    found = middleboxes.at_work(views)
    if found is Mechanism.NONE:
        of_tries = (classify(of_hop(hop)).mechanism for hop in _failed(views))
        found = next((one for one in of_tries if one is Mechanism.GREYLISTING or MECHANISM_INFO[one].middle), found)
    if found is Mechanism.NONE and views.decision is not None and views.decision.by_chance:
        found = Mechanism.RANDOM_LOSS
    return Classification(Outcome.DELIVERED, found)


def not_offered(views: Views) -> Classification | None:
    """The client gave up, because the server does not offer what the client needs."""
    outcome = OUTCOME_OF_MISSING.get(views.observed.missing)
    return Classification(outcome, Mechanism.SERVER_REFUSAL) if outcome else None


def tls_failed(views: Views) -> Classification | None:
    """STARTTLS was refused, or the handshake failed. Where the control fails too, the server is the cause."""
    observed = views.observed
    if observed.stage is Stage.STARTTLS and observed.smtp_code in middleboxes.REFUSES_STARTTLS:
        return Classification(Outcome.TLS_FAILED, Mechanism.SERVER_REFUSAL)
    if observed.stage is Stage.TLS or (observed.stage is Stage.STARTTLS and observed.smtp_code in (None, 220, 250)):
        differs = views.control is not None and views.control.observation.tls is not None
        return Classification(Outcome.TLS_FAILED, Mechanism.UNKNOWN if differs else Mechanism.SERVER_REFUSAL)
    return None


def replied(views: Views) -> Classification | None:
    """The server's last reply, by the table of replies."""
    return replies.of_reply(views.observed)


def bounced(views: Views) -> Classification | None:
    """A relay took the message, and the next server refused it permanently: that reply is the outcome."""
    tries = _failed(views)
    if not views.done or not tries:
        return None
    observed = tries[-1].observation
    if observed.smtp_code not in replies.PERMANENT or observed.stage in replies.GREETING:
        return None
    if observed.stage is Stage.RESOLVE:
        return Classification(Outcome.DNS_FAILURE, Mechanism.NO_NAME)
    meaning = replies.of_reply(observed)
    return meaning and Classification(meaning.outcome, classify(of_hop(tries[-1])).mechanism)


def accepted(views: Views) -> Classification | None:
    """A server took the message, and it is not in the mailbox: what stopped the relay is at work."""
    if not views.done or not views.evidence.hops:
        return None
    last_try = decisive_try(views.evidence.hops)
    return Classification(Outcome.DEFERRED, classify(of_hop(last_try)).mechanism if last_try else Mechanism.UNKNOWN)


def unexplained(_: Views) -> Classification | None:
    """The evidence fits no outcome."""
    return Classification(Outcome.ERROR, Mechanism.UNKNOWN)


CLASSIFIERS: tuple[Classifier, ...] = (
    tool_failed,
    rules.hand_made_packet,
    name_unknown,
    rules.connection_refused,
    rules.session_expired,
    no_rule_matched,
    middleboxes.other_server,
    arrived,
    rules.session_cut,
    middleboxes.altered,
    not_offered,
    middleboxes.cut_between,
    tls_failed,
    replied,
    bounced,
    accepted,
    middleboxes.cut_off,
    unexplained,
)

OUTCOME_OF_MISSING: dict[str | None, Outcome] = {"STARTTLS": Outcome.TLS_FAILED, "AUTH": Outcome.AUTH_FAILED}


def _failed(views: Views) -> list[Hop]:
    return failed_tries(views.evidence.hops)
