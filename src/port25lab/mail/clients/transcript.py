"""An SMTP session as a client program reports it: commands and replies in order, read into fields of an observation.

Each program has its own notation for the same commands and replies (RFC 5321). The reader of a program's output turns
its lines into calls of ``Transcript``.
"""

from __future__ import annotations

import errno
import os
import re
from typing import Any, Literal

from port25lab.model.evidence import LONGEST_REPLY, Stage, enhanced_code, silence

_STAGE_OF_VERB = {
    "EHLO": Stage.EHLO,
    "HELO": Stage.EHLO,
    "STARTTLS": Stage.STARTTLS,
    "AUTH": Stage.AUTH,
    "MAIL": Stage.MAIL,
    "RCPT": Stage.RCPT,
    "DATA": Stage.DATA,
}

_ERRNO_OF_WORDS = {os.strerror(number): name for number, name in errno.errorcode.items()}


def errno_of(words: str) -> str | None:
    """The symbol of a socket error, from the text of the C library for it: ``Connection refused``."""
    return _ERRNO_OF_WORDS.get(words)


class Transcript:
    """The session so far. Lines after QUIT, or after the message was accepted, change nothing any more."""

    def __init__(self, after_connecting: Stage = Stage.BANNER) -> None:
        """``after_connecting``: the stage that follows the connection, the banner or TLS."""
        self._after_connecting = after_connecting
        self._open = False
        """Whether more lines of the last reply are to come."""
        self.settled = False
        self.fields: dict[str, Any] = {
            "stage": Stage.CONNECT,
            "errno": None,
            "smtp_code": None,
            "reply": None,
            "timed_out": False,
            "address": None,
            "banner": None,
            "tls": None,
            "missing": None,
            "keywords": (),
            "certificate": None,
        }

    @property
    def stage(self) -> Stage:
        """How far the client came."""
        stage: Stage = self.fields["stage"]
        return stage

    def connected(self) -> None:
        """TCP is open."""
        self._now(stage=self._after_connecting, errno=None, reply=None)

    def not_connected(self, words: str) -> None:
        """TCP did not open; ``words`` say why."""
        self._now(stage=Stage.CONNECT, errno=errno_of(words), reply=words)

    def encrypted(self, version: str) -> None:
        """TLS is in use from here on."""
        self._now(tls=version, smtp_code=None, reply=None)
        if self.stage is self._after_connecting:
            self.fields["stage"] = Stage.BANNER

    def command(self, text: str) -> None:
        """A line of the client. Lines of an AUTH exchange or of the message are no commands, and leave the stage."""
        verb = text.split(" ", 1)[0].upper()
        if verb == "QUIT":
            self.settled = True
        if self.settled:
            return
        self._now(stage=_STAGE_OF_VERB.get(verb, self.stage), smtp_code=None, reply=None)
        self._open = False

    def answer(self, text: str) -> None:
        """One line of a reply."""
        if self.settled:
            return
        found = re.match(r"(\d{3})([ -]?)(.*)", text)
        if not found:
            self._now(reply=text[:LONGEST_REPLY])
            return
        before = f"{self.fields['reply']}\n" if self._open else ""
        self._open = found[2] == "-"
        self._now(smtp_code=int(found[1]), reply=(before + found[3])[:LONGEST_REPLY])
        if not self._open:
            self._answered(int(found[1]))

    def failed(self, words: str, stage: Stage | None = None) -> None:
        """An error in place of a reply: of the socket, with the C library's text; of TLS; or the end of the session."""
        if not self.settled:
            self._now(stage=stage or self.stage, errno=errno_of(words), smtp_code=None, reply=words)

    def timed_out(self, seconds: float, stage: Stage | None = None) -> None:
        """The client's limit for a reply, in seconds, is over."""
        if not self.settled:
            self._now(stage=stage or self.stage, errno=None, smtp_code=None, reply=silence(seconds), timed_out=True)

    def lacks(self, extension: Literal["STARTTLS", "AUTH"]) -> None:
        """The server does not offer what the client needs."""
        reply = f"the server does not offer {extension}"
        self._now(stage=Stage[extension], missing=extension, smtp_code=None, reply=reply)

    def finished(self) -> dict[str, Any]:
        """The fields of an observation without its seconds, with the status code of RFC 3463 from the reply."""
        reply = self.fields["reply"]
        code = enhanced_code(reply) if reply is not None and self.fields["smtp_code"] else None
        return {**self.fields, "enhanced_code": code}

    def _now(self, **fields: Any) -> None:
        """What a line says replaces what an earlier line said, a timeout as well."""
        self.fields.update({"timed_out": False} | fields)

    def _answered(self, code: int) -> None:
        if self.stage is Stage.BANNER:
            self.fields["banner"] = self.fields["banner"] or self.fields["reply"]
        elif self.stage is Stage.EHLO and code == 250:
            offered = (line.split() for line in self.fields["reply"].split("\n")[1:])
            self.fields["keywords"] = tuple(sorted({words[0].upper() for words in offered if words}))
        elif self.stage is Stage.STARTTLS and code == 220:
            self._now(stage=Stage.TLS, smtp_code=None, reply=None)
        elif self.stage is Stage.DATA and code == 250:
            self.fields["stage"] = Stage.DONE
            self.settled = True
