"""A network as a picture."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from port25lab.model.plan import Plan
from port25lab.report.html.picture import BOX_HEIGHT, COLUMN, MOST_ALIKE, ROW, picture
from port25lab.scenario import catalogue
from port25lab.scenario.topology import load_topology

NAMESPACE = "{http://www.w3.org/2000/svg}"


def data(plan: Plan) -> dict[str, Any]:
    nodes = [
        {"name": node.name, "forward": node.forward, "services": [one["kind"] for one in node.services], "policies": []}
        for node in plan.nodes.values()
    ]
    links = [[{"node": link.node1}, {"node": link.node2}] for link in plan.links]
    return {"nodes": nodes, "links": links}


def star(hosts: int, *more: tuple[str, str]) -> dict[str, Any]:
    names = ["hub", *(f"host-{number}" for number in range(hosts))]
    pairs = [("hub", name) for name in names[1:]] + list(more)
    names += [name for pair in more for name in pair if name not in names]
    return {
        "nodes": [{"name": name, "forward": name == "hub", "services": [], "policies": []} for name in names],
        "links": [[{"node": one}, {"node": two}] for one, two in pairs],
    }


def boxes(svg: str) -> dict[str, tuple[float, float]]:
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{NAMESPACE}g"):
        if name := group.get("data-node"):
            x, y = str(group.get("transform")).removeprefix("translate(").rstrip(")").split()
            found[name] = (float(x), float(y))
    return found


@pytest.mark.parametrize("name", catalogue.names("topologies"))
def test_each_node_has_a_place_of_its_own(name: str) -> None:
    plan = load_topology(name)
    placed = boxes(picture(data(plan), {}, plan.nodes))
    assert set(placed) == set(plan.nodes)
    for one, (x, y) in placed.items():
        for other, (x2, y2) in placed.items():
            assert one == other or abs(x - x2) >= COLUMN or abs(y - y2) >= min(ROW, BOX_HEIGHT), (one, other)


def test_customers_are_left_and_servers_right_of_the_exchange() -> None:
    placed = boxes(picture(data(load_topology("residential_isp")), {}, ["pc"]))
    assert placed["pc"][0] < placed["cpe"][0] < placed["isp-edge"][0] < placed["ix"][0] < placed["mx"][0]


def test_many_hosts_behind_one_router_are_one_box_unless_a_path_names_them() -> None:
    svg = picture(star(2000), {}, ["host-7"])
    assert len(boxes(svg)) == 3
    assert "host-7" in boxes(svg)
    assert "+1998" in svg
    assert len(boxes(picture(star(MOST_ALIKE), {}, []))) == MOST_ALIKE + 1


def test_a_loop_and_a_network_in_two_parts_are_drawn() -> None:
    loop = star(3, ("host-0", "host-1"), ("host-1", "host-2"), ("alone", "other"))
    assert {"hub", "alone", "other"} <= set(boxes(picture(loop, {"hub": ["op25b"]}, ["host-0"])))


def test_names_are_text() -> None:
    svg = picture(star(1, ("hub", '<script>"')), {}, [])
    assert "<script>" not in svg
