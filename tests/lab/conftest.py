"""What tests of real labs share: a small street, policies made on the spot, the command, and a look at this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from command import MakePolicy
from port25lab.engine.engine import Engine
from port25lab.engine.progress import Quiet
from port25lab.errors import MachineError
from port25lab.lab import sandboxes
from port25lab.machine import doctor
from port25lab.pytest_plugin.labs import LabFactory

STREET = Path(__file__).parent / "support/street.py"

# What is run here talks to terminals and pipes of the tests' own: pytest-xdist hands its width to its workers, and a CI
# server says that it is one.
for name in ("COLUMNS", "CI", "NO_COLOR"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session", autouse=True)
def _machine() -> None:
    """Lab tests need a machine that can run labs; say so once, and clearly."""
    try:
        doctor.require()
    except MachineError as error:
        pytest.exit(f"this machine cannot run labs: {error}", returncode=3)


@pytest.fixture(scope="session")
def street() -> str:
    return str(STREET)


@pytest.fixture(scope="session")
def make_policy(tmp_path_factory: pytest.TempPathFactory) -> MakePolicy:
    """A policy folder of these rules: ``make_policy("deny", v4=…, v6=…, sets=[…])``. Equal ones are the same folder."""
    made: dict[Any, str] = {}

    def make(name: str, v4: str | None = None, v6: str | None = None, sets: tuple[str, ...] = ()) -> str:
        key = (name, v4, v6, sets)
        if key not in made:
            folder = tmp_path_factory.mktemp("policies") / name
            folder.mkdir()
            (folder / "policy.yaml").write_text(f"title: made for a test\nsets: [{', '.join(sets)}]\n")
            for file, rules in (("rules.v4", v4), ("rules.v6", v6)):
                if rules is not None:
                    (folder / file).write_text(rules)
            made[key] = str(folder)
        return made[key]

    return make


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine of the test's own, whose labs end with the test."""
    with Engine(Quiet(), keep_labs=True) as own:
        yield own


@pytest.fixture
def own_lab(engine: Engine) -> LabFactory:
    """As ``lab``, for tests that break theirs."""
    return LabFactory(engine)


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Python code that each lab's process runs at its start: for faults that no input can bring about."""

    def plant(code: str) -> None:
        monkeypatch.setattr(sandboxes, "PROGRAM", f"{code}\n{sandboxes.PROGRAM}")

    return plant
