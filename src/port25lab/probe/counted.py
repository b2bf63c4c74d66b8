"""Which diagnoses count, and which are worth a word."""

from __future__ import annotations

from collections.abc import Sequence

from port25lab.model.mechanism import MECHANISM_INFO, Mechanism
from port25lab.probe.case import Diagnosis
from port25lab.probe.client_view import ClientView

SILENT = (Mechanism.SYN_DROP, Mechanism.ANSWER_DROP)

WORKING = (Mechanism.NONE,)


def blocked(diagnosis: Diagnosis) -> bool:
    """Whether anything is wrong on the path, be it in the network or at the server."""
    return diagnosis.mechanism not in WORKING


def counted(view: ClientView, diagnoses: Sequence[Diagnosis]) -> list[Diagnosis]:
    """The diagnoses that decide the exit code: of port 25 where it was probed, and of the port of the message.

    An IP version that this machine does not have does not count, unless there is no other.
    """
    asked = [diagnosis for diagnosis in diagnoses if diagnosis.port == 25] or list(diagnoses)
    delivery = {one.port for one in view.deliveries}
    asked += [diagnosis for diagnosis in diagnoses if diagnosis.port in delivery and diagnosis not in asked]
    here = [diagnosis for diagnosis in asked if not is_lacking(diagnosis)]
    return here or asked


def is_lacking(diagnosis: Diagnosis) -> bool:
    """Whether this machine does not have the IP version at all, which is no fault of a network."""
    return diagnosis.mechanism is Mechanism.NO_ROUTE and diagnosis.hop == 0 and diagnosis.place is None


def worth_telling(view: ClientView, diagnosis: Diagnosis) -> bool:
    """Whether a diagnosis gets words: port 25, blocks of other ports, and every port where 25 was not probed.

    Where a server answers on port 25, silence right before it on other ports is its own firewall: no words.
    """
    delivered = {one.port for one in view.deliveries}
    if diagnosis.port == 25 or diagnosis.port in delivered or not view.session(25, diagnosis.ip_version):
        return True
    at_the_door = diagnosis.mechanism in SILENT and diagnosis.hop is None
    return MECHANISM_INFO[diagnosis.mechanism].middle and not at_the_door
