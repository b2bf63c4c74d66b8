"""A node's mail server, and the ports on which it speaks SMTP (RFC 5321). aiosmtpd holds the conversation.

A ``MailServer`` has the node's domains, mailbox and queue, the same on all ports. An ``SmtpListener`` is one port with
the service that it belongs to: it decides which clients may log in, and for which clients mail is relayed.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from email.utils import formatdate
from ipaddress import ip_address, ip_network
from typing import Any

from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, LoginPassword, Session, TLSSetupException, syntax

from port25lab.mail.message import token_of
from port25lab.mail.services.journal import Journal
from port25lab.mail.services.mailbox import Mailboxes
from port25lab.mail.services.recipient_checks import RecipientChecks
from port25lab.mail.services.relay_queue import Copy, Relay
from port25lab.mail.services.tasks import Peer, TaskSupervisor
from port25lab.model.plan import NodePlan
from port25lab.model.service_kinds import SERVICE_KINDS, ListenPort

_OFFERED = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
"""Stands for a server's certificate as long as no client asks for TLS."""

LARGEST_MESSAGE = 10 * 1024 * 1024

IDLE_SECONDS = 60.0

HANDSHAKE_SECONDS = 10.0

MOST_HOPS = 20
"""Received lines after which a message counts as looping (RFC 5321 section 6.3)."""

logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # aiosmtpd's own log, which nothing reads


class MailServer:
    """One node's mail server."""

    def __init__(
        self,
        node: NodePlan,
        tls: Callable[[], ssl.SSLContext],
        relay: Relay,
        mailboxes: Mailboxes,
        supervisor: TaskSupervisor,
        journal: Journal,
    ) -> None:
        """``tls``: makes the context of its certificate, at its first use."""
        self.name, self.hostname, self.tls = node.name, node.hostname, tls
        self._domains = {domain.lower() for domain in node.domains}
        self._relay, self._mailboxes, self._supervisor = relay, mailboxes, supervisor
        self._journal = journal

    def owns(self, address: str) -> bool:
        """Whether mail for this address ends here."""
        return address.rpartition("@")[2].lower() in self._domains

    def accept(self, mail_from: str, rcpt_tos: list[str], raw: bytes) -> None:
        """Take a message: a copy for a domain of this server goes into its mailbox, every other copy into its queue."""
        token = token_of(raw)
        for address in rcpt_tos:
            if not self.owns(address):
                self._relay.accept(Copy(mail_from, address, token, raw))
        if any(map(self.owns, rcpt_tos)):
            self._mailboxes.deliver(self.name, token)
            self._journal.note(self.name, "mailbox", f"from <{mail_from}> for {', '.join(filter(self.owns, rcpt_tos))}")

    def note(self, what: str, client: str, text: str) -> None:
        """Write a line of its log. ``what``: the port. ``client``: the address and port of the other end."""
        self._journal.note(self.name, what, f"{client}: {text}")

    def crashed(self, what: str, error: BaseException) -> None:
        """Record that the server itself failed."""
        self._supervisor.failed(self.name, what, error)


