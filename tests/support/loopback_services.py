"""A lab without namespaces: every node's servers listen on loopback, and a table says where an address really is.

Sockets, TLS, SMTP and DNS are real; only routing is a dictionary. An address and port may be made to fail with an
errno (``net.broken``), as a policy would have it.
"""

import asyncio
import errno
import functools
import itertools
import os
import random
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from port25lab.mail.message import build_message
from port25lab.mail.services.smtp_server import MailServer
from port25lab.mail.services.start import Services
from port25lab.mail.services.tasks import TaskSupervisor
from port25lab.mail.smtp_session import Submission, dial_and_converse
from port25lab.model.evidence import Observation
from port25lab.model.path import Security
from port25lab.model.plan import InterfacePlan, NodePlan, Plan

USERS = {"alice": "alice-secret"}

LOOPBACK = ("127.0.0.1", "::1")

Place = tuple[str, int]


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def node(name: str, number: int, *services: dict[str, Any], dual: bool = True, **params: Any) -> NodePlan:
    """A node with the address 192.0.2.NUMBER and the like in IPv6."""
    port = {"name": "eth0", "ip": f"192.0.2.{number}/24", "ip6": f"2001:db8::{number}/64" if dual else None}
    params.setdefault("names", (f"{name}.example.test",))
    params.setdefault("resolvers", ("192.0.2.53", "2001:db8::53"))
    return NodePlan(name=name, interfaces=(InterfacePlan(**port),), services=services, **params)


def plan(*nodes: NodePlan) -> Plan:
    """A plan of these nodes, and ``dns``."""
    everybody = (*nodes, node("dns", 53, {"kind": "dns"}))
    return Plan(name="loopback", file=Path("loopback.py"), nodes={one.name: one for one in everybody})


class Net:
    """Where everything is, and what is broken."""

    def __init__(self, plan: Plan) -> None:
        self.streams: dict[Place, tuple[str, int]] = {}
        self.datagrams: dict[Place, tuple[str, int]] = {}
        self.listeners: dict[Place, socket.socket] = {}
        self.broken: dict[Place, int] = {}
        self.dialled: list[Place] = []
        # Below the ephemeral ports, where the servers are.
        self.ports: Iterator[int] = itertools.count(random.randrange(10000, 30000))
        self.hosts: dict[str, LoopbackHost] = {
            name: LoopbackHost(self, one, number) for number, (name, one) in enumerate(plan.nodes.items(), 1)
        }


class LoopbackHost:
    """A ``host.Host``. Its real addresses are one of 127.0.1.0/24 and ::1."""

    def __init__(self, net: Net, node: NodePlan, number: int) -> None:
        self.net, self.node, self.real = net, node, f"127.0.1.{number}"
        self.name, self.hostname, self.addresses = node.name, node.hostname, node.addresses
        self.resolvers = [str(address) for address in node.resolvers]

    def listen(self, address: str, port: int) -> socket.socket:
        version = 6 if ":" in address else 4
        sock = self._socket(version, socket.SOCK_STREAM, bound=True)
        sock.listen(128)
        own = {*self.node.published, *(one.ip for one in self.addresses)}
        for known in (*own, LOOPBACK[version == 6]):
            if str(known) in LOOPBACK or (":" in str(known)) == (version == 6):
                self.net.streams[self._key(str(known)), port] = sock.getsockname()[:2]
                self.net.listeners[self._key(str(known)), port] = sock
        return sock

    def bind_datagram(self, address: str, port: int) -> socket.socket:
        sock = self._socket(6 if ":" in address else 4, socket.SOCK_DGRAM, bound=True)
        self.net.datagrams[self._key(address), port] = sock.getsockname()[:2]
        return sock

    def datagram(self, ip_version: Literal[4, 6]) -> socket.socket:
        return _Datagram(self, ip_version)

    async def connect(self, address: str, port: int, source_port: int | None = None) -> socket.socket:
        place = self._key(address), port
        self.net.dialled.append(place)
        if place in self.net.broken or place not in self.net.streams:
            code = self.net.broken.get(place, errno.ECONNREFUSED)
            raise OSError(code, os.strerror(code))
        sock = self._socket(6 if ":" in address else 4, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("::1" if ":" in address else self.real, source_port or self.source_port()))
            await asyncio.get_running_loop().sock_connect(sock, self.net.streams[place])
        except BaseException:
            sock.close()
            raise
        return sock

    connect_or_prove = connect

    def source_port(self) -> int:
        return next(self.net.ports)

    def _key(self, address: str) -> str:
        return f"{self.name} {address}" if address in LOOPBACK else address

    def _socket(self, version: int, kind: int, *, bound: bool = False) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, kind | socket.SOCK_NONBLOCK)
        if bound:
            sock.bind(("::1" if version == 6 else self.real, 0))
        return sock


