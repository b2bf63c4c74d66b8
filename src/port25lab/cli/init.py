"""What ``port25lab init`` does: check the rules in a lab of their shape, and write what was found as a project."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import typer

from port25lab.cli import check
from port25lab.errors import NOT_TOLD, InputError, OutputError
from port25lab.machine import doctor
from port25lab.model.outcome import Outcome
from port25lab.scenario.project import project_files

EXAMPLE = """\
*filter
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i lan0 -o wan0 -p tcp -m tcp --dport 25 -s {server} -j ACCEPT
-A FORWARD -i lan0 -o wan0 -p tcp -m tcp --dport 25 -j REJECT
COMMIT
"""
"""Rules where the user has none: the mail server may send, and all others submit."""


def run(folder: Path, files: Sequence[str]) -> int:
    """Write the project. Returns the exit code: 4 where a path could not be told, which is then left out.

    Raises InputError where the folder has files, MachineError, and OutputError.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty", allowed="a new folder, or an empty one")
    doctor.require()
    if files:
        checked, _ = check.checked(check.CheckOptions(files))
    else:
        with tempfile.TemporaryDirectory() as example:
            for name, server in (("rules.v4", "192.168.1.25"), ("rules.v6", "2001:db8:1000:1::25")):
                Path(example, name).write_text(EXAMPLE.format(server=server))
            rules = [str(Path(example, name)) for name in ("rules.v4", "rules.v6")]
            checked, _ = check.checked(check.CheckOptions(rules))
    written = project_files(checked.mirrors[0], checked.new)
    for place, content in written.items():
        _write(folder / place, content)
    for place in written:
        typer.echo(f"{folder / place}")
    typer.echo(f"\ncd {folder} && port25lab run scenarios/mail.yaml")
    return NOT_TOLD if any(verdict.outcome is Outcome.ERROR for verdict in checked.new) else 0


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise OutputError(file, error) from error
