"""What a client can conclude: a view in, a finding out, by a pipeline of small pure functions.

Each function looks at one case and says what is at work, or passes. The first one that speaks is right; where the
evidence fits several mechanisms, the finding names the others as ``alternatives``, and ``indistinguishable`` says why
no client can tell them apart.

The hop of a finding is counted from the client: 1 is its first router, 0 is its own machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel, ConfigDict

from port25lab.evidence import IcmpError, Stage
from port25lab.mechanism import Mechanism
from port25lab.probe.view import Answer, ClientView, IpVersion, Session, Step, Trace, hops_of


class Finding(BaseModel):
    """What is at work on the way to one port over one IP version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int
    ip_version: IpVersion
    mechanism: Mechanism
    """The likeliest one."""
    alternatives: tuple[Mechanism, ...] = ()
    """Others that would look the same from here."""
    also: tuple[Mechanism, ...] = ()
    """Others that are at work besides."""
    hop: int | None = None
    """Where: the router that blocks, or the box that answers in the server's place."""
    until: int | None = None
    """Where routers do not answer, the block is at ``hop`` or behind it, and before this one."""
    router: str | None = None
    """The address of ``hop``."""
    distance: int | None = None
    """Hops to the destination itself."""
    reason: str
    """The evidence, in a sentence."""

    @property
    def candidates(self) -> frozenset[Mechanism]:
        """Every mechanism that fits."""
        return frozenset((self.mechanism, *self.alternatives))

    @property
    def certain(self) -> bool:
        """Whether nothing else fits."""
        return not self.alternatives


def classify(view: ClientView, port: int, ip_version: IpVersion) -> Finding | None:
    """What is at work on the way to a port; None where that was not probed."""
    if view.unresolved is not None:
        return Finding(port=port, ip_version=ip_version, mechanism=Mechanism.NO_NAME, reason=view.unresolved)
    session = view.delivery(port, ip_version) or view.session(port, ip_version)
    if session is None:
        return None
    case = Case(view, session)
    return next(finding for step in PIPELINE if (finding := step(case)) is not None)


def findings(view: ClientView) -> list[Finding]:
    """All of a view's, port by port."""
    asked = dict.fromkeys((one.port, one.ip_version) for one in (*view.sessions, *view.deliveries))
    found = (classify(view, port, version) for port, version in sorted(asked))
    return [finding for finding in found if finding is not None]


@dataclass(frozen=True)
class Case:
    """One session, and what the rest of the view says about its way."""

    view: ClientView
    session: Session

    @cached_property
    def trace(self) -> Trace | None:
        """The traceroute to its port."""
        return self.view.trace(self.session.address, self.session.port)

    @cached_property
    def others(self) -> list[Trace]:
        """Those to other ports of the same address."""
        return self.view.other_traces(self.session.address, self.session.port)

    @cached_property
    def distance(self) -> int | None:
        """Hops to the destination, as its other ports tell. A box in between is nearer, so the furthest is right."""
        known = [trace.spoken_at for trace in self.others if trace.spoken_at is not None]
        return max(known, default=None)

    @cached_property
    def routers(self) -> dict[int, str]:
        """Every router that was heard of on the way to this address."""
        known: dict[int, str] = {}
        for trace in (*self.others, *([self.trace] if self.trace else [])):
            known |= trace.routers
        return known

    @cached_property
    def answers_from(self) -> int | None:
        """How far away the one is that answers on this port, or that refuses."""
        return self.trace.answered_at if self.trace else None

    @cached_property
    def in_between(self) -> int | None:
        """The hop of somebody who takes connections to this port in the destination's place; None: nobody is seen.

        Only who is nearer than the destination's other ports counts: a server may well stand behind the address that
        resets those (a forwarded port).
        """
        if self.trace is None or self.distance is None:
            return None
        hop = self.trace.diverted_at or self.trace.spoken_at
        return hop if hop is not None and hop < self.distance else None

    @cached_property
    def at_the_door(self) -> bool:
        """Whether that is right before the destination: its own load balancer or firewall may do the same."""
        return self.in_between is not None and self.distance is not None and self.in_between >= self.distance - 1

    @cached_property
    def ttl_of_destination(self) -> int | None:
        """The TTL of what other ports answer, where the destination itself answers there."""
        away = self.distance
        for trace in self.others:
            session = self.view.session(trace.port, self.session.ip_version)
            if session and session.ttl is not None and away is not None and trace.spoken_at == away:
                return session.ttl
        return None

    def find(
        self,
        mechanism: Mechanism,
        reason: str,
        *alternatives: Mechanism,
        hop: int | None = None,
        until: int | None = None,
        also: tuple[Mechanism, ...] = (),
    ) -> Finding:
        """A finding about this case."""
        return Finding(
            port=self.session.port,
            ip_version=self.session.ip_version,
            mechanism=mechanism,
            alternatives=alternatives,
            also=also,
            hop=hop,
            until=until,
            router=self.routers.get(hop) if hop else None,
            distance=self.distance,
            reason=reason,
        )


