"""What a client can conclude: a view in, a diagnosis out, by a pipeline of small pure functions.

Each function looks at one case, and returns a diagnosis or None. The first diagnosis is the result. Where the evidence
fits several mechanisms, the diagnosis has the others as ``alternatives``, and ``ambiguous`` says why no client can tell
them apart.

The hop of a diagnosis is counted from the client: 1 is its first router, 0 is its own machine.
"""

from __future__ import annotations

from collections.abc import Callable

from port25lab.model.addresses import IpVersion
from port25lab.model.evidence import Stage
from port25lab.model.mechanism import Mechanism
from port25lab.probe.case import Case, Diagnosis
from port25lab.probe.causes import cause_of
from port25lab.probe.client_view import ClientView
from port25lab.probe.false_name import another_address, name_leads_astray
from port25lab.probe.in_session import (
    another_server,
    as_far_as_the_destination,
    cut_in_the_session,
    hangs_in_the_message,
    kept_waiting,
    masked,
    refused_in_the_greeting,
    refused_recipient,
    server_refuses,
    short,
    taken_and_closed,
    tls_fails,
)
from port25lab.probe.no_connection import (
    no_route_from_here,
    no_route_further_on,
    over_a_limit,
    refused_by_icmp,
    refused_by_reset,
    refused_here,
    silence,
)
from port25lab.probe.of_users import of_ordinary_users
from port25lab.probe.places import Place
from port25lab.probe.where import located


def classify(view: ClientView, port: int, ip_version: IpVersion) -> Diagnosis | None:
    """What is at work on the path to a port.

    ``view``: what one probe measured. ``port``, ``ip_version``: the path. Returns None where that was not probed.
    """
    if view.unresolved is not None:
        return nameless(view.unresolved, port, ip_version, silent=view.resolvers_silent)
    session = view.delivery(port, ip_version) or view.session(port, ip_version)
    if session is None:
        return None
    case = Case(view, session)
    found = next(diagnosis for step in PIPELINE if (diagnosis := step(case)) is not None)
    cause = cause_of(session.enhanced_code, session.reply) if session.smtp_code else None
    return located(case, found.model_copy(update={"cause": cause}))


def nameless(reason: str, port: int, ip_version: IpVersion, *, silent: bool) -> Diagnosis:
    """What a name without an address says. ``silent``: no resolver answered at all."""
    others: tuple[Place, ...] = (Place.SERVER,)
    doubt = "a name that does not exist and a resolver that does not find it look alike"
    if silent:
        others = (Place.OWN_ROUTER, Place.ACCESS_NETWORK, Place.PLATFORM, Place.OWN_MACHINE)
        doubt = "a resolver that is off and a rule that drops DNS look alike"
    return Diagnosis(
        port=port,
        ip_version=ip_version,
        mechanism=Mechanism.NO_NAME,
        alternatives=(Mechanism.NAME_SERVICE,) * silent,
        place=Place.RESOLVER,
        places=others,
        place_reason=doubt,
        reason=reason,
    )


def diagnose(view: ClientView) -> list[Diagnosis]:
    """All diagnoses of a view, sorted by port and IP version."""
    asked = dict.fromkeys((one.port, one.ip_version) for one in (*view.sessions, *view.deliveries))
    found = (classify(view, port, version) for port, version in sorted(asked))
    return [diagnosis for diagnosis in found if diagnosis is not None]


def nothing(case: Case) -> Diagnosis | None:
    """The session came to its intended end."""
    if case.session.stage is not Stage.DONE:
        return None
    proof = case.session.certificate
    if proof is not None and proof.problem is None:
        return case.diagnosis(Mechanism.NONE, f"{case.session.host} answers, and proves it by its certificate")
    where = " from as far away as the destination is" if as_far_as_the_destination(case) else ""
    return case.diagnosis(Mechanism.NONE, f"a mail server answers{where}")


def unknown(case: Case) -> Diagnosis | None:
    """None of the other functions fits."""
    return case.diagnosis(Mechanism.UNKNOWN, f"it ends at {case.session.stage}: {short(case.session.reply)}")


PIPELINE: tuple[Callable[[Case], Diagnosis | None], ...] = (
    name_leads_astray,
    of_ordinary_users,
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
    another_address,
    nothing,
    unknown,
)
