"""One port of one address as diagnoses look at it: its session, its traces, and the control beside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel, ConfigDict

from port25lab.model.addresses import IpVersion
from port25lab.model.mechanism import Mechanism
from port25lab.probe.client_view import ClientView, Session, Trace


class Diagnosis(BaseModel):
    """What is at work on the way to one port over one IP version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int
    ip_version: IpVersion
    mechanism: Mechanism
    """The likeliest one."""
    alternatives: tuple[Mechanism, ...] = ()
    """Others that would look the same from here."""
    also: tuple[Mechanism, ...] = ()
    """Others that are at work besides."""
    hop: int | None = None
    """Where: the router that blocks, or the box that answers in the server's place."""
    until: int | None = None
    """Where routers do not answer, the block is at ``hop`` or behind it, and before this one."""
    router: str | None = None
    """The address of ``hop``."""
    distance: int | None = None
    """Hops to the destination itself."""
    reason: str
    """The evidence, in a sentence."""

    @property
    def candidates(self) -> frozenset[Mechanism]:
        """Every mechanism that fits."""
        return frozenset((self.mechanism, *self.alternatives))

    @property
    def certain(self) -> bool:
        """Whether nothing else fits."""
        return not self.alternatives


@dataclass(frozen=True)
class Case:
    """One session, and what the rest of the view says about its way."""

    view: ClientView
    session: Session

    @cached_property
    def trace(self) -> Trace | None:
        """The traceroute to its port."""
        return self.view.trace(self.session.address, self.session.port)

    @cached_property
    def others(self) -> list[Trace]:
        """Those to other ports of the same address."""
        return self.view.other_traces(self.session.address, self.session.port)

    @cached_property
    def distance(self) -> int | None:
        """Hops to the destination, as its other ports tell. A box in between is nearer, so the furthest is right."""
        known = [trace.spoken_at for trace in self.others if trace.spoken_at is not None]
        return max(known, default=None)

    @cached_property
    def routers(self) -> dict[int, str]:
        """Every router that was heard of on the way to this address."""
        known: dict[int, str] = {}
        for trace in (*self.others, *([self.trace] if self.trace else [])):
            known |= trace.routers
        return known

    @cached_property
    def answers_from(self) -> int | None:
        """How far away the one is that answers on this port, or that refuses."""
        return self.trace.answered_at if self.trace else None

    @cached_property
    def in_between(self) -> int | None:
        """The hop of somebody who takes connections to this port in the destination's place; None: nobody is seen.

        Only who is nearer than the destination's other ports counts: a server may well stand behind the address that
        resets those (a forwarded port).
        """
        if self.trace is None or self.distance is None:
            return None
        hop = self.trace.diverted_at or self.trace.spoken_at
        return hop if hop is not None and hop < self.distance else None

    @cached_property
    def at_the_door(self) -> bool:
        """Whether that is right before the destination: its own load balancer or firewall may do the same."""
        return self.in_between is not None and self.distance is not None and self.in_between >= self.distance - 1

    @cached_property
    def ttl_of_destination(self) -> int | None:
        """The TTL of what other ports answer, where the destination itself answers there."""
        away = self.distance
        for trace in self.others:
            session = self.view.session(trace.port, self.session.ip_version)
            if session and session.ttl is not None and away is not None and trace.spoken_at == away:
                return session.ttl
        return None

    def find(
        self,
        mechanism: Mechanism,
        reason: str,
        *alternatives: Mechanism,
        hop: int | None = None,
        until: int | None = None,
        also: tuple[Mechanism, ...] = (),
    ) -> Diagnosis:
        """A finding about this case."""
        return Diagnosis(
            port=self.session.port,
            ip_version=self.session.ip_version,
            mechanism=mechanism,
            alternatives=alternatives,
            also=also,
            hop=hop,
            until=until,
            router=self.routers.get(hop) if hop else None,
            distance=self.distance,
            reason=reason,
        )


def hops(count: int) -> str:
    """A number of hops in words."""
    return f"{count} hop" + "s" * (count != 1)