class SmtpListener:
    """One port of a mail server. The ``handle_`` methods are aiosmtpd's hooks."""

    def __init__(
        self, server: MailServer, listen_port: ListenPort, service: Mapping[str, Any], recipient_checks: RecipientChecks
    ) -> None:
        self._server, self._listen_port, self._recipient_checks = server, listen_port, recipient_checks
        self._refusal: str | None = service.get("refusal")
        self.what = f"{service['kind']} on port {listen_port.port}"
        self._users: Mapping[str, str] = service.get("users") or {}
        self._networks = [ip_network(network) for network in service.get("networks", ())]
        self._open_relay = SERVICE_KINDS[service["kind"]].relays_for_everybody

    async def serve(self, connection: socket.socket, _client: Peer) -> None:
        """Begin the conversation on an accepted connection; aiosmtpd goes on with it."""
        loop = asyncio.get_running_loop()
        implicit = self._listen_port.implicit_tls
        try:
            await loop.connect_accepted_socket(
                lambda: _Conversation(self, None if implicit else _OFFERED, loop),
                connection,
                ssl=self._server.tls() if implicit else None,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if implicit else None,
            )
        except OSError:  # the handshake failed, which the client reports
            connection.close()

    @property
    def hostname(self) -> str:
        """The name in its banner and in its replies to EHLO."""
        return self._server.hostname

    def __dir__(self) -> list[str]:
        return _HOOKS

    def tls(self) -> ssl.SSLContext:
        """The context of its server's certificate."""
        return self._server.tls()

    @property
    def auth_in_clear(self) -> bool:
        """Whether AUTH goes without STARTTLS."""
        return self._listen_port.auth_in_clear

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: LoginPassword
    ) -> AuthResult:
        """Compare with the users of the service; a refusal is aiosmtpd's 535 5.7.8."""
        user, password = (part.decode(errors="replace") for part in login)
        right = self._users.get(user) == password
        return AuthResult(success=right, handled=False, auth_data=login)

    async def handle_EHLO(  # noqa: N802
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, lines: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.note(session, f"EHLO {hostname}")
        offered = [line for line in lines if self._users or not line.startswith("250-AUTH")]
        return [*offered[:-1], "250-ENHANCEDSTATUSCODES", offered[-1]]

    async def handle_AUTH(  # noqa: N802
        self, _server: SMTP, _session: Session, _envelope: Envelope, _words: list[str]
    ) -> Any:
        return MISSING if self._users else "502 5.5.1 AUTH is not offered here"

    async def handle_MAIL(  # noqa: N802
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.note(session, f"MAIL FROM:<{address}>")
        if self._listen_port.auth_required and not session.authenticated:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.note(session, f"RCPT TO:<{address}>")
        if self._refusal is not None:
            return self._refusal
        if not self._server.owns(address) and not self._relays_for(session):
            return f"550 5.7.1 <{address}>: relay access denied"
        refusal = await self._recipient_checks.refusal(_peer(session), envelope.mail_from or "", address)
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.original_content or b""
        if len(re.findall(rb"^Received:", content, re.MULTILINE)) > MOST_HOPS:
            return "554 5.4.6 Too many hops: the message goes round in circles"
        sender = "" if envelope.mail_from in (None, "<>") else envelope.mail_from
        self._server.accept(sender or "", envelope.rcpt_tos, self._received(session) + content)
        return "250 2.0.0 OK: message accepted"

    async def handle_exception(self, error: Exception) -> str:
        """An error that aiosmtpd does not handle: the client has left, or the server itself failed."""
        self.ended_by(error)
        return "451 4.3.0 The server failed"

    def ended_by(self, error: BaseException) -> None:
        """Record the error, unless it only means that the client has left."""
        if not isinstance(error, OSError | EOFError | TLSSetupException):
            self._server.crashed(self.what, error)

    def note(self, session: Session | None, text: str) -> None:
        """Write a line of the log about a session."""
        peer = session.peer if session is not None else None
        self._server.note(self.what, f"{_peer(session)} port {peer[1]}" if session and peer else "client", text)

    def _relays_for(self, session: Session) -> bool:
        if self._open_relay or session.authenticated:
            return True
        client = ip_address(_peer(session))
        return any(client in network for network in self._networks)

    def _received(self, session: Session) -> bytes:
        """The trace line that every server adds (RFC 5321 section 4.4; the protocol's name by RFC 3848)."""
        tls = self._listen_port.implicit_tls or session.ssl is not None
        protocol = "ESMTP" + "S" * tls + "A" * bool(session.authenticated) if session.extended_smtp else "SMTP"
        lines = (
            f"Received: from {session.host_name} ([{_peer(session)}])",
            f"\tby {self.hostname} with {protocol}; {formatdate()}",
        )
        return "".join(f"{line}\r\n" for line in lines).encode()


class _Conversation(SMTP):
    """aiosmtpd's session, with the status codes of RFC 3463 in all replies, and errors that do not get lost."""

    def __init__(self, listener: SmtpListener, tls: ssl.SSLContext | None, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            listener,
            data_size_limit=LARGEST_MESSAGE,
            hostname=listener.hostname,  # otherwise aiosmtpd asks the resolver of the machine
            ident="ESMTP port25lab",
            tls_context=tls,
            timeout=IDLE_SECONDS,
            auth_require_tls=not listener.auth_in_clear,
            authenticator=listener.authenticate,
            loop=loop,
        )
        self._listener = listener

    def __dir__(self) -> list[str]:
        return _COMMANDS

    @syntax("STARTTLS", when="tls_context")
    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802
        """Take the server's own certificate for the handshake."""
        self.tls_context = self._listener.tls()
        await super().smtp_STARTTLS(arg)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        before = self._handler_coroutine
        super().connection_made(transport)
        if self._handler_coroutine is not None and self._handler_coroutine is not before:
            self._handler_coroutine.add_done_callback(self._ended)

    async def push(self, status: str | bytes) -> None:
        text = status if isinstance(status, str) else status.decode()
        self._listener.note(self.session, text.rstrip())
        await super().push(_ENHANCED.get(text) or _with_status(text))

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        try:
            return super()._getaddr(arg)
        except (IndexError, ValueError, AttributeError):  # raised by the email package for some syntax errors
            return None, None

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._listener.ended_by(error)


_COMMANDS = [name for name in dir(_Conversation) if name.startswith(("smtp_", "auth_"))]
_HOOKS = [name for name in dir(SmtpListener) if name.startswith("handle_")]
"""What aiosmtpd looks for in each session, with dir(). It is the same each time, and dir() takes long to find it."""

_ENHANCED = {"250 OK": "250 2.0.0 OK", "221 Bye": "221 2.0.0 Bye"}
"""aiosmtpd's replies on success; MAIL, RCPT and DATA have replies of their own above."""

_STATUS_OF_CODE = {
    "454": "4.7.0",
    "500": "5.5.2",
    "501": "5.5.4",
    "502": "5.5.1",
    "503": "5.5.1",
    "504": "5.5.4",
    "552": "5.3.4",
    "553": "5.1.3",
    "554": "5.7.0",
    "555": "5.5.4",
}


def _with_status(text: str) -> str:
    """An error reply with an enhanced status code; every other reply as it is."""
    code, _, words = text.partition(" ")
    status = _STATUS_OF_CODE.get(code)
    return f"{code} {status} {words}" if status and not re.match(r"[245]\.\d", words) else text


def _peer(session: Session) -> str:
    """The client's address."""
    return str(session.peer[0]).split("%")[0] if session.peer else "0.0.0.0"  # noqa: S104
