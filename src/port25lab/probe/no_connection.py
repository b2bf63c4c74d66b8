"""Diagnoses of a connection that was not established: no route, refused, or no answer, and at which hop."""

from __future__ import annotations

from collections.abc import Iterator

from port25lab.model.evidence import IcmpError
from port25lab.model.mechanism import Mechanism
from port25lab.probe.case import NOT_THERE, Case, Diagnosis, hops
from port25lab.probe.client_view import Answer, Step, Trace, hops_of

_NO_ROUTE = {4: ((3, 0), (3, 1), (3, 6), (3, 7)), 6: ((1, 0), (1, 3))}
"""Types and codes of the ICMP errors that a router without a route sends (RFC 1812 5.2.7.1, RFC 4443 3.1)."""

_UNREACHABLE = ("ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT")


def no_route_from_here(case: Case) -> Diagnosis | None:
    """The machine itself has no route, or its first router does not answer: an errno without an ICMP error."""
    session = case.session
    if session.connected or (session.icmp is not None and not case.neighbour_silent):
        return None
    if case.neighbour_silent:
        reason = f"the next machine on the way to {session.address} does not answer ({session.errno})"
        doubt = () if session.icmp is None else (Mechanism.REJECT_ICMP,)
        return case.diagnosis(Mechanism.NO_ROUTE, reason, *doubt, hop=0)
    if session.errno not in _UNREACHABLE or session.errno == "EHOSTUNREACH":
        return None
    return case.diagnosis(Mechanism.NO_ROUTE, f"this machine has no way to {session.address} ({session.errno})", hop=0)


def no_route_further_on(case: Case) -> Diagnosis | None:
    """A router has no route, whatever the port."""
    icmp = case.session.icmp
    if case.session.connected or icmp is None or not case.same_elsewhere:
        return None
    if (icmp.type, icmp.code) not in _NO_ROUTE[icmp.ip_version]:
        return None
    return case.diagnosis(
        Mechanism.NO_ROUTE,
        f"{icmp.sender} says that there is no way to {case.session.address}, whatever the port",
        Mechanism.REJECT_ICMP,
        *([Mechanism.NO_ANSWER] if (icmp.type, icmp.code) in NOT_THERE[icmp.ip_version] else []),
        hop=_hop_of(case, icmp),
    )


def refused_by_icmp(case: Case) -> Diagnosis | None:
    """A router or the destination refuses with an ICMP error, whose sender is known."""
    session, icmp = case.session, case.session.icmp
    if session.connected or icmp is None:
        return None
    what = f"with an ICMP error (type {icmp.type}, code {icmp.code})"
    if case.here:
        return case.diagnosis(Mechanism.REJECT_ICMP, f"this machine itself refuses it {what}", hop=0)
    return case.diagnosis(Mechanism.REJECT_ICMP, f"{icmp.sender} refuses it {what}", hop=_hop_of(case, icmp))


def refused_here(case: Case) -> Diagnosis | None:
    """An errno without an ICMP error, on this port alone: the machine's own firewall."""
    session = case.session
    if session.connected or session.errno not in ("EACCES", "EPERM", *_UNREACHABLE):
        return None
    return case.diagnosis(Mechanism.REJECT_ICMP, f"this machine itself refuses ({session.errno})", hop=0)


def refused_by_reset(case: Case) -> Diagnosis | None:
    """A reset: from the destination, on which nothing listens, or from a firewall in the destination's name."""
    session, heard, away = case.session, case.answers_from, case.least_distance
    if session.connected or session.errno != "ECONNREFUSED":
        return None
    if case.here:
        return case.diagnosis(Mechanism.REJECT_RESET, "the reset comes from this machine itself", hop=0)
    mine, theirs = session.ttl, case.ttl_of_destination
    nearer = hops_of(theirs) - hops_of(mine) if mine is not None and theirs is not None else None
    if heard is not None and away is not None and heard < away:
        least = "" if away == case.distance else "at least "
        reason = f"the reset comes from {hops(heard)} away, and the destination is {least}{hops(away)} away"
        # A router's rule lets a SYN come one hop further than the router itself is; a host that answers does not.
        its_own = heard == away - 1 and nearer in (None, 1)
        return case.diagnosis(
            Mechanism.REJECT_RESET, reason, *([Mechanism.NO_LISTENER] if its_own else []), hop=heard - 1
        )
    if mine is not None and nearer is not None and nearer > 0:
        reason = f"the reset has TTL {mine}, and what the destination itself says has {theirs}"
        return case.diagnosis(Mechanism.REJECT_RESET, reason, hop=hops_of(mine))
    if nearer == 0 and mine is not None and case.proven_distance in (None, hops_of(mine)):
        return case.diagnosis(
            Mechanism.NO_LISTENER, "the reset comes from as far away as the destination's other answers"
        )
    reason = "a reset, and nothing tells it from one of the destination itself"
    return case.diagnosis(Mechanism.NO_LISTENER, reason, Mechanism.REJECT_RESET)


