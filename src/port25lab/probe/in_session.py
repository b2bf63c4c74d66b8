"""Diagnoses of a connection that was established: what went wrong in the SMTP session."""

from __future__ import annotations

import re

from port25lab.model.evidence import Stage
from port25lab.model.mechanism import Mechanism
from port25lab.probe.case import Case, Diagnosis, away, hops
from port25lab.probe.causes import one_line
from port25lab.probe.client_view import Session
from port25lab.verdict.replies import meaning_of


def taken_and_closed(case: Case) -> Diagnosis | None:
    """Closed before the greeting."""
    session = case.session
    if session.stage is not Stage.BANNER or session.errno == "ETIMEDOUT" or session.smtp_code or session.heard:
        return None
    if session.tls is not None:
        return None
    return _in_between(
        case, "the connection is taken, and closed without a word", Mechanism.ACCEPT_CLOSE, Mechanism.SERVER_REFUSAL
    )


def kept_waiting(case: Case) -> Diagnosis | None:
    """No whole greeting comes: silence, or lines without end."""
    session = case.session
    if session.stage is not Stage.BANNER or session.smtp_code or (session.errno != "ETIMEDOUT" and not session.endless):
        return None
    said = f"{session.heard} bytes of a greeting" if session.heard else "no greeting"
    reason = f"the connection is taken, and in {session.seconds:.0f} s comes {said}"
    return _in_between(case, reason, Mechanism.TARPIT, Mechanism.NONE)


def refused_in_the_greeting(case: Case) -> Diagnosis | None:
    """554, 421 or another refusal in place of 220."""
    session = case.session
    if session.stage is not Stage.BANNER or not session.smtp_code:
        return None
    reason = f"the greeting is {session.smtp_code} {short(session.reply, session.smtp_code)}"
    if case.in_between is not None:
        return _in_between(case, reason, Mechanism.REFUSING_GREETING, Mechanism.SERVER_REFUSAL)
    return _by_reply(case, reason, Mechanism.REFUSING_GREETING)


def masked(case: Case) -> Diagnosis | None:
    """The banner or the EHLO reply is overwritten, or STARTTLS is removed from it."""
    session = case.session
    banner = bool(session.banner and re.fullmatch(r"[* ]*\*{4,}[* ]*", session.banner))
    keyword = any(re.fullmatch(r"X{4,}[A-Z]?", word) for word in session.keywords)
    hidden = session.starttls == 220 and "STARTTLS" not in session.keywords and bool(session.keywords)
    hop = case.in_between
    if keyword or hidden:
        said = "EHLO keywords are masked as XXXX" if keyword else "STARTTLS works, and is not offered"
        also = (Mechanism.BANNER_MASKING,) if banner else ()
        return case.diagnosis(
            Mechanism.STARTTLS_STRIPPING, f"{said}{', and the banner as ****' * banner}", hop=hop, also=also
        )
    return case.diagnosis(Mechanism.BANNER_MASKING, "the banner is masked as ****", hop=hop) if banner else None


def tls_fails(case: Case) -> Diagnosis | None:
    """The TLS handshake fails."""
    session = case.session
    if session.stage is not Stage.TLS or session.tls is not None:
        return None
    how = "the TLS handshake meets silence" if session.errno == "ETIMEDOUT" else "the TLS handshake is reset"
    if session.nameless_tls:
        hop = _cut_at(case)
        return case.diagnosis(Mechanism.SNI_RESET, f"{how}, unless it leaves the server's name (SNI) out", hop=hop)
    if session.errno == "ETIMEDOUT":
        return case.diagnosis(Mechanism.MTU_BLACK_HOLE, how, Mechanism.SESSION_CUT, Mechanism.SERVER_REFUSAL)
    if session.errno or session.closed:
        return case.diagnosis(Mechanism.SESSION_CUT, how, Mechanism.SNI_RESET, Mechanism.SERVER_REFUSAL)
    return case.diagnosis(Mechanism.SERVER_REFUSAL, f"TLS fails: {short(session.reply)}")


