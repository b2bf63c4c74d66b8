"""What stands in between: who took the connection in the server's place, what was altered on the way, and who cut it.

No rule says this: it shows in who answered (the services' own books), in the difference from the control, in the two
sides of a node that passes sessions on, and in who sent the first FIN or RST.
"""

from __future__ import annotations

import re

from port25lab.model.evidence import Observation, Stage
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.verdict.views import Classification, Views, relayed

BEFORE_A_WORD = (Stage.TLS, Stage.BANNER)

REFUSES_STARTTLS = (454, 500, 502)

OFFERS_STARTTLS = re.compile(r"250[ -]STARTTLS", re.IGNORECASE)

GREETING = re.compile(r"220[ -]")


def other_server(views: Views) -> Classification | None:
    """Another server than the one dialled took the connection: what it is, its manner tells."""
    if not views.other_answered:
        return None
    # Where an MTA of the client's own host has taken the message, its log tells how the other side behaved.
    tries = (hop for hop in relayed(views) if hop.seen.stage in BEFORE_A_WORD and hop.evidence.answered_by is None)
    return Classification(Outcome.INTERCEPTED, stand_in(next(tries, views)))


def stand_in(views: Views) -> Mechanism:
    """What took the connection in the server's place: a server that converses, or somebody who does not."""
    seen = views.seen
    if seen.stage is Stage.BANNER and seen.smtp_code is not None:
        return Mechanism.REFUSING_GREETING
    return _without_a_word(views) or Mechanism.INTERCEPTION


def altered(views: Views) -> Classification | None:
    """The client gave up for want of something that the server offers: it was taken out on the way."""
    if _taken(views, "STARTTLS") or _starttls_refused(views):
        return Classification(Outcome.TAMPERED, Mechanism.STARTTLS_STRIPPING)
    return Classification(Outcome.TAMPERED, Mechanism.UNKNOWN) if _taken(views, "AUTH") else None


def at_work(views: Views) -> Mechanism:
    """What is at work on a path that ends well all the same: on the client's own way, or on that of its relays."""
    found = alteration(views)
    if found is not None:
        return found
    for hop in relayed(views):
        if hop.done and (found := Mechanism.INTERCEPTION if hop.other_answered else alteration(hop)):
            return found
    return Mechanism.NONE


def alteration(views: Views) -> Mechanism | None:
    """What a session was made into on its way, whatever became of it; of several things the gravest."""
    difference = views.evidence.difference
    server_said = difference.server_side.line or "" if difference else ""
    if _stripped(views) or OFFERS_STARTTLS.match(server_said):
        return Mechanism.STARTTLS_STRIPPING
    if _masked(views) or GREETING.match(server_said):
        return Mechanism.BANNER_MASKING
    return Mechanism.UNKNOWN if difference else None


def cut_between(views: Views) -> Classification | None:
    """The first FIN or RST came from a node that is neither client nor server, and no rule is known to have sent it."""
    ends = views.client, views.evidence.answered_by, views.evidence.dialled
    if not views.no_last_word or views.ended_by is None or views.ended_by in ends:
        return None
    in_handshake = views.seen.stage is Stage.TLS
    return Classification(Outcome.TAMPERED, Mechanism.SNI_RESET if in_handshake else Mechanism.SESSION_CUT)


def cut_off(views: Views) -> Classification | None:
    """The session with the right server began and broke without a last reply."""
    if not views.no_last_word:
        return None
    if mechanism := _large_packets_lost(views) or _without_a_word(views):
        return Classification(Outcome.TAMPERED, mechanism)
    return Classification(Outcome.TAMPERED, Mechanism.SESSION_CUT if views.closed_on_client else Mechanism.UNKNOWN)


def _without_a_word(views: Views) -> Mechanism | None:
    """The other side let the client wait, or went away before it said anything."""
    if views.closed_on_client:
        spoke = views.seen.stage not in BEFORE_A_WORD
        return None if spoke else Mechanism.ACCEPT_CLOSE
    return Mechanism.TARPIT if views.silent else None


def _large_packets_lost(views: Views) -> Mechanism | None:
    """All went well until the message, which nobody acknowledged; without the policy it arrives."""
    hangs = views.seen.stage is Stage.DATA and views.silent and not views.closed_on_client
    arrives = views.control is not None and views.control.observation.stage is Stage.DONE
    return Mechanism.MTU_BLACK_HOLE if hangs and arrives else None


def _same_server(views: Views) -> bool:
    """The control was answered by the server that answered here."""
    return views.control is not None and views.control.answered_by == views.evidence.answered_by is not None


def _taken(views: Views, extension: str) -> bool:
    """The client missed this, and in the control the same server offered it."""
    if views.seen.missing != extension or not _same_server(views) or views.control is None:
        return False
    return _offered(views.control.observation, extension)


def _starttls_refused(views: Views) -> bool:
    refused = views.seen.stage is Stage.STARTTLS and views.seen.smtp_code in REFUSES_STARTTLS
    return refused and _same_server(views) and views.control is not None and views.control.observation.tls is not None


def _stripped(views: Views) -> bool:
    """The server's answer to EHLO came, and STARTTLS was not in it; in the control it was."""
    if not views.seen.keywords or not _same_server(views) or views.control is None:
        return False
    return not _offered(views.seen, "STARTTLS") and _offered(views.control.observation, "STARTTLS")


def _offered(seen: Observation, extension: str) -> bool:
    """In TLS a server does not offer STARTTLS any more (RFC 3207 section 4.2)."""
    return extension in seen.keywords or (extension == "STARTTLS" and seen.tls is not None)


def _masked(views: Views) -> bool:
    """Another greeting than in the control; one that refuses is no mask."""
    if views.seen.stage in BEFORE_A_WORD or not _same_server(views) or views.control is None:
        return False
    ours, theirs = views.seen.banner, views.control.observation.banner
    return None not in (ours, theirs) and ours != theirs