# -- there is no connection --------------------------------------------------------------------------------------------

_NO_WAY = {4: ((3, 0), (3, 1), (3, 6), (3, 7)), 6: ((1, 0), (1, 3))}
"""ICMP errors that routers send without any rule (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1)."""

_UNREACHABLE = ("ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT")


def no_route_from_here(case: Case) -> Finding | None:
    """The machine itself has no way, or its first router does not answer: an errno without anybody who sent it."""
    session = case.session
    if session.connected or session.icmp is not None or session.errno not in _UNREACHABLE:
        return None
    if session.errno == "EHOSTUNREACH" and not _same_elsewhere(case):
        return None
    return case.find(Mechanism.NO_ROUTE, f"this machine has no way to {session.address} ({session.errno})", hop=0)


def no_route_further_on(case: Case) -> Finding | None:
    """A router knows no way, whatever the port is."""
    icmp = case.session.icmp
    if case.session.connected or icmp is None or not _same_elsewhere(case):
        return None
    if (icmp.type, icmp.code) not in _NO_WAY[icmp.ip_version]:
        return None
    return case.find(
        Mechanism.NO_ROUTE,
        f"{icmp.sender} says that there is no way to {case.session.address}, whatever the port",
        Mechanism.REJECT_ICMP,
        hop=_hop_of(case, icmp),
    )


def refused_by_icmp(case: Case) -> Finding | None:
    """Somebody refuses with an ICMP error, and says who it is."""
    session, icmp = case.session, case.session.icmp
    if session.connected or icmp is None:
        return None
    reason = f"{icmp.sender} refuses it with an ICMP error (type {icmp.type}, code {icmp.code})"
    return case.find(Mechanism.REJECT_ICMP, reason, hop=_hop_of(case, icmp))


def refused_here(case: Case) -> Finding | None:
    """An error without a sender, on this port alone: the machine's own firewall."""
    session = case.session
    if session.connected or session.errno in ("ECONNREFUSED", "ETIMEDOUT", "ECONNRESET"):
        return None
    return case.find(Mechanism.REJECT_ICMP, f"this machine itself refuses ({session.errno})", hop=0)


def refused_by_reset(case: Case) -> Finding | None:
    """A reset: from the destination, on which nothing listens, or from somebody who speaks in its name."""
    session, heard, away = case.session, case.answers_from, case.distance
    if session.connected or session.errno not in ("ECONNREFUSED", "ECONNRESET"):
        return None
    mine, theirs = session.ttl, case.ttl_of_destination
    nearer = hops_of(theirs) - hops_of(mine) if mine is not None and theirs is not None else None
    if heard is not None and away is not None and heard < away:
        reason = f"the reset comes from {_hops(heard)} away, and the destination is {_hops(away)} away"
        # A router's rule lets a SYN come one hop further than the router itself is; a host that answers does not.
        its_own = heard == away - 1 and nearer in (None, 1)
        return case.find(Mechanism.REJECT_RESET, reason, *([Mechanism.NO_LISTENER] if its_own else []), hop=heard - 1)
    if mine is not None and nearer:
        reason = f"the reset has TTL {mine}, and what the destination itself says has {theirs}"
        return case.find(Mechanism.REJECT_RESET, reason, hop=hops_of(mine))
    if nearer == 0:
        return case.find(Mechanism.NO_LISTENER, "the reset comes from as far away as the destination's other answers")
    reason = "a reset, and nothing tells it from one of the destination itself"
    return case.find(Mechanism.NO_LISTENER, reason, Mechanism.REJECT_RESET)


