"""Which nodes hang on a network by one link, and what is between."""

from __future__ import annotations

from itertools import pairwise

from port25lab.model.plan import LinkPlan
from port25lab.model.ways import ways


def links(*chains: str) -> list[LinkPlan]:
    """One link between each two names that follow one another: ``links("pc cpe edge")``."""
    return [
        LinkPlan(node1=one, interface1=f"{one}-{two}"[:15], node2=two, interface2=f"{two}-{one}"[:15])
        for chain in chains
        for one, two in pairwise(chain.split())
    ]


NODES = ("pc", "tv", "cpe", "edge", "mx", "far", "alone")
TREE = links("pc cpe edge mx", "tv cpe", "edge far")


def test_branches_hang_on_the_core_by_one_link() -> None:
    found = ways(NODES, TREE, {"mx"})
    assert found.core == {"mx"}
    assert found.of("pc") == ["pc", "cpe", "edge"]
    assert found.of("far") == ["far", "edge"]
    assert found.of("mx") == []


def test_nodes_between_ends_are_core() -> None:
    found = ways(NODES, TREE, {"mx", "far"})
    assert found.core == {"mx", "edge", "far"}
    assert found.of("tv") == ["tv", "cpe"]
    assert dict(found.behind) == {"pc": 1, "tv": 1, "cpe": 3, "alone": 1}
    assert found.of("alone") == ["alone"]


def test_a_ring_stays_whole_and_what_hangs_on_it_does_not() -> None:
    found = ways(("a", "b", "c", "pc"), links("a b c a", "pc a"), set())
    assert found.core == {"a", "b", "c"}
    assert found.of("pc") == ["pc"]


def test_two_links_between_the_same_nodes_are_one_way() -> None:
    two = [*links("pc edge mx"), LinkPlan(node1="pc", interface1="x", node2="edge", interface2="y")]
    assert ways(("pc", "edge", "mx"), two, {"mx", "edge"}).of("pc") == ["pc"]
