"""The kernel's decisions as outcomes and mechanisms."""

from __future__ import annotations

from port25lab.model.evidence import ICMP_ERROR, OPENING_ANSWERS, Arrival, Decision, Effect, Evidence, Stage
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.model.packet_kinds import kind_of
from port25lab.verdict.views import Classification, Views, expired_in_session

UNREACHABLE_ERRNOS = frozenset({"EHOSTUNREACH", "ENETUNREACH", "EACCES", "ENOPROTOOPT", "EPROTO", "EPERM"})

CLASSIFICATION_OF_EFFECT = {
    Effect.DROP: Classification(Outcome.DROPPED, Mechanism.SYN_DROP),
    Effect.REJECT_ICMP: Classification(Outcome.REJECTED_ICMP, Mechanism.REJECT_ICMP),
    Effect.REJECT_RESET: Classification(Outcome.REJECTED_RESET, Mechanism.REJECT_RESET),
    Effect.THROTTLE: Classification(Outcome.THROTTLED, Mechanism.RATE_LIMIT),
}
"""Of a rule that blocked the opening of a connection."""

ERRNOS_OF_EFFECT = {
    Effect.DROP: frozenset({"ETIMEDOUT"}),
    Effect.REJECT_ICMP: UNREACHABLE_ERRNOS | {"ECONNREFUSED"},
    Effect.REJECT_RESET: frozenset({"ECONNREFUSED"}),
    Effect.THROTTLE: UNREACHABLE_ERRNOS | {"ETIMEDOUT", "ECONNREFUSED"},
}
"""The errors that a client can see if the rule did what the trace says."""

ERRNOS_OF_NEIGHBOUR = frozenset({"EHOSTUNREACH", "ETIMEDOUT"})
"""The errors that a client can see if a node on the way does not find the next one: its own or a router's error, or
nothing, where the answer gets lost."""

ANSWERS = (*OPENING_ANSWERS, ICMP_ERROR)

READS_CONTENT = frozenset({"string", "tls"})
"""Modules of matches on what a session says."""

READS_LENGTH = frozenset({"length"})


def effect_on_client(decision: Decision) -> Effect:
    """The effect that the client sees. A rejected answer is dropped for the client: the error goes to the server."""
    if _is_answer(decision) and decision.effect in (Effect.REJECT_ICMP, Effect.REJECT_RESET):
        return Effect.DROP
    return decision.effect


def opening_refused(decision: Decision) -> Classification:
    """A rule blocked the opening of the connection: by its effect on the client, and by the packet, SYN or SYN-ACK."""
    if decision.of_neighbour:
        return Classification(Outcome.DROPPED, Mechanism.NEIGHBOUR_DISCOVERY)
    found = CLASSIFICATION_OF_EFFECT[effect_on_client(decision)]
    if decision.by_chance:
        return Classification(found.outcome, Mechanism.RANDOM_LOSS)
    if _is_answer(decision) and found.outcome is Outcome.DROPPED:
        return Classification(found.outcome, Mechanism.ANSWER_DROP)
    return found


def hand_made_packet(views: Views) -> Classification | None:
    """A hand-made packet arrived, or a rule blocked it, or the tool missed something."""
    arrival, decision = views.evidence.arrival, views.decision
    if arrival is None:
        return None
    if arrival.reached:
        return Classification(Outcome.REACHED, Mechanism.NONE)
    if decision is None:
        return _packet_astray(views.evidence, arrival)
    if decision.of_neighbour:
        return Classification(Outcome.DROPPED, Mechanism.NEIGHBOUR_DISCOVERY)
    if kind_of(arrival.packet).early and decision.effect is not Effect.THROTTLE:
        return Classification(CLASSIFICATION_OF_EFFECT[decision.effect].outcome, Mechanism.SESSION_CUT)
    found = CLASSIFICATION_OF_EFFECT[decision.effect]
    if decision.by_chance:
        return Classification(found.outcome, Mechanism.RANDOM_LOSS)
    dropped = found.outcome is Outcome.DROPPED and _is_answer(decision)
    return Classification(found.outcome, Mechanism.ANSWER_DROP) if dropped else found


def _packet_astray(evidence: Evidence, arrival: Arrival) -> Classification:
    """A hand-made packet did not arrive, and no rule dropped it: one may have sent it elsewhere."""
    if not evidence.diverted:
        return Classification(Outcome.ERROR, Mechanism.UNKNOWN)
    if any(decision.effect is Effect.DIVERT for decision in evidence.diverted):
        if arrival.answer == "SYN-ACK":
            return Classification(Outcome.INTERCEPTED, Mechanism.INTERCEPTION)
        if arrival.answer == "RST":
            return Classification(Outcome.REJECTED_RESET, Mechanism.NO_LISTENER)
    return Classification(Outcome.UNREACHABLE, Mechanism.NO_ROUTE if evidence.icmp else Mechanism.NO_ANSWER)


