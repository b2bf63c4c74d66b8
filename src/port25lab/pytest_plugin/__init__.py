"""The plugin that pytest loads in every project where port25lab is installed: it imports nothing until it is used.

A scenario file is a YAML file below a folder named ``scenarios`` inside of rootdir, with ``topology`` and ``variants``
at its top; the ini option ``port25lab_scenarios`` names other places.

labs    scenario files as tests, and the labs of tests in Python
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_SUFFIXES = (".yaml", ".yml")

_BEGINNING_BYTES = 65536
"""So much of a file is looked at before it is read as a scenario."""

_KEYS = [re.compile(rf"^['\"]?{key}['\"]?\s*:", re.MULTILINE) for key in ("topology", "variants")]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the ini option."""
    parser.addini(
        "port25lab_scenarios",
        "Patterns of scenario files, relative to rootdir, in place of scenarios/**: mail/*.yaml; none: no files.",
        type="linelist",
        default=None,
    )
    group = parser.getgroup("port25lab")
    group.addoption("--port25lab-html", metavar="FILE", help="Write a report of all scenarios' paths as one page.")
    group.addoption("--port25lab-json", metavar="FILE", help="Write their verdicts as JSON.")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report of the paths that were tried."""
    labs = sys.modules.get("port25lab.pytest_plugin.labs")
    if labs is not None:
        labs.write_results(session.config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Scenario files are test files."""
    if file_path.suffix not in _SUFFIXES or not _is_scenario(file_path, parent.config):
        return None
    from port25lab.pytest_plugin.labs import ScenarioFile  # the engine: not in projects without scenarios

    file: pytest.Collector = ScenarioFile.from_parent(parent, path=file_path)
    return file


def pytest_unconfigure(config: pytest.Config) -> None:
    """End all labs."""
    labs = sys.modules.get("port25lab.pytest_plugin.labs")
    if labs is not None:
        labs.end(config)


@pytest.fixture(scope="session")
def lab(pytestconfig: pytest.Config) -> Iterator[Any]:
    """Factory of labs: ``lab("hotel", policies={"isp-edge": "op25b"}, rooms=3)``."""
    from port25lab.pytest_plugin.labs import factory

    yield factory(pytestconfig)


def _is_scenario(file: Path, config: pytest.Config) -> bool:
    if not file.is_relative_to(config.rootpath):
        return False
    place = file.relative_to(config.rootpath)
    patterns = config.getini("port25lab_scenarios")
    if patterns is not None:
        return any(file in config.rootpath.glob(pattern) for pattern in patterns)
    return "scenarios" in place.parts[:-1] and _looks_like_one(file)


def _looks_like_one(file: Path) -> bool:
    """Whether a file has the keys of a scenario at its top. Other projects have folders of that name, too."""
    try:
        with file.open("rb") as opened:
            beginning = opened.read(_BEGINNING_BYTES).decode("utf-8", "replace")
    except OSError:
        return False
    return all(key.search(beginning) for key in _KEYS)
