"""The entry point of the command, and the commands that take a few lines.

A command imports what it needs when it runs, so that ``--help`` and the shell's completion are quick: the engine with
its SMTP and DNS libraries takes a third of a second. Exit codes: see ``errors``; 1 where an expectation is not met.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from port25lab.cli import (
    check_options,
    collect_options,
    help_text,
    init_options,
    labs_options,
    list_options,
    probe_options,
    report_options,
    run_options,
    sweep_options,
)
from port25lab.cli.help_text import bold, with_examples
from port25lab.errors import Interrupted, Port25labError
from port25lab.kernel import own_python
from port25lab.report import streams

help_text.name_no_types()


def _print_version(wanted: bool) -> None:
    if wanted:
        from port25lab.machine.versions import own_version  # reads the installed packages: not for --help

        typer.echo(f"port25lab {own_version()}")
        raise typer.Exit


app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=help_text.MARKUP,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="An ISP in a box: which mail-submission paths a port-25 policy lets through, and which rule decided.",
    epilog=f"{bold('port25lab run')} runs the whole catalogue; {bold('port25lab run -h')} shows more ways."
    "\n\nExit codes: 0 every expectation met; 1 some not; 2 bad usage or input; 3 this machine lacks something; "
    "4 port25lab could not tell, or results could not be written.",
)


@app.callback()
def port25lab(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options of all commands."""


class SchemaKind(StrEnum):
    """The files that have a schema."""

    SCENARIO = "scenario"
    POLICY = "policy"
    RESULTS = "results"
    PROBE = "probe"


def doctor_command() -> None:
    """Can this machine run labs? What it lacks, and the command or setting that helps. Exit code 3 if it cannot."""
    from port25lab.machine import doctor  # looks for programs and settings: not for --help
    from port25lab.report import console  # pydantic and the tables of verdicts: not for --help

    checks = doctor.examine()
    console.print_checks(console.open_console(), checks)
    raise typer.Exit(3 if any(check.required and check.problem for check in checks) else 0)


def schema_command(
    kind: Annotated[SchemaKind, typer.Argument(help="Of which files.", show_default=True)] = SchemaKind.SCENARIO,
) -> None:
    """JSON Schema of scenario files, policy.yaml or results, for editors and validators."""
    from port25lab.report import json_schema  # pydantic: not for --help
    from port25lab.scenario import policy, scenario_file

    schemas = {
        SchemaKind.SCENARIO: scenario_file.schema,
        SchemaKind.POLICY: policy.schema,
        SchemaKind.RESULTS: json_schema.schema,
        SchemaKind.PROBE: _probe_schema,
    }
    typer.echo(json.dumps(schemas[kind](), indent=2))


def _probe_schema() -> dict[str, Any]:
    from port25lab.probe import document  # DNS and TLS libraries

    return document.schema()


_SCHEMA_EXAMPLES = with_examples(
    ("port25lab schema > scenario.schema.json", "docs/scenarios.md says where it goes"),
    ("port25lab schema results", "of what --json writes"),
)

_COMMANDS: tuple[tuple[str, str, str, Callable[..., None]], ...] = (
    ("run", "Run scenarios in real labs.", run_options.EPILOG, run_options.run_command),
    ("list", "What the catalogue has, or all of one thing in it.", list_options.EPILOG, list_options.list_command),
    ("doctor", "Can this machine run labs?", "", doctor_command),
    ("check", "Which mail your router's rules let through.", check_options.EPILOG, check_options.check_command),
    ("collect", "A script that takes a snapshot of a router.", collect_options.EPILOG, collect_options.collect_command),
    ("init", "A folder to start from.", init_options.EPILOG, init_options.init_command),
    ("report", "A page from results that were written before.", report_options.EPILOG, report_options.report_command),
    ("schema", "JSON Schema of scenarios, policies and results.", _SCHEMA_EXAMPLES, schema_command),
    ("probe", "What is blocked on the way to a mail server.", probe_options.EPILOG, probe_options.probe_command),
    *labs_options.COMMANDS,
)
"""Each command: name, one line, examples."""

for _name, _line, _examples, _command in _COMMANDS:
    app.command(_name, short_help=_line, epilog=_examples or None)(_command)

app.add_typer(sweep_options.sweep_app, name="sweep")


def main() -> NoReturn:
    """Entry point of the ``port25lab`` command."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    streams.guard()
    own_python.prefer_own_distutils()  # topologies import Mininet
    sys.exit(_run_command())


def _run_command() -> int:
    """Run the command. Returns its exit code."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
    try:
        try:
            app(standalone_mode=True)
        except SystemExit as end:
            # What is still in the buffer may fail as well, and at the end of the process that could not be reported.
            if sys.stdout is not None:
                sys.stdout.flush()
            return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Port25labError as error:
        errors.print(f"port25lab: {error}", markup=False)
        return error.exit_code
    except Interrupted as interrupt:
        errors.print("port25lab: interrupted; nothing is left behind")
        return 128 + interrupt.number
    return 0


def _interrupted(number: int, frame: FrameType | None) -> None:
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.SIG_IGN)  # a second signal must not cut the cleaning up short
    raise Interrupted(number)
