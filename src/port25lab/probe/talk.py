"""One SMTP session of a probe: as far as EHLO and STARTTLS, or with a message.

The session ends by its deadline and uses bounded memory, whatever the server sends (a greeting without end, a line of a
megabyte, bytes that are no text). No mail is sent unless there is a ``Message``.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import re
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from port25lab.model.evidence import LONGEST_REPLY, Stage, enhanced_code
from port25lab.probe.client_view import Certificate, Session
from port25lab.probe.dial import Dialled, drop, icmp_error, unacknowledged

MOST_BYTES = 1 << 16
"""The longest reply that is read. A longer one ends the session."""

GOODBYE_SECONDS = 0.5


@dataclass(frozen=True)
class Message:
    """A message to send, for ``--send-to``."""

    sender: str
    recipient: str
    content: bytes
    user: str | None = None
    password: str | None = None


@dataclass(frozen=True)
class Manner:
    """How to hold a session. ``deadline`` is the loop's time."""

    deadline: float
    tls: ssl.SSLContext
    name: str | None
    """The server's name for TLS (SNI); None: no name is sent."""
    implicit: bool = False
    message: Message | None = None


class UnverifiedError(Exception):
    """The server's certificate does not prove that it is the dialled server. The text says why."""


class _OverError(Exception):
    """The session is over; the reason is in ``_facts``."""


class _EndlessError(Exception):
    """A reply without end."""


@dataclass
class _Reply:
    code: int
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)[:LONGEST_REPLY]


async def talk(dialled: Dialled, host: str, address: str, port: int, manner: Manner) -> Session:
    """Hold a session over a connection, and close it; without a connection, return its error as a ``Session``.

    ``dialled``: the connection. ``host``, ``address``, ``port``: of the server, for the result. ``manner``: how to hold
    the session. Raises UnverifiedError where ``manner.tls`` verifies certificates, and this one proves nothing.
    """
    started = time.monotonic() - dialled.seconds
    facts: dict[str, Any] = {
        "host": host,
        "address": address,
        "port": port,
        "ip_version": dialled.ip_version,
        "ttl": dialled.ttl,
        "times": {Stage.CONNECT.value: dialled.seconds},
        "unsent": dialled.unsent,
    }
    if dialled.sock is None and dialled.taken:
        stage = Stage.TLS if manner.implicit else Stage.BANNER
        return Session(**facts, stage=stage, errno=dialled.error, seconds=dialled.seconds)
    if dialled.sock is None:
        return Session(**facts, stage=Stage.CONNECT, errno=dialled.error, icmp=dialled.icmp, seconds=dialled.seconds)
    conversation = _Conversation(dialled.sock, manner, facts, started)
    return await conversation.hold()


