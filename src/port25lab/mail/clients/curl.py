"""The client `curl`: a process inside the host, observed by its output with --verbose.

Lines with ``*`` are curl's own messages, ``>`` is sent, ``<`` is received; ``{`` and ``}`` count bytes. curl
dials the addresses of a name side by side, the second one 200 ms after the first (RFC 8305, "happy eyeballs"), each
from a port of its own out of the range that it is given.
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
from port25lab.model.client_kinds import Ports
from port25lab.model.evidence import Observation, Stage
from port25lab.model.path import Security

if TYPE_CHECKING:
    from port25lab.network.host import LabHost


PATIENCE = 2.0
"""curl has no time limit for a reply, only one for the whole session: this many times the limit for a reply."""

SPARE_SECONDS = 10.0
"""For starting curl."""

BAD_USAGE = (2, 45)
"""curl's exit codes (curl(1)) for unknown options and for no port to bind: it has not tried to connect."""

_STAGE_OF_EXIT = {5: Stage.RESOLVE, 6: Stage.RESOLVE, 35: Stage.TLS, 60: Stage.TLS}

_TIMED_OUT = 28


class Curl:
    """Runs curl and reads its output."""

    async def send(
        self, host: LabHost, target: Target, submission: Submission, source_port: int, ca_file: Path
    ) -> Observation:
        """Try to send one message. Where the path leaves the address open, curl asks the host's resolver."""
        scheme = "smtps" if submission.security is Security.IMPLICIT else "smtp"
        name = f"[{target.host}]" if ":" in target.host else target.host
        ports = f"{source_port}-{source_port + Ports.SOME - 1}"
        options = ["--disable", "--verbose", "--no-progress-meter", "--noproxy", "*", "--local-port", ports]
        options += ["--max-time", f"{submission.timeout * PATIENCE:g}", "--cacert", str(ca_file)]
        if target.ip_version and target.host not in target.addresses:
            options += ["--resolve", f"{target.host}:{target.port}:{_bracketed(target.addresses)}"]
        if submission.security is Security.STARTTLS:
            options += ["--ssl-reqd"]
        if submission.username is not None:
            options += ["--user", f"{submission.username}:{submission.password or ''}"]
        options += ["--mail-from", submission.mail_from, "--mail-rcpt", submission.rcpt_to, "--upload-file", "-"]
        url = f"{scheme}://{name}:{target.port}/{submission.local_hostname}"
        seconds = submission.timeout * PATIENCE + SPARE_SECONDS
        done = await host.run(["curl", *options, url], stdin=submission.message, seconds=seconds)
        lines = done.stderr.decode(errors="replace").splitlines()
        if done.returncode in BAD_USAGE or not lines:
            raise LabError(f"curl on {host.name}: {lines[-1] if lines else f'exit code {done.returncode}'}")
        first = Stage.TLS if submission.security is Security.IMPLICIT else Stage.BANNER
        return Observation(**read_transcript(lines, done.returncode, first), seconds=done.seconds)


def read_transcript(lines: Iterable[str], exit_code: int, after_connecting: Stage = Stage.BANNER) -> dict[str, Any]:
    """The fields of an observation, without its seconds."""
    transcript, error = Transcript(after_connecting), ""
    for line in lines:
        if line.startswith("> "):
            transcript.command(line[2:])
        elif line.startswith("< "):
            transcript.answer(line[2:])
        elif line.startswith("* "):
            _information(transcript, line[2:].strip())
        elif line.startswith("curl: ("):
            error = line.split(") ", 1)[1]
    if exit_code and transcript.fields["reply"] is None:
        transcript.failed(error, _STAGE_OF_EXIT.get(exit_code))
    if exit_code == _TIMED_OUT and transcript.stage is Stage.CONNECT:
        transcript.fields["errno"] = "ETIMEDOUT"
    return transcript.finished()


def _information(transcript: Transcript, text: str) -> None:
    if transcript.stage is Stage.CONNECT:
        _dialling(transcript, text)
    elif found := re.match(r"SSL connection using (TLS\S+)", text):
        transcript.encrypted(found[1])
    elif found := re.match(r"SSL certificate problem: (.+)", text):
        transcript.failed(found[1], Stage.TLS)
    elif text.startswith("STARTTLS not supported"):
        transcript.lacks("STARTTLS")
    elif transcript.fields["smtp_code"] is None:
        _broken(transcript, text)


def _dialling(transcript: Transcript, text: str) -> None:
    if found := re.match(r"Trying \[?([0-9a-f.:]+?)\]?:\d+\.\.\.", text):
        transcript.fields["address"] = found[1]
    elif found := re.match(r"connect to (\S+) port \d+ .*?failed: (.+)", text):
        transcript.fields["address"] = found[1]
        transcript.not_connected(found[2])
    elif found := re.match(r"(?:Connected|Established connection) to \S+ \(([0-9a-f.:]+)\)? port", text):
        transcript.fields["address"] = found[1]
        transcript.connected()


def _broken(transcript: Transcript, text: str) -> None:
    """The session ends without a reply."""
    if found := re.match(r"(?:Recv|Send) failure: (.+)", text):
        transcript.failed(found[1])
    elif text.startswith("response reading failed"):
        transcript.failed(CLOSED)
    elif found := re.match(r"Operation timed out after (\d+) milliseconds", text):
        transcript.timed_out(round(int(found[1]) / 1000))


def _bracketed(addresses: Iterable[str]) -> str:
    return ",".join(f"[{address}]" if ":" in address else address for address in addresses)
