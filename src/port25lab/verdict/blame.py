"""Which rule is to blame: the one that dropped a packet, or the one that changed where or how packets go. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from port25lab.model.evidence import OPENING_ANSWERS, Blame, Decision, Effect, Evidence, Hop, Stage
from port25lab.model.outcome import OUTCOME_INFO, Outcome
from port25lab.verdict.views import TTL_EXCEEDED, deciding, decisive_try, expired_in_session, of_hop

CHANGE_DESTINATION = frozenset({"DNAT", "REDIRECT", "NETMAP", "TPROXY", "DNPT", "SYNPROXY"})
"""Targets that decide which server a connection reaches; a queue gives packets to a program on their way."""

CHANGE_TTL = frozenset({"TTL", "HL"})

OF_A_REPLY = frozenset(
    {
        Outcome.AUTH_REQUIRED,
        Outcome.AUTH_FAILED,
        Outcome.RELAY_DENIED,
        Outcome.TLS_REQUIRED,
        Outcome.TLS_FAILED,
        Outcome.TEMPFAIL,
        Outcome.REJECTED,
    }
)
"""Outcomes that the reply of a server decides."""


def blamed(evidence: Evidence, outcome: Outcome, control: Outcome | None = None) -> Blame | None:
    """The rule that decided: on the client's path, or for a deferred message on the relay's.

    Args:
        evidence: Of the attempt.
        outcome: What became of it.
        control: The outcome of the same path without the policy; None: not tried. What ends alike without the policy
            is not the doing of a rule that changed where packets go.
    """
    decision = deciding(evidence)
    if OUTCOME_INFO[outcome].blocked:
        return decision.blame if decision else _last(_diverting(evidence))
    if outcome is Outcome.TAMPERED and decision and decision.in_session:
        return decision.blame
    if outcome is Outcome.INTERCEPTED:
        return _last(_to_other_servers(evidence)) or _last(_diverting(evidence))
    if outcome is Outcome.TAMPERED:
        return _last(_diverting(evidence) or expired_in_session(evidence))
    if outcome is Outcome.DEFERRED:
        last_try = decisive_try(evidence.hops)
        if last_try is None or last_try.observation.stage not in (Stage.RESOLVE, Stage.CONNECT):
            return None
        return _last(last_try.decisions) or (_of_relay(last_try) if outcome is not control else None)
    if outcome is Outcome.DNS_FAILURE and decision is not None:
        return decision.blame
    if outcome is control:
        return None
    if outcome is Outcome.DNS_FAILURE:
        return _last(_diverting(evidence) or evidence.diverted)
    if outcome is Outcome.UNREACHABLE and decision is not None and decision.of_neighbour:
        return decision.blame
    if outcome is Outcome.UNREACHABLE:
        return _last(_astray(evidence))
    if outcome is Outcome.CLOSED or (outcome in OF_A_REPLY and control is not None):
        refused = decisive_try(evidence.hops)
        return _last(_to_other_servers(evidence) or _to_other_servers(of_hop(refused) if refused else evidence))
    return None


def _last(decisions: Iterable[Decision]) -> Blame | None:
    found = list(decisions)
    return found[-1].blame if found else None


def _of_relay(hop: Hop) -> Blame | None:
    """The rule that sent a relay's connection to where it got no further."""
    evidence = of_hop(hop)
    refused = hop.observation.errno == "ECONNREFUSED"
    return _last(_to_other_servers(evidence) if refused else _astray(evidence))


def _diverting(evidence: Evidence) -> list[Decision]:
    return [decision for decision in evidence.diverted if decision.effect is Effect.DIVERT]


def _to_other_servers(evidence: Evidence) -> list[Decision]:
    return [decision for decision in _diverting(evidence) if decision.target in CHANGE_DESTINATION]


def _astray(evidence: Evidence) -> list[Decision]:
    """The rules that can be the reason why no host was reached: of the kind that the packets tell."""
    of_ttl = [decision for decision in evidence.diverted if decision.target in CHANGE_TTL]
    if of_ttl and any(error.type == TTL_EXCEEDED[error.ip_version] for error in evidence.icmp):
        return of_ttl
    if expired := [decision for decision in of_ttl if _expires(evidence, decision)]:
        return expired
    return _diverting(evidence) or [decision for decision in evidence.diverted if decision.target not in CHANGE_TTL]


def _expires(evidence: Evidence, decision: Decision) -> bool:
    """Whether the packet that came last got no further than the rule's node, or than its TTL lets it go from there."""
    packets = [packet for packet in evidence.packets if packet.kind in (*OPENING_ANSWERS, "SYN")]
    answers = [packet for packet in packets if packet.kind in OPENING_ANSWERS]
    last = (answers or packets)[-1:]
    return any(
        (packet.kind == "SYN") == (decision.traced.kind == "SYN")
        and not packet.leaving
        and (packet.node == decision.blame.node or packet.ttl <= 1)
        for packet in last
    )
