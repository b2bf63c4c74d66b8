"""Names that lead to no public server."""

from __future__ import annotations

from typing import Any

import pytest

from client_view_factory import HOST, session, silent, view
from port25lab.model.mechanism import Mechanism
from port25lab.probe.case import Diagnosis
from port25lab.probe.classify import classify
from port25lab.probe.client_view import Certificate, NameAnswer, OwnMachine
from port25lab.probe.places import Place

RIGHT = "192.0.2.25"

SECOND = NameAnswer(server="192.0.2.53", role="configured", addresses=(RIGHT,))
ZONE = NameAnswer(server="192.0.2.53", role="authoritative", addresses=(RIGHT,))


def found(address: str, works: bool = False, **more: Any) -> Diagnosis:
    one = session(address=address) if works else silent(address=address)
    own = more.pop("own", OwnMachine(addresses=("192.168.1.10", "198.51.100.9")))
    diagnosis = classify(view(one, own=own, **more), 25, 4)
    assert diagnosis is not None
    return diagnosis


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "127.0.1.1", "192.168.1.10", "198.51.100.9", "10.1.2.3"])
@pytest.mark.parametrize("works", [True, False])
@pytest.mark.parametrize("second", [SECOND, ZONE])
def test_another_server_shows_the_lie(address: str, works: bool, second: NameAnswer) -> None:
    diagnosis = found(address, works, name_answers=(second,))
    assert (diagnosis.mechanism, diagnosis.alternatives) == (Mechanism.NAME_SERVICE, ())
    assert (diagnosis.place, diagnosis.places) == (Place.RESOLVER, ())
    assert RIGHT in diagnosis.reason


def test_without_another_answer_it_stays_open_whose_address_it_is() -> None:
    assert found("0.0.0.0").candidates == {Mechanism.NAME_SERVICE, Mechanism.NO_NAME}
    assert found("10.1.2.3").candidates == {Mechanism.NAME_SERVICE, Mechanism.NO_ROUTE}
    assert found("10.1.2.3", works=True).mechanism is Mechanism.NONE
    assert found("127.0.0.1", works=True).mechanism is Mechanism.NAME_SERVICE


def test_the_own_hosts_file_is_the_own_machine() -> None:
    diagnosis = found("127.0.1.1", own=OwnMachine(hosts_file=("127.0.1.1",)))
    assert (diagnosis.mechanism, diagnosis.place) == (Mechanism.NAME_SERVICE, Place.OWN_MACHINE)
    private = found("10.1.2.3", works=True, own=OwnMachine(hosts_file=("10.1.2.3",)))
    assert private.candidates == {Mechanism.NONE}


def test_a_zone_that_names_this_machine_is_right() -> None:
    """The probed server is this machine itself."""
    zone = NameAnswer(server="192.0.2.53", role="authoritative", addresses=("198.51.100.9",))
    assert found("198.51.100.9", works=True, name_answers=(zone,)).candidates == {Mechanism.NONE}
    none = NameAnswer(server="192.0.2.53", role="authoritative", addresses=("0.0.0.0",))
    assert found("0.0.0.0", name_answers=(none,)).mechanism is Mechanism.NO_NAME


def test_a_certificate_proves_a_private_address() -> None:
    proof = session(address="10.1.2.3", certificate=Certificate(sha256="0" * 64, names=(HOST,)))
    diagnosis = classify(view(proof, name_answers=(SECOND,)), 25, 4)
    assert diagnosis is not None and diagnosis.candidates == {Mechanism.NONE}


def test_names_of_a_private_domain_may_have_private_addresses() -> None:
    one = session(address="10.1.2.3", host="mail.corp", banner="mail.corp ESMTP")
    diagnosis = classify(view(one).model_copy(update={"target": "mail.corp"}), 25, 4)
    assert diagnosis is not None and diagnosis.candidates == {Mechanism.NONE}


def test_another_public_address_than_the_zones_is_a_doubt() -> None:
    assert found("192.0.2.77", works=True, name_answers=(ZONE,)).candidates == {Mechanism.NONE, Mechanism.NAME_SERVICE}
    assert found(RIGHT, works=True, name_answers=(ZONE,)).candidates == {Mechanism.NONE}
