"""The client `msmtp`: a process inside the host, observed by its output with --debug.

On stdout ``-->`` is sent and ``<--`` is received; stderr says why it gives up. msmtp takes no source port and does not
report which address it dials: the kernel picks the port from a range of the attempt's own, and the rule trace has the
address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from tempfile import NamedTemporaryFile
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
"""For starting msmtp, and for a server that answers each command just in time."""

NOT_TRIED = (64, 73, 78)
"""Exit codes (sysexits.h) of msmtp before it uses the network: EX_USAGE, EX_CANTCREAT, EX_CONFIG."""

_TIMED_OUT = "the operation timed out"
"""msmtp's message when its own timer expires, before the kernel's."""


class Msmtp:
    """Runs msmtp and reads its output."""

    async def send(
        self, host: LabHost, target: Target, submission: Submission, source_port: int, ca_file: Path
    ) -> Observation:
        """Try to send one message. Where the path leaves the address open, msmtp asks the host's resolver.

        The password has to come from a file: it is in the sandbox's own /tmp, which no process outside can read.
        """
        with NamedTemporaryFile("w", prefix="msmtp-") as config:
            config.write(configuration(target, submission, ca_file))
            config.flush()
            argv = ["msmtp", "--debug", f"--file={config.name}", "--", submission.rcpt_to]
            done = await host.run(argv, stdin=submission.message, seconds=submission.timeout + SPARE_SECONDS)
        output, errors = (text.decode(errors="replace").splitlines() for text in (done.stdout, done.stderr))
        if done.returncode in NOT_TRIED:
            raise LabError(f"msmtp on {host.name}: {' '.join(errors) or 'no output'}")
        if done.timed_out:
            # Its own timer is for connecting; when it is killed while it waits for a reply, it has printed no error.
            errors.append(f"msmtp: network read error: {_TIMED_OUT}")
        first = Stage.TLS if submission.security is Security.IMPLICIT else Stage.BANNER
        fields = read_transcript(output, errors, submission.timeout, first)
        return Observation(**fields, seconds=done.seconds)


def configuration(target: Target, submission: Submission, ca_file: Path) -> str:
    """An msmtprc for this one message."""
    settings = {
        "account": "default",
        "host": target.addresses[0] if target.ip_version else target.host,
        "port": str(target.port),
        "domain": submission.local_hostname,
        "from": submission.mail_from,
        "timeout": f"{submission.timeout:.0f}",
    }
    if submission.security is not Security.NONE:
        settings |= {
            "tls": "on",
            "tls_starttls": "on" if submission.security is Security.STARTTLS else "off",
            "tls_trust_file": str(ca_file),
            "tls_host_override": submission.server_name,
        }
    if submission.username is not None:
        settings |= {"auth": "plain", "user": submission.username, "password": f'"{submission.password or ""}"'}
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def read_transcript(
    output: Iterable[str], errors: Iterable[str], timeout: float, after_connecting: Stage = Stage.BANNER
) -> dict[str, Any]:
    """The fields of an observation, without its seconds."""
    transcript = Transcript(after_connecting)
    for line in output:
        if line.startswith(("--> ", "<-- ")) and transcript.stage is Stage.CONNECT:
            transcript.connected()
        if line.startswith("--> "):
            transcript.command(line[4:])
        elif line.startswith("<-- "):
            transcript.answer(line[4:])
        elif line.startswith(" "):
            _session_parameters(transcript, line.strip())
    for line in errors:
        _complaint(transcript, line.removeprefix("msmtp: "), timeout, after_connecting)
    return transcript.finished()


def _session_parameters(transcript: Transcript, text: str) -> None:
    if found := re.match(r"\(TLS([\d.]+)\)-", text):
        if transcript.stage is Stage.CONNECT:
            transcript.connected()
        transcript.encrypted(f"TLSv{found[1]}")
    elif found := re.match(r"SHA256: ([0-9A-F:]+)$", text):
        transcript.fields["certificate"] = found[1].replace(":", "").lower()


def _complaint(transcript: Transcript, text: str, timeout: float, after_connecting: Stage) -> None:
    if found := re.match(r"cannot connect to .+, port \d+: (.+)", text):
        transcript.not_connected(found[1])
        if found[1] == _TIMED_OUT:
            transcript.fields["errno"] = "ETIMEDOUT"
    elif text.startswith("cannot locate host"):
        transcript.failed(text, Stage.RESOLVE)
    elif found := re.match(r"(?:TLS certificate verification|TLS handshake) failed: (.+)", text):
        transcript.failed(found[1].strip(), Stage.TLS)
    elif text == "the server does not support TLS via the STARTTLS command":
        transcript.lacks("STARTTLS")
    elif text == "the server does not support authentication":
        transcript.lacks("AUTH")
    elif found := re.match(r"(?:network|TLS) (?:read|write) error: (.+)|cannot (?:read|write) .+TLS.*?: (.+)", text):
        words = found[1] or found[2]
        stage = _at_least(transcript, after_connecting)
        if words == _TIMED_OUT:
            transcript.timed_out(timeout, stage)
        else:
            transcript.failed(words, stage)
    elif text == "the server sent an empty reply":
        transcript.failed(CLOSED, _at_least(transcript, after_connecting))
    elif transcript.fields["reply"] is None and not text.startswith("could not send mail"):
        transcript.failed(text, _at_least(transcript, after_connecting))


def _at_least(transcript: Transcript, after_connecting: Stage) -> Stage:
    """msmtp does not report that it has connected: an error that only an open connection can have shows it."""
    return after_connecting if transcript.stage is Stage.CONNECT else transcript.stage
