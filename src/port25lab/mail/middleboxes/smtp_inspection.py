"""A firewall's SMTP inspection, as a Cisco ASA does it by default (`inspect esmtp`).

The server's greeting becomes ``220 ****``, extensions that are not basic become ``250-XXXXXXXX``, and so do commands
that are not basic; a command line ends after 512 octets (RFC 5321 section 4.5.3.1.4). The message itself and replies to
a server's 334 pass unchanged. No sockets here: bytes in, bytes out, and a state between them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Protocol

LONGEST_COMMAND = 512
"""Octets of a command line, CRLF included (RFC 5321 section 4.5.3.1.4)."""

VERBS = frozenset(b"AUTH DATA EHLO ETRN HELO HELP MAIL NOOP QUIT RCPT RSET SAML SEND SOML VRFY".split())

KEYWORDS = frozenset(b"8BITMIME AUTH BINARYMIME CHECKPOINT DSN ENHANCEDSTATUSCODES ETRN PIPELINING SIZE VRFY".split())

END_OF_MESSAGE = b"\r\n.\r\n"


@dataclass(frozen=True)
class State:
    """Where a session stands."""

    command: bytes = b""
    """The verb to which the server replies; empty before the greeting."""
    first: bool = True
    """Whether the server's next line is the first of a reply."""
    prompted: bool = False
    """Whether the server expects a line that is no command (334)."""
    message: bytes | None = None
    """Within a message: its last octets, by which its end is recognised."""
    server_mid_line: bool = False
    client_mid_line: bool = False


class Alteration(Protocol):
    """The alteration of one session by a middlebox."""

    state: State
    """All state of the alteration: with an earlier state restored, the same packet is altered in the same way."""

    def from_client(self, data: bytes) -> bytes:
        """The bytes that the server gets in place of these."""

    def from_server(self, data: bytes) -> bytes:
        """The bytes that the client gets in place of these."""


class SmtpFixup:
    """SMTP inspection with its defaults. It works on whole lines: a part of a line passes unchanged."""

    def __init__(self, *, same_length: bool = False, greeting: bool = True, extensions: bool = True) -> None:
        """``same_length``: lines must not get shorter, so the excess of a command line becomes blanks.

        ``greeting``, ``extensions``: what is masked; without ``extensions`` commands pass unchanged, too.
        """
        self._same_length, self._greeting, self._extensions = same_length, greeting, extensions
        self.state = State()

    def from_server(self, data: bytes) -> bytes:
        """Greeting and extensions are masked."""
        return b"".join(map(self._reply_line, _lines(data)))

    def from_client(self, data: bytes) -> bytes:
        """Commands that are not basic are masked, and lines that are too long are cut."""
        altered = b""
        while data and self.state.message is not None:
            part, data = self._message_part(data)
            altered += part
        return altered + b"".join(map(self._command_line, _lines(data)))

    def _reply_line(self, line: bytes) -> bytes:
        state, whole = self.state, line.endswith(b"\n")
        if state.server_mid_line:
            self.state = replace(state, server_mid_line=not whole)
            return line
        code, last = line[:3], line[3:4] != b"-"
        self.state = replace(
            state,
            first=last,
            server_mid_line=not whole,
            prompted=code == b"334",
            # An empty message begins with the dot that ends it.
            message=b"\r\n" if code == b"354" and state.command == b"DATA" else state.message,
        )
        if not state.command and code == b"220" and self._greeting:
            return line[:4] + _masked(line[4:], b"*")
        if not self._extensions:
            return line
        if state.command == b"EHLO" and code == b"250" and not state.first and _keyword(line) not in KEYWORDS:
            return line[:4] + _masked(line[4:], b"X")
        return line

    def _command_line(self, line: bytes) -> bytes:
        state, whole = self.state, line.endswith(b"\n")
        self.state = replace(state, client_mid_line=not whole, prompted=False)
        if state.client_mid_line or state.prompted:
            return line
        verb = re.match(rb"[^ \r\n]*", line)[0].upper()  # type: ignore[index]  # it matches everything
        self.state = replace(self.state, command=verb or b"?", first=True)
        if not self._extensions:
            return line
        return self._cut(line if verb in VERBS else _masked(line, b"X"))

    def _cut(self, line: bytes) -> bytes:
        if len(line) <= LONGEST_COMMAND:
            return line
        end = re.search(rb"\r?\n?\Z", line)[0]  # type: ignore[index]  # it matches nothing as well
        kept = line[: LONGEST_COMMAND - len(end)]
        return (kept.ljust(len(line) - len(end)) if self._same_length else kept) + end

    def _message_part(self, data: bytes) -> tuple[bytes, bytes]:
        """The part that belongs to the message, and the commands after it."""
        before = self.state.message or b""
        end = (before + data).find(END_OF_MESSAGE)
        if end < 0:
            self.state = replace(self.state, message=(before + data)[1 - len(END_OF_MESSAGE) :])
            return data, b""
        length = end + len(END_OF_MESSAGE) - len(before)
        self.state = replace(self.state, message=None, command=b".", client_mid_line=False)
        return data[:length], data[length:]


def _lines(data: bytes) -> list[bytes]:
    return re.findall(rb"[^\n]*\n|[^\n]+\Z", data)


def _masked(text: bytes, mask: bytes) -> bytes:
    """The same length, and the same line end."""
    end = re.search(rb"\r?\n?\Z", text)[0]  # type: ignore[index]  # it matches nothing as well
    return mask * (len(text) - len(end)) + end


def _keyword(line: bytes) -> bytes:
    return re.split(rb"[ =\r\n]", line[4:], maxsplit=1)[0].upper()
