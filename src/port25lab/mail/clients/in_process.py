"""The default client: aiosmtplib on sockets made inside the host, in the lab's own event loop. For speed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from port25lab.mail.clients.base import Target
from port25lab.mail.smtp_session import Submission, dial_and_converse
from port25lab.model.evidence import Observation

if TYPE_CHECKING:
    from port25lab.network.host import LabHost


class InProcess:
    """A client without a process."""

    async def send(
        self, host: LabHost, target: Target, submission: Submission, source_port: int, ca_file: Path
    ) -> Observation:
        """Try to send one message; ``submission.tls`` trusts the lab's CA already."""
        return await dial_and_converse(host, target.addresses, target.port, submission, source_port)
