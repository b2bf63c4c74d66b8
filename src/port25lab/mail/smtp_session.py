"""One SMTP session over one socket, told as an observation: how far it came, and what ended it.

The default client and every relay speak through this room. aiosmtplib holds the conversation (RFC 5321, RFC 3207,
RFC 4954); its replies are bounded in length, and every answer is waited for within ``Submission.timeout``.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from aiosmtplib import (
    SMTP,
    SMTPConnectError,
    SMTPException,
    SMTPHeloError,
    SMTPResponseException,
    SMTPServerDisconnected,
)

from port25lab.mail.host import Host
from port25lab.model.evidence import LONGEST_REPLY, Observation, Stage, enhanced_code, silence
from port25lab.model.path import Security

CLOSED = "the server closed the connection"


@dataclass(frozen=True)
class Submission:
    """What is to be said to a server: the envelope, the message, and how to say it. Times in seconds."""

    security: Security
    server_name: str
    """For TLS: the name that the server's certificate must carry (RFC 6125)."""
    tls: ssl.SSLContext
    username: str | None
    password: str | None
    mail_from: str
    rcpt_to: str
    message: bytes
    timeout: float
    """For each answer of the server."""
    local_hostname: str
    opportunistic: bool = False
    """Use STARTTLS where it is offered, and go on in clear where it is not (RFC 7435), as MTAs do among themselves."""


async def dial_and_converse(
    host: Host, addresses: Sequence[str], port: int, submission: Submission, source_port: int
) -> Observation:
    """Dial each address in turn until one connects, and converse there; the last failure is the one that counts."""
    started = time.perf_counter()
    seen = Observation(stage=Stage.CONNECT)
    for address in addresses:
        try:
            sock = await host.connect(address, port, source_port)
        except OSError as error:
            seen = Observation(stage=Stage.CONNECT, errno=symbol(error), reply=_kernels_words(error), address=address)
        else:
            seen = await converse(sock, submission, address, started)
            break
    return seen.model_copy(update={"seconds": round(time.perf_counter() - started, 6)})


async def converse(
    sock: socket.socket, submission: Submission, address: str, started: float | None = None
) -> Observation:
    """Submit one message over a connected socket, which is closed at the end.

    Never raises for what the server does. ``seconds`` and ``times`` count from ``started`` (time.perf_counter), and
    leave the goodbye out.
    """
    started = time.perf_counter() if started is None else started
    session = _Session(sock, submission, address, started)
    try:
        await session.hold()
    except (SMTPException, OSError) as error:
        session.ended_by(error)
    seen = session.seen.model_copy(update={"seconds": round(time.perf_counter() - started, 6)})
    await session.leave()
    return seen


def _kernels_words(error: OSError) -> str:
    """``Connection timed out``; asyncio has words of its own, which say the address again."""
    return os.strerror(error.errno) if error.errno else str(error)


