"""All services of a lab, in its one event loop: started from the plan, probed until they answer, watched afterwards."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.name
import dns.rdatatype

from port25lab.errors import LabError
from port25lab.kernel import ipv6
from port25lab.kernel.nfqueue import Queue
from port25lab.mail.host import Host
from port25lab.mail.middleboxes import ALTERATIONS
from port25lab.mail.middleboxes.fake_servers import StandIn
from port25lab.mail.middleboxes.packet_rewriter import Inline
from port25lab.mail.middleboxes.proxy import Proxy
from port25lab.mail.resolver import DnsFailure, ask, question
from port25lab.mail.services import dns_server
from port25lab.mail.services.certificates import Authority
from port25lab.mail.services.dns_server import Resolver
from port25lab.mail.services.mailbox import Mailboxes
from port25lab.mail.services.recipient_checks import RecipientChecks
from port25lab.mail.services.relay_queue import Relay
from port25lab.mail.services.smtp_server import MailServer, SmtpListener
from port25lab.mail.services.tasks import OnConnection, TaskSupervisor, accept
from port25lab.mail.services.zones import Zones
from port25lab.model.plan import NodePlan, Plan
from port25lab.model.service_kinds import SERVICE_KINDS, ListenPort, Role, listen_ports_of

PROBE_SECONDS = 10.0

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""Where servers listen, and where a probe finds them."""


def wildcards() -> dict[str, str]:
    """The same, of the IP versions that this kernel has."""
    return {wildcard: loopback for wildcard, loopback in WILDCARDS.items() if ":" not in wildcard or ipv6.works()}


Service = Mapping[str, Any]


@dataclass(frozen=True)
class _Probe:
    """A way to find out whether a service answers. It returns when it does, and raises what went wrong."""

    node: str
    what: str
    run: Callable[[], Awaitable[None]]