LOSSES = 2
"""Each of them a SYN that was sent twice: no accident of a lossy network."""


def over_a_limit(case: Case) -> Finding | None:
    """Some connections come about, and others to the same port meet silence."""
    session, trace, away = case.session, case.trace, case.distance
    if session.port != 25 and not trace:
        return None
    steps = trace.steps if trace else ()
    first = case.view.session(session.port, session.ip_version) or session
    taken = first.connected or session.connected or any(step.answer is Answer.ACCEPTED for step in steps)
    far_enough = trace.spoken_at if trace and trace.spoken_at is not None else away
    lost = [s for s in steps if far_enough is not None and s.ttl >= far_enough and s.answer is Answer.SILENT]
    later = case.view.dialled_again(session.ip_version) if session.port == 25 else []
    failed = [one for one in later if not one.connected]
    if not taken or len(lost) + len(failed) < LOSSES:
        return None
    reason = f"it was taken, and {len(lost) + len(failed)} later connections to the same port were not"
    return case.find(Mechanism.RATE_LIMIT, reason, hop=_last_hop_of_silence(case))


def silence(case: Case) -> Finding | None:
    """Nobody answers. The traceroutes tell how far the SYNs come."""
    session, trace, away = case.session, case.trace, case.distance
    if session.connected or session.errno != "ETIMEDOUT":
        return None
    if trace is None:
        reason = "no answer, and no traceroute was made"
        return case.find(Mechanism.SYN_DROP, reason, Mechanism.ANSWER_DROP, Mechanism.RATE_LIMIT)
    last = trace.last_hop
    beyond = [hop for hop in _beyond(case) if hop > last]
    if away is None and not beyond:
        return _silent_host(case, last)
    if not beyond or (away is not None and last >= away - 1):
        return _silent_at_the_door(case, last)
    until = min(beyond)
    there = f"SYNs come {_hops(last)} far"
    if until == last + 1:
        return case.find(Mechanism.SYN_DROP, f"{there}, those to other ports go on", hop=last, until=until)
    if away is not None and until >= away:
        reason = f"{there}; no router behind that answers on any port"
        return case.find(Mechanism.SYN_DROP, reason, Mechanism.ANSWER_DROP, hop=last, until=until)
    return case.find(Mechanism.SYN_DROP, f"{there}, those to other ports come to hop {until}", hop=last, until=until)


# -- somebody takes the connection -------------------------------------------------------------------------------------


def taken_and_closed(case: Case) -> Finding | None:
    """Closed before the greeting."""
    session = case.session
    if session.stage is not Stage.BANNER or session.errno == "ETIMEDOUT" or session.smtp_code or session.heard:
        return None
    if session.tls is not None:
        return None
    return _told(
        case, "the connection is taken, and closed without a word", Mechanism.ACCEPT_CLOSE, Mechanism.SERVER_REFUSAL
    )


def kept_waiting(case: Case) -> Finding | None:
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


def refused_in_the_greeting(case: Case) -> Finding | None:
    """554, 421 or another refusal in place of 220."""
    session = case.session
    if session.stage is not Stage.BANNER or not session.smtp_code:
        return None
    reason = f"the greeting is {session.smtp_code} {_short(session.reply)}"
    if case.in_between is not None:
        return _told(case, reason, Mechanism.REFUSING_GREETING, Mechanism.SERVER_REFUSAL)
    return case.find(Mechanism.SERVER_REFUSAL, reason, Mechanism.REFUSING_GREETING)


