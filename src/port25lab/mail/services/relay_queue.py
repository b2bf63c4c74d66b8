"""The queue of a mail server that relays: one copy for each recipient, delivered from the server's own address.

For each copy the recipient's domain is looked up, and each address of its exchangers is tried in turn until one takes
the copy (RFC 5321 section 5.1). A copy that fails for now is tried again, after a longer pause each time; one that
fails for good has bounced. Every address that is tried is a hop in the delivery log. Bounces are recorded and not
mailed: a lab has no use for them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace

from port25lab.mail.host import Host
from port25lab.mail.resolver import DnsFailure, addresses, mx
from port25lab.mail.services.certificates import opportunistic_context
from port25lab.mail.services.journal import Journal
from port25lab.mail.services.mailbox import Mailboxes, RelayTry
from port25lab.mail.services.tasks import TaskSupervisor
from port25lab.mail.smtp_session import Submission, dial_and_converse
from port25lab.model.evidence import Hop, Observation, Stage
from port25lab.model.path import Security

SMTP_PORT = 25

FIRST_RETRY_SECONDS = 0.3

GROWTH = 2.0

LONGEST_RETRY_SECONDS = 60.0
"""A real queue waits minutes and hours (RFC 5321 section 4.5.4.1); a lab has seconds."""

ANSWER_SECONDS = 5.0
"""How long to wait for each answer of the next server."""

TRIES_TO_DEFER = 2
"""A message counts as deferred when its first try and its first retry have failed."""


@dataclass(frozen=True)
class Copy:
    """One recipient's copy of a message."""

    mail_from: str
    rcpt_to: str
    token: str | None
    raw: bytes

    @property
    def domain(self) -> str:
        """The recipient's domain."""
        return self.rcpt_to.rpartition("@")[2].lower()


class Relay:
    """One node's queue. Each copy in it is a task with a schedule of its own."""

    def __init__(self, host: Host, mailboxes: Mailboxes, supervisor: TaskSupervisor, journal: Journal) -> None:
        self._host, self._mailboxes, self._supervisor, self._journal = host, mailboxes, supervisor, journal
        self._tls: ssl.SSLContext = opportunistic_context()

    def accept(self, copy: Copy) -> None:
        """Take responsibility for a copy, and try to deliver it at once."""
        self._mailboxes.queued(copy.token)
        self._supervisor.start(self._host.name, "relay", self._deliver(copy))

    async def _deliver(self, copy: Copy) -> None:
        for number, pause in enumerate(_pauses(), start=1):
            end = await self._try(copy)
            over = end.stage is Stage.DONE or _is_permanent(end)
            if number == TRIES_TO_DEFER or (over and number < TRIES_TO_DEFER):
                self._mailboxes.settled(copy.token)
            if over:
                return
            await asyncio.sleep(pause)

    async def _try(self, copy: Copy) -> Observation:
        """Try each exchanger and each of its addresses, until one takes or refuses the copy. Returns how it ended."""
        try:
            exchangers = await mx(self._host, copy.domain)
        except DnsFailure as failure:
            return self._unresolved(copy, copy.domain, failure)
        ends = []
        for exchanger in exchangers:
            try:
                found = await addresses(self._host, exchanger.exchange, None)
            except DnsFailure as failure:
                ends.append(self._unresolved(copy, exchanger.exchange, failure))
                continue
            for address in found:
                end = await self._hand_over(copy, exchanger.exchange, address)
                if end.stage is Stage.DONE or _is_permanent(end):
                    return end
                ends.append(end)
        # A permanent DNS failure of one exchanger is no reason to give up while another one may come back.
        return next((end for end in ends if not _is_permanent(end)), ends[-1])

    async def _hand_over(self, copy: Copy, exchange: str, address: str) -> Observation:
        """Try one address: with TLS, and once more without where TLS fails (RFC 7435)."""
        submission = Submission(
            security=Security.NONE,
            server_name=exchange,
            tls=self._tls,
            username=None,
            password=None,
            mail_from=copy.mail_from,
            rcpt_to=copy.rcpt_to,
            message=copy.raw,
            timeout=ANSWER_SECONDS,
            local_hostname=self._host.hostname,
            opportunistic=True,
        )
        end = await self._dial(copy, exchange, address, submission)
        if end.stage in (Stage.STARTTLS, Stage.TLS):
            end = await self._dial(copy, exchange, address, replace(submission, opportunistic=False))
        return end

    async def _dial(self, copy: Copy, exchange: str, address: str, submission: Submission) -> Observation:
        source_port = self._host.source_port()
        observation = await dial_and_converse(self._host, [address], SMTP_PORT, submission, source_port)
        hop = Hop(node=self._host.name, to=exchange, observation=observation)
        self._mailboxes.tried(copy.token, RelayTry(hop, source_port))
        self._note(copy, f"{exchange} [{address}]", observation)
        return observation

    def _unresolved(self, copy: Copy, name: str, failure: DnsFailure) -> Observation:
        """Record a try that ended before an address could be dialled."""
        observation = Observation(
            stage=Stage.RESOLVE,
            smtp_code=failure.smtp_code,
            enhanced_code=failure.enhanced_code,
            reply=str(failure),
        )
        hop = Hop(node=self._host.name, to=name, observation=observation)
        self._mailboxes.tried(copy.token, RelayTry(hop, queries=failure.queries))
        self._note(copy, name, observation)
        return observation

    def _note(self, copy: Copy, to: str, end: Observation) -> None:
        said = " ".join(filter(None, (str(end.smtp_code or ""), end.reply)))
        self._journal.note(self._host.name, "relay", f"<{copy.rcpt_to}> to {to}: {end.stage.value}, {said}")


def _is_permanent(end: Observation) -> bool:
    """A 5xx reply; but one in the greeting or to EHLO concerns the server, so others are tried, as Postfix does."""
    return end.smtp_code is not None and end.smtp_code >= 500 and end.stage not in (Stage.BANNER, Stage.EHLO)


def _pauses() -> Iterator[float]:
    """Seconds to wait after each try, without end."""
    pause = FIRST_RETRY_SECONDS
    while True:
        yield pause
        pause = min(pause * GROWTH, LONGEST_RETRY_SECONDS)
