"""The place of a diagnosis: whose stretch of the way it is, or which ones fit the same evidence.

A hop is a number; advice needs to know whose it is. Distances, and what the own machine's kernel says, decide. Where
they leave several places, all of them are named, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from port25lab.model.mechanism import Mechanism
from port25lab.probe.case import Case, Diagnosis
from port25lab.probe.client_view import Session
from port25lab.probe.in_session import as_far_as_the_destination
from port25lab.probe.no_connection import works_elsewhere
from port25lab.probe.places import Place
from port25lab.probe.resolver import PRIVATE

ALL = (
    Place.ACCESS_NETWORK,
    Place.OWN_ROUTER,
    Place.PLATFORM,
    Place.BEFORE_THE_SERVER,
    Place.SERVER,
    Place.OWN_MACHINE,
)
"""Every place that packets pass."""

OF_SERVERS = (
    Mechanism.NO_LISTENER,
    Mechanism.SERVER_REFUSAL,
    Mechanism.GREYLISTING,
    Mechanism.DNSBL_LISTING,
)

SEEN_BY_WHAT_IS_MISSING = (
    Mechanism.SYN_DROP,
    Mechanism.REJECT_RESET,
    Mechanism.RATE_LIMIT,
    Mechanism.SNI_RESET,
    Mechanism.SESSION_CUT,
)
"""Their hop is the last router that reports an expired TTL. One that filters as packets come in reports none."""

ANSWERS = (
    Mechanism.REJECT_RESET,
    Mechanism.INTERCEPTION,
    Mechanism.REFUSING_GREETING,
    Mechanism.ACCEPT_CLOSE,
    Mechanism.TARPIT,
)
"""What is done by an answer in the destination's name, whose sender's distance a traceroute shows."""

MAY_BE_THE_NEXT = (
    "a router that filters packets as they come in does so before it looks at their TTL: it may be the next one"
)

NEAR_THE_SERVER_FIRST = (Place.BEFORE_THE_SERVER, Place.SERVER)

CANNOT_TELL_PLATFORM = (
    "the routers near a rented virtual machine are its platform's, and no packet shows whether this is one"
)

PLACELESS = (Mechanism.NONE,)


def located(case: Case, diagnosis: Diagnosis) -> Diagnosis:
    """The same diagnosis, with its place."""
    found, reason = places(case, diagnosis)
    if not found:
        return diagnosis
    return diagnosis.model_copy(update={"place": found[0], "places": tuple(found[1:]), "place_reason": reason})


def places(case: Case, diagnosis: Diagnosis) -> tuple[Sequence[Place], str | None]:
    """Where it can be, the likeliest place first, and why. Empty: nothing is wrong."""
    if diagnosis.candidates <= set(PLACELESS) or lacks_version(case, diagnosis):
        return (), None
    if diagnosis.candidates & {Mechanism.NAME_SERVICE, Mechanism.NO_NAME}:
        return _of_names(case, diagnosis)
    if case.here:
        return (Place.OWN_MACHINE,), own_evidence(case.session)
    user = case.view.user_session(case.session.port, case.session.ip_version)
    if user is not None and diagnosis.hop == 0 and Case(case.view, user).here:
        return (Place.OWN_MACHINE,), own_evidence(user)
    found: list[Place] = []
    reasons: list[str] = []
    for mechanism in (diagnosis.mechanism, *diagnosis.alternatives):
        some, reason = _of(case, diagnosis, mechanism)
        found += some
        if reason:
            reasons.append(reason)
    ordered = _possible(case, dict.fromkeys(found))
    if Place.SERVER in ordered and case.session.connected and as_far_as_the_destination(case):
        ordered = [Place.SERVER, *(place for place in ordered if place is not Place.SERVER)]
    return ordered, reasons[0] if reasons and len(ordered) > 1 else None


def lacks_version(case: Case, diagnosis: Diagnosis) -> bool:
    """Whether this machine does not have that IP version, and has the other one: that is no fault."""
    if diagnosis.mechanism is not Mechanism.NO_ROUTE or diagnosis.hop != 0 or case.neighbour_silent:
        return False
    others = [one for one in case.view.sessions if one.ip_version != case.session.ip_version]
    return any(one.errno not in ("ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT") or one.icmp for one in others)


def own_evidence(session: Session) -> str:
    """What proves that this machine itself did it."""
    if session.local_peer:
        return "the other end of the connection is a socket of this machine"
    if session.unsent:
        return "the kernel could not send the SYN again"
    if session.discarded:
        return "packets come in when SYNs go out, and reach no socket"
    return "the answer was sent by this machine"


def _of_names(case: Case, diagnosis: Diagnosis) -> tuple[Sequence[Place], str | None]:
    if case.session.address in case.view.own.hosts_file:
        return (Place.OWN_MACHINE,), "/etc/hosts has the address"
    if diagnosis.certain:
        return (Place.RESOLVER,), "another DNS server has another address"
    if diagnosis.mechanism is Mechanism.NONE:
        return (Place.RESOLVER, Place.SERVER), "the resolver may lie, and the name may have several right addresses"
    if diagnosis.mechanism is Mechanism.NO_NAME:
        return (Place.SERVER, Place.RESOLVER), "who answers for the zone says the same, or is answered for"
    return (Place.RESOLVER, Place.SERVER), "no second DNS server answers, so that nothing shows whose address it is"


def _of(case: Case, diagnosis: Diagnosis, mechanism: Mechanism) -> tuple[Sequence[Place], str | None]:
    """Where one mechanism can be."""
    if mechanism in PLACELESS:
        return (), None
    if mechanism in OF_SERVERS:
        return (Place.SERVER,), None
    if mechanism is Mechanism.UNKNOWN:
        return (Place.SERVER, Place.BEFORE_THE_SERVER), "what answers does not speak SMTP as a server does"
    icmp = case.session.icmp
    if icmp is not None and icmp.sender == case.session.address and not case.session.connected:
        return (Place.SERVER,), None
    if mechanism is Mechanism.NO_ANSWER and (case.routers or case.session.icmp is not None):
        return (Place.SERVER, Place.BEFORE_THE_SERVER), "a host that is off and one that ignores this client are silent"
    if diagnosis.mechanism is Mechanism.NO_ROUTE and diagnosis.hop == 0:
        if case.neighbour_silent:
            return (Place.OWN_ROUTER, Place.OWN_MACHINE), "the next machine is silent, or this one asks in vain"
        return (Place.OWN_MACHINE,), None
    if diagnosis.hop is not None and not _silent_host(diagnosis):
        own, reason = by_hop(case, diagnosis.hop)
        if mechanism not in SEEN_BY_WHAT_IS_MISSING:
            return own, reason
        last = max(diagnosis.until or 0, diagnosis.hop + (diagnosis.hop > 0))
        hops = range(diagnosis.hop, last + 1)
        found = tuple(dict.fromkeys(place for hop in hops for place in by_hop(case, hop)[0]))
        if len(found) == len(own):
            return own, reason
        return found, MAY_BE_THE_NEXT if len(hops) == 2 else "routers between do not answer, so that none is ruled out"
    if mechanism in ANSWERS and as_far_as_the_destination(case):
        return (Place.BEFORE_THE_SERVER,), "what stands right before the server can answer in its name"
    return _anywhere(case, diagnosis)


def _silent_host(diagnosis: Diagnosis) -> bool:
    """Whether nothing of the host answers: then no traceroute shows where the block ends and the host begins."""
    return Mechanism.NO_ANSWER in diagnosis.candidates and Mechanism.SYN_DROP in diagnosis.candidates


def by_hop(case: Case, hop: int) -> tuple[Sequence[Place], str | None]:
    """Whose router a hop can be. ``hop``: 0 is this machine or the entrance of its first router."""
    away = case.least_distance
    if hop == 0:
        return (
            (Place.OWN_MACHINE, *_first_router(case)),
            "SYNs to this port get no answer from the first router, and it may drop them where they come in",
        )
    if hop == 1:
        found = list(_first_router(case))
        if away is not None and away == 2:
            found.append(Place.BEFORE_THE_SERVER)
        return found, CANNOT_TELL_PLATFORM if len(found) > 1 else None
    if case.distance is not None and case.distance == away and hop >= away:
        return (Place.SERVER,), None
    if away is not None and case.distance == away and hop >= away - 1:
        if hop == 2:
            return (
                Place.BEFORE_THE_SERVER,
                *_network(case),
            ), "the second router is also the last one before the server"
        return (Place.BEFORE_THE_SERVER,), None
    network = _network(case)
    if away is not None and 2 * hop > away and not _on_another_way(case, hop):
        return (*network, Place.BEFORE_THE_SERVER), f"hop {hop} of {away} may belong to either side"
    return network, CANNOT_TELL_PLATFORM if len(network) > 1 else None


def _anywhere(case: Case, diagnosis: Diagnosis) -> tuple[Sequence[Place], str | None]:
    """Where nothing shows the hop."""
    near: tuple[Place, ...] = NEAR_THE_SERVER_FIRST if _server_likelier(case, diagnosis) else ()
    if _silent_host(diagnosis) and not case.routers:
        near = (*_first_router(case), Place.OWN_MACHINE)
        return tuple(dict.fromkeys((*near, *ALL))), "not even the first router answers"
    reason = "nothing shows at which hop it is"
    if diagnosis.candidates & {Mechanism.SYN_DROP, Mechanism.ANSWER_DROP}:
        reason = "silence has no sender: SYNs may be dropped behind the last router that answers, and answers anywhere"
    return tuple(dict.fromkeys((*near, *ALL))), reason


def _server_likelier(case: Case, diagnosis: Diagnosis) -> bool:
    silent_host = _silent_host(diagnosis)
    masked = diagnosis.candidates & {Mechanism.STARTTLS_STRIPPING, Mechanism.BANNER_MASKING}
    return bool(silent_host or masked or works_elsewhere(case))


def _first_router(case: Case) -> Sequence[Place]:
    """Whose the first router can be."""
    if case.view.own.metadata:
        return (Place.PLATFORM,)
    if behind_a_router(case):
        return (Place.OWN_ROUTER,) if case.view.own.physical else (Place.OWN_ROUTER, Place.PLATFORM)
    return (Place.PLATFORM, Place.ACCESS_NETWORK, Place.OWN_ROUTER)


def _network(case: Case) -> Sequence[Place]:
    """Whose the routers behind the first one can be."""
    if case.view.own.metadata:
        return (Place.PLATFORM,)
    if behind_a_router(case):
        return (Place.ACCESS_NETWORK,) if case.view.own.physical else (Place.ACCESS_NETWORK, Place.PLATFORM)
    return (Place.PLATFORM, Place.ACCESS_NETWORK)


def behind_a_router(case: Case) -> bool:
    """Whether this machine has private IPv4 addresses alone: then its first router is one that translates them."""
    own = [ip_address(address) for address in case.view.own.addresses]
    four = [address for address in own if address.version == 4]
    return all(any(address in network for network in PRIVATE if network.version == 4) for address in four)


def _on_another_way(case: Case, hop: int) -> bool:
    """Whether a hop is also on the way to the control host: then it is not the receiver's."""
    router = case.routers.get(hop)
    control = case.view.control_session(case.session.ip_version)
    way = case.view.trace(control.address, 25) if control else None
    return bool(way and router and way.routers.get(hop) == router)


def _possible(case: Case, found: Iterable[Place]) -> list[Place]:
    """Without what this machine's kernel rules out: itself, and a platform around a real machine behind a router."""
    here = _may_be_here(case)
    rented = not (case.view.own.physical and behind_a_router(case))
    return [
        place for place in found if (place is not Place.OWN_MACHINE or here) and (place is not Place.PLATFORM or rented)
    ]


def _may_be_here(case: Case) -> bool:
    session = case.session
    if case.to_itself:
        return True
    if case.answers_from is not None and case.answers_from > 1:
        return False  # what this machine answers itself needs no hop at all
    if session.connected:
        return session.local_answer is not False and session.local_peer is not False
    return case.here is not False
