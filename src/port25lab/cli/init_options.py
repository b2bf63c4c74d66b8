"""The options of ``port25lab init``. What the command does is in ``init``, which takes longer to import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from port25lab.cli.help_text import with_examples

EPILOG = with_examples(
    ("port25lab init mail --from /etc/iptables/rules.v4 --from /etc/iptables/rules.v6", "from your router's rules"),
    ("port25lab init mail --from router.txt", "from a snapshot of port25lab collect"),
    ("port25lab init mail", "from an example"),
)


def init_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or an empty one.")],
    files: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="FILE", help="Rules or a snapshot, as check takes them. Repeatable."),
    ] = None,
) -> None:
    """A folder to start from: your rules as a policy, their network as a topology, what they do as a scenario.

    There is a test for pytest and a file for CI as well. All of it passes: edit the rules, and see what changes.
    """
    from port25lab.cli import init

    raise typer.Exit(init.run(folder, files or []))
