"""Diagnoses of a name that leads to no public server: a resolver's lie, this machine's own file, or the zone itself."""

from __future__ import annotations

from port25lab.model.evidence import Stage
from port25lab.model.mechanism import Mechanism
from port25lab.probe.case import Case, Diagnosis
from port25lab.probe.resolver import is_public, misleads

_WORDS = {
    "nowhere": "which is the address of no host",
    "here": "which is this machine itself",
    "private": "which is an address of a private network",
}


def name_leads_astray(case: Case) -> Diagnosis | None:
    """The name has an address that no public server has."""
    view, address = case.view, case.session.address
    why = misleads(address, view.own.addresses)
    if why is None or not is_public(view.target):
        return None
    what = f"{view.target} leads to {address}, {_WORDS[why]}"
    if address in view.own.hosts_file:
        # A private address there is somebody's decision.
        reason = f"{what}: this machine's /etc/hosts says so"
        return None if why == "private" else case.diagnosis(Mechanism.NAME_SERVICE, reason, hop=0)
    proof = case.session.certificate
    if proof is not None and proof.problem is None:
        return None
    honest = _others(case)
    if honest:
        server, right = honest
        return case.diagnosis(Mechanism.NAME_SERVICE, f"{what}; {server} says {right}")
    if _zone_says(case, address):
        return None if why in ("here", "private") and address in view.own.addresses else _by_zone(case, what, why)
    loops = why == "here" and address not in view.own.addresses
    if loops and case.session.stage is Stage.DONE:
        return case.diagnosis(Mechanism.NAME_SERVICE, f"{what}, and its own mail server answers", Mechanism.NONE)
    if case.session.stage is Stage.DONE and why != "nowhere":
        return case.diagnosis(Mechanism.NONE, f"{what}, and a mail server answers there", Mechanism.NAME_SERVICE)
    other = Mechanism.NO_ROUTE if why == "private" else Mechanism.NO_NAME
    return case.diagnosis(Mechanism.NAME_SERVICE, what, other)


def another_address(case: Case) -> Diagnosis | None:
    """The zone's own servers have other addresses for the name, and nothing proves that this one is right."""
    session, view = case.session, case.view
    proof = session.certificate
    if session.stage is not Stage.DONE or (proof is not None and proof.problem is None):
        return None
    if session.address in view.own.hosts_file:
        return None
    said = {address for one in view.name_answers if one.role == "authoritative" for address in one.addresses}
    same_version = {address for address in said if (":" in address) == (session.ip_version == 6)}
    if not same_version or session.address in same_version:
        return None
    reason = f"{view.target} leads to {session.address} here, and its own zone says {min(same_version)}"
    return case.diagnosis(Mechanism.NONE, reason, Mechanism.NAME_SERVICE)


def _others(case: Case) -> tuple[str, str] | None:
    """A server that gives an address of a public host, and that address."""
    for one in case.view.name_answers:
        for address in one.addresses:
            same_version = (":" in address) == (case.session.ip_version == 6)
            if same_version and misleads(address, case.view.own.addresses) is None:
                whose = "the zone's own server" if one.role == "authoritative" else "the resolver"
                return f"{whose} {one.server}", address
    return None


def _zone_says(case: Case, address: str) -> bool:
    return any(address in one.addresses for one in case.view.name_answers if one.role == "authoritative")


def _by_zone(case: Case, what: str, why: str) -> Diagnosis | None:
    """The zone itself has that address, or what answers in its name does."""
    if why == "private":
        return None
    return case.diagnosis(Mechanism.NO_NAME, f"{what}, and so says what answers for its zone", Mechanism.NAME_SERVICE)