LOSSES = 2
"""Lost connections that prove a limit. Each is a SYN that was sent twice: a lossy network does not explain them."""


def over_a_limit(case: Case) -> Diagnosis | None:
    """Some connections are established, and others to the same port get no answer."""
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
    return case.diagnosis(Mechanism.RATE_LIMIT, reason, hop=_last_hop_of_silence(case))


def silence(case: Case) -> Diagnosis | None:
    """No answer. The traceroutes show how far the SYNs come."""
    session, trace = case.session, case.trace
    if session.connected or session.errno != "ETIMEDOUT":
        return None
    if session.unsent and not case.to_itself:
        return case.diagnosis(Mechanism.SYN_DROP, "this machine itself drops the SYNs: none is sent", hop=0)
    if session.discarded and not case.to_itself:
        return case.diagnosis(Mechanism.ANSWER_DROP, "answers come, and this machine itself drops them", hop=0)
    if trace is None:
        reason = "no answer, and no traceroute was made"
        return case.diagnosis(Mechanism.SYN_DROP, reason, Mechanism.ANSWER_DROP, Mechanism.RATE_LIMIT)
    found = _silent(case, trace)
    if case.others_refused:
        reason = f"{found.reason}; other ports are refused with ICMP errors, of which a host sends few in a second"
        alternatives = dict.fromkeys((*found.alternatives, Mechanism.REJECT_ICMP, *_no_way(case)))
        return found.model_copy(update={"reason": reason, "alternatives": tuple(alternatives)})
    return found


def _no_way(case: Case) -> Iterator[Mechanism]:
    """What the ICMP errors of other ports say of the way, whatever the port."""
    refusals = [one.icmp for one in case.view.sessions if one.address == case.session.address and one.icmp is not None]
    kinds = {(icmp.type, icmp.code) for icmp in refusals}
    version = case.session.ip_version
    if not kinds or kinds & set(_NO_ROUTE[version]):
        yield Mechanism.NO_ROUTE
    if not kinds or kinds & set(NOT_THERE[version]):
        yield Mechanism.NO_ANSWER


def _silent(case: Case, trace: Trace) -> Diagnosis:
    """Silence, by how far the SYNs come."""
    session, away, last = case.session, case.distance, trace.last_hop
    beyond = [hop for hop in _beyond(case) if hop > last]
    if away is None and not beyond:
        return _silent_host(case, last)
    if not beyond or (away is not None and last >= away - 1):
        return _silent_at_the_door(case, last)
    until = min(beyond)
    there = f"SYNs come {hops(last)} far"
    control = case.view.control_session(session.ip_version)
    if session.port == 25 and control is not None and control.connected:
        there += f" (those to port 25 of {control.host} arrive: it is about this destination)"
    if until == last + 1:
        return case.diagnosis(Mechanism.SYN_DROP, f"{there}, those to other ports go on", hop=last, until=until)
    if away is not None and until >= away:
        reason = f"{there}; no router behind that answers on any port"
        return case.diagnosis(Mechanism.SYN_DROP, reason, Mechanism.ANSWER_DROP, hop=last, until=until)
    return case.diagnosis(
        Mechanism.SYN_DROP, f"{there}, those to other ports come to hop {until}", hop=last, until=until
    )


