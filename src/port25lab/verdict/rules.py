"""What rules did: the kernel's decisions as outcomes and mechanisms."""

from __future__ import annotations

import re

from port25lab.model.evidence import Decision, Effect, Evidence, Stage
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.model.packet_kinds import PACKET_KINDS
from port25lab.verdict.views import Classification, Views

UNREACHABLE_ERRNOS = frozenset({"EHOSTUNREACH", "ENETUNREACH", "EACCES", "ENOPROTOOPT", "EPROTO", "EPERM"})

FINDING_OF_EFFECT = {
    Effect.DROP: Classification(Outcome.DROPPED, Mechanism.SYN_DROP),
    Effect.REJECT_ICMP: Classification(Outcome.REJECTED_ICMP, Mechanism.REJECT_ICMP),
    Effect.REJECT_RESET: Classification(Outcome.REJECTED_RESET, Mechanism.REJECT_RESET),
    Effect.THROTTLE: Classification(Outcome.THROTTLED, Mechanism.RATE_LIMIT),
}
"""Of a rule that kept a connection from opening."""

ERRNOS_OF_EFFECT = {
    Effect.DROP: frozenset({"ETIMEDOUT"}),
    Effect.REJECT_ICMP: UNREACHABLE_ERRNOS | {"ECONNREFUSED"},
    Effect.REJECT_RESET: frozenset({"ECONNREFUSED"}),
    Effect.THROTTLE: UNREACHABLE_ERRNOS | {"ETIMEDOUT", "ECONNREFUSED"},
}
"""What the client must have seen if the rule did what the trace says (DOMAIN: what a client sees)."""

ANSWER = "SYN-ACK"

READS_CONTENT = r"(?:-m|--match)\s+string\b|--tls-host\b"

READS_LENGTH = r"(?:-m|--match)\s+length\b"


def effect_on_client(decision: Decision) -> Effect:
    """What the client gets to feel. Whoever rejects an answer tells the server: to the client it is just gone."""
    if _is_answer(decision) and decision.effect in (Effect.REJECT_ICMP, Effect.REJECT_RESET):
        return Effect.DROP
    return decision.effect


def opening_refused(decision: Decision) -> Classification:
    """A rule kept the connection from opening: its effect on the client, and which of the two packets it met."""
    found = FINDING_OF_EFFECT[effect_on_client(decision)]
    if _is_answer(decision) and found.outcome is Outcome.DROPPED:
        return Classification(found.outcome, Mechanism.ANSWER_DROP)
    return found


def probe(views: Views) -> Classification | None:
    """A raw-packet probe: it arrived, or a rule kept it from arriving, or the tool missed something."""
    arrival, decision = views.evidence.arrival, views.decision
    if arrival is None:
        return None
    if arrival.reached:
        return Classification(Outcome.REACHED, Mechanism.NONE)
    if decision is None:
        return Classification(Outcome.ERROR, Mechanism.UNKNOWN)
    kind = PACKET_KINDS.get(arrival.packet)
    if kind is not None and kind.early and decision.effect is not Effect.THROTTLE:
        return Classification(FINDING_OF_EFFECT[decision.effect].outcome, Mechanism.SESSION_CUT)
    found = FINDING_OF_EFFECT[decision.effect]
    dropped = found.outcome is Outcome.DROPPED and _is_answer(decision)
    return Classification(found.outcome, Mechanism.ANSWER_DROP) if dropped else found


def connection_refused(views: Views) -> Classification | None:
    """No connection, and the kernel names the rule: its effect is the outcome, whatever errno it became."""
    decision = views.decision
    return opening_refused(decision) if decision and views.seen.stage is Stage.CONNECT else None


def session_cut(views: Views) -> Classification | None:
    """The session was open, and a rule kept its packets from passing: by what it looks for, and when."""
    decision = views.decision
    if decision is None or not decision.in_session or views.done:
        return None
    if decision.effect is Effect.THROTTLE:
        return Classification(Outcome.THROTTLED, Mechanism.RATE_LIMIT)
    return Classification(Outcome.TAMPERED, _cut_by(decision, views.seen.stage))


def _cut_by(decision: Decision, stage: Stage) -> Mechanism:
    rule = decision.blame.rule
    if stage is Stage.TLS and re.search(READS_CONTENT, rule):
        return Mechanism.SNI_RESET
    if decision.effect is Effect.DROP and re.search(READS_LENGTH, rule):
        return Mechanism.MTU_BLACK_HOLE
    return Mechanism.SESSION_CUT


def disagreement(evidence: Evidence) -> str | None:
    """Where the client and the kernel do not say the same, in words; None where they agree."""
    views = Views(evidence)
    seen, decision = views.seen, views.decision
    if evidence.error or evidence.arrival or seen.stage is Stage.RESOLVE:
        return None
    if seen.stage is Stage.CONNECT:
        if decision is None:
            if seen.errno == "ETIMEDOUT":
                return "the client timed out, and the kernel saw no rule that dropped its packets"
            return None
        if seen.errno not in ERRNOS_OF_EFFECT[effect_on_client(decision)]:
            return f"the client saw {seen.errno}, and the kernel did {decision.effect} at {decision.blame.node}"
        return None
    if decision is not None and not decision.in_session and decision.effect is not Effect.THROTTLE:
        # A limit may refuse a SYN and let its retransmission pass; a session that was cut is an outcome of its own.
        return f"the client came as far as {seen.stage}, and the kernel did {decision.effect} at {decision.blame.node}"
    return None


def _is_answer(decision: Decision) -> bool:
    return decision.traced.kind == ANSWER
