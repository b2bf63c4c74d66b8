"""A mail program on Python's smtplib: one connection, one message. Runs by itself in a host, on the standard library.

    python -I smtplib_script.py < question > notes

The question is one JSON object. The notes are JSON objects, one a line, each the whole of what is known when it is
written: the last line counts, also where the program was killed. The exit code is 0 whatever the server does; anything
else means that the program itself failed, and why stands on stderr.
"""

from __future__ import annotations

import contextlib
import errno
import json
import smtplib
import socket
import ssl
import sys
import time
from typing import Any

STAGE_OF_VERB = {
    "ehlo": "ehlo",
    "helo": "ehlo",
    "starttls": "starttls",
    "auth": "auth",
    "mail": "mail",
    "rcpt": "rcpt",
    "data": "data",
}

LONGEST_REPLY = 1 << 16
"""A reply of more bytes ends the session: a reply without end must not fill the memory."""

LONGEST_NOTE = 4096
"""Characters of a reply that are recorded; the same as ``evidence.LONGEST_REPLY``."""

AFTERTHOUGHTS = ("rset", "quit")
"""Commands that smtplib sends when the result is known; their replies are not recorded."""


class EndlessReplyError(Exception):
    """Not an OSError as smtplib's errors are: smtplib turns an OSError into a lost connection."""


class Bounded:
    """The file that smtplib reads from, with a limit for the length and the time of each reply."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._file = sock.makefile("rb")
        self._seconds = seconds
        self.begin()

    def begin(self) -> None:
        """Begin with the next reply."""
        self._left, self._end = LONGEST_REPLY, time.monotonic() + self._seconds

    def readline(self, most: int) -> bytes:
        line = bytearray()
        # In small parts: a socket's own timer starts again with each byte that arrives.
        while len(line) < most and not line.endswith(b"\n"):
            if self._left <= 0:
                raise EndlessReplyError(f"a reply of more than {LONGEST_REPLY} bytes")
            if time.monotonic() > self._end:
                raise TimeoutError
            part = self._file.peek(1)[: most - len(line)]
            part = self._file.read(part.find(b"\n") + 1 or len(part))
            if not part:
                break
            line += part
            self._left -= len(part)
        return bytes(line)

    def close(self) -> None:
        self._file.close()


class Session(smtplib.SMTP):
    """smtplib's own client, with notes of what happens. Only dialling differs: addresses and source port are given."""

    def __init__(self, question: dict[str, Any], notes: dict[str, Any]) -> None:
        self._question, self._notes = question, notes
        self._settled = False
        self.context = ssl.create_default_context(cafile=question["ca_file"])
        super().__init__(
            question["server_name"], question["port"], question["local_hostname"], timeout=question["timeout"]
        )

    def note(self, **seen: Any) -> None:
        """Record these fields, and print all notes so far."""
        self._notes.update(seen)
        print(json.dumps(self._notes), flush=True)

    def putcmd(self, cmd: str, args: str = "") -> None:
        verb = cmd.lower()
        self._settled = self._settled or verb in AFTERTHOUGHTS
        if not self._settled:
            stage = STAGE_OF_VERB.get(verb, self._notes["stage"])
            self.note(stage=stage, smtp_code=None, reply=None)
        super().putcmd(cmd, args)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None:
            assert self.sock is not None
            self.file = Bounded(self.sock, self._question["timeout"])
        self.file.begin()
        if self._settled:
            return super().getreply()
        self._notes.update(smtp_code=None, reply=None)
        try:
            code, words = super().getreply()
        except EndlessReplyError:
            self.close()
            raise
        text = words.decode(errors="replace")[:LONGEST_NOTE]
        self.note(smtp_code=code if code > 0 else None, reply=text)
        if self._notes["stage"] == "banner" and self._notes["banner"] is None:
            self.note(banner=text)
        if self._notes["stage"] == "starttls" and code == 220:
            self.note(stage="tls", smtp_code=None, reply=None)
        return code, words

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        sock = self._dial(timeout)
        if self._question["security"] == "implicit":
            self.note(stage="tls")
            sock = self.context.wrap_socket(sock, server_hostname=host)
            self.note(tls=sock.version())
        self.note(stage="banner")
        return sock

    def _dial(self, timeout: float) -> socket.socket:
        """As socket.create_connection: each address until one connects. Raises the error of the last address."""
        failure: OSError | None = None
        for family, address in self._addresses():
            self.note(stage="connect", address=address)
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                self._bind(sock)
                sock.settimeout(timeout)
                sock.connect((address, self._question["port"]))
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        raise failure or OSError("no address to dial")

    def _addresses(self) -> list[tuple[int, str]]:
        """The addresses of the question, or those of the host's resolver in its order."""
        names = self._question["addresses"] or [self._question["host"]]
        found = [socket.getaddrinfo(name, self._question["port"], type=socket.SOCK_STREAM) for name in names]
        return [(family, str(address[0])) for infos in found for family, _, _, _, address in infos]

    def _bind(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("", self._question["source_port"]))
        except OSError as error:
            raise SystemExit(f"cannot bind source port {self._question['source_port']}: {error}") from error


