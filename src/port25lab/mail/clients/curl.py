"""The client `curl`: a process inside the host, known by what it says with --verbose.

``*`` begins curl's own words, ``>`` what it sends, ``<`` what the server answers; ``{`` and ``}`` count bytes. curl
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
from port25lab.model.evidence import Observation, Stage, silence
from port25lab.model.path import Security

if TYPE_CHECKING:
    from port25lab.network.host import LabHost


PATIENCE = 2.0
"""curl has no timer for an answer, only one for the whole session: so many times the one for an answer."""

SPARE_SECONDS = 10.0
"""For starting curl."""

BAD_USAGE = (2, 45)
"""curl's exit codes (curl(1)) where it did not even try: options that it does not take, and no port to bind."""

_STAGE_OF_EXIT = {5: Stage.RESOLVE, 6: Stage.RESOLVE, 35: Stage.TLS, 60: Stage.TLS}

_TIMED_OUT = 28


class Curl:
    """Runs curl and reads what it says."""

    async def send(
        self, host: LabHost, target: Target, submission: Submission, source_port: int, ca_file: Path
    ) -> Observation:
        """Try to send one message. Left to pick an address, curl asks the host's own resolver."""
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
    told, complaint = Transcript(after_connecting), ""
    for line in lines:
        if line.startswith("> "):
            told.command(line[2:])
        elif line.startswith("< "):
            told.answer(line[2:])
        elif line.startswith("* "):
            _information(told, line[2:].strip())
        elif line.startswith("curl: ("):
            complaint = line.split(") ", 1)[1]
    if exit_code and told.seen["reply"] is None:
        told.failed(complaint, _STAGE_OF_EXIT.get(exit_code))
    if exit_code == _TIMED_OUT and told.stage is Stage.CONNECT:
        told.seen["errno"] = "ETIMEDOUT"
    return told.finished()


def _information(told: Transcript, text: str) -> None:
    if told.stage is Stage.CONNECT:
        _dialling(told, text)
    elif found := re.match(r"SSL connection using (TLS\S+)", text):
        told.encrypted(found[1])
    elif found := re.match(r"SSL certificate problem: (.+)", text):
        told.failed(found[1], Stage.TLS)
    elif text.startswith("STARTTLS not supported"):
        told.lacks("STARTTLS")
    elif told.seen["smtp_code"] is None:
        _broken(told, text)


def _dialling(told: Transcript, text: str) -> None:
    if found := re.match(r"Trying \[?([0-9a-f.:]+?)\]?:\d+\.\.\.", text):
        told.seen["address"] = found[1]
    elif found := re.match(r"connect to (\S+) port \d+ .*?failed: (.+)", text):
        told.seen["address"] = found[1]
        told.not_connected(found[2])
    elif found := re.match(r"(?:Connected|Established connection) to \S+ \(([0-9a-f.:]+)\)? port", text):
        told.seen["address"] = found[1]
        told.connected()


def _broken(told: Transcript, text: str) -> None:
    """The session ends without a reply."""
    if found := re.match(r"(?:Recv|Send) failure: (.+)", text):
        told.failed(found[1])
    elif text.startswith("response reading failed"):
        told.failed(CLOSED)
    elif found := re.match(r"Operation timed out after (\d+) milliseconds", text):
        told.failed(silence(round(int(found[1]) / 1000)))


def _bracketed(addresses: Iterable[str]) -> str:
    return ",".join(f"[{address}]" if ":" in address else address for address in addresses)
