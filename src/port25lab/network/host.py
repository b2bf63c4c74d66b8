"""A node as services and clients use it: sockets and processes in the node's namespace.

A socket belongs to the network namespace in which it was created. So one event loop serves every node of a lab: the
thread enters the namespace, creates the socket and returns.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from port25lab.errors import LabError
from port25lab.kernel import confinement, ipv6, namespaces, sandbox
from port25lab.kernel.headers import ETH_P_ALL
from port25lab.kernel.netlink import NETLINK_NETFILTER
from port25lab.model.addresses import IPInterface, IpVersion
from port25lab.model.plan import Plan
from port25lab.network.builder import EVERY_NODE, SOURCE_PORTS, LabNode
from port25lab.network.silence import Silence, SilenceProvenError, Unwatched

CONNECT_SECONDS = 1.3
"""How long an unanswered SYN may take, its retransmission after 1 s (RFC 6298 section 2) included."""

MOST_OUTPUT = 16 << 20
"""Bytes of each output of a program that are kept."""

FILES = Path("/run/port25lab")
"""The folder with each node's own /etc files, which are mounted over the host's."""

NETNS = Path("/run/netns")
"""Where ip-netns(8) looks for names; private to the sandbox."""

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")

_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}

_IPV6_RECVERR = 25


@dataclass(frozen=True)
class Finished:
    """A program that ran in a host."""

    returncode: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    seconds: float
    """From its start to its end."""


class LabHost:
    """Sockets and programs in one node. Implements ``mail.host.Host``."""

    def __init__(self, node: LabNode, ports: Iterator[int], silence: Silence | None = None) -> None:
        """Write the node's /etc files.

        ``node``: the node. ``ports``: source ports that nothing in the lab has used. ``silence``: tells of SYNs that
        were dropped for good.
        """
        self._node = node
        self._ports = ports
        self._silence: Silence = silence or Unwatched()
        self.name: str = node.name
        self.hostname: str = node.plan.hostname
        self.addresses: tuple[IPInterface, ...] = node.plan.addresses
        self.resolvers: tuple[str, ...] = tuple(str(address) for address in node.plan.resolvers)
        self._write_etc()

    def listen(self, address: str, port: int) -> socket.socket:
        """A listening TCP socket. ``address``: ``::`` listens on IPv6 alone."""
        sock = self._bound(socket.SOCK_STREAM, address, port)
        sock.listen(128)
        return sock

    def bind_datagram(self, address: str, port: int) -> socket.socket:
        """A bound UDP socket."""
        return self._bound(socket.SOCK_DGRAM, address, port)

    def datagram(self, ip_version: IpVersion) -> socket.socket:
        """A UDP socket with an ephemeral port."""
        return self._socket(_FAMILY[ip_version], socket.SOCK_DGRAM)

    def raw(self, ip_version: IpVersion, protocol: int) -> socket.socket:
        """A raw socket (raw(7)), for the ICMP errors that reach the node."""
        return self._socket(_FAMILY[ip_version], socket.SOCK_RAW, protocol)

    def netfilter(self) -> socket.socket:
        """A netlink socket to the node's own netfilter (nfnetlink)."""
        sock = self._socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        sock.bind((0, 0))
        return sock

    def packets(self) -> socket.socket:
        """A packet socket (packet(7)): all that the node's interfaces take in or send, from the IP header on."""
        return self._socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))

    def dial(self, ip_version: IpVersion, source_port: int | None = None) -> socket.socket:
        """A TCP socket bound to a source port of its own, whose connect ends after CONNECT_SECONDS.

        Over IPv6 it reports an ICMPv6 error at once. A lab has no delay, so the error may come while connect(2) still
        holds the socket, and Linux then keeps it until the retransmission; a client of a real network gets it at once.
        """
        # asyncio switches Nagle's algorithm off for sockets whose protocol is named.
        sock = self._socket(_FAMILY[ip_version], socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(CONNECT_SECONDS * 1000))
        if ip_version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        sock.bind(("::" if ip_version == 6 else "0.0.0.0", source_port or self.source_port()))  # noqa: S104
        return sock

    async def connect(self, address: str, port: int, source_port: int | None = None) -> socket.socket:
        """A connected TCP socket. Raises OSError with the kernel's errno."""
        return await self._connected(self.dial(6 if ":" in address else 4, source_port), address, port)

    async def connect_or_prove(self, address: str, port: int, source_port: int) -> socket.socket:
        """As ``connect``; but a SYN that is dropped for good is not waited for.

        A second SYN from the same port then stands for the retransmission. Where the same rule drops it,
        SilenceProvenError is raised; otherwise the wait goes on.
        """
        dropped_at = None
        while True:
            sock = self.dial(6 if ":" in address else 4, source_port)
            with self._silence.watch(self.name, source_port) as dropped:
                connecting = asyncio.ensure_future(self._connected(sock, address, port))
                try:
                    either: set[asyncio.Future[Any]] = {connecting, dropped}
                    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                    again = dropped_at is not None
                    if connecting.done() or (again and dropped.result() != dropped_at):
                        return await connecting
                finally:
                    await _cancelled(connecting)
                if again:
                    raise SilenceProvenError
                dropped_at = dropped.result()

    async def _connected(self, sock: socket.socket, address: str, port: int) -> socket.socket:
        self._silence.before_connecting()  # right before each SYN, also where many tasks begin in one turn of the loop
        try:
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
        except BaseException:
            sock.close()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 0)
        return sock

    def source_port(self) -> int:
        """A source port that nothing in the lab has used."""
        port = next(self._ports, None)
        if port is None:
            raise LabError(
                f"all {len(SOURCE_PORTS)} source ports of this lab are used: an attempt takes one or more, and so does "
                "each try of a relay; run fewer paths at once"
            )
        return port

    def source_ports(self, count: int) -> range:
        """Consecutive source ports that nothing in the lab has used."""
        ports = [self.source_port() for _ in range(count)]
        return range(ports[0], ports[-1] + 1)

    @contextmanager
    def ephemeral_ports(self, ports: range) -> Iterator[None]:
        """Make these the node's ephemeral ports: programs that leave the source port to the kernel get one of them."""
        self._node.run_inside(lambda: _EPHEMERAL.write_text(f"{ports[0]} {ports[-1]}"))
        try:
            yield
        finally:
            self._node.run_inside(lambda: _EPHEMERAL.write_text(EVERY_NODE["net/ipv4/ip_local_port_range"]))

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", seconds: float, environment: Mapping[str, str] | None = None
    ) -> Finished:
        """Run a program in the node, with the node's own resolv.conf and hosts.

        ``argv``: the program and its arguments. ``stdin``: its input. ``seconds``: it is killed after that time.
        ``environment``: variables that are added to the lab's. Raises LabError where there is no such program.
        """
        started = time.perf_counter()
        process = await self._start(argv, environment or {}, stderr=asyncio.subprocess.PIPE)
        talk = asyncio.ensure_future(_communicate(process, stdin))
        done, _ = await asyncio.wait({talk}, timeout=seconds)
        if not done:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = await talk
        seconds = round(time.perf_counter() - started, 6)
        return Finished(process.returncode or 0, stdout, stderr, timed_out=not done, seconds=seconds)

    @asynccontextmanager
    async def running(self, argv: Sequence[str]) -> AsyncIterator[asyncio.StreamReader]:
        """Keep a program running in the node until the block ends; yields its stdout and stderr in one stream."""
        process = await self._start(argv, {}, stderr=asyncio.subprocess.STDOUT)
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            await asyncio.to_thread(_reap_session, process.pid)

    async def fed(self, argv: Sequence[str], channel: socket.socket) -> str:
        """Run a program in the node whose standard input is a socket, until it ends. Returns what it said on stderr."""
        process = await self._start(argv, {}, stderr=asyncio.subprocess.PIPE, stdin=channel.fileno())
        channel.close()
        try:
            _, said = await process.communicate()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return said.decode(errors="replace").strip()

    def named(self) -> Path:
        """Give the node's namespace a name, so that `ip netns exec NODE` and `nsenter` find it."""
        place = NETNS / self.name
        if not place.exists():
            NETNS.mkdir(parents=True, exist_ok=True)
            place.touch()
            namespaces.mount(f"/proc/self/fd/{self._node.network}", str(place), None, namespaces.MS_BIND)
        return place

    async def _start(
        self, argv: Sequence[str], environment: Mapping[str, str], stderr: int, stdin: int = asyncio.subprocess.PIPE
    ) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                *argv,
                stdin=stdin,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                env=os.environ | environment,
                preexec_fn=self._move_in,
            )
        except FileNotFoundError as error:
            raise LabError(f"{self.name}: no program {argv[0]!r} on this machine") from error

    def _socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        def make() -> socket.socket:
            return socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)

        sock: socket.socket = self._node.run_inside(make)
        return sock

    def _bound(self, kind: int, address: str, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        # asyncio switches Nagle's algorithm off for sockets whose protocol is named.
        sock = self._socket(family, kind, socket.IPPROTO_TCP if kind == socket.SOCK_STREAM else 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        return sock

    def _write_etc(self) -> None:
        folder = FILES / self.name
        folder.mkdir(parents=True, exist_ok=True)
        servers = "".join(f"nameserver {address}\n" for address in self.resolvers)
        (folder / "resolv.conf").write_text(servers + "options timeout:1 attempts:2\n")
        local = "127.0.0.1 localhost\n::1 localhost\n" if ipv6.works() else "127.0.0.1 localhost\n"
        (folder / "hosts").write_text(f"{local}127.0.1.1 {self.hostname} {self.name}\n")

    def _move_in(self) -> None:
        move_in(self._node.network, self.name)


def move_in(network: int, name: str) -> None:
    """Enter a node's namespaces, with the limits of programs in nodes; for the child between fork and exec.

    ``network``: a descriptor of its network namespace. ``name``: of the node.
    """
    namespaces.setns(network)
    namespaces.unshare(namespaces.NEWNS)
    for file in (FILES / name).iterdir():
        namespaces.mount(str(file), f"/etc/{file.name}", None, namespaces.MS_BIND)
    sandbox.mount_sysfs()
    confinement.drop_capabilities(confinement.PROGRAM)


async def _cancelled(task: asyncio.Future[socket.socket]) -> None:
    """End a task, and wait until its socket is closed: the event loop must have forgotten the descriptor."""
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await task


async def _communicate(process: asyncio.subprocess.Process, stdin: bytes) -> tuple[bytes, bytes]:
    """As ``Process.communicate``, in bounded memory: a program that writes more than MOST_OUTPUT is killed."""
    assert process.stdin and process.stdout and process.stderr

    async def read(stream: asyncio.StreamReader) -> bytes:
        said = bytearray()
        while part := await stream.read(1 << 16):
            if len(said) + len(part) > MOST_OUTPUT:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                part = part[: MOST_OUTPUT - len(said)]
            said += part
        return bytes(said)

    async def write(stream: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # the program need not read its input
            stream.write(stdin)
            await stream.drain()
        stream.close()
        with suppress(ConnectionError):
            await stream.wait_closed()

    stdout, stderr, _ = await asyncio.gather(read(process.stdout), read(process.stderr), write(process.stdin))
    await process.wait()
    return stdout, stderr


def _reap_session(session: int) -> None:
    """Reap the children of a killed program: they are now children of PID 1, which is this process."""
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-session, 0)


def prepare_etc() -> None:
    """Create the files that nodes mount theirs over: /etc/resolv.conf is often a link into /run, empty in a sandbox."""
    for name in ("resolv.conf", "hosts"):
        target = Path("/etc", name).resolve()
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()


def publish_names(plan: Plan) -> None:
    """Give programs of this process the names of the lab, as iptables-restore looks up host names in rules.

    On a router they are looked up when rules are loaded; there is no DNS yet when a lab does that. A name that the lab
    does not have is refused at once: the machine's own DNS is not asked.
    """
    lines = ["127.0.0.1 localhost"]
    for node in plan.nodes.values():
        names = " ".join((*node.names, *node.aliases, node.name))
        lines += [f"{address} {names}" for address in node.published]
    files = {"hosts": "\n".join([*lines, ""]), "resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"}
    folder = FILES / ".lab"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
        namespaces.mount(str(folder / name), f"/etc/{name}", None, namespaces.MS_BIND)