def converse(question: dict[str, Any], notes: dict[str, Any]) -> None:
    """Send the message as a program with smtplib does."""
    session = Session(question, notes)
    try:
        session.ehlo_or_helo_if_needed()
        if question["security"] == "starttls":
            session.note(stage="starttls")
            session.starttls(context=session.context)
            session.note(tls=getattr(session.sock, "version", str)())
            session.ehlo_or_helo_if_needed()
        if question["username"] is not None:
            session.note(stage="auth")
            session.login(question["username"], question["password"])
        session.sendmail(question["mail_from"], [question["rcpt_to"]], question["message"].encode("latin-1"))
        session.note(stage="done")
        with contextlib.suppress(smtplib.SMTPException, OSError):  # the reply to QUIT does not count
            session.quit()
    finally:
        session.close()


def ended_by(error: Exception, notes: dict[str, Any], timeout: float) -> dict[str, Any]:
    """The notes that follow from an exception. smtplib's own text does not replace a reply that was recorded."""
    cause = error.__context__ if isinstance(error, smtplib.SMTPServerDisconnected) else error
    if isinstance(cause, socket.gaierror):
        return {"reply": cause.strerror}
    if isinstance(cause, TimeoutError):
        return _silence(cause, notes["stage"], timeout)
    if isinstance(cause, ssl.SSLError):
        return {"reply": getattr(cause, "verify_message", "") or cause.reason or str(cause)}
    if isinstance(error, smtplib.SMTPNotSupportedError):
        missing = "AUTH" if notes["stage"] == "auth" else "STARTTLS"
        return {"missing": missing, "smtp_code": None, "reply": f"the server does not offer {missing}"}
    if isinstance(cause, OSError) and not isinstance(cause, smtplib.SMTPException):  # which is a subclass of OSError
        return {"errno": errno.errorcode.get(cause.errno or 0), "reply": cause.strerror or str(cause)}
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return {"smtp_code": None, "reply": "the server closed the connection"}
    return {} if notes["reply"] is not None else {"reply": str(error)}


def _silence(error: TimeoutError, stage: str, timeout: float) -> dict[str, Any]:
    """The kernel's timer (with an errno) or smtplib's own has expired: before the connection both mean the same."""
    if stage == "connect" or error.errno:
        return {"errno": "ETIMEDOUT", "reply": error.strerror or str(error)}
    return {"reply": f"no reply within {timeout:g} s", "timed_out": True}


def main() -> None:
    """Read the question, send the message, and print the notes."""
    question = json.load(sys.stdin)
    notes: dict[str, Any] = {
        "stage": "resolve",
        "errno": None,
        "smtp_code": None,
        "reply": None,
        "address": None,
        "banner": None,
        "tls": None,
        "missing": None,
    }
    try:
        converse(question, notes)
    except (smtplib.SMTPException, OSError, EndlessReplyError) as error:
        notes.update(ended_by(error, notes, question["timeout"]))
    print(json.dumps(notes), flush=True)


if __name__ == "__main__":
    main()
