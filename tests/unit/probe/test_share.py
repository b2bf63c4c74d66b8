"""A probe that can be posted."""

from __future__ import annotations

import socket

from client_view_factory import ADDRESS, HOST, ROUTERS, session, silent, trace, view
from port25lab.probe.client_view import OwnMachine
from port25lab.probe.document import probed
from port25lab.probe.share import masked

OWN = ("192.168.1.10", "2001:db8:110:100::10")
VIEW = view(
    silent(),
    session(587, reply=f"Hello {socket.gethostname()} [198.18.7.9]", keywords_tls=("AUTH",)),
    traces=(trace(25, 2),),
    own=OwnMachine(addresses=OWN),
)


def test_this_sides_addresses_and_names_are_replaced_everywhere_and_alike() -> None:
    text = masked(probed(VIEW, "now")).model_dump_json()
    for secret in (*OWN, ROUTERS[0], "198.18.7.9", socket.gethostname()):
        assert secret not in text
    assert all(kept in text for kept in (HOST, ADDRESS, ROUTERS[1]))
    found = masked(probed(VIEW, "now"))
    assert found.view.own.addresses[0] in str(found.says[0].letter)
    assert found.view.traces[0].routers[1] == next(iter({found.view.traces[0].routers[1]}))


def test_a_replacement_is_no_address_of_the_probe() -> None:
    shown = view(silent(address="203.0.113.1"), own=OwnMachine(addresses=("192.168.1.10",)))
    found = masked(probed(shown, "now"))
    assert found.view.sessions[0].address == "203.0.113.1"
    assert found.view.own.addresses == ("203.0.113.2",)
