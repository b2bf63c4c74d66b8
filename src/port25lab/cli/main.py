"""The entry point of the command, and the commands that take a few lines.

A command imports what it needs when it runs, so that ``--help`` and the shell's completion are quick: the engine with
its SMTP and DNS libraries takes a third of a second. Exit codes: see ``errors``; 1 where an expectation is not met.
"""

from __future__ import annotations

import json
import signal
import sys
from types import FrameType
from typing import NoReturn

import typer
from rich.console import Console

from port25lab.cli import check_options, collect_options, init_options, probe_options, run_options
from port25lab.cli.run_options import with_examples
from port25lab.errors import Interrupted, Port25labError
from port25lab.kernel import own_python
from port25lab.report import streams

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="An ISP in a box: which mail-submission paths a port-25 policy lets through, and which rule decided.",
    epilog="[bold]port25lab run[/bold] runs the whole catalogue; [bold]port25lab run -h[/bold] shows more ways."
    "\n\nExit codes: 0 every expectation met; 1 some not; 2 bad usage or input; 3 this machine lacks something; "
    "4 port25lab could not tell, or results could not be written.",
)


app.command("run", epilog=run_options.EPILOG)(run_options.run_command)


@app.command("list", epilog=with_examples(("port25lab list | grep op25b", "policies and scenarios about OP25B")))
def list_command() -> None:
    """Topologies, policies and scenarios of the catalogue, with one line each."""
    from port25lab.report import console  # pydantic and the tables of verdicts: not for --help
    from port25lab.scenario import listing  # ruamel.yaml: not for --help

    console.print_catalogue(console.open_console(), listing.describe_all())


@app.command("doctor")
def doctor_command() -> None:
    """Can this machine run labs? What it lacks, and the command or setting that helps. Exit code 3 if it cannot."""
    from port25lab.machine import doctor  # looks for programs and settings: not for --help
    from port25lab.report import console  # pydantic and the tables of verdicts: not for --help

    checks = doctor.examine()
    console.print_checks(console.open_console(), checks)
    raise typer.Exit(3 if any(check.required and check.problem for check in checks) else 0)


@app.command(
    "schema", epilog=with_examples(("port25lab schema > scenario.schema.json", "docs/scenarios.md says where it goes"))
)
def schema_command() -> None:
    """JSON Schema of scenario files, for editors and validators."""
    from port25lab.scenario.scenario_file import schema  # pydantic: not for --help

    typer.echo(json.dumps(schema(), indent=2))


app.command("check", epilog=check_options.EPILOG)(check_options.check_command)
app.command("collect", epilog=collect_options.EPILOG)(collect_options.collect_command)
app.command("init", epilog=init_options.EPILOG)(init_options.init_command)
app.command("probe", epilog=probe_options.EPILOG)(probe_options.probe_command)


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
