"""One hand-made packet in a running lab: send it, and see which packets arrive where.

In: a path with ``packet``. Out: evidence with an ``Arrival``. A packet socket at the node where the packet should
arrive captures it; the kernel's trace names the rule that dropped it. The wait ends with the first of the two. A packet
that neither arrives nor is dropped by a rule is an error of the tool, not a blocked path.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address

from port25lab.attempt import packet_builders, packet_function
from port25lab.attempt.packet_watch import Expected, Listener, attach_filter
from port25lab.errors import LabError
from port25lab.evidence.observer import Losses, Observed, Observer
from port25lab.evidence.packet_trace import PacketTrace
from port25lab.mail.clients.base import Target
from port25lab.model.addresses import IpVersion
from port25lab.model.evidence import Arrival, Effect, Evidence, Observation, Stage
from port25lab.model.packet_kinds import ArrivalPoint, Kind, kind_of
from port25lab.model.packet_spec import PacketSpec
from port25lab.model.path import PathSpec
from port25lab.model.plan import Plan
from port25lab.network.host import LabHost

LOST_SECONDS = 0.5
"""A packet that has neither arrived nor been dropped by a rule after this time is lost."""

ANSWER_SECONDS = 0.1
"""How long to wait for an answer to a packet that arrived. The answer is reported, and decides nothing."""

_SYN_ACK, _RST = 0x12, 0x04

_ICMP = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}


@dataclass(frozen=True)
class _Exchange:
    """One hand-made packet and its answers, while they are under way."""

    kind: Kind
    spec: PacketSpec
    trace: PacketTrace
    sender: LabHost
    destination: Listener
    source: Listener
    """At the owner of the source address."""
    losses: Losses
    """Before its first packet."""
    session: socket.socket | None = None
    """The connection that it continues."""

    @property
    def arrives_at(self) -> Listener:
        """Where the packet arrives that decides."""
        back = self.kind.arrival_point in (ArrivalPoint.ANSWER, ArrivalPoint.TOO_BIG)
        return self.source if back else self.destination


class PacketSender:
    """Sends the hand-made packets of a lab. A node has a packet socket from its first packet on."""

    def __init__(self, plan: Plan, hosts: Mapping[str, LabHost], observer: Observer) -> None:
        self._plan, self._hosts, self._observer = plan, hosts, observer
        self._numbers: set[int] = set()
        """Those that packets have had so far."""
        self._listeners: dict[tuple[str, bool], Listener] = {}
        """By node, and whether it sees the segments of open sessions."""
        self._early: dict[PathSpec, _Exchange | str] = {}
        """Packets that continue a session; or why the session could not be opened."""

    async def open(self, path: PathSpec, target: Target) -> None:
        """Open the session that a packet is to continue later."""
        exchange = self._prepare(path, target)
        try:
            session = await exchange.sender.connect(target.addresses[0], target.port, exchange.spec.source_port)
        except OSError as error:
            self._early[path] = f"no session could be opened before the policies: {error.strerror or error}"
            return
        self._early[path] = replace(exchange, session=session)

    async def send(self, path: PathSpec, target: Target, label: str = "") -> Evidence:
        """Send one packet, and wait until it has arrived, a rule has dropped it, or it counts as lost.

        ``path``: which kind of packet, from where. ``target``: its destination. ``label``: the comment at its first
        packet in a capture file. Raises LabError where this kind is not possible in this lab.
        """
        exchange = self._opened(path) if kind_of(str(path.packet)).early else self._prepare(path, target)
        kind, spec = exchange.kind, exchange.spec
        made = None if path.made_by is None else await packet_function.made_by(path.made_by, spec, exchange.sender)
        self._observer.begin([spec.source_port], label)
        started = time.perf_counter()
        with exchange.source.expecting(Expected(spec.acknowledged, protocol=socket.IPPROTO_TCP)) as answer:
            if exchange.session is None:
                arrived = await self._send_new(exchange, made)
            else:
                arrived = await self._continue_session(exchange, exchange.session)
            seconds = round(time.perf_counter() - started, 6)
            if arrived and kind.arrival_point is ArrivalPoint.THERE and kind.answered:
                await self._wait_for(exchange, answer, ANSWER_SECONDS)
        to = () if arrived else (spec.destination,)
        observed = self._observer.collect([spec.source_port], path.source, exchange.losses, exchange.trace, to)
        node = exchange.arrives_at.node
        # The first drop decides. Whether another rule has dropped another fragment by now depends on the time.
        decisions = observed.decisions if arrived else observed.decisions[:1]
        missing = f"{kind.text} did not arrive at {node} within {LOST_SECONDS} s"
        lost = f"{missing}, and no rule dropped it as far as it could be followed"
        return Evidence(
            observation=Observation(stage=Stage.CONNECT, address=spec.destination, seconds=seconds),
            decisions=decisions,
            diverted=observed.diverted,
            icmp=observed.icmp,
            packets=observed.packets,
            packets_lost=observed.packets_lost,
            dialled=self._plan.owner(spec.destination),
            arrival=Arrival(
                packet=str(path.packet),
                reached=node if arrived else None,
                answer=_name(answer) or ("ICMP" if observed.icmp else None),
            ),
            trace_lost=observed.trace_lost,
            error=observed.trace_lost or (None if arrived or decisions or _astray(observed, kind) else lost),
        )

    def _opened(self, path: PathSpec) -> _Exchange:
        exchange = self._early.get(path, "the session was not opened before the policies were loaded")
        if isinstance(exchange, str):
            raise LabError(exchange)
        return exchange

    def _prepare(self, path: PathSpec, target: Target) -> _Exchange:
        kind, host = kind_of(str(path.packet)), self._hosts[path.source]
        destination = target.addresses[0]
        version: IpVersion = 6 if ":" in destination else 4
        owner = self._plan.owner(destination)
        if owner is None:
            raise LabError(f"no node has the address {destination}, so nothing can be captured there")
        spec = PacketSpec(
            version=version,
            source=self._source(path, version),
            destination=destination,
            source_port=kind.source_port or host.source_port(),
            port=target.port,
            number=self._number(),
            sequence=secrets.randbits(32),
        )
        trace = PacketTrace(kind.text, spec.number, spec.sequence, spec.source_port if kind.early else None)
        return _Exchange(
            kind=kind,
            spec=spec,
            trace=trace,
            sender=host,
            destination=self._listener(owner, kind.early),
            source=self._listener(path.spoof or path.source, kind.early),
            losses=self._observer.track(trace),
        )

    def _source(self, path: PathSpec, version: int) -> str:
        """The sender's own address, or the one that another node publishes."""
        if path.spoof is None:
            own = [str(address.ip) for address in self._hosts[path.source].addresses if address.version == version]
        else:
            own = [str(address) for address in self._plan.nodes[path.spoof].published if address.version == version]
        if not own:
            raise LabError(f"{path.spoof or path.source} has no IPv{version} address")
        return own[0]

    def _number(self) -> int:
        while (number := 1 + secrets.randbelow(0xFFFF)) in self._numbers:
            pass
        self._numbers.add(number)
        return number

    def _listener(self, node: str, sessions: bool) -> Listener:
        key = node, sessions
        if key not in self._listeners:
            kernel = self._hosts[node].packets()
            if not sessions:
                attach_filter(kernel)
            listener = self._listeners[key] = Listener(node, kernel)
            asyncio.get_running_loop().add_reader(kernel, listener.read)
        return self._listeners[key]

    async def _send_new(self, exchange: _Exchange, made: list[bytes] | None) -> Expected | None:
        """Send the packet. Returns the packet that had to arrive, or None where it did not.

        ``made``: the packets that a user's function made; one of them has to arrive.
        """
        spec, point, sender = exchange.spec, exchange.kind.arrival_point, exchange.sender
        if made is not None:
            expected = Expected(spec.token, number=spec.number)
            return await self._sent(exchange, exchange.destination, expected, sender, made)
        packets = packet_builders.BUILDERS[exchange.kind.build](spec)
        if point is ArrivalPoint.ANSWER:
            answer = Expected(spec.acknowledged, _SYN_ACK)
            return await self._sent(exchange, exchange.source, answer, sender, packets)
        if point is ArrivalPoint.RESET:
            reset = Expected(spec.acknowledged, _RST)
            return await self._sent(exchange, exchange.destination, reset, sender, packets)
        arrived = await self._sent(exchange, exchange.destination, Expected(spec.token), sender, packets)
        if point is ArrivalPoint.THERE or arrived is None or arrived.whole is None:
            return arrived
        error = packet_builders.too_big(spec, arrived.whole.packet)
        about_it = Expected(spec.token, protocol=_ICMP[spec.version])
        return await self._sent(exchange, exchange.source, about_it, self._hosts[exchange.destination.node], error)

    async def _continue_session(self, exchange: _Exchange, session: socket.socket) -> Expected | None:
        """Send a command in the session. A rule may have dropped its acknowledgement of the greeting already."""
        token = secrets.token_hex(8).encode()
        with exchange.destination.expecting(Expected(token)) as command:
            with suppress(ConnectionError):  # a rule reset the session: the trace says which
                session.send(b"NOOP " + token + b"\r\n")
            return await self._wait_for(exchange, command)

    async def _sent(
        self, exchange: _Exchange, listener: Listener, expected: Expected, sender: LabHost, packets: Iterable[bytes]
    ) -> Expected | None:
        """Send packets from a node, and wait for the one that is expected at the listener."""
        with listener.expecting(expected), sender.raw(exchange.spec.version, socket.IPPROTO_RAW) as raw:
            for packet in packets:
                raw.sendto(packet, (_destination(packet), 0))
            return await self._wait_for(exchange, expected)

    async def _wait_for(
        self, exchange: _Exchange, expected: Expected, seconds: float = LOST_SECONDS
    ) -> Expected | None:
        """Wait until the packet has arrived, a rule has dropped one, or the time is over."""
        await _first(expected.arrived, exchange.trace.dropped, seconds=seconds)
        for listener in (exchange.destination, exchange.source):
            listener.read()
        return expected if expected.whole else None


def _astray(observed: Observed, kind: Kind) -> bool:
    """Whether a rule is the reason why a packet did not arrive: it sent it elsewhere, or cut its way short.

    A rule that changes the source alone keeps only answers from arriving.
    """
    back = kind.arrival_point is not ArrivalPoint.THERE
    return any(one.effect is Effect.DIVERT or back or observed.icmp for one in observed.diverted)


def _name(answer: Expected) -> str | None:
    if answer.whole is None:
        return None
    return "SYN-ACK" if answer.whole.payload[13] == _SYN_ACK else "RST"


def _destination(packet: bytes) -> str:
    return str(ip_address(packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]))


async def _first(*events: asyncio.Event, seconds: float) -> None:
    """Return when one of these events has happened, or after so many seconds."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
