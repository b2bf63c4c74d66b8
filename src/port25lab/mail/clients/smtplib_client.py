"""The client `smtplib`: Python's own, in a process inside the host."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from port25lab.errors import LabError
from port25lab.mail.clients.base import Target
from port25lab.mail.smtp_session import Submission
from port25lab.model.evidence import Observation, enhanced_code

if TYPE_CHECKING:
    from port25lab.network.host import LabHost


SCRIPT = Path(__file__).with_name("smtplib_script.py")

SPARE_SECONDS = 20.0
"""For starting Python, and for a server that answers each command just in time."""


class SmtplibClient:
    """Runs ``smtplib_script.py``."""

    async def send(
        self, host: LabHost, target: Target, submission: Submission, source_port: int, ca_file: Path
    ) -> Observation:
        """Try to send one message. Left to pick an address, smtplib asks the host's own resolver."""
        question = {
            "host": target.host,
            "addresses": target.addresses if target.ip_version else (),
            "port": target.port,
            "source_port": source_port,
            "security": submission.security,
            "server_name": submission.server_name,
            "username": submission.username,
            "password": submission.password,
            "mail_from": submission.mail_from,
            "rcpt_to": submission.rcpt_to,
            "message": submission.message.decode("latin-1"),
            "timeout": submission.timeout,
            "local_hostname": submission.local_hostname,
            "ca_file": str(ca_file),
        }
        argv = [sys.executable, "-I", "-S", str(SCRIPT)]  # nothing but the standard library
        done = await host.run(argv, stdin=json.dumps(question).encode(), seconds=submission.timeout + SPARE_SECONDS)
        lines = done.stdout.splitlines()
        if not lines or (done.returncode and not done.timed_out):
            raise LabError(f"smtplib on {host.name}: {done.stderr.decode(errors='replace').strip() or 'no answer'}")
        notes = json.loads(lines[-1])
        reply = notes.get("reply")
        return Observation(**notes, seconds=done.seconds, enhanced_code=enhanced_code(reply) if reply else None)
