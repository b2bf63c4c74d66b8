"""One path, tried in a running lab: from the question to the evidence."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from port25lab.clients import CLIENTS, Target
from port25lab.dialogue import Submission, build_message
from port25lab.errors import LabError
from port25lab.evidence import Evidence, Observation, Stage
from port25lab.icmp import IcmpWatch
from port25lab.labhost import LabHost
from port25lab.mailpath import MX_PREFIX, MailPath
from port25lab.services import Services
from port25lab.services.dns import DnsFailure, addresses, mx
from port25lab.topology import Plan
from port25lab.trace import Tracer

STAGE_SECONDS = 5.0
"""How long a client waits for each answer of a server."""

WHOLE_SECONDS = 45.0
"""No attempt takes longer, whatever a server does."""

SETTLE_SECONDS = 10.0
"""How long a message may be on its way between relays before it counts as deferred."""

PROGRAMS_AT_ONCE = 8
"""Client programs that run side by side: more would only wait for the processor, and look like slow servers."""


@dataclass
class Attempts:
    """Everything that an attempt needs of its lab."""

    plan: Plan
    hosts: Mapping[str, LabHost]
    services: Services
    tracer: Tracer
    icmp: IcmpWatch
    ca_file: Path

    def __post_init__(self) -> None:
        self._programs = asyncio.Semaphore(PROGRAMS_AT_ONCE)

    async def make(self, path: MailPath) -> Evidence:
        """Try one path. Never raises for what the network does; a failure of the tool is in ``error``."""
        try:
            async with asyncio.timeout(WHOLE_SECONDS):
                return await self._make(path)
        except (LabError, OSError, TimeoutError) as error:
            text = str(error) or f"the attempt did not end within {WHOLE_SECONDS:.0f} s"
            return Evidence(observation=Observation(stage=Stage.RESOLVE), error=text)

    async def _make(self, path: MailPath) -> Evidence:
        host = self.hosts[path.source]
        self.icmp.watch(host)
        try:
            target = await self._target(host, path)
        except DnsFailure as failure:
            return Evidence(observation=Observation(stage=Stage.RESOLVE, reply=str(failure)))
        token = secrets.token_hex(8)
        source_port = host.source_port()
        journey = self.services.mailboxes.follow(token)
        client = CLIENTS[path.client]
        submission = self._submission(host, path, target, token)
        if client.program is None:
            observation = await client.send(host, target, submission, source_port, self.ca_file)
        else:
            async with self._programs:
                observation = await client.send(host, target, submission, source_port, self.ca_file)
        if observation.stage is Stage.DONE:
            await journey.settled(SETTLE_SECONDS)
        self.tracer.drain()
        dialled = self.plan.owner(observation.address) if observation.address else None
        answered = self.services.answered_by(source_port)
        return Evidence(
            observation=observation,
            decisions=self.tracer.decisions(source_port),
            icmp=self.icmp.errors(source_port),
            answered_by=answered,
            dialled=dialled,
            delivered_to=journey.delivered_to,
            hops=[
                record.hop.model_copy(update={"decisions": self.tracer.decisions(record.source_port)})
                for record in journey.hops
            ],
            error=self.tracer.lost or self._dead_service(path),
        )

    async def _target(self, host: LabHost, path: MailPath) -> Target:
        """Whom to dial: by DNS from the client's own host, as a real client would; a node without a name by address."""
        name = path.to
        if name.startswith(MX_PREFIX):
            name = (await mx(host, name.removeprefix(MX_PREFIX)))[0].exchange
        node = self.plan.nodes.get(name)
        if node is not None and not node.names:
            found = [str(address) for address in node.published if path.ip_version in (None, address.version)]
        else:
            name = node.names[0] if node else name
            found = await addresses(host, name, path.ip_version)
        if not found:
            raise DnsFailure(f"{name} has no IPv{path.ip_version} address")
        return Target(host=name, addresses=tuple(found), port=path.port, ip_version=path.ip_version)

    def _submission(self, host: LabHost, path: MailPath, target: Target, token: str) -> Submission:
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

    def _dead_service(self, path: MailPath) -> str | None:
        server = self.plan.server(path.to)
        died = self.services.failures.get(server.name) if server else None
        return f"a service of {server.name} died: {died}" if server and died else None