def hangs_in_the_message(case: Case) -> Diagnosis | None:
    """The session works, and the message gets no reply."""
    session = case.session
    if session.stage is not Stage.DATA or session.errno != "ETIMEDOUT":
        return None
    if session.small_segments == "passed":
        return case.diagnosis(Mechanism.MTU_BLACK_HOLE, "the message hangs in large packets, and passes in small ones")
    if session.unacknowledged:
        reason = "the message hangs: its packets are not acknowledged"
        return case.diagnosis(Mechanism.SESSION_CUT, reason, Mechanism.MTU_BLACK_HOLE)
    return case.diagnosis(Mechanism.TARPIT, "the message is acknowledged, and no reply comes", Mechanism.NONE)


def refused_recipient(case: Case) -> Diagnosis | None:
    """AUTH, the sender, the recipient or the message is refused, by the server or by another one in its place."""
    session = case.session
    if session.stage not in (Stage.AUTH, Stage.MAIL, Stage.RCPT, Stage.DATA) or not session.smtp_code:
        return None
    reply = f"{session.smtp_code} {short(session.reply, session.smtp_code)}"
    if case.in_between is not None:
        return _in_between(case, f"the answer is {reply}", Mechanism.INTERCEPTION, Mechanism.SERVER_REFUSAL)
    if session.second_try == 250:
        return case.diagnosis(Mechanism.GREYLISTING, f"{reply}, and the same a moment later was taken")
    return _by_reply(case, reply)


def cut_in_the_session(case: Case) -> Diagnosis | None:
    """The session is reset, closed or falls silent before its end."""
    session = case.session
    if session.stage is Stage.DONE or not session.connected or session.smtp_code:
        return None
    if session.errno == "ETIMEDOUT":
        reason = f"the session falls silent at {session.stage}"
        if session.unacknowledged:
            return case.diagnosis(
                Mechanism.SESSION_CUT, f"{reason}: packets get through no longer", Mechanism.MTU_BLACK_HOLE
            )
        return case.diagnosis(Mechanism.TARPIT, reason, Mechanism.NONE)
    if not session.errno and not session.closed:
        reason = f"the session ends at {session.stage}: {short(session.reply)}"
        return case.diagnosis(Mechanism.UNKNOWN, reason, hop=case.in_between)
    reason, hop, end = f"the session is cut at {session.stage}", _cut_at(case), case.answers_from
    if hop is not None and end is not None and hop + 1 < end:
        reason += f" by a router {hops(hop)} away, and the destination is {hops(end)} away"
        return case.diagnosis(Mechanism.SESSION_CUT, reason, hop=hop)
    return case.diagnosis(Mechanism.SESSION_CUT, reason, Mechanism.SERVER_REFUSAL, hop=case.in_between)


def another_server(case: Case) -> Diagnosis | None:
    """The session works, with another server than the dialled one."""
    session, hop = case.session, case.in_between
    if hop == 0:
        reason = f"a program of this machine takes connections to port {session.port} of {session.address}"
        return case.diagnosis(Mechanism.INTERCEPTION, reason, hop=0)
    if session.certificate is not None and session.certificate.problem is None:
        return None
    doubt = (Mechanism.NONE,) if case.at_the_door else ()
    if hop is not None and case.trace is not None and case.trace.diverted_at == hop:
        reason = f"from hop {hop} on, SYNs to port {session.port} go another way than the dialled one"
        return case.diagnosis(Mechanism.INTERCEPTION, reason, *doubt, hop=hop)
    if hop is not None:
        reason = f"who answers is {hops(hop)} away, and the destination is {destination(case)}"
        return case.diagnosis(Mechanism.INTERCEPTION, reason, *doubt, hop=hop)
    twin = case.view.control_session(session.ip_version)
    if session.port == 25 and twin is not None and twin.address != session.address and _same_server(session, twin):
        reason = f"{session.host} and {twin.host} greet alike and show the same certificate"
        return case.diagnosis(Mechanism.INTERCEPTION, reason, Mechanism.NONE)
    return _of_another_name(case)


