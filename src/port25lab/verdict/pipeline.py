"""The pipeline: all classifiers in their order. The first one that knows decides."""

from __future__ import annotations

from collections.abc import Callable

from port25lab.model.evidence import Evidence, Hop, Stage
from port25lab.model.mechanism import MECHANISM_INFO, Mechanism
from port25lab.model.outcome import Outcome
from port25lab.verdict import middleboxes, replies, rules
from port25lab.verdict.views import Classification, Views, decisive_try, failed_tries, of_hop

Classifier = Callable[[Views], Classification | None]


def classify(evidence: Evidence, control: Evidence | None = None) -> Classification:
    """What the evidence proves. ``control``: of the same path without the policy, where it was tried."""
    views = Views(evidence, control)
    return next(found for classifier in CLASSIFIERS if (found := classifier(views)) is not None)


def tool_failed(views: Views) -> Classification | None:
    """Then nothing that was seen says anything about the path."""
    return Classification(Outcome.ERROR, Mechanism.UNKNOWN) if views.evidence.error else None


def name_unknown(views: Views) -> Classification | None:
    """There was nobody to dial."""
    return Classification(Outcome.DNS_FAILURE, Mechanism.NO_NAME) if views.seen.stage is Stage.RESOLVE else None


def refused_by_nobody_between(views: Views) -> Classification | None:
    """No connection, no rule: the destination said RST, a router had no way to go on, or the tool missed something."""
    if views.seen.stage is not Stage.CONNECT:
        return None
    if views.seen.errno == "ECONNREFUSED":
        return Classification(Outcome.CLOSED, Mechanism.NO_LISTENER)
    if views.seen.errno in rules.UNREACHABLE_ERRNOS:
        return Classification(Outcome.UNREACHABLE, Mechanism.NO_ROUTE)
    return Classification(Outcome.ERROR, Mechanism.UNKNOWN)


def arrived(views: Views) -> Classification | None:
    """The token is in the mailbox. Something may be at work all the same, or have been at a relay's earlier try."""
    if not views.evidence.delivered_to:
        return None
    found = middleboxes.at_work(views)
    if found is Mechanism.NONE:
        met = (classify(of_hop(hop)).mechanism for hop in _failed(views))
        found = next((one for one in met if one is Mechanism.GREYLISTING or MECHANISM_INFO[one].middle), found)
    return Classification(Outcome.DELIVERED, found)


def not_offered(views: Views) -> Classification | None:
    """The server lacks what the client needs, so the client gave up by itself."""
    outcome = OUTCOME_OF_MISSING.get(views.seen.missing)
    return Classification(outcome, Mechanism.SERVER_REFUSAL) if outcome else None


def tls_failed(views: Views) -> Classification | None:
    """STARTTLS was refused, or the handshake came to nothing; with the control as well, it is the server's doing."""
    seen = views.seen
    if seen.stage is Stage.STARTTLS and seen.smtp_code in middleboxes.REFUSES_STARTTLS:
        return Classification(Outcome.TLS_FAILED, Mechanism.SERVER_REFUSAL)
    if seen.stage is Stage.TLS or (seen.stage is Stage.STARTTLS and seen.smtp_code in (None, 220, 250)):
        differs = views.control is not None and views.control.observation.tls is not None
        return Classification(Outcome.TLS_FAILED, Mechanism.UNKNOWN if differs else Mechanism.SERVER_REFUSAL)
    return None


def replied(views: Views) -> Classification | None:
    """The server's last words, by the table of replies."""
    return replies.of_reply(views.seen)


def bounced(views: Views) -> Classification | None:
    """A relay took the message, and the next server refused it for good: its words are the outcome."""
    tries = _failed(views)
    if not views.done or not tries:
        return None
    seen = tries[-1].observation
    if seen.smtp_code not in replies.PERMANENT or seen.stage in replies.GREETING:
        return None
    if seen.stage is Stage.RESOLVE:
        return Classification(Outcome.DNS_FAILURE, Mechanism.NO_NAME)
    said = replies.of_reply(seen)
    return said and Classification(said.outcome, classify(of_hop(tries[-1])).mechanism)


def accepted(views: Views) -> Classification | None:
    """Some server took the message, and it is not in the mailbox: what stopped the relay is what is at work."""
    if not views.done or not views.evidence.hops:
        return None
    told = decisive_try(views.evidence.hops)
    return Classification(Outcome.DEFERRED, classify(of_hop(told)).mechanism if told else Mechanism.UNKNOWN)


def unexplained(_: Views) -> Classification | None:
    """The evidence fits no outcome."""
    return Classification(Outcome.ERROR, Mechanism.UNKNOWN)


CLASSIFIERS: tuple[Classifier, ...] = (
    tool_failed,
    rules.probe,
    name_unknown,
    rules.connection_refused,
    refused_by_nobody_between,
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
