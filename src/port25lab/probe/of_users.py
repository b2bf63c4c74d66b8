"""Diagnoses, as root, of rules that are about other users: mail programs seldom run as root (``-m owner``)."""

from __future__ import annotations

from port25lab.model.mechanism import Mechanism
from port25lab.probe.case import Case, Diagnosis


def of_ordinary_users(case: Case) -> Diagnosis | None:
    """This machine lets root pass, and drops, refuses or redirects what an ordinary user sends."""
    user = case.view.user_session(case.session.port, case.session.ip_version)
    if user is None or case.here or case.to_itself:
        return None
    ordinary = Case(case.view, user)
    if not ordinary.here:
        return None
    what = "an ordinary user's connections, not those of root"
    if user.local_peer:
        return case.diagnosis(Mechanism.INTERCEPTION, f"a program of this machine takes {what}", hop=0)
    if user.unsent:
        return case.diagnosis(Mechanism.SYN_DROP, f"this machine itself drops {what}: no SYN is sent", hop=0)
    mechanism = Mechanism.REJECT_ICMP if user.icmp is not None else Mechanism.REJECT_RESET
    return case.diagnosis(mechanism, f"this machine itself refuses {what}", hop=0)
