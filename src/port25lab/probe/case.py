"""One port of one address: its session, its traceroutes and the control host, for the functions that diagnose it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel, ConfigDict

from port25lab.model.addresses import IpVersion
from port25lab.model.mechanism import Mechanism
from port25lab.probe.causes import Cause
from port25lab.probe.client_view import Answer, ClientView, Session, Trace
from port25lab.probe.places import Place
from port25lab.probe.resolver import misleads


class Diagnosis(BaseModel):
    """What is at work on the way to one port over one IP version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int
    ip_version: IpVersion
    mechanism: Mechanism
    """The likeliest one."""
    alternatives: tuple[Mechanism, ...] = ()
    """Others that leave the same evidence on this machine."""
    also: tuple[Mechanism, ...] = ()
    """Others that are at work as well."""
    hop: int | None = None
    """The router that blocks, or the middlebox that answers in the server's place."""
    until: int | None = None
    """Where routers between do not answer: the block is at ``hop`` or behind it, and before this hop."""
    router: str | None = None
    """The address of ``hop``."""
    distance: int | None = None
    """Hops to the destination itself."""
    place: Place | None = None
    """Where that is, where it is known or likeliest. None: nothing is wrong, or no place can be named."""
    places: tuple[Place, ...] = ()
    """Other places that fit the same evidence."""
    place_reason: str | None = None
    """What proves the place, or why no client can name one alone; a sentence without its full stop."""
    cause: Cause | None = None
    """What the server's words are about, where it refuses."""
    reason: str
    """The evidence, in a sentence."""

    @property
    def candidates(self) -> frozenset[Mechanism]:
        """All mechanisms that fit."""
        return frozenset((self.mechanism, *self.alternatives))

    @property
    def certain(self) -> bool:
        """Whether only one mechanism fits."""
        return not self.alternatives


NOT_THERE = {4: ((3, 1),), 6: ((1, 3),)}
"""Types and codes of the ICMP errors of a machine whose neighbour does not answer: "host unreachable"."""