def _hop_of(case: Case, icmp: IcmpError) -> int | None:
    """How far away the sender of an ICMP error is.

    In a router that refuses by a rule, a SYN with a TTL of one less runs out, and the router reports that from the same
    address. A router without a route refuses at once, and so does the destination itself.
    """
    known = next((hop for hop, router in sorted(case.routers.items()) if router == icmp.sender), None)
    heard = min((step.ttl for step in _refusals(case) if step.sender == icmp.sender), default=None)
    if known is not None or heard is None:
        return known
    if icmp.sender != case.session.address and case.routers:
        heard = min(heard, max(case.routers) + 1)  # ICMP errors are limited in rate: nearer ones may be missing
    return heard if icmp.sender == case.session.address or heard - 1 in case.routers else heard - 1


def _refusals(case: Case) -> Iterator[Step]:
    for trace in (*case.others, *([case.trace] if case.trace else [])):
        yield from (step for step in trace.steps if step.answer is Answer.REFUSED)


def _beyond(case: Case) -> Iterator[int]:
    """Every hop that answers SYNs to another port, the destination included."""
    for trace in case.others:
        yield from trace.routers
        if trace.answered_at is not None:
            # A router's ICMP error says that it is the next one at most: those for nearer SYNs may be missing.
            by_router = trace.spoken_at is None and trace.refused_by_itself_at is None and bool(case.routers)
            yield min(trace.answered_at, max(case.routers) + 1) if by_router else trace.answered_at
    if case.by_datagrams is not None:
        yield from case.by_datagrams.routers


def _silent_host(case: Case, last: int) -> Diagnosis:
    """No port of the host answers: a host that is off, a ban, or a block, as long as nothing else tells.

    The traceroute to another host may show where the SYNs end.
    """
    session = case.session
    control = case.view.control_session(session.ip_version)
    way = case.view.trace(control.address, 25) if control else None
    there = f"nothing of {session.address} answers on any port; SYNs come {hops(last)} far"
    if control and way and not control.connected and way.last_hop == last and way.routers == case.routers:
        reason = f"SYNs to port 25 of {session.host} and of {control.host} come {hops(last)} far, and no further"
        return case.diagnosis(Mechanism.SYN_DROP, reason, Mechanism.ANSWER_DROP, hop=last)
    others = [Mechanism.SYN_DROP, Mechanism.ANSWER_DROP, Mechanism.NO_ROUTE]
    working = works_elsewhere(case)
    if working is not None:
        return case.diagnosis(Mechanism.NO_ANSWER, f"{there}; {working} answers", *others, hop=last or None)
    if last == 0:
        return case.diagnosis(others[0], there, *others[1:], Mechanism.NO_ANSWER, hop=0)
    return case.diagnosis(others[0], there, *others[1:], Mechanism.NO_ANSWER, hop=last)


def works_elsewhere(case: Case) -> str | None:
    """What answers on the same port, so that not everything is blocked on it: the other IP version, or the control."""
    session = case.session
    control = case.view.control_session(session.ip_version)
    if session.port == 25 and control is not None and control.connected:
        return f"port 25 of {control.host}"
    for one in case.view.sessions:
        if one.ip_version != session.ip_version and one.connected:
            return f"{one.address}"
    return None


def _silent_at_the_door(case: Case, last: int) -> Diagnosis:
    """SYNs come as far as the last router. Either they are dropped behind it, or the answers are dropped."""
    session = case.session
    control = case.view.control_session(session.ip_version)
    reason = f"SYNs come {hops(last)} far, to the door of the destination, and no answer comes back"
    if session.port == 25 and control is not None and control.connected:
        reason += f"; port 25 of {control.host} answers"
        return case.diagnosis(Mechanism.SYN_DROP, reason, Mechanism.ANSWER_DROP, until=case.distance)
    if session.port == 25 and control is not None and control.errno == "ETIMEDOUT":
        reason += f", and the same is true of {control.host}"
        return case.diagnosis(Mechanism.ANSWER_DROP, reason, Mechanism.SYN_DROP)
    return case.diagnosis(Mechanism.ANSWER_DROP, reason, Mechanism.SYN_DROP, until=case.distance)


def _last_hop_of_silence(case: Case) -> int | None:
    """Where the limit is: the last hop before which no SYN was lost."""
    steps = case.trace.steps if case.trace else ()
    lost = [step.ttl for step in steps if step.answer is Answer.SILENT and step.ttl in case.routers]
    return min(lost) - 1 if lost else None