def _of_another_name(case: Case) -> Diagnosis | None:
    """The server calls itself otherwise, and nothing shows that it is as far away as the destination."""
    session = case.session
    named = greeted_as(session)
    same = named is None or named == session.host.lower() or session.address in case.view.banner_names.get(named, ())
    if session.stage is not Stage.DONE or same or as_far_as_the_destination(case) or case.to_itself:
        return None
    elsewhere = case.view.banner_names.get(named or "")
    if elsewhere:
        reason = f"the server calls itself {named}, which is at {elsewhere[0]}, and nothing shows how far away it is"
        return case.diagnosis(Mechanism.INTERCEPTION, reason, Mechanism.NONE)
    reason = f"the server calls itself {named}, and nothing shows how far away it is"
    return case.diagnosis(Mechanism.NONE, reason, Mechanism.INTERCEPTION)


def greeted_as(session: Session) -> str | None:
    """The host name in a greeting (RFC 5321 section 4.2)."""
    word = ((session.banner or "").split() or [""])[0].lower().rstrip(".")
    return word if re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", word) else None


def as_far_as_the_destination(case: Case) -> bool:
    """Whether another port shows that the answer comes from as far away as the destination is."""
    return case.distance is not None and case.answers_from is not None and case.answers_from >= case.distance


def server_refuses(case: Case) -> Diagnosis | None:
    """Any other refusal by a reply."""
    session = case.session
    if session.stage is Stage.DONE or not session.smtp_code:
        return None
    return _by_reply(case, f"{session.smtp_code} {short(session.reply, session.smtp_code)}")


def _by_reply(case: Case, reason: str, *alternatives: Mechanism) -> Diagnosis:
    """What the server's reply means by the table that ``run`` uses as well.

    A reply proves nothing but itself: a server may refuse for another reason than the one that its text names.
    """
    session = case.session
    said = one_line(session.smtp_code, session.reply)
    meaning = meaning_of(session.smtp_code, session.enhanced_code, said, session.stage)
    mechanism = meaning.mechanism if meaning else Mechanism.SERVER_REFUSAL
    doubts = (Mechanism.SERVER_REFUSAL, meaning.maybe if meaning else None, *alternatives)
    return case.diagnosis(mechanism, reason, *(doubt for doubt in doubts if doubt not in (None, mechanism)))


def _in_between(case: Case, reason: str, mechanism: Mechanism, *alternatives: Mechanism) -> Diagnosis:
    """A diagnosis of a box before the destination, where one was seen.

    ``alternatives`` are what the server itself may do. They are ruled out where the box is not right before the server.
    """
    hop = case.in_between
    if hop is None:
        return case.diagnosis(mechanism, reason, *alternatives)
    where = f"{away(hop)}, and the destination is {destination(case)}"
    doubts = alternatives if case.at_the_door else ()
    return case.diagnosis(mechanism, f"{reason}, by a middlebox {where}", *doubts, hop=hop)


def destination(case: Case) -> str:
    """How far away the destination is, in words."""
    least = "" if case.distance == case.least_distance else "at least "
    return f"{least}{hops(case.least_distance or 0)} away"


def _cut_at(case: Case) -> int | None:
    """The router that cuts a session.

    It is one hop before the least TTL with which the client's first data is answered by a reset or a close.
    """
    cut = case.view.cut_trace(case.session.address, case.session.port)
    return cut.answered_at - 1 if cut and cut.answered_at else None


def _same_server(one: Session, other: Session) -> bool:
    if one.certificate is not None and other.certificate is not None:
        return one.certificate.sha256 == other.certificate.sha256
    return bool(one.banner) and one.banner == other.banner


LONGEST = 300
"""Characters of a reply in a reason: its cause is seldom in its first line."""


def short(text: str | None, code: int | None = None) -> str:
    """A reply on one line. ``code``: of the reply, which its lines may repeat."""
    line = one_line(code, text)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
