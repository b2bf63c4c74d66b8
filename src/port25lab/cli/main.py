"""The command line: arguments in, a run, renderings out. Exit codes: see ``errors``; 1 where some are not met."""

from __future__ import annotations

import json
import signal
import sys
from types import FrameType
from typing import NoReturn

import typer
from rich.console import Console

from port25lab.cli import probe, run
from port25lab.cli.run import with_examples
from port25lab.errors import Interrupted, Port25labError
from port25lab.machine import doctor
from port25lab.report import console as console_module
from port25lab.report import streams
from port25lab.scenario import listing
from port25lab.scenario.format import schema

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="An ISP in a box: which mail-submission paths a port-25 policy lets through, and which rule decided.",
    epilog="[bold]port25lab run[/bold] runs the whole catalogue; [bold]port25lab run -h[/bold] shows more ways."
    "\n\nExit codes: 0 every expectation met; 1 some not; 2 bad usage or input; 3 this machine lacks something; "
    "4 results could not be written.",
)


app.command("run", epilog=run.EPILOG)(run.run_command)


@app.command("list", epilog=with_examples(("port25lab list | grep op25b", "policies and scenarios about OP25B")))
def list_command() -> None:
    """Topologies, policies and scenarios of the catalogue, with one line each."""
    console_module.print_catalogue(console_module.open_console(), listing.describe_all())


@app.command("doctor")
def doctor_command() -> None:
    """Can this machine run labs? What it lacks, and the command or setting that helps. Exit code 3 if it cannot."""
    findings = doctor.examine()
    console_module.print_checks(console_module.open_console(), findings)
    raise typer.Exit(3 if any(finding.required and finding.problem for finding in findings) else 0)


@app.command(
    "schema", epilog=with_examples(("port25lab schema > scenario.schema.json", "docs/scenarios.md says where it goes"))
)
def schema_command() -> None:
    """JSON Schema of scenario files, for editors and validators."""
    typer.echo(json.dumps(schema(), indent=2))


app.command("probe", epilog=probe.EPILOG)(probe.probe_command)


def main() -> NoReturn:
    """Entry point of the ``port25lab`` command."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    streams.guard()
    sys.exit(_ended())


def _ended() -> int:
    """Run the command; its exit code."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        try:
            app(standalone_mode=True)
        except SystemExit as ended:
            # What is still in the buffer may fail as well; at the end of the process it would be too late to say so.
            if sys.stdout is not None:
                sys.stdout.flush()
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Port25labError as error:
        errors.print(f"port25lab: {error}", markup=False)
        return error.exit_code
    except Interrupted as interrupt:
        errors.print("port25lab: interrupted; nothing is left behind")
        return 128 + interrupt.number
    return 0


def _interrupted(number: int, frame: FrameType | None) -> None:
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, signal.SIG_IGN)  # once is enough: the way out is not to be cut short
    raise Interrupted(number)
