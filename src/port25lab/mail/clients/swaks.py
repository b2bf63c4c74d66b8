"""The client `swaks`, the Swiss Army Knife for SMTP: a process inside the host, known by its transcript.

A line of the transcript begins with who speaks: ``<-`` the server, ``->`` the client, ``<**`` the server's refusal, all
with ``~`` for ``-`` under TLS; ``===`` and ``***`` are swaks' own words. Which address it dials, out of those that a
name has, swaks does not say; ``Dialled.pm`` makes it do so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from port25lab.errors import LabError
from port25lab.mail.clients.base import Target
from port25lab.mail.clients.transcript import Transcript
from port25lab.mail.smtp_session import CLOSED, Submission
from port25lab.model.evidence import Observation, Stage, silence
from port25lab.model.path import Security

if TYPE_CHECKING:
    from port25lab.network.host import LabHost


SPARE_SECONDS = 20.0
"""For starting Perl, and for a server that answers each command just in time."""

BAD_USAGE = 1
"""swaks' exit code for options that it does not take."""

_LINE = re.compile(r"(?P<who><[-~] |<\*\*|<~\*| [-~]>|===|\*\*\*) ?(?P<text>.*)")


class Swaks:
    """Runs swaks and reads its transcript."""

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
            seen["reply"] = silence(submission.timeout)
        return Observation(**seen, seconds=done.seconds)


def read_transcript(lines: Iterable[str], after_connecting: Stage = Stage.BANNER) -> dict[str, Any]:
    """The fields of an observation, without its seconds."""
    told = Transcript(after_connecting)
    for line in lines:
        if line.startswith("dialled: "):
            told.seen["address"] = line.removeprefix("dialled: ").strip()
        elif found := _LINE.match(line):
            _take(told, found["who"].strip(), found["text"])
    return told.finished()


def _take(told: Transcript, who: str, text: str) -> None:
    """One line of the transcript."""
    if who == "***":
        _complaint(told, text)
    elif who == "===":
        _information(told, text)
    elif who.endswith(">"):
        told.command(text)
    elif found := re.match(r"Timeout \((\d+) secs\) waiting for server response", text):
        told.failed(silence(int(found[1])))
    else:
        told.answer(text)


def _information(told: Transcript, text: str) -> None:
    if text.startswith("Connected to ") and not told.settled:
        told.connected()
    elif (found := re.match(r"TLS started with cipher ([^:]+)", text)) and not told.settled:
        told.encrypted(found[1])


def _complaint(told: Transcript, text: str) -> None:
    if told.stage is Stage.DONE:
        return
    if found := re.match(r"TLS startup failed \((.*)\)", text):
        told.seen.update(stage=Stage.TLS, smtp_code=None, reply=found[1])
    elif text.startswith("\t") and told.stage is Stage.CONNECT:
        _not_connected(told, text.strip().rsplit(": ", 1)[-1])
    elif text.startswith("Remote host closed connection") and told.seen["smtp_code"] is None:
        told.seen["reply"] = CLOSED
    elif text == "Host did not advertise STARTTLS":
        told.lacks("STARTTLS")
    elif text == "Host did not advertise authentication":
        told.lacks("AUTH")


def _not_connected(told: Transcript, words: str) -> None:
    """Why: ``IO::Socket::INET6: connect: Connection timed out``, of which the last words are here."""
    told.not_connected(words)
    if words == "timeout":  # Perl's own timer ran out before the kernel's
        told.seen["errno"] = "ETIMEDOUT"
    if "hostname" in words.lower():
        told.seen["stage"] = Stage.RESOLVE
