"""Kernels without IPv6: what is left of plans and policies, and the remedy that fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.kernel import ipv6
from port25lab.scenario.policy import load_policy
from port25lab.scenario.topology import load_topology


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ipv6, "PROC", tmp_path / "proc")
    monkeypatch.setattr(ipv6, "SYS", tmp_path / "sys")
    (tmp_path / "proc").mkdir()
    return tmp_path


def disabled_by(machine: Path, command_line: str) -> None:
    folder = machine / "sys/module/ipv6/parameters"
    folder.mkdir(parents=True)
    (folder / "disable").write_text("1\n")
    (machine / "proc/cmdline").write_text(f"root=/dev/vda {command_line} quiet\n")


def test_the_boot_parameter_is_taken_away_where_it_was_given(machine: Path) -> None:
    disabled_by(machine, "ipv6.disable=1")
    assert "s/ipv6.disable=1//" in ipv6.remedy()
    assert ipv6.remedy().endswith("update-grub && sudo reboot")


def test_without_the_boot_parameter_it_was_modprobe(machine: Path) -> None:
    disabled_by(machine, "")
    assert "/etc/modprobe.d" in ipv6.remedy()


def test_a_kernel_built_without_it_is_another_kernel(machine: Path) -> None:
    assert ipv6.remedy() == "boot a kernel with CONFIG_IPV6"


@pytest.mark.parametrize(("value", "disabled"), [("1", True), ("0", False), (None, False)])
def test_namespaces_that_start_without_ipv6_are_noticed(machine: Path, value: str | None, disabled: bool) -> None:
    if value is not None:
        folder = machine / "proc/sys/net/ipv6/conf/default"
        folder.mkdir(parents=True)
        (folder / "disable_ipv6").write_text(f"{value}\n")
    assert ipv6.starts_disabled() is disabled


@pytest.mark.parametrize("name", ["residential_isp", "hotel", "hosting", "cloud_vpc"])
def test_a_plan_without_ipv6_has_no_address_route_or_resolver_of_it(name: str) -> None:
    plan = load_topology(name).without_ipv6()
    for node in plan.nodes.values():
        addresses = [own.ip for own in node.addresses]
        found = [*addresses, *node.published, *node.resolvers, *(route.to for route in node.routes)]
        assert {address.version for address in found} <= {4}
    assert {block.version for blocks in plan.sets.values() for block in blocks} <= {4}
    assert plan.links == load_topology(name).links


def test_a_policy_without_ipv6_has_its_other_rules() -> None:
    policy = load_policy("op25b").without_ipv6()
    assert [rules.family for rules in policy.rules_files] == ["ip"]
