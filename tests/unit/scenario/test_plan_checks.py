"""Mistakes in a topology that are known before a lab starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.errors import InputError
from port25lab.scenario import catalogue
from port25lab.scenario.topology import load_topology

TOWN = """\
from mininet.topo import Topo


class Town(Topo):
    def build(self):
        self.addHost("a", {a})
        self.addHost("r", forward=True)
        self.addHost("b")
        self.addLink("a", "r", params1={near}, params2={{"ip": "{router}"}})
        self.addLink("r", "b", params1={{"ip": "192.0.2.65/26"}}, params2={{"ip": "{far}"}})


topos = {{"town": Town}}
"""
RIGHT = {
    "a": 'routes=[("default", "192.0.2.1")]',
    "near": '{"ip": "192.0.2.2/26"}',
    "router": "192.0.2.1/26",
    "far": "192.0.2.66/26",
}


def town(folder: Path, **changed: str) -> Path:
    file = folder / "town.py"
    file.write_text(TOWN.format(**RIGHT | changed))
    return file


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"a": "foward=True"}, "node 'a': unknown parameter 'foward'; did you mean 'forward'?"),
        ({"near": '{"ipp": "192.0.2.2/26"}'}, "link a/a-eth0: unknown parameter 'ipp'; did you mean 'ip'?"),
        ({"near": '{"ip": "192.0.2.2"}'}, "link a/a-eth0: the address 192.0.2.2 has no prefix; such as 192.0.2.2/24"),
        ({"far": "192.0.2.2/26"}, "nodes 'a' and 'b' have the address 192.0.2.2; an address for each"),
        ({"near": '{"ip": "10.0.0.1/24"}', "router": "10.0.0.1/24", "a": ""}, "nodes 'a' and 'r' have the address"),
        ({"a": 'routes=[("default", "192.0.2.99")]'}, "node 'a': the next hop 192.0.2.99 is on none of its links; an"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, changed: dict[str, str], error: str) -> None:
    file = town(tmp_path, **changed)
    with pytest.raises(InputError) as caught:
        load_topology(str(file))
    assert str(caught.value).startswith(f"{file}: {error}")


def test_a_right_one_is_none(tmp_path: Path) -> None:
    assert load_topology(str(town(tmp_path))).nodes["a"].routes
    behind_nat = town(tmp_path, near='{"ip": "10.0.0.2/24"}', router="10.0.0.1/24", far="10.0.0.2/24", a="")
    assert load_topology(str(behind_nat))


def test_parameters_of_mininets_own_are_left_alone(tmp_path: Path) -> None:
    assert load_topology(str(town(tmp_path, a='cpu=0.5, mac="02:00:00:00:00:09", inNamespace=True')))


@pytest.mark.parametrize("name", catalogue.names("topologies"))
def test_the_catalogue_has_no_mistake(name: str) -> None:
    assert load_topology(name)
