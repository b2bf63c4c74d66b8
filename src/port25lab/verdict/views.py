"""One attempt and its control, with the answers that classifiers need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from port25lab.model.evidence import (
    ICMP_ERROR,
    Decision,
    Evidence,
    Hop,
    Observation,
    PacketSeen,
    Stage,
    on_the_way_to,
)
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome


@dataclass(frozen=True)
class Classification:
    """How an attempt ended, and what made it end so."""

    outcome: Outcome
    mechanism: Mechanism


@dataclass(frozen=True)
class Views:
    """The evidence of one attempt, and of the same path without the policy where that was tried."""

    evidence: Evidence
    control: Evidence | None = None

    @property
    def observed(self) -> Observation:
        """The client's view."""
        return self.evidence.observation

    @property
    def done(self) -> bool:
        """Some server took the message."""
        return self.observed.stage is Stage.DONE

    @property
    def no_last_reply(self) -> bool:
        """The session ended without a reply that says why."""
        return self.observed.smtp_code is None and not self.done

    @cached_property
    def decision(self) -> Decision | None:
        """The kernel's view: the rule that decided."""
        return deciding(self.evidence)

    @property
    def other_answered(self) -> bool:
        """Whether another node than the dialled one took the connection, by the services' own records."""
        evidence = self.evidence
        return None not in (evidence.answered_by, evidence.dialled) and evidence.answered_by != evidence.dialled

    @cached_property
    def ended_by(self) -> str | None:
        """The node that first closed or reset the connection; None: no node did, or the capture lost packets."""
        return first_to_end(self.evidence)

    @property
    def closed_on_client(self) -> bool:
        """Whether another node than the client ended the connection. Without packets, the client's view decides."""
        if self.ended_by is not None:
            return self.ended_by != self.client
        captured = self.evidence.packets and not self.evidence.packets_lost
        return not captured and not self.silent

    @property
    def client(self) -> str | None:
        """The node from which the first packet came."""
        return next((_node(packet) for packet in self.evidence.packets), None)

    @property
    def silent(self) -> bool:
        """Whether the client gave up after a timeout."""
        return self.observed.timed_out or self.observed.errno == "ETIMEDOUT"


def deciding(evidence: Evidence) -> Decision | None:
    """The last decision on packets to the last address. Earlier addresses have decisions of their own.

    A lost ICMP error decides nothing where the client heard of another one: a router sends one for each SYN.
    """
    address, silent = evidence.observation.address, evidence.observation.errno in (None, "ETIMEDOUT")
    fitting = evidence.decisions if address is None else on_the_way_to(address, evidence.decisions)
    fitting = [decision for decision in fitting if silent or decision.traced.kind != ICMP_ERROR]
    return fitting[-1] if fitting else None


def first_to_end(evidence: Evidence) -> str | None:
    """The node that made the first FIN or RST of the last connection; None where there is none, or packets were lost.

    A packet was made on the node that it leaves before it is captured anywhere else.
    """
    if evidence.packets_lost or not evidence.packets:
        return None
    client = _node(evidence.packets[0])
    syns = (packet for packet in evidence.packets if packet.kind == "SYN" and _node(packet) == client)
    opened = max((packet.seconds for packet in syns), default=0)
    ends = (packet for packet in evidence.packets if packet.kind in ("FIN", "RST") and packet.leaving)
    return next((_node(packet) for packet in ends if packet.seconds >= opened), None)


TTL_EXCEEDED = {4: 11, 6: 3}
"""Type of the ICMP error, by IP version (RFC 792, RFC 4443)."""


def expired_in_session(evidence: Evidence) -> list[Decision]:
    """The rules that changed the TTL of an open session's packets, where a router had to tell of one that ended."""
    changed = [decision for decision in evidence.diverted if decision.in_session]
    told = any(
        packet.icmp is not None and packet.icmp[0] == TTL_EXCEEDED[6 if ":" in packet.source else 4]
        for packet in evidence.packets
    )
    return changed if told else []


def failed_tries(hops: Iterable[Hop]) -> list[Hop]:
    """The tries in which a relay could not deliver the message."""
    return [hop for hop in hops if hop.observation.stage is not Stage.DONE]


def decisive_try(hops: Iterable[Hop]) -> Hop | None:
    """The failed try that shows why a message stays with a relay.

    That is the last try. Where the last try got no connection, it is the last try that a rule blocked.
    """
    tries = failed_tries(hops)
    if not tries:
        return None
    last = tries[-1]
    if last.observation.stage not in (Stage.RESOLVE, Stage.CONNECT):
        return last
    return next((hop for hop in reversed(tries) if hop.decisions), last)


def relayed(views: Views) -> Iterable[Views]:
    """Each try of a relay as an attempt of its own. Its control is the same try, if it succeeded, in the control."""
    done = [hop for hop in views.control.hops if hop.observation.stage is Stage.DONE] if views.control else []
    for hop in views.evidence.hops:
        same = next((other for other in done if _way(other) == _way(hop)), None)
        yield Views(of_hop(hop), of_hop(same) if same else None)


def _way(hop: Hop) -> tuple[str, str, str | None]:
    return hop.node, hop.to, hop.observation.address


def of_hop(hop: Hop) -> Evidence:
    """A relay's try as an attempt of its own, with the relay as the client."""
    return Evidence(
        observation=hop.observation,
        decisions=hop.decisions,
        diverted=hop.diverted,
        answered_by=hop.answered_by,
        dialled=hop.dialled,
        packets=hop.packets,
        ended=hop.ended,
    )


def _node(seen: PacketSeen) -> str:
    return seen.node
