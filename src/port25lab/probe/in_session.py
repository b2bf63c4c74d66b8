"""Diagnoses of a connection that was made: what went wrong in the SMTP session on it."""

from __future__ import annotations

import re

from port25lab.model.evidence import Stage
from port25lab.model.mechanism import Mechanism
from port25lab.probe.case import Case, Diagnosis, hops
from port25lab.probe.client_view import Session


def taken_and_closed(case: Case) -> Diagnosis | None:
    """Closed before the greeting."""
    session = case.session
    if session.stage is not Stage.BANNER or session.errno == "ETIMEDOUT" or session.smtp_code or session.heard:
        return None
    if session.tls is not None:
        return None
    return _told(
        case, "the connection is taken, and closed without a word", Mechanism.ACCEPT_CLOSE, Mechanism.SERVER_REFUSAL
    )


def kept_waiting(case: Case) -> Diagnosis | None:
    """No greeting comes to an end."""
    session = case.session
    if (
        session.stage is not Stage.BANNER
        or session.smtp_code
        or (session.errno != "ETIMEDOUT" and not _endless(session))
    ):
        return None
    said = f"{session.heard} bytes of a greeting" if session.heard else "no greeting"
    reason = f"the connection is taken, and in {session.seconds:.0f} s comes {said}"
    return _told(case, reason, Mechanism.TARPIT, Mechanism.NONE)


def refused_in_the_greeting(case: Case) -> Diagnosis | None:
    """554, 421 or another refusal in place of 220."""
    session = case.session
    if session.stage is not Stage.BANNER or not session.smtp_code:
        return None
    reason = f"the greeting is {session.smtp_code} {short(session.reply)}"
    if case.in_between is not None:
        return _told(case, reason, Mechanism.REFUSING_GREETING, Mechanism.SERVER_REFUSAL)
    return case.find(Mechanism.SERVER_REFUSAL, reason, Mechanism.REFUSING_GREETING)


def masked(case: Case) -> Diagnosis | None:
    """What the server says is written over, or STARTTLS taken out of it."""
    session = case.session
    banner = bool(session.banner and re.fullmatch(r"[* ]*\*{4,}[* ]*", session.banner))
    keyword = any(re.fullmatch(r"X{4,}[A-Z]?", word) for word in session.keywords)
    hidden = session.starttls == 220 and "STARTTLS" not in session.keywords and bool(session.keywords)
    hop = case.in_between
    if keyword or hidden:
        said = "EHLO keywords are masked as XXXX" if keyword else "STARTTLS works, and is not offered"
        also = (Mechanism.BANNER_MASKING,) if banner else ()
        return case.find(
            Mechanism.STARTTLS_STRIPPING, f"{said}{', and the banner as ****' * banner}", hop=hop, also=also
        )
    return case.find(Mechanism.BANNER_MASKING, "the banner is masked as ****", hop=hop) if banner else None


def tls_fails(case: Case) -> Diagnosis | None:
    """A handshake that is cut short."""
    session = case.session
    if session.stage is not Stage.TLS or session.tls is not None:
        return None
    how = "the TLS handshake meets silence" if session.errno == "ETIMEDOUT" else "the TLS handshake is reset"
    if session.nameless_tls:
        hop = _cut_at(case)
        return case.find(Mechanism.SNI_RESET, f"{how}, unless it leaves the server's name (SNI) out", hop=hop)
    if session.errno == "ETIMEDOUT":
        return case.find(Mechanism.MTU_BLACK_HOLE, how, Mechanism.SESSION_CUT, Mechanism.SERVER_REFUSAL)
    if session.errno or session.reply == "the connection was closed":
        return case.find(Mechanism.SESSION_CUT, how, Mechanism.SNI_RESET, Mechanism.SERVER_REFUSAL)
    return case.find(Mechanism.SERVER_REFUSAL, f"TLS fails: {short(session.reply)}")


def hangs_in_the_message(case: Case) -> Diagnosis | None:
    """EHLO works, and the message hangs."""
    session = case.session
    if session.stage is not Stage.DATA or session.errno != "ETIMEDOUT":
        return None
    if session.small_segments == "passed":
        return case.find(Mechanism.MTU_BLACK_HOLE, "the message hangs in large packets, and passes in small ones")
    if session.unacknowledged:
        reason = "the message hangs: its packets are not acknowledged"
        return case.find(Mechanism.SESSION_CUT, reason, Mechanism.MTU_BLACK_HOLE)
    return case.find(Mechanism.TARPIT, "the message is acknowledged, and no reply comes", Mechanism.NONE)


