"""The pipeline: all classifiers in their order. The first one that knows decides."""

from __future__ import annotations

from collections.abc import Callable

from port25lab.classifier import middle, rules, servers
from port25lab.classifier.views import Finding, Views, failed_tries, of_hop, telling_try
from port25lab.evidence import Evidence, Hop, Stage
from port25lab.mechanism import MEANINGS, Mechanism
from port25lab.outcome import Outcome

Classifier = Callable[[Views], Finding | None]


def classify(evidence: Evidence, control: Evidence | None = None) -> Finding:
    """What the evidence proves. ``control``: of the same path without the policy, where it was tried."""
    views = Views(evidence, control)
    return next(found for classifier in CLASSIFIERS if (found := classifier(views)) is not None)


def tool_failed(views: Views) -> Finding | None:
    """Then nothing that was seen says anything about the path."""
    return Finding(Outcome.ERROR, Mechanism.UNKNOWN) if views.evidence.error else None


def name_unknown(views: Views) -> Finding | None:
    """There was nobody to dial."""
    return Finding(Outcome.DNS_FAILURE, Mechanism.NO_NAME) if views.seen.stage is Stage.RESOLVE else None


def refused_by_nobody_between(views: Views) -> Finding | None:
    """No connection, no rule: the destination said RST, a router had no way to go on, or the tool missed something."""
    if views.seen.stage is not Stage.CONNECT:
        return None
    if views.seen.errno == "ECONNREFUSED":
        return Finding(Outcome.CLOSED, Mechanism.NO_LISTENER)
    if views.seen.errno in rules.UNREACHABLE_ERRNOS:
        return Finding(Outcome.UNREACHABLE, Mechanism.NO_ROUTE)
    return Finding(Outcome.ERROR, Mechanism.UNKNOWN)


def arrived(views: Views) -> Finding | None:
    """The token is in the mailbox. Something may be at work all the same, or have been at a relay's earlier try."""
    if not views.evidence.delivered_to:
        return None
    found = middle.at_work(views)
    if found is Mechanism.NONE:
        met = (classify(of_hop(hop)).mechanism for hop in _failed(views))
        found = next((one for one in met if one is Mechanism.GREYLISTING or MEANINGS[one].middle), found)
    return Finding(Outcome.DELIVERED, found)


def not_offered(views: Views) -> Finding | None:
    """The server lacks what the client needs, so the client gave up by itself."""
    outcome = OUTCOME_OF_MISSING.get(views.seen.missing)
    return Finding(outcome, Mechanism.SERVER_REFUSAL) if outcome else None


def tls_failed(views: Views) -> Finding | None:
    """STARTTLS was refused, or the handshake came to nothing; with the control as well, it is the server's doing."""
    seen = views.seen
    if seen.stage is Stage.STARTTLS and seen.smtp_code in middle.REFUSES_STARTTLS:
        return Finding(Outcome.TLS_FAILED, Mechanism.SERVER_REFUSAL)
    if seen.stage is Stage.TLS or (seen.stage is Stage.STARTTLS and seen.smtp_code in (None, 220, 250)):
        differs = views.control is not None and views.control.observation.tls is not None
        return Finding(Outcome.TLS_FAILED, Mechanism.UNKNOWN if differs else Mechanism.SERVER_REFUSAL)
    return None


def replied(views: Views) -> Finding | None:
    """The server's last words, by the table of replies."""
    return servers.of_reply(views.seen)


def bounced(views: Views) -> Finding | None:
    """A relay took the message, and the next server refused it for good: its words are the outcome."""
    tries = _failed(views)
    if not views.done or not tries:
        return None
    seen = tries[-1].observation
    if seen.smtp_code not in servers.PERMANENT or seen.stage in servers.GREETING:
        return None
    if seen.stage is Stage.RESOLVE:
        return Finding(Outcome.DNS_FAILURE, Mechanism.NO_NAME)
    said = servers.of_reply(seen)
    return said and Finding(said.outcome, classify(of_hop(tries[-1])).mechanism)


def accepted(views: Views) -> Finding | None:
    """Some server took the message, and it is not in the mailbox: what stopped the relay is what is at work."""
    if not views.done or not views.evidence.hops:
        return None
    told = telling_try(views.evidence.hops)
    return Finding(Outcome.DEFERRED, classify(of_hop(told)).mechanism if told else Mechanism.UNKNOWN)


def unexplained(_: Views) -> Finding | None:
    """The evidence fits no outcome."""
    return Finding(Outcome.ERROR, Mechanism.UNKNOWN)


CLASSIFIERS: tuple[Classifier, ...] = (
    tool_failed,
    rules.probe,
    name_unknown,
    rules.connection_refused,
    refused_by_nobody_between,
    middle.other_server,
    arrived,
    rules.session_cut,
    middle.altered,
    not_offered,
    middle.cut_between,
    tls_failed,
    replied,
    bounced,
    accepted,
    middle.cut_off,
    unexplained,
)

OUTCOME_OF_MISSING: dict[str | None, Outcome] = {"STARTTLS": Outcome.TLS_FAILED, "AUTH": Outcome.AUTH_FAILED}


def _failed(views: Views) -> list[Hop]:
    return failed_tries(views.evidence.hops)
