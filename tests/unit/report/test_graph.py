"""Topologies as drawings."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from port25lab.model.counters import InterfaceCounters, NodeCounters, RuleCounters
from port25lab.model.plan import InterfacePlan, LinkPlan, NodePlan, Plan
from port25lab.report import graph

PORT = (InterfacePlan(name="eth0"),)
PLAN = Plan(
    name="two",
    file=Path("/two.py"),
    nodes={
        "a.b-c": NodePlan(name="a.b-c", interfaces=PORT, policies=("nat",)),
        'q"<&;': NodePlan(name='q"<&;', interfaces=PORT, services=({"kind": "mx"},)),
        "alone": NodePlan(name="alone"),
    },
    links=(LinkPlan(node1="a.b-c", interface1="eth0", node2='q"<&;', interface2="eth0"),),
)
RULED = {"a.b-c": ("op25b",)}

SENT = {"eth0": InterfaceCounters(received_packets=1, received_bytes=60, sent_packets=7, sent_bytes=420)}
MET = RuleCounters(
    family="ip", table="filter", chain="FORWARD", number=1, packets=3, bytes=180, text="-A FORWARD -j DROP"
)
COUNTED = {
    "a.b-c": NodeCounters(interfaces=SENT, rules=(MET, MET.model_copy(update={"packets": 0}))),
    'q"<&;': NodeCounters(interfaces=SENT),
    "alone": NodeCounters(interfaces={}),
}


def test_text_has_links_at_both_ends() -> None:
    assert graph.text(PLAN, RULED, {}).splitlines() == [
        "a.b-c [nat + op25b]",
        '  eth0 -- eth0 q"<&;',
        'q"<&; (mx)',
        "  eth0 -- eth0 a.b-c",
        "alone",
    ]


def test_dot_has_names_as_labels() -> None:
    lines = graph.dot(PLAN, RULED, {}).splitlines()
    assert '  n0 [label="a.b-c\\n[nat + op25b]" style=bold];' in lines
    assert '  n1 [label="q\\"<&;\\n(mx)"];' in lines
    assert '  n0 -- n1 [taillabel="eth0" headlabel="eth0"];' in lines


def test_mermaid_has_no_character_that_it_would_read() -> None:
    lines = graph.mermaid(PLAN, RULED, {}).splitlines()
    assert '  n1["q#34;#60;#38;#59;<br>(mx)"]' in lines
    assert '  n0 ---|"eth0 - eth0"| n1' in lines


def test_svg_is_xml_with_each_node_in_a_place_of_its_own() -> None:
    picture = ET.fromstring(graph.svg(PLAN, RULED, {}))  # made here
    boxes = [(box.get("x"), box.get("y")) for box in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert len(set(boxes)) == len(PLAN.nodes)
    assert sum(box.get("stroke") == "#c22" for box in picture.iter("{http://www.w3.org/2000/svg}rect")) == 1


def test_a_running_lab_is_drawn_with_what_it_has_counted() -> None:
    assert graph.text(PLAN, RULED, COUNTED).splitlines()[:3] == [
        "a.b-c [nat + op25b]",
        "  3 packets: -A FORWARD -j DROP",
        '  eth0 -- eth0 q"<&;, 7 packets sent',
    ]
    assert 'taillabel="eth0, 7 packets sent"' in graph.dot(PLAN, RULED, COUNTED)
    assert "eth0, 7 packets sent - eth0, 7 packets sent" in graph.mermaid(PLAN, RULED, COUNTED)
    assert ">7 / 7</text>" in graph.svg(PLAN, RULED, COUNTED)