def refused_recipient(case: Case) -> Diagnosis | None:
    """A server's word about the recipient or the sender: it is its own, or that of who took its place."""
    session = case.session
    if session.stage not in (Stage.AUTH, Stage.MAIL, Stage.RCPT, Stage.DATA) or not session.smtp_code:
        return None
    words = f"{session.smtp_code} {short(session.reply)}"
    if case.in_between is not None:
        reason = f"the answer is {words}"
        return _told(case, reason, Mechanism.INTERCEPTION, Mechanism.SERVER_REFUSAL)
    if session.second_try == 250:
        return case.find(Mechanism.GREYLISTING, f"{words}, and the same a moment later was taken")
    if session.smtp_code in (450, 451) and re.search(
        r"(?i)gr[ae]y.?list|try again later|come back", session.reply or ""
    ):
        return case.find(Mechanism.GREYLISTING, words, Mechanism.SERVER_REFUSAL)
    if session.smtp_code >= 500 and re.search(_LISTED, session.reply or ""):
        return case.find(Mechanism.DNSBL_LISTING, words, Mechanism.SERVER_REFUSAL)
    return case.find(Mechanism.SERVER_REFUSAL, words)


_LISTED = r"(?i)block.?list|black.?list|\blisted\b|dnsbl|\brbl\b|spamhaus|listed (by|in|at)"


def cut_in_the_session(case: Case) -> Diagnosis | None:
    """Open, and then reset, closed or silent in the middle."""
    session = case.session
    if session.stage is Stage.DONE or not session.connected or session.smtp_code:
        return None
    if session.errno == "ETIMEDOUT":
        reason = f"the session falls silent at {session.stage}"
        if session.unacknowledged:
            return case.find(
                Mechanism.SESSION_CUT, f"{reason}: packets get through no longer", Mechanism.MTU_BLACK_HOLE
            )
        return case.find(Mechanism.TARPIT, reason, Mechanism.NONE)
    if not session.errno and session.reply != "the connection was closed":
        reason = f"the session ends at {session.stage}: {short(session.reply)}"
        return case.find(Mechanism.UNKNOWN, reason, hop=case.in_between)
    reason, hop, end = f"the session is cut at {session.stage}", _cut_at(case), case.answers_from
    if hop is not None and end is not None and hop + 1 < end:
        reason += f" by somebody {hops(hop)} away, and the destination is {hops(end)} away"
        return case.find(Mechanism.SESSION_CUT, reason, hop=hop)
    return case.find(Mechanism.SESSION_CUT, reason, Mechanism.SERVER_REFUSAL, hop=case.in_between)


def another_server(case: Case) -> Diagnosis | None:
    """A session that works, with somebody else than the one who was dialled."""
    session, hop, away = case.session, case.in_between, case.distance
    if session.certificate is not None and session.certificate.problem is None:
        return None
    doubt = (Mechanism.NONE,) if case.at_the_door else ()
    if hop is not None and case.trace is not None and case.trace.diverted_at == hop:
        reason = f"from hop {hop} on, SYNs to port {session.port} go another way than the dialled one"
        return case.find(Mechanism.INTERCEPTION, reason, *doubt, hop=hop)
    if hop is not None:
        reason = f"who answers is {hops(hop)} away, and the destination {hops(away or 0)}"
        return case.find(Mechanism.INTERCEPTION, reason, *doubt, hop=hop)
    twin = case.view.control_session(session.ip_version)
    if session.port == 25 and twin is not None and twin.address != session.address and _same_server(session, twin):
        reason = f"{session.host} and {twin.host} greet alike and show the same certificate"
        return case.find(Mechanism.INTERCEPTION, reason, Mechanism.NONE)
    return None


def server_refuses(case: Case) -> Diagnosis | None:
    """Another refusal of the server's own."""
    session = case.session
    if session.stage is Stage.DONE or not session.smtp_code:
        return None
    return case.find(Mechanism.SERVER_REFUSAL, f"{session.smtp_code} {short(session.reply)}")


def _told(case: Case, reason: str, mechanism: Mechanism, *else_: Mechanism) -> Diagnosis:
    """Done by somebody in between, where that is seen; if not, or at its door, the server's side may do the same."""
    hop = case.in_between
    if hop is None:
        return case.find(mechanism, reason, *else_)
    where = f"{hops(hop)} away, and the destination is {hops(case.distance or 0)} away"
    return case.find(mechanism, f"{reason}, by somebody {where}", *(else_ if case.at_the_door else ()), hop=hop)


def _cut_at(case: Case) -> int | None:
    """The router that cuts a session: one before the least TTL with which the client's words are answered by a cut."""
    cut = case.view.cut_trace(case.session.address, case.session.port)
    return cut.answered_at - 1 if cut and cut.answered_at else None


def _endless(session: Session) -> bool:
    return bool(session.reply and session.reply.startswith("a reply of more than"))


def _same_server(one: Session, other: Session) -> bool:
    if one.certificate is not None and other.certificate is not None:
        return one.certificate.sha256 == other.certificate.sha256
    return bool(one.banner) and one.banner == other.banner


def short(text: str | None) -> str:
    """A reply on one line, at most 80 characters."""
    first = " ".join((text or "").split())
    return first if len(first) <= 80 else f"{first[:79]}…"
