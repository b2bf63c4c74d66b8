"""Finding a node of a plan by its names and addresses."""

from __future__ import annotations

from pathlib import Path

from port25lab.model.plan import NodePlan, Plan

MX = {"kind": "mx", "domains": ["example.net"]}


def plan() -> Plan:
    nodes = {
        "gw": {"name": "gw", "interfaces": [{"name": "wan0", "ip": "192.0.2.1/24"}]},
        "home": {"name": "home", "public": ["192.0.2.1"], "aliases": ["alias.example"]},
        "mx": {"name": "mx", "names": ["mx.example.net"], "services": [MX], "public": ["2001:db8::25"]},
    }
    return Plan.model_validate({"name": "p", "file": Path("p.py"), "nodes": nodes})


def test_an_address_belongs_to_the_node_that_publishes_it_before_the_one_that_has_it() -> None:
    assert plan().owner("192.0.2.1") == "home"
    assert plan().owner("2001:db8::25") == "mx"
    assert plan().owner("192.0.2.2") is None


def test_a_server_is_found_by_every_name() -> None:
    found = {to: server and server.name for to in NAMES for server in [plan().server(to)]}
    assert found == NAMES


NAMES = {
    "mx": "mx",
    "mx.example.net": "mx",
    "mx:example.net": "mx",
    "alias.example": "home",
    "192.0.2.1": "home",
    "mx:example.org": None,
}


def test_a_changed_copy_finds_its_own_nodes() -> None:
    first = plan()
    assert first.server("mx:example.org") is None
    more = first.with_services({"mx": [{"kind": "mx", "domains": ["example.org"]}]})
    found = more.server("mx:example.org")
    assert isinstance(found, NodePlan)
    assert len(found.services) == 2
    assert first.server("mx:example.org") is None
    assert first == plan(), "what was looked up makes no other plan"
