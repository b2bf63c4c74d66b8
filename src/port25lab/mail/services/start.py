"""All services of a lab, in its one event loop: started from the plan, and ready when each has answered."""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from port25lab.errors import LabError
from port25lab.kernel import ipv6
from port25lab.kernel.nfqueue import Queue
from port25lab.mail.host import Host
from port25lab.mail.middleboxes import ALTERATIONS, own_program
from port25lab.mail.middleboxes.fake_servers import FakeServer
from port25lab.mail.middleboxes.packet_rewriter import Inline
from port25lab.mail.middleboxes.proxy import Proxy
from port25lab.mail.resolver import DnsFailure, ask, status_query
from port25lab.mail.services import dns_server
from port25lab.mail.services.certificates import Authority
from port25lab.mail.services.dns_server import Resolver
from port25lab.mail.services.journal import Journal
from port25lab.mail.services.mailbox import Mailboxes
from port25lab.mail.services.recipient_checks import RecipientChecks
from port25lab.mail.services.relay_queue import Relay
from port25lab.mail.services.smtp_server import MailServer, SmtpListener
from port25lab.mail.services.tasks import OnConnection, Peer, TaskSupervisor, accept
from port25lab.mail.services.zones import Zones
from port25lab.model.plan import NodePlan, Plan
from port25lab.model.service_kinds import SERVICE_KINDS, ListenPort, Role, listen_ports_of

