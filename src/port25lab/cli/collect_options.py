"""The options of ``port25lab collect``. What the command does is in ``collect``, which takes longer to import."""

from __future__ import annotations

from typing import Annotated

import typer

from port25lab.cli.help_text import with_examples

EPILOG = with_examples(
    ("port25lab collect | ssh root@router sh > router.txt", "a snapshot of a router"),
    ("port25lab collect --anonymise router.txt > public.txt", "the same, without what tells whose it is"),
)


def collect_command(
    anonymise: Annotated[
        str | None,
        typer.Option(
            "--anonymise",
            metavar="FILE",
            help="Instead: print this snapshot with public addresses, MAC addresses, names of hosts and comments "
            "replaced; -: from stdin.",
        ),
    ] = None,
) -> None:
    """Print a shell script that prints a snapshot of a router: its rules, sets, addresses, routes, and forwarding."""
    from port25lab.cli import collect  # pydantic: not for --help

    collect.run(anonymise)
