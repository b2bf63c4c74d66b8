"""What the words of a refusing server are about: a table of patterns over its reply.

A reply proves nothing but itself: these are the server's words, sorted so that advice can be given.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Cause(StrEnum):
    """What a server says it refuses for."""

    NO_PTR = "no-ptr"
    """The client's address has no name (PTR), or one that does not lead back to it (FCrDNS)."""
    SPF = "spf"
    """The sender's domain does not let this address send (SPF, DMARC)."""
    SENDER = "sender"
    """The envelope sender does not belong to the user who logged in."""
    LISTED = "listed"
    """The client's address is on a list."""
    RATE = "rate"
    """Too many messages or connections."""
    RELAY = "relay"
    """The server does not relay for this client."""
    LOGIN = "login"
    """A log-in is missing, or it failed."""
    GREYLISTED = "greylisted"
    """The server refuses strangers at first."""


_PATTERNS: tuple[tuple[Cause, str], ...] = (
    (
        Cause.NO_PTR,
        r"\bptr\b|reverse[- ]?(dns|hostname|lookup|ip|name)|\brdns\b|\bfcrdns\b|cannot find your (reverse )?hostname"
        r"|(client|ip) ?(address|host)?( \S+)? (has no|without) (name|hostname)|does not resolve (back )?to",
    ),
    (
        Cause.SPF,
        r"\bspf\b|\bdmarc\b|sender policy framework|not (authori[sz]ed|permitted|allowed) to send (mail )?(from|for)",
    ),
    (
        Cause.SENDER,
        r"sender address rejected: not (owned|logged)|not owned by (the )?user|not (allowed|permitted) to send as"
        r"|sendas\w*|(does not|doesn't) (own|belong)|from address (is )?not (verified|allowed)",
    ),
    (Cause.GREYLISTED, r"gr[ea]y[-_ ]?list"),
    (
        Cause.LISTED,
        r"\bdns[bw]l\b|\brbl\b|(block|black|deny)[-_ ]?list|\bblocked (using|by)\b|(?<!not )(?<!be )\blisted\b|spamhaus"
        r"|\bdynamic(ally)? (ip|address|assigned)|\breputation\b",
    ),
    (Cause.RATE, r"\brate\b|\btoo (many|much|fast)\b|\blimit|throttl|quota"),
    (
        Cause.RELAY,
        r"relay\w* (access )?(is )?(denied|not|prohibited)|\b(unable to|no|not|\w+n't) (\w+ ){0,3}relay|rcpthosts",
    ),
    (
        Cause.LOGIN,
        r"authentication (is )?(required|failed)|requires authentication|(must|please) authenticate|not logged in"
        r"|authentication credentials",
    ),
)

_BY_ENHANCED = {
    "7.25": Cause.NO_PTR,
    "7.23": Cause.SPF,
    "7.24": Cause.SPF,
    "7.60": Cause.SENDER,
    "7.28": Cause.RATE,
    "7.8": Cause.LOGIN,
}
"""By RFC 3463 status without its class; RFC 7372 has 7.23 to 7.25. Google writes 7.28 for its rate limits."""


def one_line(code: int | None, text: str | None) -> str:
    """A reply's text on one line, without the codes that each line of it repeats (RFC 2034 section 4).

    ``code``: of the reply. ``text``: its lines, without their codes. The RFC 3463 status is kept once, in front.
    """
    lines = [line.strip() for line in (text or "").splitlines()]
    again = re.compile(rf"{code}[ -]\s*") if code else None
    status = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?=\s|$)")
    found: list[str] = []
    first: str | None = None
    for line in lines:
        repeated = again.match(line) if again else None
        rest = line[repeated.end() :] if repeated else line
        own = status.match(rest)
        if own:
            first = first or own[0]
            rest = rest[own.end() :] if own[0] == first else rest
        found += rest.split()
    return " ".join([*([first] if first else []), *found])


def cause_of(enhanced: str | None, text: str | None) -> Cause | None:
    """What a reply is about; None: no row of the table fits. ``enhanced``: its RFC 3463 status, ``text``: its words."""
    known = _BY_ENHANCED.get((enhanced or "").partition(".")[2])
    if known is not None:
        return known
    words = one_line(None, text)
    return next((cause for cause, pattern in _PATTERNS if re.search(pattern, words, re.IGNORECASE)), None)