class Services:
    """``start`` them, wait until they are ``ready``, then ask what became of the mail."""

    def __init__(self, plan: Plan, hosts: Mapping[str, Host]) -> None:
        self._plan, self._hosts = plan, hosts
        self._authority = Authority()
        self._keeper = TaskSupervisor()
        self._zones: Zones | None = None
        self._offices: dict[str, MailServer] = {}
        self._answered: dict[int, str] = {}
        self._probes: list[_Probe] = []
        self.mailboxes = Mailboxes()
        self.client_tls: ssl.SSLContext = self._authority.client_context()
        """Trusts the lab's servers, and verifies their names."""

    @property
    def failures(self) -> dict[str, str]:
        """Node → why its service died. The others go on."""
        return self._keeper.failures

    def answered_by(self, source_port: int) -> str | None:
        """The node whose mail server accepted the connection from this source port, unique in a lab."""
        return self._answered.get(source_port)

    async def start(self, ca_file: Path) -> None:
        """Start everything. ``ca_file`` gets the certificate of the lab's authority. Raises LabError."""
        self._authority.write(ca_file)
        builders = {
            Role.MAIL: self._start_mail,
            Role.AUTHORITY: self._start_dns,
            Role.RESOLVER: self._start_resolver,
            Role.STAND_IN: self._start_stand_in,
            Role.PROXY: self._start_proxy,
            Role.QUEUE: self._start_queue,
        }
        for node in self._plan.nodes.values():
            for service in node.services:
                try:
                    builders[SERVICE_KINDS[service["kind"]].role](node, service)
                except OSError as error:
                    reason = error.strerror or str(error)
                    raise LabError(f"{node.name}: service {service['kind']} cannot start: {reason}") from error

    async def ready(self) -> None:
        """Return when each service has answered on each of its ports. Raises LabError for the first that does not."""
        for end in await asyncio.gather(*map(self._prove, self._probes), return_exceptions=True):
            if end is not None:
                raise end

    async def close(self) -> None:
        """End everything. A lab never does: its process ends."""
        await self._keeper.close()

    def _start_mail(self, node: NodePlan, service: Service) -> None:
        host = self._hosts[node.name]
        reception = RecipientChecks(host, service)
        for door in listen_ports_of(service):
            desk = SmtpListener(self._office(node), door, service, reception)
            listeners = self._listen(node, door.port, desk.what, self._noting(node.name, desk.serve))
            for loopback, listener in listeners.items():
                self._probes.append(_Probe(node.name, desk.what, self._mail_probe(host, door, loopback, listener)))

    def _start_stand_in(self, node: NodePlan, service: Service) -> None:
        stand_in = StandIn(service)
        self._listen(node, service["port"], stand_in.what, self._noting(node.name, stand_in.serve))

    def _start_proxy(self, node: NodePlan, service: Service) -> None:
        port, kind = service["port"], service["kind"]
        proxy = Proxy(self._hosts[node.name], f"{kind} on port {port}", port, ALTERATIONS[kind])
        self._listen(node, port, proxy.what, proxy.serve)

    def _start_queue(self, node: NodePlan, service: Service) -> None:
        kernel = self._hosts[node.name].netfilter()
        queue = Queue(kernel, service["queue"], Inline(ALTERATIONS[service["kind"]]).rewrite)
        what = f"{service['kind']} of queue {service['queue']}"
        self._keeper.start(node.name, what, queue.serve(), holding=kernel)

    def _listen(self, node: NodePlan, port: int, what: str, serve: OnConnection) -> dict[str, socket.socket]:
        """Serve a port over both IP versions; the listening sockets by the loopback address that leads to each."""
        listeners = {}
        for wildcard, loopback in wildcards().items():
            listener = listeners[loopback] = self._hosts[node.name].listen(wildcard, port)
            work = accept(listener, self._keeper, node.name, what, serve)
            self._keeper.start(node.name, what, work, holding=listener)
        return listeners

    def _start_dns(self, node: NodePlan, service: Service) -> None:
        if self._zones is None:
            self._zones = Zones(self._plan)
        zones = self._zones

        async def answer(query: dns_server.Query) -> dns_server.Query:
            return zones.answer(query)

        self._serve_dns(node, service, answer)

    def _start_resolver(self, node: NodePlan, service: Service) -> None:
        resolver = Resolver(self._hosts[node.name], service["upstream"])
        self._serve_dns(node, service, resolver.answer)

    def _serve_dns(self, node: NodePlan, service: Service, answer: dns_server.Answer) -> None:
        host = self._hosts[node.name]
        dns_server.serve(host, self._keeper, service["kind"], answer)
        for loopback in wildcards().values():

            async def probe(address: str = loopback) -> None:
                await ask(host, address, question(dns.name.root, dns.rdatatype.SOA))

            self._probes.append(_Probe(node.name, f"{service['kind']} at {loopback}", probe))

    def _office(self, node: NodePlan) -> MailServer:
        if node.name not in self._offices:
            relay = Relay(self._hosts[node.name], self.mailboxes, self._keeper)
            tls = self._authority.server_context(node)
            self._offices[node.name] = MailServer(node, tls, relay, self.mailboxes, self._keeper)
        return self._offices[node.name]

    def _noting(self, node: str, serve: OnConnection) -> OnConnection:
        """Serve, and note first whose connection it is: also one that breaks before the first byte has its answerer."""

        async def noted(connection: socket.socket, source_port: int) -> None:
            # The first server counts: one that passes connections on may keep their source port.
            self._answered.setdefault(source_port, node)
            await serve(connection, source_port)

        return noted

    def _mail_probe(
        self, host: Host, door: ListenPort, loopback: str, listener: socket.socket
    ) -> Callable[[], Awaitable[None]]:
        async def probe() -> None:
            try:
                connection = await host.connect(loopback, door.port)
            except OSError:
                # The node's own policy may block the port, even on loopback. The kernel then tells whether it listens.
                if listener.fileno() < 0 or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    raise
                return
            await self._greeting(connection, host.hostname if door.implicit_tls else None)

        return probe

    async def _greeting(self, connection: socket.socket, tls_name: str | None) -> None:
        reader, writer = await asyncio.open_connection(
            sock=connection, ssl=self.client_tls if tls_name else None, server_hostname=tls_name
        )
        try:
            greeting = await reader.readline()
        finally:
            writer.close()
        if not greeting.startswith(b"220 "):
            raise LabError(f"it says {greeting!r}")

    async def _prove(self, probe: _Probe) -> None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await probe.run()
        except (OSError, DnsFailure, LabError) as error:
            reason = self.failures.get(probe.node) or str(error) or f"no answer within {PROBE_SECONDS:g} s"
            raise LabError(f"{probe.node}: service {probe.what} does not answer: {reason}") from error
