"""The command ``port25lab list``: what the catalogue has, and all of one thing in it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from port25lab.cli.help_text import with_examples
from port25lab.scenario import catalogue

EPILOG = with_examples(
    ("port25lab list | grep op25b", "policies and scenarios about OP25B"),
    ("port25lab list op25b-strict", "its description, source and rules"),
    ("port25lab list residential_isp", "its nodes, interfaces and addresses"),
    ("port25lab list --json", "all names with their titles, for programs"),
)


def _complete(incomplete: str) -> list[str]:
    names = {name for kind in catalogue.CATALOGUE_KINDS for name in catalogue.all_names(kind)}
    return sorted(name for name in names if name.startswith(incomplete))


def list_command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Of a topology, policy or scenario, or its path; without it, all.",
            autocompletion=_complete,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Topologies, policies and scenarios of the catalogue, with one line each; or all of one of them."""
    from port25lab.report import console  # pydantic and the tables of verdicts: not for --help

    if name is None:
        from port25lab.scenario import listing  # ruamel.yaml: not for --help

        found = listing.describe_all()
        if as_json:
            rows = {kind: [{"name": one, "title": title} for one, title in lines] for kind, lines in found.items()}
            typer.echo(json.dumps(rows, indent=2))
        else:
            console.print_catalogue(console.open_console(), found)
        return
    from port25lab.report.details_table import print_details
    from port25lab.scenario.details import details  # runs topology files

    told = details(name)
    if as_json:
        typer.echo(json.dumps(told, indent=2, default=str))
    else:
        print_details(console.open_console(), told)
