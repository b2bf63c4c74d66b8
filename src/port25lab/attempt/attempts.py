"""One path, tried in a running lab: from the question to the evidence."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from port25lab.attempt.admission import Admission
from port25lab.attempt.starvation import Starvation
from port25lab.errors import LabError
from port25lab.evidence.observer import Losses, Observed, Observer
from port25lab.mail.clients import CLIENTS
from port25lab.mail.clients.base import Mta, Target
from port25lab.mail.message import build_message
from port25lab.mail.resolver import DnsFailure, Query, addresses, mx
from port25lab.mail.services.mailbox import RelayTry
from port25lab.mail.services.start import Services
from port25lab.mail.smtp_session import Submission
from port25lab.model.client_kinds import CLIENT_KINDS, PROGRAMS_AT_ONCE, ClientKind, Ports
from port25lab.model.evidence import Decision, Evidence, Hop, Observation, Stage, on_the_way_to
from port25lab.model.path import MX_PREFIX, PathSpec
from port25lab.model.plan import Plan
from port25lab.network.host import LabHost

if TYPE_CHECKING:
    from port25lab.attempt.packet_sender import PacketSender

LOOKUPS_AT_ONCE = 16
"""Different lookups at the same time: their packets are traced, and the trace has to hold the events."""

STAGE_SECONDS = 5.0
"""How long a client waits for each answer of a server."""

WHOLE_SECONDS = 45.0
"""The longest time that an attempt may take."""

SETTLE_SECONDS = 25.0
"""How long relays may take to deliver a message before it counts as deferred."""


@dataclass
class Attempts:
    """Everything that an attempt needs of its lab."""

    plan: Plan
    hosts: Mapping[str, LabHost]
    services: Services
    observer: Observer
    admission: Admission
    starvation: Starvation
    ca_file: Path
    """Certificate of the lab's authority, for client programs."""

    def __post_init__(self) -> None:
        self._programs = asyncio.Semaphore(PROGRAMS_AT_ONCE)
        self._kernels_ports: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By node."""
        self._lookups_at_once = asyncio.Semaphore(LOOKUPS_AT_ONCE)
        self._lookups_under_way: dict[tuple[str, str, int, int | None], asyncio.Future[Target]] = {}
        """By host and what it asks for."""
        self._held: list[socket.socket] = []
        """Connections that stay open until the lab ends."""

    async def open_early(self, paths: Iterable[PathSpec]) -> None:
        """Open the sessions that these hand-made packets will continue once the policies are loaded."""
        for path in paths:
            await self._packet_sender.open(path, await self._target(self.hosts[path.source], path))

    @cached_property
    def _packet_sender(self) -> PacketSender:
        from port25lab.attempt.packet_sender import PacketSender  # imports scapy: a quarter of a second

        return PacketSender(self.plan, self.hosts, self.observer)

    async def make(
        self, path: PathSpec, label: str = "", before_mail: Callable[[], Awaitable[None]] | None = None
    ) -> Evidence:
        """Try one path. ``label``: the comment at its first packet in a capture file.

        ``before_mail``: awaited in the open session; the time that it takes does not count.
        Returns evidence also where the network fails; a failure of the tool is in its ``error``.
        """
        begun = self.starvation.begin()
        try:
            async with asyncio.timeout(WHOLE_SECONDS) as limit:
                found = await self._make(path, label, limit, before_mail)
            doubt = self.starvation.doubt(found, begun, path.attempt)
            return found.model_copy(update={"starved": doubt, "error": found.error or doubt}) if doubt else found
        except (LabError, OSError, TimeoutError) as error:
            text = str(error) or f"the attempt did not end within {WHOLE_SECONDS:.0f} s"
            return Evidence(observation=Observation(stage=Stage.RESOLVE), error=text)

    async def _make(
        self,
        path: PathSpec,
        label: str,
        limit: asyncio.Timeout,
        before_mail: Callable[[], Awaitable[None]] | None,
    ) -> Evidence:
        host = self.hosts[path.source]
        losses = self.observer.losses()
        try:
            target = await self._looked_up(host, path)
        except DnsFailure as failure:
            return self._unresolved(host, failure, losses)
        if path.packet is not None:
            limit.reschedule(None)
            async with self.admission.admitted():
                limit.reschedule(asyncio.get_running_loop().time() + WHOLE_SECONDS)
                return await self._packet_sender.send(path, target, label)
        token = secrets.token_hex(8)
        delivery = self.services.mailboxes.delivery(token)
        client, kind = CLIENTS[path.client], CLIENT_KINDS[path.client]
        ports = host.source_ports(kind.ports)
        submission = self._submission(host, path, target, token)
        if before_mail is not None:
            submission = replace(submission, before_mail=_untimed(before_mail, limit))
        tries: list[Hop] = []
        limit.reschedule(None)  # the time limit counts from when its turn has come
        async with AsyncExitStack() as under_way:
            async with self._turn(kind, host, ports):
                await under_way.enter_async_context(self.admission.admitted(path.size))
                limit.reschedule(asyncio.get_running_loop().time() + WHOLE_SECONDS)
                losses = self.observer.begin(ports, label)
                if path.hold and path.attempt > 1:
                    await self._hold(host, target)
                if isinstance(client, Mta):
                    observation, tries = await client.deliver(host, target, submission, self.ca_file)
                else:
                    observation = await client.send(host, target, submission, ports[0], self.ca_file)
            if observation.stage is Stage.DONE and (not tries or tries[-1].observation.stage is Stage.DONE):
                await delivery.settled(SETTLE_SECONDS)
            observed = self.observer.collect(ports, host.name, losses, to=target.addresses)
        if observation.address is None:  # not every program reports it
            observation = observation.model_copy(update={"address": observed.dialled})
        return Evidence(
            observation=observation,
            decisions=[] if tries else observed.decisions,
            diverted=observed.diverted,
            icmp=observed.icmp,
            answered_by=observed.answered_by,
            dialled=self._dialled(observation.address, observed.answered_by),
            delivered_to=delivery.delivered_to,
            hops=[
                *(_with_decisions(hop, observed.decisions) for hop in tries),
                *(self._hop(relay_try) for relay_try in delivery.tries),
            ],
            packets=observed.packets,
            packets_lost=observed.packets_lost,
            ended=None if tries else self.observer.ended(host.name, observation, observed),
            difference=observed.difference,
            trace_lost=observed.trace_lost,
            error=observed.trace_lost or self._dead_service(path),
        )

    def _unresolved(self, host: LabHost, failure: DnsFailure, losses: Losses) -> Evidence:
        """The evidence of an attempt whose name could not be resolved."""
        observed = self._lookups(host.name, failure.queries, losses)
        return Evidence(
            observation=Observation(stage=Stage.RESOLVE, reply=str(failure)),
            decisions=observed.decisions,
            diverted=observed.diverted,
            unanswered=not failure.answered,
            trace_lost=observed.trace_lost,
            error=observed.trace_lost,
        )

    def _lookups(self, node: str, queries: Iterable[Query], losses: Losses | None = None) -> Observed:
        numbers = {query.number: None for query in queries}
        ports = [query.source_port for query in queries if query.source_port is not None]
        return self.observer.lookups(numbers, ports, node, losses)

    def _hop(self, relay_try: RelayTry) -> Hop:
        """A relay's try, with what was observed of it."""
        hop = relay_try.hop
        address = hop.observation.address
        if relay_try.source_port is None:
            observed = self._lookups(hop.node, relay_try.queries)
        else:
            observed = self.observer.collect([relay_try.source_port], hop.node, to=[address] if address else ())
        failed = hop.observation.stage is not Stage.DONE
        return hop.model_copy(
            update={
                "decisions": observed.decisions,
                "diverted": observed.diverted,
                "packets": observed.packets if failed else [],
                "ended": self.observer.ended(hop.node, hop.observation, observed) if failed else None,
                "answered_by": observed.answered_by,
                "dialled": self._dialled(hop.observation.address, observed.answered_by),
            }
        )

    def _dialled(self, address: str | None, answered_by: str | None) -> str | None:
        """The node that was dialled at this address."""
        return self.plan.dialled(address, answered_by) if address else None

    @asynccontextmanager
    async def _turn(self, kind: ClientKind, host: LabHost, ports: range) -> AsyncIterator[None]:
        """Wait until the client may run.

        Few programs run at a time, and in a node only one of those that cannot be given a source port.
        """
        async with AsyncExitStack() as turn:
            if kind.ports is Ports.KERNELS:
                await turn.enter_async_context(self._kernels_ports[host.name])
                turn.enter_context(host.ephemeral_ports(ports))
            if kind.program is not None:
                await turn.enter_async_context(self._programs)
            yield

    async def _hold(self, host: LabHost, target: Target) -> None:
        """Open one more connection and leave it open until the lab ends. A rule with a limit may refuse it."""
        with suppress(OSError):
            self._held.append(await host.connect(target.addresses[0], target.port))

    async def _looked_up(self, host: LabHost, path: PathSpec) -> Target:
        """The server to dial. Attempts that ask the same of the same host at the same time share one lookup.

        Raises DnsFailure.
        """
        key = host.name, path.to, path.port, path.ip_version
        if key not in self._lookups_under_way:
            lookup = asyncio.ensure_future(self._target_in_turn(host, path))
            lookup.add_done_callback(lambda _: self._lookups_under_way.pop(key, None))
            self._lookups_under_way[key] = lookup
        return await asyncio.shield(self._lookups_under_way[key])

    async def _target_in_turn(self, host: LabHost, path: PathSpec) -> Target:
        async with self._lookups_at_once:
            return await self._target(host, path)

    async def _target(self, host: LabHost, path: PathSpec) -> Target:
        """The server to dial: by DNS from the client's own host, as a real client does; by address if it has no name.

        Raises DnsFailure.
        """
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
        """Why a service died: one of the destination, or a middlebox on a router, which any path may pass."""
        server = self.plan.server(path.to)
        for name, died in self.services.failures.items():
            if (server and name == server.name) or self.plan.nodes[name].forward:
                return f"a service of {name} died: {died}"
        return None


def _untimed(wait: Callable[[], Awaitable[None]], limit: asyncio.Timeout) -> Callable[[], Awaitable[None]]:
    """The same wait, whose time does not count."""

    async def waited() -> None:
        limit.reschedule(None)
        await wait()
        limit.reschedule(asyncio.get_running_loop().time() + WHOLE_SECONDS)

    return waited


def _with_decisions(hop: Hop, decisions: Iterable[Decision]) -> Hop:
    """A try of the sender's own server, with the decisions on it: its log does not report source ports."""
    address = hop.observation.address
    return hop.model_copy(update={"decisions": on_the_way_to(address, decisions) if address else []})
