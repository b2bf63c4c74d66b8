"""``port25lab list``: all names, and all of one of them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from port25lab.cli.main import app
from port25lab.errors import InputError


def listed(*arguments: str) -> str:
    return CliRunner().invoke(app, ["list", *arguments], catch_exceptions=False).stdout


def test_a_policy_is_shown_with_its_source_and_its_rules() -> None:
    shown = listed("op25b")
    assert "policy: OP25B, outbound port 25 blocking for dynamic addresses" in shown
    assert "JEAG recommendation" in shown
    assert "-A op25b -m set --match-set dynamic-customers6 src -j DROP" in shown


def test_a_topology_is_shown_with_its_addresses_and_a_scenario_of_the_same_name_as_well() -> None:
    kinds = {one["kind"]: one for one in json.loads(listed("hotel", "--json"))}
    assert set(kinds) == {"topologies", "scenarios"}
    ports = {(port["node"], port["interface"]): port for port in kinds["topologies"]["interfaces"]}
    assert ports["hotel-gw", "rooms0"]["ip"] == "172.20.0.1/24"
    assert ports["guest-1", "eth0"]["leads_to"] == "hotel-gw/room1"
    assert kinds["scenarios"]["variants"]["op25b"] == {"isp-edge": ["op25b"]}
    assert "guest-1/eth0" in listed("hotel")


def test_all_names_are_there_as_json() -> None:
    names = {kind: {one["name"] for one in rows} for kind, rows in json.loads(listed("--json")).items()}
    assert "residential_isp" in names["topologies"]
    assert "conformance/op25b" in names["scenarios"]


def test_an_unknown_name_is_bad_input_with_the_nearest_ones() -> None:
    with pytest.raises(InputError, match=r"nothing is called 'op25'; did you mean 'op25b'\? known: op25b, .* more$"):
        listed("op25")


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("port25lab ")
