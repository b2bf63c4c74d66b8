"""The interface for Python: its names, and that they cost nothing before they are used."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import port25lab
from port25lab import errors

MANUAL = Path(__file__).parents[2] / "docs/api.md"

NAMES = {
    "InputError": "port25lab.errors",
    "Lab": "port25lab.lab.handle",
    "LabError": "port25lab.errors",
    "LiveLab": "port25lab.engine.live",
    "MachineError": "port25lab.errors",
    "PathSpec": "port25lab.model.path",
    "Port25labError": "port25lab.errors",
    "Report": "port25lab.model.verdict",
    "Verdict": "port25lab.model.verdict",
    "load_questions": "port25lab.scenario.questions",
    "run": "port25lab.engine.engine",
}


def test_these_names_are_the_interface() -> None:
    assert set(port25lab.__all__) == set(NAMES)
    assert set(NAMES) | {"__version__"} <= set(dir(port25lab))


@pytest.mark.parametrize("name", NAMES)
def test_each_name_leads_to_its_module_and_has_a_docstring(name: str) -> None:
    found = getattr(port25lab, name)
    assert (found.__module__, found.__name__) == (NAMES[name], name)
    assert (found.__doc__ or "").strip()
    assert f"`{name}" in MANUAL.read_text()


def test_errors_that_the_program_raises_have_one_base() -> None:
    for error in (port25lab.InputError, port25lab.MachineError, port25lab.LabError):
        assert issubclass(error, port25lab.Port25labError)
    assert port25lab.InputError is errors.InputError


def test_the_version_is_that_of_the_distribution() -> None:
    assert port25lab.__version__ == version("port25lab")


def test_another_name_is_an_error_of_the_module() -> None:
    with pytest.raises(AttributeError, match="module 'port25lab' has no attribute 'fleet'"):
        port25lab.fleet  # noqa: B018  # the access is what is tested


def test_an_import_of_the_package_imports_nothing_else_of_it() -> None:
    code = "import sys, port25lab\nprint(*(name for name in sys.modules if name.startswith('port25lab')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["port25lab"]
