"""The views of one attempt, as classifiers ask for them. In: evidence, and that of its control. Out: plain answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from port25lab.model.evidence import SILENCE, Decision, Evidence, Hop, Observation, PacketSeen, Stage, on_the_way_to
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome


@dataclass(frozen=True)
class Classification:
    """What became of an attempt, and what made it end so."""

    outcome: Outcome
    mechanism: Mechanism


@dataclass(frozen=True)
class Views:
    """One attempt, and the same path without the policy where that was tried."""

    evidence: Evidence
    control: Evidence | None = None

    @property
    def seen(self) -> Observation:
        """The client's view."""
        return self.evidence.observation

    @property
    def done(self) -> bool:
        """Some server took the message."""
        return self.seen.stage is Stage.DONE

    @property
    def no_last_word(self) -> bool:
        """The session began, and ended without a reply that says why."""
        return self.seen.smtp_code is None and not self.done

    @cached_property
    def decision(self) -> Decision | None:
        """The kernel's view: the rule that decided."""
        return deciding(self.evidence)

    @property
    def other_answered(self) -> bool:
        """The books' view: a server took the connection, and it was not the one that was dialled."""
        evidence = self.evidence
        return None not in (evidence.answered_by, evidence.dialled) and evidence.answered_by != evidence.dialled

    @cached_property
    def ended_by(self) -> str | None:
        """The wire's view: the node that first closed or reset the connection; None: nobody did, or nobody knows."""
        return first_to_end(self.evidence)

    @property
    def closed_on_client(self) -> bool:
        """Somebody else than the client ended the connection; by the client's word where no packet tells."""
        if self.ended_by is not None:
            return self.ended_by != self.client
        told = self.evidence.packets and not self.evidence.packets_lost
        return not told and not self.silent

    @property
    def client(self) -> str | None:
        """The node from which the first packet came."""
        return next((_node(seen) for seen in self.evidence.packets), None)

    @property
    def silent(self) -> bool:
        """The client waited, and gave up."""
        return self.seen.errno == "ETIMEDOUT" or SILENCE.match(self.seen.reply or "") is not None


def deciding(evidence: Evidence) -> Decision | None:
    """The decision on the address that was dialled last; an earlier address has decisions of its own."""
    address = evidence.observation.address
    fitting = evidence.decisions if address is None else on_the_way_to(address, evidence.decisions)
    return fitting[-1] if fitting else None


def first_to_end(evidence: Evidence) -> str | None:
    """The node that made the first FIN or RST of the connection that was made last. None where packets were lost.

    A packet is made where it is seen leaving before it was seen anywhere else.
    """
    if evidence.packets_lost or not evidence.packets:
        return None
    client = _node(evidence.packets[0])
    opened = max((seen.seconds for seen in evidence.packets if seen.kind == "SYN" and _node(seen) == client), default=0)
    ends = (seen for seen in evidence.packets if seen.kind in ("FIN", "RST") and seen.leaving)
    return next((_node(seen) for seen in ends if seen.seconds >= opened), None)


def failed_tries(hops: Iterable[Hop]) -> list[Hop]:
    """The tries in which a relay could not hand the message on."""
    return [hop for hop in hops if hop.observation.stage is not Stage.DONE]


def decisive_try(hops: Iterable[Hop]) -> Hop | None:
    """The failed try that tells why a message stays with a relay.

    That is the last one; but where that found no connection, the last one that met a rule.
    """
    tries = failed_tries(hops)
    if not tries:
        return None
    last = tries[-1]
    if last.observation.stage is not Stage.CONNECT:
        return last
    return next((hop for hop in reversed(tries) if hop.decisions), last)


def relayed(views: Views) -> Iterable[Views]:
    """Each try of the relays as an attempt of its own, with the same try of the control that got through."""
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
        answered_by=hop.answered_by,
        dialled=hop.dialled,
        packets=hop.packets,
    )


def _node(seen: PacketSeen) -> str:
    return seen.node
