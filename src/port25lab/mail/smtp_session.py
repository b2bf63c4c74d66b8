"""One SMTP session over one socket. Out: an observation of how far the session came, and what ended it.

The default client and every relay use this module. aiosmtplib speaks SMTP (RFC 5321, RFC 3207, RFC 4954); the length of
replies is limited, and so is the time for each (``Submission.timeout``).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
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
from port25lab.network.silence import SilenceProvenError

CLOSED = "the server closed the connection"


@dataclass(frozen=True)
class Submission:
    """What to send to a server: the envelope, the message, TLS and login. Times in seconds."""

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
    """For each reply of the server."""
    local_hostname: str
    opportunistic: bool = False
    """Use STARTTLS where it is offered, and go on in clear where it is not (RFC 7435), as MTAs do between servers."""
    before_mail: Callable[[], Awaitable[None]] | None = None
    """Awaited in the open session, before MAIL: the default client alone does."""


async def dial_and_converse(
    host: Host, addresses: Sequence[str], port: int, submission: Submission, source_port: int
) -> Observation:
    """Dial each address in turn until one connects, and submit the message there.

    ``addresses``: of the server, in order. ``source_port``: which to bind. Returns the observation of the session, or
    of the last address that failed.
    """
    started = time.perf_counter()
    observation = Observation(stage=Stage.CONNECT)
    for address in addresses:
        try:
            sock = await host.connect_or_prove(address, port, source_port)
        except OSError as error:
            proven = isinstance(error, SilenceProvenError)
            observation = Observation(
                stage=Stage.CONNECT,
                errno=symbol(error),
                reply=_strerror(error),
                address=address,
                proven_early=proven,
            )
        else:
            observation = await converse(sock, submission, address, started)
            break
    return observation.model_copy(update={"seconds": round(time.perf_counter() - started, 6)})


async def converse(
    sock: socket.socket, submission: Submission, address: str, started: float | None = None
) -> Observation:
    """Submit one message over a connected socket, which is closed at the end.

    ``address``: the server's. ``started``: the time (time.perf_counter) from which ``seconds`` and ``times`` of the
    observation count, to the end of the session without QUIT. Errors of the server and the network are in the
    observation, not raised.
    """
    started = time.perf_counter() if started is None else started
    session = _Session(sock, submission, address, started)
    try:
        await session.submit()
    except (SMTPException, OSError) as error:
        session.ended_by(error)
    observation = session.observation.model_copy(update={"seconds": round(time.perf_counter() - started, 6)})
    await session.quit()
    return observation


def _strerror(error: OSError) -> str:
    """``Connection timed out``. asyncio's own text repeats the address."""
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
    """A session, and the stage that it has reached."""

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
        self.observation = Observation(stage=Stage.BANNER, address=address)

    async def submit(self) -> None:
        """Submit the message. Raises aiosmtplib's errors; ``observation`` then has the stage that was reached."""
        submission = self._submission
        self._reached(Stage.TLS if submission.security is Security.IMPLICIT else Stage.BANNER)
        banner = await self._smtp.connect()
        self._reached(Stage.BANNER, banner=_clean(banner.message))
        self._note_tls()
        await self._greet()
        starttls_offered = self._smtp.supports_extension("starttls")
        if submission.security is Security.STARTTLS or (submission.opportunistic and starttls_offered):
            self._reached(Stage.STARTTLS)
            if not self._offered("STARTTLS", starttls_offered):
                return
            await self._smtp.starttls()
            self._note_tls()
            await self._greet()
        if submission.username is not None:
            self._reached(Stage.AUTH)
            if not self._offered("AUTH", bool(self._smtp.supported_auth_methods)):
                return
            await self._smtp.login(submission.username, submission.password or "")
        if submission.before_mail is not None:
            await submission.before_mail()
        self._reached(Stage.MAIL)
        await self._smtp.mail(submission.mail_from)
        self._reached(Stage.RCPT)
        await self._smtp.rcpt(submission.rcpt_to)
        self._reached(Stage.DATA)
        done = await self._smtp.data(submission.message)
        self._reached(Stage.DONE)
        self._note_reply(done.code, done.message)

    def ended_by(self, error: Exception) -> None:
        """Record the error that ended the session."""
        stage = self.observation.stage
        if isinstance(error, SMTPResponseException):
            if error.code < 0:  # aiosmtplib has read something that is no SMTP reply
                self._update(reply=_clean(error.message))
            else:
                self._note_reply(error.code, error.message)
                if stage in (Stage.TLS, Stage.BANNER):
                    self._update(banner=_clean(error.message))
            if stage is Stage.TLS:
                self._reached(Stage.BANNER)
        elif isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
            self._update(stage=Stage.TLS, reply=_tls_words(error))
        else:
            self._update(
                stage=_stage_of_silence(stage, error),
                errno=symbol(error),
                reply=self._words(error),
                timed_out=isinstance(error, TimeoutError),
            )

    async def quit(self) -> None:
        """Send QUIT where the connection is open, and close. The server's reply to QUIT is not recorded."""
        transport = self._smtp.transport
        try:
            if self._smtp.is_connected:
                await self._smtp.quit(timeout=min(1.0, self._submission.timeout))
        except (SMTPException, OSError):
            pass
        finally:
            self._smtp.close()
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()  # closing TLS waits for the server's close_notify; the socket is to be closed now
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
        self._update(stage=stage, times={**self.observation.times, stage.value: now}, **more)

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
        self.observation = self.observation.model_copy(update=fields)


def _stage_of_silence(stage: Stage, error: Exception) -> Stage:
    """One call of aiosmtplib makes handshake and greeting, or STARTTLS and handshake; the cause shows which failed."""
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
    """Text from a server, valid Unicode and limited in length."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:LONGEST_REPLY]