class _Datagram(socket.socket):
    """A UDP socket that finds its server by the table."""

    def __init__(self, host: LoopbackHost, version: int) -> None:
        super().__init__(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
        self.setblocking(False)
        self._host = host

    def connect(self, address: Any) -> None:
        place = self._host._key(address[0]), address[1]
        if place in self._host.net.broken or place not in self._host.net.datagrams:
            code = self._host.net.broken.get(place, errno.ECONNREFUSED)
            raise OSError(code, os.strerror(code))
        super().connect(self._host.net.datagrams[place])


@dataclass(frozen=True)
class Arrived:
    """A message in a node's mailbox, with its envelope."""

    node: str
    mail_from: str
    rcpt_tos: tuple[str, ...]
    raw: bytes


@dataclass
class Lab:
    """A loopback lab that runs."""

    plan: Plan
    net: Net
    services: Services
    arrived: list[Arrived] = field(default_factory=list)
    """All messages in mailboxes, in order."""

    def __post_init__(self) -> None:
        for server in self.services._servers.values():
            server.accept = functools.partial(self._accept, server, server.accept)  # type: ignore[method-assign]

    def _accept(
        self, server: MailServer, accept: Callable[..., None], mail_from: str, rcpt_tos: list[str], raw: bytes
    ) -> None:
        if own := tuple(filter(server.owns, rcpt_tos)):
            self.arrived.append(Arrived(server.name, mail_from, own, raw))
        accept(mail_from, rcpt_tos, raw)

    @property
    def hosts(self) -> Mapping[str, LoopbackHost]:
        return self.net.hosts

    def answered_by(self, port: int) -> str | None:
        """The node whose server took the connection from this port."""
        addresses = [*(host.real for host in self.hosts.values()), LOOPBACK[1]]
        return self.services.answered_by((node, address, port) for node in self.hosts for address in addresses)

    async def send(
        self,
        source: str,
        to: str,
        port: int = 25,
        *,
        security: Security = Security.NONE,
        auth: tuple[str, str] | None = None,
        recipient: str = "recipient@example.net",
        sender: str = "sender@example.org",
        token: str | None = None,
        version: int = 4,
        source_port: int | None = None,
    ) -> Observation:
        """One message from a node to a node."""
        host, server = self.hosts[source], self.plan.nodes[to]
        address = next(str(one) for one in server.published if one.version == version)
        submission = Submission(
            security=security,
            server_name=server.hostname,
            tls=self.services.client_tls,
            username=auth[0] if auth else None,
            password=auth[1] if auth else None,
            mail_from=sender,
            rcpt_to=recipient,
            message=build_message(token or secrets.token_hex(8), sender, recipient),
            timeout=2.0,
            local_hostname=host.hostname,
        )
        return await dial_and_converse(host, [address], port, submission, source_port or host.source_port())

    async def arrival(self, node: str) -> None:
        """Return when something is in the node's mailbox."""
        async with asyncio.timeout(2):
            while node not in {message.node for message in self.arrived}:
                await asyncio.sleep(0.001)

    async def talk(self, source: str, to: str, port: int, *lines: str) -> list[str]:
        """Say these lines to a server; its reply to each, the greeting first, the last line of each reply."""
        host, server = self.hosts[source], self.plan.nodes[to]
        sock = await host.connect(str(server.published[0]), port)
        reader, writer = await asyncio.open_connection(sock=sock)
        replies = []
        async with asyncio.timeout(2):
            for line in (None, *lines):
                if line is not None:
                    writer.write(line.encode() + b"\r\n")
                while (reply := (await reader.readline()).decode().rstrip())[3:4] == "-":
                    pass
                replies.append(reply)
        writer.close()
        await writer.wait_closed()
        return replies


@asynccontextmanager
async def running(plan: Plan) -> Any:
    """A lab with all its services."""
    net = Net(plan)
    services = Services(plan, net.hosts)
    await services.start(Path(os.devnull))
    await services.ready()
    try:
        yield Lab(plan, net, services)
    finally:
        await end(services._supervisor)


async def end(supervisor: TaskSupervisor) -> None:
    """End all tasks, and wait until they have closed their sockets. A real lab's process ends instead."""
    while tasks := tuple(supervisor._tasks):
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
