"""The client `swaks`, the Swiss Army Knife for SMTP: a process inside the host, observed by its transcript.

A line of the transcript begins with its sender: ``<-`` the server, ``->`` the client, ``<**`` the server's refusal, all
with ``~`` for ``-`` under TLS; ``===`` and ``***`` are swaks' own messages. swaks does not report which of a name's
addresses it dials; ``Dialled.pm`` does. Versions up to 2020 dial the first one alone and verify who signed a
certificate; later ones dial all in turn and verify the server's name as well.
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
from port25lab.model.evidence import Observation, Stage
from port25lab.model.path import Security

if TYPE_CHECKING:
    from port25lab.network.host import LabHost


SPARE_SECONDS = 20.0
"""For starting Perl, and for a server that answers each command just in time."""

VERIFIES_NAMES = 20240103
"""The first version that verifies the name in a certificate: it must be told which, where it gets an address."""

BAD_USAGE = 1
"""swaks' exit code for unknown options."""

TEMPORARY_REFUSAL = 400
"""Reply codes from here on refuse (RFC 5321 section 4.2.1)."""

_LINE = re.compile(r"(?P<sender><[-~] |<\*\*|<~\*| [-~]>|===|\*\*\*) ?(?P<text>.*)")


class Swaks:
    """Runs swaks and reads its transcript."""

    def __init__(self) -> None:
        self._version: int | None = None

    async def send(
        self, host: LabHost, target: Target, submission: Submission, source_port: int, ca_file: Path
    ) -> Observation:
        """Try to send one message. Where the path leaves the address open, swaks asks the host's resolver."""
        server = target.addresses[0] if target.ip_version else target.host
        options: list[str] = ["--server", server, "--port", str(target.port)]
        options += ["--ehlo", submission.local_hostname, "--from", submission.mail_from, "--to", submission.rcpt_to]
        options += ["--timeout", f"{submission.timeout:.0f}s", "--suppress-data", "--data", "-"]
        if submission.security is not Security.NONE:
            options += ["--tls-on-connect" if submission.security is Security.IMPLICIT else "--tls"]
            options += ["--tls-verify", "--tls-ca-path", str(ca_file), "--tls-sni", submission.server_name]
            if await self._find_version(host) >= VERIFIES_NAMES:
                options += ["--tls-verify-target", submission.server_name]
        if submission.username is not None:
            options += ["--auth", "PLAIN,LOGIN", "--auth-user", submission.username]
            options += ["--auth-password", submission.password or ""]
        perl = {"PERL5LIB": str(Path(__file__).parent), "PERL5OPT": "-MDialled", "HOME": "/nonexistent"}
        perl["DIALLED_FROM"] = str(source_port)
        done = await host.run(
            ["swaks", *options], stdin=submission.message, seconds=submission.timeout + SPARE_SECONDS, environment=perl
        )
        output, errors = (text.decode(errors="replace").splitlines() for text in (done.stdout, done.stderr))
        if done.returncode == BAD_USAGE or not output:
            raise LabError(f"swaks on {host.name}: {' '.join(errors) or 'no transcript'}")
        first = Stage.TLS if submission.security is Security.IMPLICIT else Stage.BANNER
        killed_after = submission.timeout if done.timed_out else None
        fields = read_transcript([*output, *errors], after_connecting=first, killed_after=killed_after)
        return Observation(**fields, seconds=done.seconds)

    async def _find_version(self, host: LabHost) -> int:
        """The version, which is a date: 20240103. Asked for once. Raises LabError where swaks does not say it."""
        if self._version is None:
            done = await host.run(["swaks", "--version"], seconds=SPARE_SECONDS)
            self._version = read_version(done.stdout.decode(errors="replace"))
        return self._version


def read_version(text: str) -> int:
    """The date in what ``swaks --version`` prints: ``swaks version 20240103.0``. Raises LabError."""
    found = re.match(r"swaks version (\d{8})\b", text)
    if not found:
        raise LabError(f"swaks --version says no version: {text[:80]!r}")
    return int(found[1])


def read_transcript(
    lines: Iterable[str], after_connecting: Stage = Stage.BANNER, killed_after: float | None = None
) -> dict[str, Any]:
    """The fields of an observation, without its seconds.

    ``killed_after``: the limit in seconds after which swaks was killed; None: it ended by itself. A reply that lets the
    session go on is then not its end.
    """
    transcript = Transcript(after_connecting)
    for line in lines:
        if line.startswith("dialled: "):
            transcript.fields["address"] = line.removeprefix("dialled: ").strip()
        elif found := _LINE.match(line):
            _take(transcript, found["sender"].strip(), found["text"])
    if killed_after is not None and (transcript.fields["smtp_code"] or 0) < TEMPORARY_REFUSAL:
        transcript.timed_out(killed_after)
    return transcript.finished()


def _take(transcript: Transcript, sender: str, text: str) -> None:
    """One line of the transcript."""
    if sender == "***":
        _complaint(transcript, text)
    elif sender == "===":
        _information(transcript, text)
    elif sender.endswith(">"):
        transcript.command(text)
    elif found := re.match(r"Timeout \((\d+) secs\) waiting for server response", text):
        transcript.timed_out(int(found[1]))
    else:
        transcript.answer(text)


def _information(transcript: Transcript, text: str) -> None:
    if text.startswith("Connected to ") and not transcript.settled:
        transcript.connected()
    elif (found := re.match(r"TLS started with cipher ([^:]+)", text)) and not transcript.settled:
        transcript.encrypted(found[1])


def _complaint(transcript: Transcript, text: str) -> None:
    if transcript.stage is Stage.DONE:
        return
    if found := re.match(r"TLS startup failed \((.*)\)", text):
        transcript.fields.update(stage=Stage.TLS, smtp_code=None, reply=found[1])
    elif text.startswith("\t") and transcript.stage is Stage.CONNECT:
        _not_connected(transcript, text.strip().rsplit(": ", 1)[-1])
    elif text.startswith("Remote host closed connection") and transcript.fields["smtp_code"] is None:
        transcript.fields["reply"] = CLOSED
    elif text == "Host did not advertise STARTTLS":
        transcript.lacks("STARTTLS")
    elif text == "Host did not advertise authentication":
        transcript.lacks("AUTH")


def _not_connected(transcript: Transcript, words: str) -> None:
    """``words``: the end of swaks' message ``IO::Socket::INET6: connect: Connection timed out``."""
    transcript.not_connected(words)
    if words == "timeout":  # Perl's own timer ran out before the kernel's
        transcript.fields["errno"] = "ETIMEDOUT"
    if "hostname" in words.lower():
        transcript.fields["stage"] = Stage.RESOLVE