def connection_refused(views: Views) -> Classification | None:
    """No connection, and the kernel names the rule. The rule's effect is the outcome, whatever error the client saw."""
    decision = views.decision
    if decision is None or views.observed.stage is not Stage.CONNECT:
        return None
    if decision.of_neighbour and views.observed.errno in UNREACHABLE_ERRNOS:
        return Classification(Outcome.UNREACHABLE, Mechanism.NEIGHBOUR_DISCOVERY)
    if views.control is not None and _hides_what_is_so_anyway(views.evidence, views.control):
        return Classification(Outcome.UNREACHABLE, ended_by(Views(views.control)) or Mechanism.NO_ROUTE)
    # A reset right behind the handshake may come before the client knows that it is connected.
    return session_cut(views) if decision.in_session else opening_refused(decision)


def _hides_what_is_so_anyway(evidence: Evidence, control: Evidence) -> bool:
    """Whether rules dropped nothing but the errors of routers, which the client would have got without the policy."""
    errors = all(decision.traced.kind == ICMP_ERROR for decision in evidence.decisions)
    return errors and control.observation.stage is Stage.CONNECT and not control.decisions and control.ended is not None


def session_cut(views: Views) -> Classification | None:
    """The session was open, and a rule blocked its packets: by the stage, and by what the rule matches."""
    decision = views.decision
    if decision is None or not decision.in_session or views.done:
        return None
    if decision.effect is Effect.THROTTLE:
        return Classification(Outcome.THROTTLED, Mechanism.RATE_LIMIT)
    return Classification(Outcome.TAMPERED, _cut_by(decision, views.observed.stage))


def session_expired(views: Views) -> Classification | None:
    """The session was open, and a rule gave its packets a TTL with which they did not reach their end."""
    cut = not views.done and expired_in_session(views.evidence)
    return Classification(Outcome.TAMPERED, Mechanism.SESSION_CUT) if cut else None


def _cut_by(decision: Decision, stage: Stage) -> Mechanism:
    if decision.by_chance:
        return Mechanism.RANDOM_LOSS
    if stage is Stage.TLS and READS_CONTENT.intersection(decision.modules):
        return Mechanism.SNI_RESET
    if decision.effect is Effect.DROP and READS_LENGTH.intersection(decision.modules):
        return Mechanism.MTU_BLACK_HOLE
    return Mechanism.SESSION_CUT


def disagreement(evidence: Evidence) -> str | None:
    """Where the client's view and the kernel's trace contradict each other, in words; None where they agree."""
    views = Views(evidence)
    observed, decision = views.observed, views.decision
    if evidence.error or evidence.arrival:
        return None
    if observed.stage is Stage.RESOLVE:
        return None
    if observed.stage is Stage.CONNECT:
        if decision is None:
            if observed.errno == "ETIMEDOUT" and not (sent_astray(views) or vanished(views)):
                return "the client timed out, and the trace has no rule that dropped its packets"
            return None
        if decision.of_neighbour:
            if observed.errno in ERRNOS_OF_NEIGHBOUR:
                return None
            return f"the client saw {observed.errno}, and the trace has a dropped {decision.packet}"
        if not decision.in_session and observed.errno not in ERRNOS_OF_EFFECT[effect_on_client(decision)]:
            return f"the client saw {observed.errno}, and the trace has {decision.effect} on {decision.blame.node}"
        return None
    if decision is not None and not (
        decision.in_session or decision.of_neighbour or decision.by_chance or decision.effect is Effect.THROTTLE
    ):
        # A limit, or chance, may block a SYN and let its retransmission pass. A session that was cut has an outcome of
        # its own.
        return (
            f"the client reached stage {observed.stage}, and the trace has {decision.effect} on {decision.blame.node}"
        )
    return None


def sent_astray(views: Views) -> bool:
    """Whether a rule sent the SYN where no host answers, or the answer where no host takes it.

    A rule that changes the source alone, or how far packets come, is a cause only where an answer was made that did not
    come back, or where the destination has the SYN and does not find the one that it seems to come from.
    """
    evidence = views.evidence
    if any(decision.effect is Effect.DIVERT for decision in evidence.diverted):
        return True
    answers = [packet for packet in evidence.packets if packet.kind in OPENING_ANSWERS]
    lost = bool(answers) and all(packet.node != views.client for packet in answers)
    last = evidence.ended.packet if evidence.ended is not None else None
    kept = last is not None and last.kind == "SYN" and not last.leaving and last.node == evidence.dialled
    return bool(evidence.diverted) and (lost or kept)


def ended_by(views: Views) -> Mechanism | None:
    """What the node says where the attempt's last packet ended."""
    ended = views.evidence.ended
    return None if ended is None else Mechanism(ended.how)


def vanished(views: Views) -> bool:
    """Whether it is known where a client's packets ended, or the answers to them, without any rule.

    Where the path works without the policy, that is not known: something of the policy made the difference.
    """
    works = views.control is not None and views.control.observation.stage is not Stage.CONNECT
    return views.observed.errno == "ETIMEDOUT" and views.evidence.ended is not None and not works


def _is_answer(decision: Decision) -> bool:
    return decision.traced.kind in ANSWERS