class _Conversation:
    def __init__(self, sock: socket.socket, manner: Manner, facts: dict[str, Any], started: float) -> None:
        self._sock, self._manner, self._facts, self._started = sock, manner, facts, started
        self._witness = sock.dup()  # asyncio closes its own when the connection breaks
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._buffer = bytearray()
        self._heard = 0
        self._lines: list[str] = []
        """Of the reply that is being read."""

    async def hold(self) -> Session:
        try:
            await self._hold()
            await self._leave()
        finally:
            self._close()
        return Session(**self._facts)

    async def _hold(self) -> None:
        self._reached(Stage.TLS if self._manner.implicit else Stage.BANNER)
        try:
            async with asyncio.timeout_at(self._manner.deadline):
                await self._session()
        except _OverError:
            pass
        except TimeoutError:
            self._facts["errno"] = "ETIMEDOUT"
            self._facts["unacknowledged"] = unacknowledged(self._witness)
        except _EndlessError:
            self._facts.update(reply=f"a reply of more than {MOST_BYTES} bytes", endless=True)
        except ssl.SSLCertVerificationError as error:
            raise UnverifiedError(_tls_words(error)) from error
        except ssl.SSLError as error:
            self._facts["reply"] = _tls_words(error)
        except (asyncio.IncompleteReadError, OSError) as error:
            self._broke(error)
        self._facts["heard"] = self._heard
        if self._facts["stage"] is Stage.BANNER and self._heard and "banner" not in self._facts:
            self._facts["banner"] = "\n".join([*self._lines, _text(bytes(self._buffer))])[:LONGEST_REPLY].strip()
        self._facts["seconds"] = round(time.monotonic() - self._started, 6)

    async def _session(self) -> None:
        manner = self._manner
        self._reader, self._writer = await asyncio.open_connection(sock=self._sock, limit=MOST_BYTES)
        if manner.implicit:
            await self._handshake()
            self._reached(Stage.BANNER)
        greeting = await self._reply()
        self._facts["banner"] = greeting.text
        if greeting.code != 220:
            self._refused(greeting)
        keywords = await self._greet()
        self._facts["keywords_tls" if manner.implicit else "keywords"] = keywords
        if not manner.implicit:
            await self._starttls()
        if manner.message is not None:
            await self._send(manner.message)
        else:
            self._reached(Stage.DONE)

    async def _greet(self) -> tuple[str, ...]:
        self._reached(Stage.EHLO)
        reply = await self._ask(f"EHLO {self._own_name()}")
        if reply.code != 250:
            reply = await self._ask(f"HELO {self._own_name()}")  # RFC 5321 section 3.2
            if reply.code != 250:
                self._refused(reply)
            return ()
        return tuple(sorted({line.split()[0].split("=")[0].upper()[:64] for line in reply.lines[1:] if line.split()}))

    async def _starttls(self) -> None:
        """Ask for TLS, offered or not: where a middlebox removed the offer, the server agrees all the same."""
        self._reached(Stage.STARTTLS)
        reply = await self._ask("STARTTLS")
        self._facts["starttls"] = reply.code
        if reply.code != 220:
            if "STARTTLS" in self._facts["keywords"] and self._manner.message is None:
                self._refused(reply)
            return
        self._reached(Stage.TLS)
        self._buffer.clear()  # not protected by TLS, so not a reply to anything after it (CVE-2011-0411)
        await self._handshake()
        self._facts["keywords_tls"] = await self._greet()

    async def _send(self, message: Message) -> None:
        if message.user is not None:
            self._reached(Stage.AUTH)
            if self._facts.get("tls") is None:
                self._over("not logged in: a password does not go over a connection in clear")
            plain = base64.b64encode(f"\0{message.user}\0{message.password or ''}".encode()).decode()
            self._expect(await self._ask(f"AUTH PLAIN {plain}"), 235)
        self._reached(Stage.MAIL)
        self._expect(await self._ask(f"MAIL FROM:<{message.sender}>"), 250)
        self._reached(Stage.RCPT)
        self._expect(await self._ask(f"RCPT TO:<{message.recipient}>"), 250)
        self._reached(Stage.DATA)
        self._expect(await self._ask("DATA"), 354)
        dotted = re.sub(rb"(?m)^\.", b"..", message.content)
        self._expect(await self._ask_bytes(dotted + b"\r\n.\r\n"), 250)
        self._reached(Stage.DONE)

    def _expect(self, reply: _Reply, code: int) -> None:
        if reply.code != code:
            self._refused(reply)

    def _refused(self, reply: _Reply) -> None:
        text = reply.text
        self._facts.update(smtp_code=reply.code, enhanced_code=enhanced_code(text), reply=text)
        raise _OverError

    def _over(self, words: str) -> None:
        self._facts["reply"] = words
        raise _OverError

    async def _ask(self, line: str) -> _Reply:
        return await self._ask_bytes(line.encode("utf-8", "replace") + b"\r\n")

    async def _ask_bytes(self, data: bytes) -> _Reply:
        assert self._writer is not None
        self._writer.write(data)
        await self._writer.drain()
        return await self._reply()

    async def _reply(self) -> _Reply:
        """One reply (RFC 5321 section 4.2), of bounded length."""
        lines = self._lines = []
        size = 0
        while True:
            line = await self._line()
            size += len(line)
            if size > MOST_BYTES:
                raise _EndlessError
            found = re.match(rb"(\d{3})([ -]?)(.*)", line, re.DOTALL)
            if found is None:
                self._over(f"no SMTP reply: {_text(line)[:200]!r}")
                raise AssertionError
            lines.append(_text(found[3]))
            if found[2] != b"-":
                return _Reply(int(found[1]), lines)

    async def _line(self) -> bytes:
        assert self._reader is not None
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MOST_BYTES:
                raise _EndlessError
            part = await self._reader.read(4096)
            if not part:
                raise asyncio.IncompleteReadError(bytes(self._buffer[:100]), None)
            self._heard += len(part)
            self._buffer += part
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        return line

    def _broke(self, error: BaseException) -> None:
        """Note why the connection ended without a reply."""
        icmp = icmp_error(self._witness)
        number = error.errno if isinstance(error, OSError) else None
        name = errno.errorcode.get(number) if number is not None else None
        if name is None and isinstance(error, ConnectionResetError):
            name = "ECONNRESET"
        text = error.strerror if isinstance(error, OSError) else None
        self._facts.update(errno=name, icmp=icmp, reply=text or "the connection was closed", closed=not text)

    async def _handshake(self) -> None:
        assert self._writer is not None
        await self._writer.start_tls(self._manner.tls, server_hostname=self._manner.name)
        tls = self._writer.get_extra_info("ssl_object")
        self._facts["tls"] = tls.version()
        self._facts["certificate"] = read_certificate(tls.getpeercert(binary_form=True) or b"")

    def _own_name(self) -> str:
        """An address literal (RFC 5321 section 4.1.3): the one name that every client has."""
        address = str(self._witness.getsockname()[0]).partition("%")[0]
        return f"[IPv6:{address}]" if ":" in address else f"[{address}]"

    def _reached(self, stage: Stage) -> None:
        self._facts["stage"] = stage
        self._facts["times"].setdefault(stage.value, round(time.monotonic() - self._started, 6))

    async def _leave(self) -> None:
        """Send QUIT, where the session came to an orderly end."""
        listening = self._facts["stage"] is Stage.DONE or "smtp_code" in self._facts
        if self._writer is None or not listening or self._writer.is_closing():
            return
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                self._writer.write(b"QUIT\r\n")
                await self._writer.drain()
                await self._reply()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, _EndlessError, _OverError):
            pass

    def _close(self) -> None:
        done = self._facts["stage"] is Stage.DONE
        if self._writer is not None and isinstance(self._writer.transport, asyncio.WriteTransport):
            self._writer.transport.abort()
        else:
            self._sock.close()
        if done:
            self._witness.close()
        else:
            drop(self._witness)


def read_certificate(der: bytes, problem: str | None = None) -> Certificate:
    """Read a certificate. Where it cannot be parsed, the result has its fingerprint alone."""
    fingerprint = sha256(der).hexdigest()
    from cryptography import x509  # 40 ms, and only probes that reach TLS need it

    try:
        parsed = x509.load_der_x509_certificate(der)
        names = _names(parsed)
        subject, issuer = parsed.subject.rfc4514_string(), parsed.issuer.rfc4514_string()
    except Exception:  # the parser of a hostile server's bytes may fail in many ways
        return Certificate(sha256=fingerprint, problem=problem)
    return Certificate(
        sha256=fingerprint, subject=subject[:500], issuer=issuer[:500], names=tuple(names[:50]), problem=problem
    )


def _names(parsed: Any) -> Sequence[str]:
    from cryptography import x509

    try:
        extension = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value)[:255] for name in extension]


def _tls_words(error: ssl.SSLError) -> str:
    return str(getattr(error, "verify_message", None) or error.reason or error)


def _text(data: bytes) -> str:
    """A server's bytes as text without control characters, which could change a terminal."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "�", data.decode("utf-8", "replace"))[:LONGEST_REPLY]
