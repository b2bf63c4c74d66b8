"""The kernel's routes and neighbours, asked for this machine's loopback and for addresses that lead nowhere."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from port25lab.kernel import routes

LOOPBACK, LOOPBACK_INDEX = ip_address("127.0.0.1"), 1


def test_what_is_for_this_machine_is_local() -> None:
    assert routes.way(LOOPBACK, LOOPBACK, None).local


def test_a_packet_that_may_not_exist_has_no_way() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        routes.way(ip_address("203.0.113.7"), LOOPBACK, LOOPBACK_INDEX)


def test_a_neighbour_that_was_never_asked_for_is_not_awaited() -> None:
    assert not routes.awaited(ip_address("203.0.113.7"), LOOPBACK_INDEX)
