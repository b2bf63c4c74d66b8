"""Middleboxes: which node took the connection in the server's place, what was altered, and which node cut the session.

No rule shows this. It shows in the services' own records of connections, in the difference from the control, in the two
sides of a node that forwards sessions, and in the sender of the first FIN or RST.
"""

from __future__ import annotations

import re

from port25lab.model.evidence import Observation, Stage
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.verdict.views import Classification, Views, relayed

BEFORE_GREETING = (Stage.TLS, Stage.BANNER)

REFUSES_STARTTLS = (454, 500, 502)

OFFERS_STARTTLS = re.compile(r"250[ -]STARTTLS", re.IGNORECASE)

GREETING = re.compile(r"220[ -]")


def other_server(views: Views) -> Classification | None:
    """A different server answered. Classify it by its behaviour."""
    if not views.other_answered:
        return None
    # Where an MTA on the client's own host took the message, its log shows how the other side behaved.
    tries = (
        hop for hop in relayed(views) if hop.observed.stage in BEFORE_GREETING and hop.evidence.answered_by is None
    )
    return Classification(Outcome.INTERCEPTED, stand_in(next(tries, views)))


def stand_in(views: Views) -> Mechanism:
    """How the node behaves that took the connection in the server's place."""
    observed = views.observed
    if observed.stage is Stage.BANNER and observed.smtp_code is not None:
        return Mechanism.REFUSING_GREETING
    return _sent_nothing(views) or Mechanism.INTERCEPTION


def altered(views: Views) -> Classification | None:
    """The client gave up because an extension was missing that the server offers: it was removed on the way."""
    if _removed(views, "STARTTLS") or _starttls_refused(views):
        return Classification(Outcome.TAMPERED, Mechanism.STARTTLS_STRIPPING)
    return Classification(Outcome.TAMPERED, Mechanism.UNKNOWN) if _removed(views, "AUTH") else None


def at_work(views: Views) -> Mechanism:
    """The mechanism on a path whose message is delivered: on the client's path, or on that of a relay."""
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
    if not views.no_last_reply or views.ended_by is None or views.ended_by in ends:
        return None
    in_handshake = views.observed.stage is Stage.TLS
    return Classification(Outcome.TAMPERED, Mechanism.SNI_RESET if in_handshake else Mechanism.SESSION_CUT)


def cut_off(views: Views) -> Classification | None:
    """The session with the right server broke without a last reply."""
    if not views.no_last_reply:
        return None
    if mechanism := _large_packets_lost(views) or _sent_nothing(views):
        is_server = mechanism is Mechanism.TARPIT and _same_server(views) and not _control_is_silent(views)
        return Classification(Outcome.TAMPERED, Mechanism.UNKNOWN if is_server else mechanism)
    return Classification(Outcome.TAMPERED, Mechanism.SESSION_CUT if views.closed_on_client else Mechanism.UNKNOWN)


def _sent_nothing(views: Views) -> Mechanism | None:
    """The other side sent nothing: it let the client wait, or closed the connection."""
    if views.closed_on_client:
        spoke = views.observed.stage not in BEFORE_GREETING
        return None if spoke else Mechanism.ACCEPT_CLOSE
    return Mechanism.TARPIT if views.silent else None


def _large_packets_lost(views: Views) -> Mechanism | None:
    """The session works up to the message, which is not acknowledged; without the policy the message arrives."""
    hangs = views.observed.stage is Stage.DATA and views.silent and not views.closed_on_client
    arrives = views.control is not None and views.control.observation.stage is Stage.DONE
    return Mechanism.MTU_BLACK_HOLE if hangs and arrives else None


def _same_server(views: Views) -> bool:
    """The control was answered by the server that answered here."""
    return views.control is not None and views.control.answered_by == views.evidence.answered_by is not None


def _control_is_silent(views: Views) -> bool:
    return views.control is not None and Views(views.control).silent


def _removed(views: Views, extension: str) -> bool:
    """The client missed this extension, and in the control the same server offered it."""
    if views.observed.missing != extension or not _same_server(views) or views.control is None:
        return False
    return _offered(views.control.observation, extension)


def _starttls_refused(views: Views) -> bool:
    refused = views.observed.stage is Stage.STARTTLS and views.observed.smtp_code in REFUSES_STARTTLS
    return refused and _same_server(views) and views.control is not None and views.control.observation.tls is not None


def _stripped(views: Views) -> bool:
    """The server's answer to EHLO came, and STARTTLS was not in it; in the control it was."""
    if not views.observed.keywords or not _same_server(views) or views.control is None:
        return False
    return not _offered(views.observed, "STARTTLS") and _offered(views.control.observation, "STARTTLS")


def _offered(observed: Observation, extension: str) -> bool:
    """Whether a server offered the extension. In TLS, STARTTLS is not offered again (RFC 3207 section 4.2)."""
    return extension in observed.keywords or (extension == "STARTTLS" and observed.tls is not None)


def _masked(views: Views) -> bool:
    """The greeting differs from the control's. A greeting that refuses does not count."""
    if views.observed.stage in BEFORE_GREETING or not _same_server(views) or views.control is None:
        return False
    ours, theirs = views.observed.banner, views.control.observation.banner
    return None not in (ours, theirs) and ours != theirs