def symbol(error: BaseException) -> str | None:
    """``ECONNREFUSED`` and the like: the first errno in an error and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and isinstance(cause.errno, int) and not isinstance(cause, ssl.SSLError):
            return errno.errorcode.get(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return "ETIMEDOUT" if isinstance(error, TimeoutError) and not isinstance(error, SMTPException) else None


class _Session:
    """A conversation, and how far it has come."""

    def __init__(self, sock: socket.socket, submission: Submission, address: str, started: float) -> None:
        self._sock, self._submission = sock, submission
        self._smtp = SMTP(
            hostname=submission.server_name,
            sock=sock,
            local_hostname=submission.local_hostname,
            timeout=submission.timeout,
            tls_context=submission.tls,
            use_tls=submission.security is Security.IMPLICIT,
            start_tls=False,
        )
        self._started = started
        self.seen = Observation(stage=Stage.BANNER, address=address)

    async def hold(self) -> None:
        """Say everything. Raises what aiosmtplib raises; ``seen`` tells where it was then."""
        wants = self._submission
        self._reached(Stage.TLS if wants.security is Security.IMPLICIT else Stage.BANNER)
        banner = await self._smtp.connect()
        self._reached(Stage.BANNER, banner=_clean(banner.message))
        self._note_tls()
        await self._greet()
        if wants.security is Security.STARTTLS or (wants.opportunistic and self._smtp.supports_extension("starttls")):
            self._reached(Stage.STARTTLS)
            if not self._offered("STARTTLS", self._smtp.supports_extension("starttls")):
                return
            await self._smtp.starttls()
            self._note_tls()
            await self._greet()
        if wants.username is not None:
            self._reached(Stage.AUTH)
            if not self._offered("AUTH", bool(self._smtp.supported_auth_methods)):
                return
            await self._smtp.login(wants.username, wants.password or "")
        self._reached(Stage.MAIL)
        await self._smtp.mail(wants.mail_from)
        self._reached(Stage.RCPT)
        await self._smtp.rcpt(wants.rcpt_to)
        self._reached(Stage.DATA)
        done = await self._smtp.data(wants.message)
        self._reached(Stage.DONE)
        self._note_reply(done.code, done.message)

    def ended_by(self, error: Exception) -> None:
        """Write down what an error says of the network and the server."""
        stage = self.seen.stage
        if isinstance(error, SMTPResponseException):
            if error.code < 0:  # aiosmtplib's way to say that it was no SMTP reply
                self._update(reply=_clean(error.message))
            else:
                self._note_reply(error.code, error.message)
                self._update(banner=_clean(error.message) if stage in (Stage.TLS, Stage.BANNER) else self.seen.banner)
            if stage is Stage.TLS:
                self._reached(Stage.BANNER)
        elif isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
            self._update(stage=Stage.TLS, reply=_tls_words(error))
        else:
            self._update(stage=_stage_of_silence(stage, error), errno=symbol(error), reply=self._words(error))

    async def leave(self) -> None:
        """Say goodbye where somebody still listens, and close. What the server answers to that is its own affair."""
        transport = self._smtp.transport
        try:
            if self._smtp.is_connected:
                await self._smtp.quit(timeout=min(1.0, self._submission.timeout))
        except (SMTPException, OSError):
            pass
        finally:
            self._smtp.close()
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()  # TLS would wait for the other side's goodbye, on a socket that is to be closed now
            else:
                self._sock.close()

    async def _greet(self) -> None:
        self._reached(Stage.EHLO)
        try:
            await self._smtp.ehlo()
        except SMTPHeloError:
            if not self._smtp.is_connected:
                raise
            await self._smtp.helo()  # RFC 5321 section 3.2: an old server knows no EHLO
        self._update(keywords=tuple(sorted(keyword.upper() for keyword in self._smtp.esmtp_extensions)))

    def _offered(self, extension: Literal["STARTTLS", "AUTH"], there: bool) -> bool:
        if not there:
            self._update(missing=extension, reply=f"the server does not offer {extension}")
        return there

    def _reached(self, stage: Stage, **more: str | None) -> None:
        now = round(time.perf_counter() - self._started, 6)
        self._update(stage=stage, times={**self.seen.times, stage.value: now}, **more)

    def _note_reply(self, code: int, text: str) -> None:
        reply = _clean(text)
        self._update(smtp_code=code, enhanced_code=enhanced_code(reply), reply=reply)

    def _note_tls(self) -> None:
        tls = self._smtp.get_transport_info("ssl_object")
        if tls:
            certificate = sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()
            self._update(tls=tls.version(), certificate=certificate)

    def _words(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return silence(self._submission.timeout)
        if symbol(error) is None and isinstance(error, SMTPServerDisconnected | SMTPConnectError):
            return CLOSED
        return getattr(_root(error), "strerror", None) or str(error)

    def _update(self, **fields: object) -> None:
        self.seen = self.seen.model_copy(update=fields)


def _stage_of_silence(stage: Stage, error: Exception) -> Stage:
    """Handshake or greeting, STARTTLS or handshake: one call makes both, and the cause tells which."""
    if stage is Stage.TLS and isinstance(error, SMTPConnectError) and isinstance(error.__cause__, SMTPException):
        return Stage.BANNER
    if stage is Stage.STARTTLS and "upgrading" in str(error):
        return Stage.TLS
    return stage


def _tls_words(error: Exception) -> str:
    cause = error if isinstance(error, ssl.SSLError) else error.__cause__
    return getattr(cause, "verify_message", None) or getattr(cause, "reason", None) or str(cause)


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _clean(text: str) -> str:
    """Text from a server as text that any JSON can carry, and not too much of it."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:LONGEST_REPLY]