def masked(case: Case) -> Finding | None:
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


def tls_fails(case: Case) -> Finding | None:
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
    return case.find(Mechanism.SERVER_REFUSAL, f"TLS fails: {_short(session.reply)}")


def hangs_in_the_message(case: Case) -> Finding | None:
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


def refused_recipient(case: Case) -> Finding | None:
    """A server's word about the recipient or the sender: it is its own, or that of who took its place."""
    session = case.session
    if session.stage not in (Stage.AUTH, Stage.MAIL, Stage.RCPT, Stage.DATA) or not session.smtp_code:
        return None
    words = f"{session.smtp_code} {_short(session.reply)}"
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


def cut_in_the_session(case: Case) -> Finding | None:
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
        reason = f"the session ends at {session.stage}: {_short(session.reply)}"
        return case.find(Mechanism.UNKNOWN, reason, hop=case.in_between)
    reason, hop, end = f"the session is cut at {session.stage}", _cut_at(case), case.answers_from
    if hop is not None and end is not None and hop + 1 < end:
        reason += f" by somebody {_hops(hop)} away, and the destination is {_hops(end)} away"
        return case.find(Mechanism.SESSION_CUT, reason, hop=hop)
    return case.find(Mechanism.SESSION_CUT, reason, Mechanism.SERVER_REFUSAL, hop=case.in_between)


def another_server(case: Case) -> Finding | None:
    """A session that works, with somebody else than the one who was dialled."""
    session, hop, away = case.session, case.in_between, case.distance
    if session.certificate is not None and session.certificate.problem is None:
        return None
    doubt = (Mechanism.NONE,) if case.at_the_door else ()
    if hop is not None and case.trace is not None and case.trace.diverted_at == hop:
        reason = f"from hop {hop} on, SYNs to port {session.port} go another way than the dialled one"
        return case.find(Mechanism.INTERCEPTION, reason, *doubt, hop=hop)
    if hop is not None:
        reason = f"who answers is {_hops(hop)} away, and the destination {_hops(away or 0)}"
        return case.find(Mechanism.INTERCEPTION, reason, *doubt, hop=hop)
    twin = case.view.control_session(session.ip_version)
    if session.port == 25 and twin is not None and twin.address != session.address and _same_server(session, twin):
        reason = f"{session.host} and {twin.host} greet alike and show the same certificate"
        return case.find(Mechanism.INTERCEPTION, reason, Mechanism.NONE)
    return None


def server_refuses(case: Case) -> Finding | None:
    """Another refusal of the server's own."""
    session = case.session
    if session.stage is Stage.DONE or not session.smtp_code:
        return None
    return case.find(Mechanism.SERVER_REFUSAL, f"{session.smtp_code} {_short(session.reply)}")


def nothing(case: Case) -> Finding | None:
    """The session goes as far as it was meant to go."""
    if case.session.stage is not Stage.DONE:
        return None
    proof = case.session.certificate
    if proof is not None and proof.problem is None:
        return case.find(Mechanism.NONE, f"{case.session.host} answers, and proves it by its certificate")
    where = " from where it should" if case.answers_from and case.answers_from == case.distance else ""
    return case.find(Mechanism.NONE, f"a mail server answers{where}")


def unknown(case: Case) -> Finding | None:
    """Nothing of the above."""
    return case.find(Mechanism.UNKNOWN, f"it ends at {case.session.stage}: {_short(case.session.reply)}")


PIPELINE: tuple[Callable[[Case], Finding | None], ...] = (
    no_route_from_here,
    no_route_further_on,
    refused_by_icmp,
    refused_here,
    refused_by_reset,
    over_a_limit,
    silence,
    taken_and_closed,
    kept_waiting,
    refused_in_the_greeting,
    masked,
    tls_fails,
    hangs_in_the_message,
    refused_recipient,
    cut_in_the_session,
    another_server,
    server_refuses,
    nothing,
    unknown,
)


# -- small questions ---------------------------------------------------------------------------------------------------


