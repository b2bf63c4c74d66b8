"""curl and msmtp pick their own address and port: what they do, and that the lab still knows whose packet is whose."""

from __future__ import annotations

from typing import Any

import pytest

from port25lab.errors import MachineError
from port25lab.machine import doctor
from port25lab.model.path import PathSpec
from port25lab.pytest_plugin.labs import LabFactory


@pytest.fixture(params=["curl", "msmtp"])
def client(request: pytest.FixtureRequest) -> str:
    """Each in turn; skipped where it is not on this machine."""
    name = str(request.param)
    try:
        doctor.require_program(name, f"client {name}")
    except MachineError as error:
        pytest.skip(str(error))
    return name


def test_left_to_choose_it_takes_ipv6(lab: LabFactory, street: str, client: str) -> None:
    lab(street).expect("delivered", source="sender", to="mx:example.net", client=client)


def test_where_ipv6_is_broken_it_gets_there_by_ipv4(lab: LabFactory, street: str, client: str) -> None:
    lab(street, broken6=True).expect("delivered", source="sender", to="mx:example.net", client=client)


def test_a_block_for_ipv6_alone_is_gone_round_by_ipv4(
    lab: LabFactory, street: str, client: str, make_policy: Any
) -> None:
    rules = "*filter\n-A FORWARD -p tcp --dport 25 -j REJECT --reject-with tcp-reset\nCOMMIT\n"
    half = lab(street, {"edge": make_policy("v6only", v6=rules)})
    verdict = half.expect("delivered", source="sender", to="mx:example.net", client=client)
    assert verdict.observation.address == "192.0.2.25"


def test_a_block_for_ipv4_alone_is_gone_round_by_ipv6(lab: LabFactory, client: str) -> None:
    leaky = lab("residential_isp", {"isp-edge": "op25b-v4only"})
    verdict = leaky.expect("delivered", source="home-server", to="mx:example.net", client=client)
    assert verdict.observation.address == "2001:db8:25::25"


def test_where_another_server_answers_it_was_intercepted(lab: LabFactory, client: str, make_policy: Any) -> None:
    rules = (
        "*nat\n:PREROUTING ACCEPT [0:0]\n"
        "-A PREROUTING -p tcp -d 192.0.2.25 --dport 25 -j DNAT --to-destination 192.0.2.97:25\nCOMMIT\n"
    )
    hijacked = lab("residential_isp", {"isp-edge": make_policy("hijack", v4=rules)})
    hijacked.expect("intercepted", source="home-server", to="mx:example.net", client=client, ip_version=4)


def test_attempts_at_the_same_time_are_told_apart(lab: LabFactory, client: str) -> None:
    """Dropped and delivered, from one host at once: each has the trace of its own packets."""
    home = lab("residential_isp", {"isp-edge": "op25b"}).up
    out, through = {"to": "mx:example.net"}, {"to": "isp-relay"}
    paths = [PathSpec(source="home-server", client=client, ip_version=4, **to) for to in (out, through)]
    found = dict(home.attempts(paths))
    assert [len(found[path].decisions) for path in paths] == [1, 0]
    assert [found[path].answered_by for path in paths] == [None, "isp-relay"]
