"""The client `swaks`, the Swiss Army Knife for SMTP: a process inside the host, known by its transcript.

A line of the transcript begins with who speaks: ``<-`` the server, ``->`` the client, ``<**`` the server's refusal, all
with ``~`` for ``-`` under TLS; ``===`` and ``***`` are swaks' own words. Which address it dials, out of those that a
name has, swaks does not say; ``Dialled.pm`` makes it do so.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from port25lab.clients.client import Target
from port25lab.dialogue import CLOSED, Submission
from port25lab.errors import LabError
from port25lab.evidence import LONGEST_REPLY, Observation, Stage, enhanced_code
from port25lab.labhost import LabHost
from port25lab.mailpath import Security

SPARE_SECONDS = 20.0
"""For starting Perl, and for a server that answers each command just in time."""

BAD_USAGE = 1
"""swaks' exit code for options that it does not take."""

_STAGE_OF_VERB = {
    "EHLO": Stage.EHLO,
    "HELO": Stage.EHLO,
    "STARTTLS": Stage.STARTTLS,
    "AUTH": Stage.AUTH,
    "MAIL": Stage.MAIL,
    "RCPT": Stage.RCPT,
    "DATA": Stage.DATA,
}

_ERRNO_OF_WORDS = {os.strerror(number): name for number, name in errno.errorcode.items()} | {"timeout": "ETIMEDOUT"}
"""``timeout`` is what Perl's sockets say when their own timer runs out before the kernel's."""

_LINE = re.compile(r"(?P<who><[-~] |<\*\*|<~\*| [-~]>|===|\*\*\*) ?(?P<text>.*)")


class Swaks:
    """Runs swaks and reads its transcript."""

    program = "swaks"

    async def send(
        self, host: LabHost, target: Target, submission: Submission, source_port: int, ca_file: Path
    ) -> Observation:
        """Try to send one message. Left to pick an address, swaks asks the host's own resolver."""
        server = target.addresses[0] if target.ip_version else target.host
        options: list[str] = ["--server", server, "--port", str(target.port), "--local-port", str(source_port)]
        options += ["--ehlo", submission.local_hostname, "--from", submission.mail_from, "--to", submission.rcpt_to]
        options += ["--timeout", f"{submission.timeout:.0f}s", "--suppress-data", "--data", "-"]
        if submission.security is not Security.NONE:
            options += ["--tls-on-connect" if submission.security is Security.IMPLICIT else "--tls"]
            options += ["--tls-verify", "--tls-ca-path", str(ca_file), "--tls-sni", submission.server_name]
        if submission.username is not None:
            options += ["--auth", "PLAIN,LOGIN", "--auth-user", submission.username]
            options += ["--auth-password", submission.password or ""]
        perl = {"PERL5LIB": str(Path(__file__).parent), "PERL5OPT": "-MDialled", "HOME": "/nonexistent"}
        done = await host.run(
            ["swaks", *options], stdin=submission.message, seconds=submission.timeout + SPARE_SECONDS, environment=perl
        )
        said, complained = (text.decode(errors="replace").splitlines() for text in (done.stdout, done.stderr))
        if done.returncode == BAD_USAGE or not said:
            raise LabError(f"swaks on {host.name}: {' '.join(complained) or 'no transcript'}")
        first = Stage.TLS if submission.security is Security.IMPLICIT else Stage.BANNER
        seen = read_transcript([*said, *complained], after_connecting=first)
        if done.timed_out and seen["reply"] is None:
            seen["reply"] = f"no reply within {submission.timeout:g} s"
        return Observation(**seen, seconds=done.seconds)


def read_transcript(lines: Iterable[str], after_connecting: Stage = Stage.BANNER) -> dict[str, Any]:
    """The fields of an observation, without its seconds. What comes after QUIT is nobody's last word."""
    notes = _Notes(after_connecting)
    for line in lines:
        if line.startswith("dialled: "):
            notes.seen["address"] = line.removeprefix("dialled: ").strip()
        elif found := _LINE.match(line):
            notes.take(found["who"].strip(), found["text"])
    return notes.finished()


