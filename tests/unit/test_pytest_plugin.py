"""What the plugin takes for a scenario. Labs are in tests/lab/test_pytest_plugin.py."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from port25lab.pytest_plugin import pytest_collect_file

NOBODY = cast(pytest.Collector, None)


@pytest.mark.parametrize("file", ["mail/hotel.yaml", "scenarios/notes.md", "scenarios/mine/policy.yaml"])
def test_only_yaml_below_scenarios_is_a_scenario_and_a_policy_is_none(file: str) -> None:
    assert pytest_collect_file(Path(file), NOBODY) is None
