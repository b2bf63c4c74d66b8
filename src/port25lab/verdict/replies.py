"""What a server's reply means: one table of SMTP replies for ``run`` and ``probe``. The first row that fits wins.

RFC 5321 has the codes, RFC 3463 the enhanced ones, RFC 4954 those of AUTH, RFC 3207 those of STARTTLS, RFC 6647
greylisting and RFC 5782 blocklists. Texts are as Postfix, Exim, Exchange, Domino and qmail write them.
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
"""Does not match "blocked, use your provider's relay"."""

NO_LOGIN = r"authentication (is )?required|requires authentication|(must|please) authenticate|not logged in"
"""Does not match "unauthenticated mail", which is about SPF and DKIM."""

TOO_MUCH = r"\brate\b|\btoo (many|much|fast)\b|\blimit|throttl"

GREYLISTED = r"gr[ea]y[-_ ]?list"

LATER = r"\b(try|come) (again|back)\b"
"""Greylisting servers write this, and so do servers with a fault of their own (Postfix when a milter fails)."""

LISTED = (
    r"\bdns[bw]l\b|\brbl\b|(block|black|deny)[-_ ]?list|\bblocked (using|by)\b|(?<!not )(?<!be )\blisted\b|spamhaus"
    r"|\bdynamic(ally)? (ip|address|assigned)"
)
"""An address on a list of bad senders or of dynamic addresses. Does not match "user not listed in Domino Directory"."""


@dataclass(frozen=True)
class ReplyMeaning:
    """What one reply says, as far as its text can be trusted."""

    outcome: Outcome
    mechanism: Mechanism
    maybe: Mechanism | None
    """Another mechanism whose reply has the same code and text; None: no row of the table knows one."""


@dataclass(frozen=True)
class ReplyPattern:
    """One row of the table. A pattern that is None fits every reply."""

    outcome: Outcome
    code: range | tuple[int, ...]
    source: str
    """The RFC that says so."""
    enhanced: str | None = None
    text: str | None = None
    stages: tuple[Stage, ...] | None = None
    mechanism: Mechanism = Mechanism.SERVER_REFUSAL
    maybe: Mechanism | None = None

    def fits(self, code: int | None, enhanced: str | None, text: str | None, stage: Stage) -> bool:
        """Whether this row is about a reply; the parameters are those of ``meaning_of``."""
        return (
            code in self.code
            and (self.enhanced is None or re.fullmatch(self.enhanced, enhanced or "") is not None)
            and (self.text is None or re.search(self.text, text or "", re.IGNORECASE) is not None)
            and (self.stages is None or stage in self.stages)
        )


REPLY_PATTERNS: tuple[ReplyPattern, ...] = (
    ReplyPattern(Outcome.TLS_REQUIRED, (530,), "RFC 3207 4", text=r"\b(starttls|tls|encrypt)"),
    ReplyPattern(Outcome.TLS_REQUIRED, (538,), "RFC 4954 6"),
    ReplyPattern(Outcome.AUTH_REQUIRED, (530,), "RFC 4954 6"),
    ReplyPattern(Outcome.AUTH_FAILED, (534, 535), "RFC 4954 6"),
    ReplyPattern(Outcome.AUTH_REQUIRED, (550, 553, 554), "RFC 4954 6", text=NO_LOGIN, stages=ENVELOPE),
    ReplyPattern(Outcome.RELAY_DENIED, (550, 551, 553, 554), "RFC 3463 3.8 (X.7.1)", text=NO_RELAY, stages=ENVELOPE),
    ReplyPattern(Outcome.RELAY_DENIED, (454,), "RFC 3463 3.8 (X.7.1)", enhanced="4[.]7[.]1", stages=ENVELOPE),
    ReplyPattern(Outcome.TEMPFAIL, (421, 450, 451), "RFC 6647", text=GREYLISTED, mechanism=Mechanism.GREYLISTING),
    # 452 is not in this row: that code counts the recipients of one message.
    ReplyPattern(Outcome.THROTTLED, (421, 450, 451), "RFC 3463 3.8 (X.7.0)", text=TOO_MUCH),
    ReplyPattern(Outcome.TEMPFAIL, TRANSIENT, "RFC 5782", text=LISTED, mechanism=Mechanism.DNSBL_LISTING),
    ReplyPattern(Outcome.REJECTED, PERMANENT, "RFC 5782", text=LISTED, mechanism=Mechanism.DNSBL_LISTING),
    ReplyPattern(Outcome.TEMPFAIL, (450, 451), "RFC 6647", text=LATER, maybe=Mechanism.GREYLISTING),
    ReplyPattern(Outcome.TEMPFAIL, TRANSIENT, "RFC 5321 4.2.1"),
    ReplyPattern(Outcome.REJECTED, PERMANENT, "RFC 5321 4.2.1"),
)


def meaning_of(code: int | None, enhanced: str | None, text: str | None, stage: Stage) -> ReplyMeaning | None:
    """What a server's reply means.

    ``code``: the reply code such as 554; None: the server gave no reply. ``enhanced``: the RFC 3463 status such as
    ``5.7.1``, or None. ``text``: the reply's text. ``stage``: the stage of the session that the reply ended.
    Returns None where there is no reply, or the reply refuses nothing (2xx and 3xx). Raises nothing.
    """
    fitting = (row for row in REPLY_PATTERNS if row.fits(code, enhanced, text, stage))
    return next((ReplyMeaning(row.outcome, row.mechanism, row.maybe) for row in fitting), None)


def of_reply(observation: Observation) -> Classification | None:
    """What the server's last reply means; None where it gave none, or none that refuses anything."""
    found = meaning_of(observation.smtp_code, observation.enhanced_code, observation.reply, observation.stage)
    return Classification(found.outcome, found.mechanism) if found else None