class _Notes:
    """What the transcript has told so far."""

    def __init__(self, after_connecting: Stage) -> None:
        self._after_connecting = after_connecting
        self._settled = False
        self._open = False
        """Whether the last reply has more lines to come."""
        self.seen: dict[str, Any] = {
            "stage": Stage.CONNECT,
            "errno": None,
            "smtp_code": None,
            "reply": None,
            "address": None,
            "banner": None,
            "tls": None,
            "missing": None,
        }

    def take(self, who: str, text: str) -> None:
        """One line of the transcript."""
        if who == "***":
            self._complaint(text)
        elif self._settled:
            return
        elif who == "===":
            self._information(text)
        elif who.endswith(">"):
            self._command(text)
        else:
            self._reply(text)

    def finished(self) -> dict[str, Any]:
        """What is known, with the status code of RFC 3463 split off."""
        reply = self.seen["reply"]
        code = enhanced_code(reply) if reply is not None and self.seen["smtp_code"] else None
        return {**self.seen, "enhanced_code": code}

    def _information(self, text: str) -> None:
        if text.startswith("Connected to "):
            self.seen["stage"] = self._after_connecting
        elif found := re.match(r"TLS started with cipher ([^:]+)", text):
            self.seen.update(tls=found[1], smtp_code=None, reply=None)
            if self.seen["stage"] is self._after_connecting:
                self.seen["stage"] = Stage.BANNER

    def _command(self, text: str) -> None:
        verb = text.split(" ", 1)[0].upper()
        if verb == "QUIT":
            self._settled = True
            return
        self.seen["stage"] = _STAGE_OF_VERB.get(verb, self.seen["stage"])
        self.seen.update(smtp_code=None, reply=None)
        self._open = False

    def _reply(self, text: str) -> None:
        found = re.match(r"(\d{3})([ -]?)(.*)", text)
        if not found:
            self.seen["reply"] = text[:LONGEST_REPLY]
            return
        before = f"{self.seen['reply']}\n" if self._open else ""
        self._open = found[2] == "-"
        self.seen.update(smtp_code=int(found[1]), reply=(before + found[3])[:LONGEST_REPLY])
        if self.seen["stage"] is Stage.BANNER and not self._open:
            self.seen["banner"] = self.seen["banner"] or self.seen["reply"]
        if self.seen["stage"] is Stage.STARTTLS and found[1] == "220":
            self.seen.update(stage=Stage.TLS, smtp_code=None, reply=None)
        if self.seen["stage"] is Stage.DATA and found[1] == "250":
            self.seen["stage"] = Stage.DONE
            self._settled = True

    def _complaint(self, text: str) -> None:
        if self._settled and self.seen["stage"] is Stage.DONE:
            return
        if found := re.match(r"TLS startup failed \((.*)\)", text):
            self.seen.update(stage=Stage.TLS, smtp_code=None, reply=found[1])
        elif text.startswith("\t") and self.seen["stage"] is Stage.CONNECT:
            self._not_connected(text.strip())
        elif text.startswith("Remote host closed connection") and self.seen["smtp_code"] is None:
            self.seen["reply"] = CLOSED
        elif text == "Host did not advertise STARTTLS":
            self._missing("STARTTLS", Stage.STARTTLS)
        elif text == "Host did not advertise authentication":
            self._missing("AUTH", Stage.AUTH)

    def _not_connected(self, text: str) -> None:
        """Why: ``IO::Socket::INET6: connect: Connection timed out``."""
        words = text.rsplit(": ", 1)[-1]
        self.seen.update(errno=_ERRNO_OF_WORDS.get(words), reply=words)
        if "hostname" in words.lower():
            self.seen["stage"] = Stage.RESOLVE

    def _missing(self, extension: str, stage: Stage) -> None:
        reply = f"the server does not offer {extension}"
        self.seen.update(stage=stage, missing=extension, smtp_code=None, reply=reply)
