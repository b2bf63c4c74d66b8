"""An SMTP session as a client program tells it: commands and replies in order, read into the fields of an observation.

Each program has a notation of its own; what stands in it is the same everywhere (RFC 5321). A reader for one program
turns its lines into calls of ``Transcript``.
"""

from __future__ import annotations

import errno
import os
import re
from typing import Any, Literal

from port25lab.model.evidence import LONGEST_REPLY, Stage, enhanced_code

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
    """The symbol of a socket error that a program tells in the C library's words: ``Connection refused``."""
    return _ERRNO_OF_WORDS.get(words)


class Transcript:
    """What has been told so far. What comes after QUIT, or after the message was accepted, is nobody's last word."""

    def __init__(self, after_connecting: Stage = Stage.BANNER) -> None:
        """``after_connecting``: what a connection brings first, the banner or TLS."""
        self._after_connecting = after_connecting
        self._open = False
        """Whether the last reply has more lines to come."""
        self.settled = False
        self.seen: dict[str, Any] = {
            "stage": Stage.CONNECT,
            "errno": None,
            "smtp_code": None,
            "reply": None,
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
        stage: Stage = self.seen["stage"]
        return stage

    def connected(self) -> None:
        """TCP is open."""
        self.seen.update(stage=self._after_connecting, errno=None, reply=None)

    def not_connected(self, words: str) -> None:
        """TCP did not open, and why."""
        self.seen.update(stage=Stage.CONNECT, errno=errno_of(words), reply=words)

    def encrypted(self, version: str) -> None:
        """TLS is in use from here on."""
        self.seen.update(tls=version, smtp_code=None, reply=None)
        if self.stage is self._after_connecting:
            self.seen["stage"] = Stage.BANNER

    def command(self, text: str) -> None:
        """What the client says. A line of AUTH's dialogue or of the message is no command, and changes no stage."""
        verb = text.split(" ", 1)[0].upper()
        if verb == "QUIT":
            self.settled = True
        if self.settled:
            return
        self.seen["stage"] = _STAGE_OF_VERB.get(verb, self.stage)
        self.seen.update(smtp_code=None, reply=None)
        self._open = False

    def answer(self, text: str) -> None:
        """One line of what the server says."""
        if self.settled:
            return
        found = re.match(r"(\d{3})([ -]?)(.*)", text)
        if not found:
            self.seen["reply"] = text[:LONGEST_REPLY]
            return
        before = f"{self.seen['reply']}\n" if self._open else ""
        self._open = found[2] == "-"
        self.seen.update(smtp_code=int(found[1]), reply=(before + found[3])[:LONGEST_REPLY])
        if not self._open:
            self._answered(int(found[1]))

    def failed(self, words: str, stage: Stage | None = None) -> None:
        """No reply but an error: of a socket if its words are the kernel's, or of TLS, or the end of the connection."""
        if not self.settled:
            self.seen.update(stage=stage or self.stage, errno=errno_of(words), smtp_code=None, reply=words)

    def lacks(self, extension: Literal["STARTTLS", "AUTH"]) -> None:
        """The server does not offer what the client needs."""
        reply = f"the server does not offer {extension}"
        self.seen.update(stage=Stage[extension], missing=extension, smtp_code=None, reply=reply)

    def finished(self) -> dict[str, Any]:
        """The fields of an observation, without its seconds; with the status code of RFC 3463 split off."""
        reply = self.seen["reply"]
        code = enhanced_code(reply) if reply is not None and self.seen["smtp_code"] else None
        return {**self.seen, "enhanced_code": code}

    def _answered(self, code: int) -> None:
        if self.stage is Stage.BANNER:
            self.seen["banner"] = self.seen["banner"] or self.seen["reply"]
        elif self.stage is Stage.EHLO and code == 250:
            offered = (line.split() for line in self.seen["reply"].split("\n")[1:])
            self.seen["keywords"] = tuple(sorted({words[0].upper() for words in offered if words}))
        elif self.stage is Stage.STARTTLS and code == 220:
            self.seen.update(stage=Stage.TLS, smtp_code=None, reply=None)
        elif self.stage is Stage.DATA and code == 250:
            self.seen["stage"] = Stage.DONE
            self.settled = True