def _told(case: Case, reason: str, mechanism: Mechanism, *else_: Mechanism) -> Finding:
    """Done by somebody in between, where that is seen; if not, or at its door, the server's side may do the same."""
    hop = case.in_between
    if hop is None:
        return case.find(mechanism, reason, *else_)
    where = f"{_hops(hop)} away, and the destination is {_hops(case.distance or 0)} away"
    return case.find(mechanism, f"{reason}, by somebody {where}", *(else_ if case.at_the_door else ()), hop=hop)


def _same_elsewhere(case: Case) -> bool:
    """Whether every other port of this address that was tried ends in the same error."""
    session = case.session
    others = [one for one in case.view.sessions if one.address == session.address and one.port != session.port]
    return all((one.errno, one.icmp) == (session.errno, session.icmp) for one in others)


def _hop_of(case: Case, icmp: IcmpError) -> int | None:
    """How far away the sender of an ICMP error is.

    A router that refuses in its rules let SYNs run out one hop before, under the same address; one that knows no way
    says so at once, and so does the destination itself.
    """
    known = next((hop for hop, router in sorted(case.routers.items()) if router == icmp.sender), None)
    heard = min((step.ttl for step in _refusals(case) if step.sender == icmp.sender), default=None)
    if known is not None or heard is None:
        return known
    return heard if icmp.sender == case.session.address or heard - 1 in case.routers else heard - 1


def _refusals(case: Case) -> Iterator[Step]:
    for trace in (*case.others, *([case.trace] if case.trace else [])):
        yield from (step for step in trace.steps if step.answer is Answer.REFUSED)


def _beyond(case: Case) -> Iterator[int]:
    """Every hop on the way that is known to answer on another port, the destination included."""
    for trace in case.others:
        yield from trace.routers
        if trace.answered_at is not None:
            yield trace.answered_at


def _silent_host(case: Case, last: int) -> Finding:
    """No port of the host answers. The way to another host may tell where they end."""
    session = case.session
    there = f"nothing of {session.address} answers on any port; SYNs come {_hops(last)} far"
    control = case.view.control_session(session.ip_version)
    way = case.view.trace(control.address, 25) if control else None
    if control and way and not control.connected and way.last_hop == last and way.routers == case.routers:
        reason = f"SYNs to port 25 of {session.host} and of {control.host} come {_hops(last)} far, and no further"
        return case.find(Mechanism.SYN_DROP, reason, Mechanism.ANSWER_DROP, hop=last)
    return case.find(Mechanism.SYN_DROP, there, Mechanism.ANSWER_DROP, Mechanism.NO_ROUTE, hop=last)


def _silent_at_the_door(case: Case, last: int) -> Finding:
    """SYNs come as far as the last router. Either the destination's side drops them, or somebody its answers."""
    session = case.session
    control = case.view.control_session(session.ip_version)
    reason = f"SYNs come {_hops(last)} far, to the door of the destination, and no answer comes back"
    if session.port == 25 and control is not None and control.connected:
        reason += f"; port 25 of {control.host} answers"
        return case.find(Mechanism.SYN_DROP, reason, Mechanism.ANSWER_DROP, hop=last)
    if session.port == 25 and control is not None and control.errno == "ETIMEDOUT":
        reason += f", and the same is true of {control.host}"
        return case.find(Mechanism.ANSWER_DROP, reason, Mechanism.SYN_DROP)
    return case.find(Mechanism.ANSWER_DROP, reason, Mechanism.SYN_DROP, until=case.distance)


def _last_hop_of_silence(case: Case) -> int | None:
    """Where a limit bites: the last hop from which no SYN was lost."""
    steps = case.trace.steps if case.trace else ()
    lost = [step.ttl for step in steps if step.answer is Answer.SILENT and step.ttl in case.routers]
    return min(lost) - 1 if lost else None


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


def _hops(count: int) -> str:
    return f"{count} hop" + "s" * (count != 1)


def _short(text: str | None) -> str:
    first = " ".join((text or "").split())
    return first if len(first) <= 80 else f"{first[:79]}…"
