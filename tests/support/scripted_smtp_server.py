"""A mail server that says what a test wants it to say, on loopback. Sockets, TLS and mail programs are real."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from port25lab.mail.clients import CLIENTS
from port25lab.mail.clients.base import Target
from port25lab.mail.message import build_message
from port25lab.mail.smtp_session import Submission
from port25lab.model.evidence import Observation
from port25lab.model.path import Security
from port25lab.network.host import Finished

CLOSE = None
"""In place of a reply: the connection is closed."""

SILENCE = ""
"""In place of a reply: nothing, for as long as the client waits."""

USUAL: Mapping[str, str | None] = {
    "banner": "220 mx.example.net ESMTP",
    "EHLO": "250-mx.example.net\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES",
    "HELO": "250 mx.example.net",
    "STARTTLS": "220 2.0.0 go ahead",
    "AUTH": "235 2.7.0 welcome",
    "MAIL": "250 2.1.0 fine",
    "RCPT": "250 2.1.5 fine",
    "DATA": "354 go on",
    ".": "250 2.0.0 taken",
    "QUIT": "221 2.0.0 bye",
    "RSET": "250 2.0.0 reset",
}

WITH_TLS = "250-mx.example.net\r\n250 STARTTLS"
WITH_AUTH = "250-mx.example.net\r\n250 AUTH PLAIN LOGIN"

SECONDS = 1.0
"""How long a client waits for an answer."""

authority = trustme.CA()
certificate = authority.issue_cert("mx.example.net", "127.0.0.1")
stranger = authority.issue_cert("another.example.net")


@dataclass
class Script:
    """What the server says. ``after_tls`` replaces replies once the connection is encrypted."""

    says: Mapping[str, str | None] = field(default_factory=dict)
    after_tls: Mapping[str, str | None] = field(default_factory=dict)
    certificate: trustme.LeafCert = certificate
    implicit: bool = False


class Server:
    """Serves a script on 127.0.0.1, in the loop that runs."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        script.certificate.configure_cert(self._context)
        self.heard: list[str] = []

    async def __aenter__(self) -> int:
        tls = self._context if self._script.implicit else None
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        return int(self._server.sockets[0].getsockname()[1])

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks():
            task.cancel()
        await asyncio.gather(*self._tasks(), return_exceptions=True)

    def _tasks(self) -> set[asyncio.Task[Any]]:
        return {task for task in asyncio.all_tasks() if "Server._serve" in repr(task.get_coro())}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        says = {**USUAL, **self._script.says}
        verb, in_data = "banner", False
        while True:
            reply = says.get(verb, "500 5.5.1 what?")
            if reply is CLOSE:
                return
            writer.write(f"{reply}\r\n".encode("latin-1") if reply else b"")
            await writer.drain()
            if verb == "STARTTLS" and str(reply).startswith("220"):
                await writer.start_tls(self._context)
                says |= {"EHLO": USUAL["EHLO"], **self._script.after_tls}
            in_data = verb == "DATA" and str(reply).startswith("354")
            while True:
                line = (await reader.readline()).decode("latin-1")
                if not line:
                    return
                if not in_data or line.rstrip("\r\n") == ".":
                    break
            verb = "." if in_data else line.split()[0].upper() if line.strip() else ""
            self.heard.append(line.strip())


class Loopback:
    """As much of a ``LabHost`` as clients need."""

    name = hostname = "sender.example.org"

    async def connect(self, address: str, port: int, source_port: int | None = None) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
        except BaseException:
            sock.close()
            raise
        return sock

    connect_or_prove = connect

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        seconds: float,
        environment: Mapping[str, str] | None = None,
        **_: Any,
    ) -> Finished:
        started = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | (environment or {}),
        )
        async with asyncio.timeout(seconds):
            said, complained = await process.communicate(stdin)
        return Finished(process.returncode or 0, said, complained, False, time.perf_counter() - started)


async def submit(
    client: str,
    script: Script,
    folder: Path,
    *,
    security: Security = Security.NONE,
    auth: tuple[str, str] | None = None,
    port: int | None = None,
) -> Observation:
    """One message, by one client, to a server that follows a script; ``port``: to another one."""
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    submission = Submission(
        security=security,
        server_name="mx.example.net",
        tls=tls,
        username=auth[0] if auth else None,
        password=auth[1] if auth else None,
        mail_from="sender@example.org",
        rcpt_to="recipient@example.net",
        message=build_message("c0ffee", "sender@example.org", "recipient@example.net"),
        timeout=SECONDS,
        local_hostname="sender.example.org",
    )
    async with Server(script) as own:
        target = Target(host="mx.example.net", addresses=("127.0.0.1",), port=port or own, ip_version=4)
        return await CLIENTS[client].send(Loopback(), target, submission, free_port(), ca_file)  # type: ignore


_ports = itertools.count(10_000 + os.getpid() * 64 % 22_000)
"""Below the ports that Linux gives out by itself (32768 and up), and others in each process: a port that the kernel
gave out and got back may be another test's a moment later."""


def free_port() -> int:
    """A port on which nothing listens, and which no other test uses."""
    for port in _ports:
        with closing(socket.socket()) as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError
