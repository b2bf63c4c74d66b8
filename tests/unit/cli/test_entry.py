"""Machines on which port25lab cannot even be imported: one line, exit code 3, and what helps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from port25lab.cli import entry

SOURCE = Path(entry.__file__).parents[2]


def test_a_machine_without_linux_is_told() -> None:
    said = entry._lacking("darwin", (3, 12))
    assert (
        said == "this is darwin, and labs are namespaces of Linux; use a Linux machine, such as the one of: vagrant up"
    )


def test_an_old_python_is_told_how_to_install_with_a_new_one() -> None:
    said = entry._lacking("linux", (3, 10))
    assert said == (
        "this is Python 3.10, and 3.11 is needed; Debian 12 and Ubuntu 24.04 have it: "
        "pipx install --python python3.11 port25lab"
    )


def test_linux_with_a_new_python_lacks_nothing() -> None:
    assert entry._lacking("linux", (3, 11)) is None
    assert entry._lacking("linux", (4, 0)) is None


def works(python: str) -> bool:
    return (
        bool(shutil.which(python))
        and not subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode
    )


@pytest.mark.parametrize("python", ["python3.8", "python3.9", "python3.10"])
def test_an_old_python_reads_the_first_files_and_says_one_line(python: str) -> None:
    if not works(python):
        pytest.skip(f"no {python} on this machine")
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}
    for argv in (["-m", "port25lab", "doctor"], ["-c", "from port25lab.cli.entry import main; main()"]):
        done = subprocess.run([python, *argv], capture_output=True, text=True, env=environment, check=False, cwd="/")
        assert done.returncode == 3, done.stderr
        assert done.stderr.startswith("port25lab: this is Python 3.")
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


def test_a_library_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ImportError('no typer here', name='typer')\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from port25lab.cli.entry import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr == (
        f"port25lab: no typer here; install it again: {sys.executable} -m pip install --force-reinstall port25lab\n"
    )