READY_SECONDS = 10.0
"""How long a service may take to answer."""

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""The addresses on which servers listen, and for each the address at which the readiness check finds them."""


def wildcards() -> dict[str, str]:
    """``WILDCARDS`` of the IP versions that this kernel has."""
    return {wildcard: loopback for wildcard, loopback in WILDCARDS.items() if ":" not in wildcard or ipv6.works()}


Service = Mapping[str, Any]


@dataclass(frozen=True)
class _Readiness:
    """A readiness check: ``check`` returns when the service has answered, and raises an error where it does not."""

    node: str
    what: str
    check: Callable[[], Awaitable[None]]


class Services:
    """``start`` them, wait until they are ``ready``, then read ``mailboxes``, ``answered_by`` and ``failures``."""

    def __init__(self, plan: Plan, hosts: Mapping[str, Host]) -> None:
        self._plan, self._hosts = plan, hosts
        self._authority = Authority()
        self.journal = Journal()
        """What they did."""
        self._supervisor = TaskSupervisor(self.journal)
        self._zones: Zones | None = None
        self._servers: dict[str, MailServer] = {}
        self._answered: dict[tuple[str, str, int], int] = {}
        """By node, and the client's address and port as the server sees them: the order in which they came."""
        self._readiness: dict[str, _Readiness] = {}
        """By kind of server: one of a kind answers for all, which listen from the moment on at which they are made."""
        self.mailboxes = Mailboxes()
        self.client_tls: ssl.SSLContext = self._authority.client_context()
        """Trusts the lab's servers, and verifies their names."""

    @property
    def failures(self) -> dict[str, str]:
        """Node → why its service died. The others go on."""
        return self._supervisor.failures

    def answered_by(self, arrivals: Iterable[tuple[str, str, int]]) -> str | None:
        """The node whose mail server accepted a connection first.

        ``arrivals``: of the SYNs of an attempt, each node where one arrived, with its source address and port there.
        """
        taken = [(order, arrival[0]) for arrival in arrivals if (order := self._answered.get(arrival)) is not None]
        return min(taken)[1] if taken else None

    async def start(self, ca_file: Path) -> None:
        """Start everything. ``ca_file`` gets the certificate of the lab's authority. Raises LabError."""
        self._authority.write(ca_file)
        builders = {
            Role.MAIL: self._start_mail,
            Role.AUTHORITY: self._start_dns,
            Role.RESOLVER: self._start_resolver,
            Role.STAND_IN: self._start_fake_server,
            Role.OWN: self._start_own,
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
        """Return when a service of each kind has answered. Raises LabError for the first that does not."""
        for end in await asyncio.gather(*map(self._wait_for, self._readiness.values()), return_exceptions=True):
            if end is not None:
                raise end
        self.journal.forget()

    def _start_mail(self, node: NodePlan, service: Service) -> None:
        host = self._hosts[node.name]
        recipient_checks = RecipientChecks(host, service)
        for listen_port in listen_ports_of(service):
            smtp = SmtpListener(self._server(node), listen_port, service, recipient_checks)
            sockets = self._listen(node, listen_port.port, smtp.what, self._recording(node.name, smtp.what, smtp.serve))
            loopback, listening = next(iter(sockets.items()))
            check = self._mail_readiness(host, listen_port, loopback, listening)
            self._readiness.setdefault(smtp.what, _Readiness(node.name, smtp.what, check))

    def _start_fake_server(self, node: NodePlan, service: Service) -> None:
        server = FakeServer(service)
        self._listen(node, service["port"], server.what, self._recording(node.name, server.what, server.serve))

    def _start_own(self, node: NodePlan, service: Service) -> None:
        """A program of the user's: it gets the connections that are accepted here."""
        file = service["program"]["file"]
        what = f"{file} on port {service['port']}"
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        ours.send(own_program.hello({**service, "hostname": node.hostname}))

        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            said = await self._hosts[node.name].fed(own_program.command(), theirs)
            ended.set_result(said.splitlines()[-1] if said else f"{file}: it ended")
            raise LabError(ended.result())

        async def hand_over(connection: socket.socket, _: Peer) -> None:
            own_program.hand_over(ours, connection)

        async def ready() -> None:
            if await asyncio.get_running_loop().sock_recv(ours, 1) != own_program.READY:
                raise LabError(await ended)
            self._supervisor.start(node.name, what, hear(), holding=ours)

        async def hear() -> None:
            """The program says that the handler failed. That is recorded before the client sees anything of it."""
            while said := await asyncio.get_running_loop().sock_recv(ours, 1 + own_program.LONGEST_WORDS):
                self._supervisor.failed(node.name, what, LabError(said.removeprefix(own_program.FAILED).decode()))
                ours.send(own_program.NOTED)

        self._supervisor.start(node.name, what, run(), holding=ours)
        self._listen(node, service["port"], what, self._recording(node.name, what, hand_over))
        self._readiness[f"{node.name} {what}"] = _Readiness(node.name, what, ready)

    def _start_proxy(self, node: NodePlan, service: Service) -> None:
        port, kind = service["port"], service["kind"]
        proxy = Proxy(self._hosts[node.name], f"{kind} on port {port}", port, ALTERATIONS[kind])
        self._listen(node, port, proxy.what, proxy.serve)

    def _start_queue(self, node: NodePlan, service: Service) -> None:
        kernel = self._hosts[node.name].netfilter()
        queue = Queue(kernel, service["queue"], Inline(ALTERATIONS[service["kind"]]).rewrite)
        what = f"{service['kind']} of queue {service['queue']}"
        self._supervisor.start(node.name, what, queue.serve(), holding=kernel)

    def _listen(self, node: NodePlan, port: int, what: str, serve: OnConnection) -> dict[str, socket.socket]:
        """Serve a port over both IP versions. Returns the listening socket for each loopback address."""
        sockets = {}
        for wildcard, loopback in wildcards().items():
            listening = sockets[loopback] = self._hosts[node.name].listen(wildcard, port)
            work = accept(listening, self._supervisor, node.name, what, serve)
            self._supervisor.start(node.name, what, work, holding=listening)
        return sockets

    def _start_dns(self, node: NodePlan, service: Service) -> None:
        if self._zones is None:
            self._zones = Zones(self._plan)
        zones = self._zones

        async def answer(query: dns_server.Query) -> dns_server.Query:
            return zones.answer(query)

        self._serve_dns(node, service, answer, lambda _: math.inf)

    def _start_resolver(self, node: NodePlan, service: Service) -> None:
        resolver = Resolver(self._hosts[node.name], service["upstream"])
        self._serve_dns(node, service, resolver.answer, resolver.lasting)

    def _serve_dns(
        self, node: NodePlan, service: Service, answer: dns_server.Answer, lasting: dns_server.Lasting
    ) -> None:
        host = self._hosts[node.name]
        note = partial(self.journal.note, node.name, service["kind"])
        dns_server.serve(host, self._supervisor, service["kind"], answer, lasting, note)
        loopback = next(iter(wildcards().values()))

        async def check() -> None:
            await ask(host, loopback, status_query())

        self._readiness.setdefault(service["kind"], _Readiness(node.name, f"{service['kind']} at {loopback}", check))

    def _server(self, node: NodePlan) -> MailServer:
        if node.name not in self._servers:
            relay = Relay(self._hosts[node.name], self.mailboxes, self._supervisor, self.journal)
            tls = partial(self._authority.server_context, node)
            self._servers[node.name] = MailServer(node, tls, relay, self.mailboxes, self._supervisor, self.journal)
        return self._servers[node.name]

    def _recording(self, node: str, what: str, serve: OnConnection) -> OnConnection:
        """Record which node took a connection before it is served, so that one that breaks at once is recorded too."""

        async def recorded(connection: socket.socket, peer: Peer) -> None:
            self._answered.setdefault((node, *peer), len(self._answered))
            self.journal.note(node, what, f"{peer[0]} port {peer[1]}: connected")
            await serve(connection, peer)

        return recorded

    def _mail_readiness(
        self, host: Host, listen_port: ListenPort, loopback: str, listening: socket.socket
    ) -> Callable[[], Awaitable[None]]:
        """The readiness check of one listening socket of a mail server: its greeting, at a loopback address."""

        async def check() -> None:
            try:
                connection = await host.connect(loopback, listen_port.port)
            except OSError:
                # The node's own policy may block the port, even on loopback. The kernel then tells whether it listens.
                if listening.fileno() < 0 or not listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    raise
                return
            await self._greeting(connection, host.hostname if listen_port.implicit_tls else None)

        return check

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

    async def _wait_for(self, readiness: _Readiness) -> None:
        try:
            async with asyncio.timeout(READY_SECONDS):
                await readiness.check()
        except (OSError, DnsFailure, LabError) as error:
            reason = self.failures.get(readiness.node) or str(error) or f"no answer within {READY_SECONDS:g} s"
            raise LabError(f"{readiness.node}: service {readiness.what} does not answer: {reason}") from error
