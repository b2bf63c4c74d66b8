"""The way of a packet through a plan."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from port25lab.model.path import PathSpec
from port25lab.model.route import Routes
from port25lab.scenario import catalogue
from port25lab.scenario.topology import load_topology

ISP = Routes(load_topology("residential_isp"))


@pytest.mark.parametrize("version", [4, 6])
def test_a_customers_mail_goes_through_each_router_to_the_mx(version: int) -> None:
    path = PathSpec(source="pc", to="mx:example.net", ip_version=version)
    assert ISP.of(path) == ("pc", "cpe", "isp-edge", "isp-cgn", "isp-border", "ix", "mx")


def test_a_route_to_what_nothing_has_is_empty() -> None:
    assert ISP.between("pc", ip_address("203.0.113.99")) == ()
    assert ISP.of(PathSpec(source="nowhere", to="mx:example.net")) == ()


@pytest.mark.parametrize("name", catalogue.names("topologies"))
def test_each_topology_has_a_way_from_each_host_to_the_mx(name: str) -> None:
    plan = load_topology(name)
    routes = Routes(plan)
    hosts = [node.name for node in plan.nodes.values() if not node.forward and node.addresses and node.name != "mx"]
    lost = [host for host in hosts if not routes.of(PathSpec(source=host, to="mx:example.net", ip_version=4))]
    assert not lost
