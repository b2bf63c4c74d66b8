"""One path, tried in a running lab: from the question to the evidence."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from port25lab.attempt.admission import Admission
from port25lab.errors import LabError
from port25lab.evidence.capture import Capture
from port25lab.evidence.rule_trace import Tracer
from port25lab.mail.clients import CLIENTS
from port25lab.mail.clients.base import Mta, Target
from port25lab.mail.message import build_message
from port25lab.mail.resolver import DnsFailure, addresses, mx
from port25lab.mail.services.mailbox import RelayTry
from port25lab.mail.services.start import Services
from port25lab.mail.smtp_session import Submission
from port25lab.model.client_kinds import CLIENT_KINDS, PROGRAMS_AT_ONCE, ClientKind, Ports
from port25lab.model.evidence import Decision, Evidence, Hop, Observation, Stage, on_the_way_to
from port25lab.model.path import MX_PREFIX, PathSpec
from port25lab.model.plan import Plan
from port25lab.network.host import LabHost

if TYPE_CHECKING:
    from port25lab.attempt.packet_sender import Prober


STAGE_SECONDS = 5.0
"""How long a client waits for each answer of a server."""

WHOLE_SECONDS = 45.0
"""No attempt takes longer, whatever a server does."""

SETTLE_SECONDS = 25.0
"""How long a message may be on its way between relays before it counts as deferred."""


@dataclass
class Attempts:
    """Everything that an attempt needs of its lab."""

    plan: Plan
    hosts: Mapping[str, LabHost]
    services: Services
    tracer: Tracer
    capture: Capture
    ca_file: Path

    def __post_init__(self) -> None:
        self._admission = Admission(self.tracer)
        self._programs = asyncio.Semaphore(PROGRAMS_AT_ONCE)
        self._kernels_ports: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By node."""
        self._held: list[socket.socket] = []

    async def open_early(self, paths: Iterable[PathSpec]) -> None:
        """Open the sessions that these probes will continue once the policies are loaded."""
        for path in paths:
            await self._prober.open(path, await self._target(self.hosts[path.source], path))

    @cached_property
    def _prober(self) -> Prober:
        from port25lab.attempt.packet_sender import Prober  # brings scapy

        return Prober(self.plan, self.hosts, self.tracer, self.capture)

    async def make(self, path: PathSpec, label: str = "") -> Evidence:
        """Try one path. ``label``: what a capture file says at its first packet.

        Never raises for what the network does; a failure of the tool is in ``error``.
        """
        try:
            async with asyncio.timeout(WHOLE_SECONDS) as limit:
                return await self._make(path, label, limit)
        except (LabError, OSError, TimeoutError) as error:
            text = str(error) or f"the attempt did not end within {WHOLE_SECONDS:.0f} s"
            return Evidence(observation=Observation(stage=Stage.RESOLVE), error=text)

    async def _make(self, path: PathSpec, label: str, limit: asyncio.Timeout) -> Evidence:
        host = self.hosts[path.source]
        try:
            target = await self._target(host, path)
        except DnsFailure as failure:
            return Evidence(observation=Observation(stage=Stage.RESOLVE, reply=str(failure)))
        if path.packet is not None:
            limit.reschedule(None)
            async with self._admission.admitted():
                limit.reschedule(asyncio.get_running_loop().time() + WHOLE_SECONDS)
                return await self._prober.probe(path, target, label)
        token = secrets.token_hex(8)
        journey = self.services.mailboxes.follow(token)
        client, kind = CLIENTS[path.client], CLIENT_KINDS[path.client]
        ports = host.source_ports(kind.ports)
        submission = self._submission(host, path, target, token)
        tries: list[Hop] = []
        limit.reschedule(None)  # its turn may be long in coming
        async with AsyncExitStack() as under_way:
            async with self._turn(kind, host, ports):
                await under_way.enter_async_context(self._admission.admitted(path.size))
                losses = self.tracer.losses()
                limit.reschedule(asyncio.get_running_loop().time() + WHOLE_SECONDS)
                if path.hold and path.attempt > 1:
                    await self._hold(host, target)
                self.capture.begin(ports, label)
                if isinstance(client, Mta):
                    observation, tries = await client.deliver(host, target, submission, self.ca_file)
                else:
                    observation = await client.send(host, target, submission, ports[0], self.ca_file)
            if observation.stage is Stage.DONE and (not tries or tries[-1].observation.stage is Stage.DONE):
                await journey.settled(SETTLE_SECONDS)
            lost = self.tracer.lost_since(losses)
        seen = self.capture.seen(ports, host.name, self.tracer.made)
        connections = seen.connections
        if observation.address is None:  # not every program tells
            observation = observation.model_copy(update={"address": connections.dialled})
        dialled = self.plan.owner(observation.address) if observation.address else None
        decisions = self.tracer.decisions(connections.sequences, connections.ends)
        return Evidence(
            observation=observation,
            decisions=[] if tries else decisions,
            diverted=self.tracer.diversions(connections.sequences),
            icmp=seen.icmp,
            answered_by=self.services.answered_by(connections.arrivals),
            dialled=dialled,
            delivered_to=journey.delivered_to,
            hops=[_decided(hop, decisions) for hop in tries] + [self._hop(record) for record in journey.hops],
            packets=seen.packets,
            packets_lost=seen.lost,
            divergence=seen.divergence,
            trace_lost=lost,
            error=lost or self._dead_service(path),
        )

    def _hop(self, record: RelayTry) -> Hop:
        """A relay's try, with the kernel's view of it."""
        seen = self.capture.seen([record.source_port], record.hop.node, self.tracer.made)
        failed = record.hop.observation.stage is not Stage.DONE
        address = record.hop.observation.address
        return record.hop.model_copy(
            update={
                "decisions": self.tracer.decisions(seen.connections.sequences, seen.connections.ends),
                "packets": seen.packets if failed else [],
                "answered_by": self.services.answered_by(seen.connections.arrivals),
                "dialled": self.plan.owner(address) if address else None,
            }
        )

    @asynccontextmanager
    async def _turn(self, kind: ClientKind, host: LabHost, ports: range) -> AsyncIterator[None]:
        """Wait until the client may run: programs a few at a time, and those that cannot pick a port one by one."""
        async with AsyncExitStack() as turn:
            if kind.ports is Ports.KERNELS:
                await turn.enter_async_context(self._kernels_ports[host.name])
                turn.enter_context(host.ephemeral_ports(ports))
            if kind.program is not None:
                await turn.enter_async_context(self._programs)
            yield

    async def _hold(self, host: LabHost, target: Target) -> None:
        """Open one more connection and leave it open, until the lab ends. A limit may refuse it; then there is none."""
        with suppress(OSError):
            self._held.append(await host.connect(target.addresses[0], target.port))

    async def _target(self, host: LabHost, path: PathSpec) -> Target:
        """Whom to dial: by DNS from the client's own host, as a real client would; a node without a name by address."""
        name, domain = path.to, None
        if name.startswith(MX_PREFIX):
            domain = name.removeprefix(MX_PREFIX)
            name = (await mx(host, domain))[0].exchange
        node = self.plan.nodes.get(name)
        if node is not None and not node.names:
            found = [str(address) for address in node.published if path.ip_version in (None, address.version)]
        else:
            name = node.names[0] if node else name
            found = await addresses(host, name, path.ip_version)
        if not found:
            raise DnsFailure(f"{name} has no IPv{path.ip_version} address")
        return Target(host=name, addresses=tuple(found), port=path.port, ip_version=path.ip_version, domain=domain)

    def _submission(self, host: LabHost, path: PathSpec, target: Target, token: str) -> Submission:
        sender = path.sender or f"{path.source}@port25lab.example"
        server = self.plan.server(path.to)
        password = None
        if path.auth is not None:
            password = path.auth.password
            if password is None:
                password = server.users[path.auth.user] if server else ""
        return Submission(
            security=path.security,
            server_name=target.host,
            tls=self.services.client_tls,
            username=path.auth.user if path.auth else None,
            password=password,
            mail_from=sender,
            rcpt_to=path.recipient,
            message=build_message(token, sender, path.recipient, path.size),
            timeout=STAGE_SECONDS,
            local_hostname=host.hostname,
        )

    def _dead_service(self, path: PathSpec) -> str | None:
        """A service that died: the destination's, or a middlebox on a router, which may stand in anybody's way."""
        server = self.plan.server(path.to)
        for name, died in self.services.failures.items():
            if (server and name == server.name) or self.plan.nodes[name].forward:
                return f"a service of {name} died: {died}"
        return None


def _decided(hop: Hop, decisions: Iterable[Decision]) -> Hop:
    """A try of the sender's own server, with the decisions on it: its log does not tell its source ports."""
    address = hop.observation.address
    return hop.model_copy(update={"decisions": on_the_way_to(address, decisions) if address else []})