@dataclass(frozen=True)
class Case:
    """One session, and what the rest of the view says about its path."""

    view: ClientView
    session: Session

    @cached_property
    def trace(self) -> Trace | None:
        """The traceroute to its port."""
        return self.view.trace(self.session.address, self.session.port)

    @cached_property
    def others(self) -> list[Trace]:
        """The traceroutes to other ports of the same address."""
        return self.view.other_traces(self.session.address, self.session.port)

    @cached_property
    def distance(self) -> int | None:
        """Hops to the destination, by its other ports. A middlebox is nearer, so the greatest distance is right."""
        spoken = [trace.spoken_at for trace in self.others]
        itself = [trace.refused_by_itself_at for trace in (*self.others, *([self.trace] if self.trace else []))]
        return max((hop for hop in (*spoken, *itself, self.proven_distance) if hop is not None), default=None)

    @cached_property
    def proven_distance(self) -> int | None:
        """Hops to the destination by its own ICMP error, in whose place no rule about TCP puts anything."""
        return self.by_datagrams.refused_by_itself_at if self.by_datagrams else None

    @cached_property
    def by_datagrams(self) -> Trace | None:
        """The traceroute by UDP to its address."""
        return self.view.datagram_trace(self.session.address)

    @cached_property
    def routers(self) -> dict[int, str]:
        """Hop → address, of every router on the path that sent an ICMP error."""
        known: dict[int, str] = {}
        of_all = (
            *([self.by_datagrams] if self.by_datagrams else []),
            *self.others,
            *([self.trace] if self.trace else []),
        )
        for trace in of_all:
            known |= trace.routers
        return known

    @cached_property
    def answers_from(self) -> int | None:
        """How many hops away the sender of the answer on this port is, be it a refusal or not."""
        return self.trace.answered_at if self.trace else None

    @cached_property
    def least_distance(self) -> int | None:
        """Hops to the destination at least: a router that packets to its other ports have passed is before it."""
        ways = (*self.others, *([self.by_datagrams] if self.by_datagrams else []))
        passed = [hop for trace in ways for hop in trace.routers]
        return max([self.distance or 0, *(hop + 1 for hop in passed)]) or None

    @cached_property
    def to_itself(self) -> bool:
        """Whether the dialled address is one of this machine's own."""
        return misleads(self.session.address, self.view.own.addresses) in ("here", "nowhere")

    @cached_property
    def here(self) -> bool | None:
        """Whether this machine itself did what was seen, by a rule or a proxy of its own; None: unknown."""
        session = self.session
        if self.to_itself:
            return False
        by_icmp = self._own_icmp and not self.neighbour_silent
        if session.local_peer or session.local_answer or session.unsent or session.discarded or by_icmp:
            return True
        if session.icmp is not None or session.local_answer is False:
            return False
        return False if session.unsent is False and session.discarded is False else None

    @cached_property
    def _own_icmp(self) -> bool:
        icmp = self.session.icmp
        return icmp is not None and icmp.sender in self.view.own.addresses

    @cached_property
    def same_elsewhere(self) -> bool:
        """Whether every other port of this address ends in the same error, or in silence: ICMP errors are few."""
        session = self.session
        others = [one for one in self.view.sessions if one.address == session.address and one.port != session.port]
        silent = session.icmp is not None
        return all(
            (one.errno, one.icmp) == (session.errno, session.icmp)
            or (silent and not one.connected and one.errno == "ETIMEDOUT")
            for one in others
        )

    @cached_property
    def others_refused(self) -> bool:
        """Whether other ports of this address are refused with ICMP errors that are no "time exceeded"."""
        mine = (one for one in self.view.sessions if one.address == self.session.address and not one.connected)
        steps = (step for trace in self.others for step in trace.steps)
        by_session = any(one.icmp is not None for one in mine if one.port != self.session.port)
        return by_session or any(step.answer is Answer.REFUSED for step in steps)

    @cached_property
    def neighbour_silent(self) -> bool:
        """Whether the next machine on the way does not answer ARP or neighbour discovery, whatever the port."""
        session = self.session
        others = [one for one in self.view.sessions if one.address == session.address and one.port != session.port]
        if session.errno != "EHOSTUNREACH" or any(one.connected or one.errno == "ECONNREFUSED" for one in others):
            return False
        if session.icmp is None:
            return all(one.errno in ("EHOSTUNREACH", "ETIMEDOUT") for one in others)
        return self._own_icmp and (session.icmp.type, session.icmp.code) in NOT_THERE[session.ip_version]

    @cached_property
    def in_between(self) -> int | None:
        """The hop of a middlebox that takes connections to this port in the destination's place; None: none was seen.

        0: this machine itself does. Another one has to be nearer than what answers on the destination's other ports, or
        nearer than routers on the way there. Further away than that a server may be legitimately: behind the address
        that resets those ports (a forwarded port).
        """
        if self.here and (self.session.local_peer or self.session.local_answer):
            return 0
        if self.trace is None or self.least_distance is None:
            return None
        hop = self.trace.diverted_at or self.trace.spoken_at
        return hop if hop is not None and hop < self.least_distance else None

    @cached_property
    def at_the_door(self) -> bool:
        """Whether ``in_between`` is right before the destination, where its own load balancer or firewall may be."""
        hop, away = self.in_between, self.least_distance
        return bool(hop) and hop is not None and away is not None and hop >= away - 1

    @cached_property
    def ttl_of_destination(self) -> int | None:
        """The TTL of an answer on another port that the destination itself sent."""
        away = self.distance
        for trace in self.others:
            session = self.view.any_session(trace.port, self.session.ip_version)
            if session and session.ttl is not None and away is not None and trace.spoken_at == away:
                return session.ttl
        return None

    def diagnosis(
        self,
        mechanism: Mechanism,
        reason: str,
        *alternatives: Mechanism,
        hop: int | None = None,
        until: int | None = None,
        also: tuple[Mechanism, ...] = (),
    ) -> Diagnosis:
        """A diagnosis of this case.

        ``mechanism``: the likeliest one. ``reason``: the evidence, in a sentence. ``alternatives``, ``hop``, ``until``,
        ``also``: as in ``Diagnosis``.
        """
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


def away(count: int) -> str:
    """How far away a hop is, in words; 0 is this machine itself."""
    return f"{hops(count)} away" if count else "on this machine"


def hops(count: int) -> str:
    """A number of hops in words."""
    return f"{count} hop" + "s" * (count != 1)
