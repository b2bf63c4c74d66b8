"""What a real server's words mean: a table of SMTP replies, first row that fits.

RFC 5321 has the codes, RFC 3463 the enhanced ones, RFC 4954 those of AUTH, RFC 3207 those of STARTTLS, RFC 6647
greylisting and RFC 5782 blocklists. Words are as Postfix, Exim, Exchange and qmail say them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from port25lab.model.evidence import Observation, Stage
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.verdict.views import Classification

PERMANENT = range(500, 600)

TRANSIENT = range(400, 500)

GREETING = (Stage.BANNER, Stage.EHLO)
"""A relay that is refused here tries again later: another server of the domain may take the message."""

ENVELOPE = (Stage.MAIL, Stage.RCPT, Stage.DATA)

NO_RELAY = r"relay\w* (access )?(is )?(denied|not|prohibited)|\b(unable to|no|not|\w+n't) (\w+ ){0,3}relay|rcpthosts"
"""Not: "blocked, use your provider's relay"."""

NO_LOGIN = r"authentication (is )?required|requires authentication|(must|please) authenticate|not logged in"
"""Not: "unauthenticated mail", which is about SPF and DKIM."""

TOO_MUCH = r"\brate\b|\btoo (many|much|fast)\b|\blimit|throttl"

GREYLISTED = r"gr[ea]y-?list"

LISTED = (
    r"\bdns[bw]l\b|\brbl\b|(block|black|deny)-?list|\bblocked (using|by)\b|\blisted (in|at|by|on)\b|spamhaus"
    r"|\bdynamic(ally)? (ip|address|assigned)"
)
"""An address on a list, be it one of bad senders or one of dynamic addresses."""


@dataclass(frozen=True)
class Reply:
    """One row. A field that is None fits everything."""

    outcome: Outcome
    code: range | tuple[int, ...]
    enhanced: str | None = None
    words: str | None = None
    stages: tuple[Stage, ...] | None = None
    mechanism: Mechanism = Mechanism.SERVER_REFUSAL

    def fits(self, seen: Observation) -> bool:
        """Whether this row is about that reply."""
        return (
            seen.smtp_code in self.code
            and (self.enhanced is None or re.fullmatch(self.enhanced, seen.enhanced_code or "") is not None)
            and (self.words is None or re.search(self.words, seen.reply or "", re.IGNORECASE) is not None)
            and (self.stages is None or seen.stage in self.stages)
        )


REPLIES: tuple[Reply, ...] = (
    Reply(Outcome.TLS_REQUIRED, (530,), words=r"\b(starttls|tls|encrypt)"),  # RFC 3207 4
    Reply(Outcome.TLS_REQUIRED, (538,)),  # RFC 4954 6
    Reply(Outcome.AUTH_REQUIRED, (530,)),  # RFC 4954 6
    Reply(Outcome.AUTH_FAILED, (534, 535)),  # RFC 4954 6
    Reply(Outcome.AUTH_REQUIRED, (550, 553, 554), words=NO_LOGIN, stages=ENVELOPE),
    Reply(Outcome.RELAY_DENIED, (550, 551, 553, 554), words=NO_RELAY, stages=ENVELOPE),  # RFC 3463 5.7.1
    Reply(Outcome.RELAY_DENIED, (454,), enhanced="4[.]7[.]1", stages=ENVELOPE),
    Reply(Outcome.TEMPFAIL, (421, 450, 451), words=GREYLISTED, mechanism=Mechanism.GREYLISTING),  # RFC 6647
    Reply(Outcome.THROTTLED, (421, 450, 451), words=TOO_MUCH),  # RFC 3463 4.7.x; 452 counts the recipients of a message
    Reply(Outcome.TEMPFAIL, TRANSIENT, words=LISTED, mechanism=Mechanism.DNSBL_LISTING),  # RFC 5782
    Reply(Outcome.REJECTED, PERMANENT, words=LISTED, mechanism=Mechanism.DNSBL_LISTING),
    Reply(Outcome.TEMPFAIL, TRANSIENT),
    Reply(Outcome.REJECTED, PERMANENT),
)


def of_reply(seen: Observation) -> Classification | None:
    """What the server's last words mean; None where it gave none, or none that refuses anything."""
    return next((Classification(reply.outcome, reply.mechanism) for reply in REPLIES if reply.fits(seen)), None)
