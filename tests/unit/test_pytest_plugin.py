"""What the plugin takes for a scenario, and what it costs others. Labs are in tests/lab/test_pytest_plugin.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCENARIO = "title: T\ntopology: hotel\nvariants: {open: {}}\npaths:\n  - {from: guest-1, to: 'mx:example.net'}\n"
FOREIGN = "name: a scenario of another tool\nsteps:\n  - topology: x\n"


def collected(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def project(folder: Path, files: dict[str, str], ini: str = "[pytest]\n") -> Path:
    (folder / "pytest.ini").write_text(ini)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_scenarios_are_told_by_their_keys_and_others_are_left_alone(tmp_path: Path) -> None:
    files = {
        "scenarios/ours.yaml": SCENARIO,
        "mail/scenarios/deep/also.yml": SCENARIO,
        "scenarios/theirs.yaml": FOREIGN,
        "scenarios/broken.yaml": "{{ jinja }}",
        "other/ours.yaml": SCENARIO,
    }
    shown = collected(project(tmp_path, files))
    assert "scenarios/ours.yaml::open/guest-1-to-mx:example.net-25/ipv4" in shown
    assert "mail/scenarios/deep/also.yml::" in shown
    assert "theirs" not in shown
    assert "broken" not in shown
    assert "other/ours.yaml" not in shown


def test_a_folder_above_rootdir_named_scenarios_makes_no_scenario(tmp_path: Path) -> None:
    folder = tmp_path / "scenarios" / "project"
    folder.mkdir(parents=True)
    assert "no tests collected" in collected(project(folder, {"ours.yaml": SCENARIO}))


@pytest.mark.parametrize(("patterns", "found"), [("mail/*.yaml", True), ("", False)])
def test_a_project_may_say_where_its_scenarios_are(tmp_path: Path, patterns: str, *, found: bool) -> None:
    ini = f"[pytest]\nport25lab_scenarios = {patterns}\n"
    shown = collected(project(tmp_path, {"mail/ours.yaml": SCENARIO, "scenarios/other.yaml": SCENARIO}, ini))
    assert ("mail/ours.yaml" in shown) is found
    assert "other.yaml" not in shown


ALONE = """\
import sys


def test_it():
    ours = {name for name in sys.modules if name.startswith("port25lab.")}
    assert ours == {"port25lab.pytest_plugin"}
"""


def test_a_project_that_does_not_use_it_loads_nothing_of_it(tmp_path: Path) -> None:
    folder = project(tmp_path, {"test_it.py": ALONE})
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
