"""One raw-packet probe, made in a running lab: send it, and see what arrives where.

In: a path with ``packet``. Out: evidence with an ``Arrival``. What arrives is captured at the node where it should
arrive; what does not is named by the rule in the kernel's trace that dropped it. The wait ends with whichever comes
first, and a probe that neither arrives nor is dropped by a rule is an error of the tool, not a blocked path.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address

from port25lab.attempt import packet_builders
from port25lab.attempt.packet_builders import PacketSpec
from port25lab.attempt.packet_watch import Expected, Listener, attach_filter
from port25lab.errors import LabError
from port25lab.evidence.capture import Capture, Seen
from port25lab.evidence.rule_trace import MARK, PacketTrace, Tracer
from port25lab.mail.clients.base import Target
from port25lab.model.addresses import IpVersion
from port25lab.model.evidence import Arrival, Evidence, Observation, Stage
from port25lab.model.packet_kinds import PACKET_KINDS, ArrivalPoint, Kind
from port25lab.model.path import PathSpec
from port25lab.model.plan import Plan
from port25lab.network.builder import SOURCE_PORTS
from port25lab.network.host import LabHost

LOST_SECONDS = 0.5
"""A probe that was neither seen nor dropped by a rule after so long is lost."""

ANSWER_SECONDS = 0.1
"""How long an answer to a probe that arrived is waited for: it is told, and decides nothing."""

_SYN_ACK, _RST = 0x12, 0x04

_ICMP = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}

_TRAFFIC_CLASS = {4: (socket.IPPROTO_IP, socket.IP_TOS), 6: (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)}


@dataclass(frozen=True)
class _Probe:
    """All that belongs to one probe while it is under way."""

    kind: Kind
    shot: PacketSpec
    trail: PacketTrace
    sender: LabHost
    there: Listener
    """At the destination."""
    back: Listener
    """At the owner of the source address."""
    losses: int
    """Of the trace, before its first packet."""
    session: socket.socket | None = None
    """The connection that it continues."""


class Prober:
    """Makes the probes of a lab; watches nodes from their first probe on."""

    def __init__(self, plan: Plan, hosts: Mapping[str, LabHost], tracer: Tracer, capture: Capture) -> None:
        self._plan, self._hosts, self._tracer, self._capture = plan, hosts, tracer, capture
        self._numbers = itertools.count(1)
        self._watches: dict[str, Listener] = {}
        self._early: dict[PathSpec, _Probe | str] = {}
        """Probes that continue a session; or why it could not be opened."""

    async def open(self, path: PathSpec, target: Target) -> None:
        """Open the session that a probe is to continue later. From here on its packets are marked, and traced."""
        probe = self._prepare(path, target)
        try:
            session = await probe.sender.connect(target.addresses[0], target.port, probe.shot.source_port)
        except OSError as error:
            self._early[path] = f"no session could be opened before the policies: {error.strerror or error}"
            return
        session.setsockopt(*_TRAFFIC_CLASS[probe.shot.version], MARK << 2)
        self._early[path] = replace(probe, session=session)

    async def probe(self, path: PathSpec, target: Target, label: str = "") -> Evidence:
        """Make one probe. ``label``: what a capture file says at its first packet.

        Raises LabError where it makes no sense in this lab.
        """
        probe = self._opened(path) if PACKET_KINDS[str(path.packet)].early else self._prepare(path, target)
        kind = probe.kind
        self._capture.begin([probe.shot.source_port], label)
        started = time.perf_counter()
        with probe.back.expecting(Expected(probe.shot.acknowledged, protocol=socket.IPPROTO_TCP)) as answer:
            sight = await (self._continued(probe, probe.session) if probe.session else self._made(probe))
            seconds = round(time.perf_counter() - started, 6)
            if sight and kind.leg is ArrivalPoint.THERE and kind.answered:
                await self._until(probe, answer, ANSWER_SECONDS)
        trace_lost = self._tracer.lost_since(probe.losses)
        port = probe.shot.source_port
        seen = self._capture.seen([port], path.source) if port in SOURCE_PORTS else Seen()
        reached = (probe.back if kind.leg in (ArrivalPoint.ANSWER, ArrivalPoint.TOO_BIG) else probe.there).node
        met = self._tracer.drops_of(probe.trail)
        # The first drop decides. Whether another fragment has met another rule by now depends on when one looks.
        decisions = met if sight else met[:1]
        lost = f"{kind.text} did not arrive at {reached} within {LOST_SECONDS} s, and no rule dropped it"
        return Evidence(
            observation=Observation(stage=Stage.CONNECT, address=probe.shot.destination, seconds=seconds),
            decisions=decisions,
            icmp=seen.icmp,
            packets=seen.packets,
            packets_lost=seen.lost,
            dialled=self._plan.owner(probe.shot.destination),
            arrival=Arrival(
                packet=str(path.packet),
                reached=reached if sight else None,
                answer=_name(answer) or ("ICMP" if seen.icmp else None),
            ),
            trace_lost=trace_lost,
            error=trace_lost or (None if sight or decisions else lost),
        )

    def _opened(self, path: PathSpec) -> _Probe:
        probe = self._early.get(path, "the session was not opened before the policies were loaded")
        if isinstance(probe, str):
            raise LabError(probe)
        return probe

    def _prepare(self, path: PathSpec, target: Target) -> _Probe:
        kind, host = PACKET_KINDS[str(path.packet)], self._hosts[path.source]
        destination = target.addresses[0]
        version: IpVersion = 6 if ":" in destination else 4
        owner = self._plan.owner(destination)
        if owner is None:
            raise LabError(f"no node has the address {destination}, so nothing can be captured there")
        shot = PacketSpec(
            version=version,
            source=self._source(path, version),
            destination=destination,
            source_port=kind.source_port or host.source_port(),
            port=target.port,
            number=next(self._numbers),
            sequence=secrets.randbits(32),
        )
        trail = PacketTrace(kind.text, shot.number, shot.sequence, shot.source_port)
        self._tracer.track(trail)
        there, back = self._watch(owner), self._watch(path.spoof or path.source)
        return _Probe(kind, shot, trail, host, there, back, self._tracer.losses())

    def _source(self, path: PathSpec, version: int) -> str:
        """The sender's own address, or another node's: the one by which others know it."""
        if path.spoof is None:
            mine = [str(own.ip) for own in self._hosts[path.source].addresses if own.version == version]
        else:
            mine = [str(own) for own in self._plan.nodes[path.spoof].published if own.version == version]
        if not mine:
            raise LabError(f"{path.spoof or path.source} has no IPv{version} address")
        return mine[0]

    def _watch(self, node: str) -> Listener:
        if node not in self._watches:
            kernel = self._hosts[node].packets()
            attach_filter(kernel)
            watch = self._watches[node] = Listener(node, kernel)
            asyncio.get_running_loop().add_reader(kernel, watch.read)
        return self._watches[node]

    async def _made(self, probe: _Probe) -> Expected | None:
        """Send it; the packet that had to arrive, or None."""
        shot, leg = probe.shot, probe.kind.leg
        built = packet_builders.BUILDERS[probe.kind.build](shot)
        if leg is ArrivalPoint.ANSWER:
            return await self._seen(probe, probe.back, Expected(shot.acknowledged, _SYN_ACK), probe.sender, built)
        if leg is ArrivalPoint.RESET:
            return await self._seen(probe, probe.there, Expected(shot.acknowledged, _RST), probe.sender, built)
        met = await self._seen(probe, probe.there, Expected(shot.token), probe.sender, built)
        if leg is ArrivalPoint.THERE or met is None or met.whole is None:
            return met
        error, about = (
            packet_builders.too_big(shot, met.whole.packet),
            Expected(shot.token, protocol=_ICMP[shot.version]),
        )
        return await self._seen(probe, probe.back, about, self._hosts[probe.there.node], error)

    async def _continued(self, probe: _Probe, session: socket.socket) -> Expected | None:
        """Say something in the session. A rule may have acted already, on the acknowledgement of the greeting."""
        token = secrets.token_hex(8).encode()
        with probe.there.expecting(Expected(token)) as sight:
            with suppress(ConnectionError):  # a rule reset it: the trace says which
                session.send(b"NOOP " + token + b"\r\n")
            return await self._until(probe, sight)

    async def _seen(
        self, probe: _Probe, watch: Listener, sight: Expected, sender: LabHost, built: Iterable[bytes]
    ) -> Expected | None:
        with watch.expecting(sight), sender.raw(probe.shot.version, socket.IPPROTO_RAW) as raw:
            for packet in built:
                raw.sendto(packet, (_destination(packet), 0))
            return await self._until(probe, sight)

    async def _until(self, probe: _Probe, sight: Expected, seconds: float = LOST_SECONDS) -> Expected | None:
        """Wait until it is seen, until a rule dropped it, or until it must be lost."""
        await _first(sight.seen, probe.trail.dropped, seconds=seconds)
        for watch in (probe.there, probe.back):
            watch.read()
        return sight if sight.whole else None


def _name(answer: Expected) -> str | None:
    if answer.whole is None:
        return None
    return "SYN-ACK" if answer.whole.payload[13] == _SYN_ACK else "RST"


def _destination(packet: bytes) -> str:
    return str(ip_address(packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]))


async def _first(*events: asyncio.Event, seconds: float) -> None:
    """Return when one of these happened, or when the time is over."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
