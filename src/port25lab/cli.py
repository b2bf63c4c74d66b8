"""The command line: arguments in, a run, renderings out. Exit codes: 0 as expected, 1 not, 2 bad input, 3 machine."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from port25lab import catalogue, doctor, listing, run, scenario, selection, shell
from port25lab.clients import CLIENTS
from port25lab.errors import Port25labError
from port25lab.report import console as terminal
from port25lab.report.files import require_writable
from port25lab.report.jsonfile import write_json
from port25lab.report.junit import write_junit
from port25lab.report.progress import Progress
from port25lab.verdict import Report

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="An ISP in a box: which mail-submission paths a port-25 policy lets through, and which rule decided.",
    epilog="Exit codes: 0 every expectation met; 1 some not; 2 bad usage or input; 3 this machine lacks something.",
)


def _complete_scenarios(incomplete: str) -> list[str]:
    return [name for name in catalogue.names("scenarios") if name.startswith(incomplete)]


@app.command(
    "run",
    epilog="Examples:  [bold]port25lab run[/bold]  ·  [bold]port25lab run hotel my.yaml --json out.json[/bold]  ·  "
    "[bold]port25lab run --ref S3[/bold]  ·  [bold]port25lab run residential -k 'home-server and ipv6'[/bold]",
)
def run_command(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(
            help="Scenario names or files; all of the catalogue when none is named.", autocompletion=_complete_scenarios
        ),
    ] = None,
    expression: Annotated[
        str | None, typer.Option("-k", metavar="EXPR", help="Only paths that match, as in pytest: words, and, or, not.")
    ] = None,
    refs: Annotated[
        list[str] | None,
        typer.Option("--ref", metavar="REF", help="Only paths with this reference, such as S3. Repeatable."),
    ] = None,
    jobs: Annotated[int, typer.Option("-j", min=1, metavar="N", help="Labs side by side.")] = run.JOBS,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all verdicts as JSON.")
    ] = None,
    junit_file: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML for CI.")] = None,
    pause: Annotated[
        bool, typer.Option("--pause", help="Keep each lab up after its attempts, and open a shell in a node of it.")
    ] = False,
    shell_on_failure: Annotated[
        bool, typer.Option("--shell-on-failure", help="The same, for labs in which an expectation was not met.")
    ] = False,
) -> None:
    """Run scenarios in real labs: for each path what happened, which rule decided, and whether that was expected."""
    for file in (json_file, junit_file):
        if file:
            require_writable(file)
    doctor.require()
    questions = _questions(scenarios or catalogue.names("scenarios"), expression, refs or [])
    _require_programs(questions)
    hold = shell.holder(only_failed=not pause) if pause or shell_on_failure else None
    planned = run.plan_jobs(questions)
    with Progress(labs=len(planned), paths=sum(len(job.paths) for job in planned)) as progress:
        report = run.run(questions, progress=progress, jobs=jobs, hold=hold)
    _render(report, json_file, junit_file, seed_table=not (scenarios or expression or refs))
    raise typer.Exit(0 if all(verdict.ok for verdict in report.verdicts) else 1)


@app.command("list")
def list_command() -> None:
    """Topologies, policies and scenarios of the catalogue, with one line each."""
    terminal.print_catalogue(terminal.open_console(), listing.describe_all())


@app.command("doctor")
def doctor_command() -> None:
    """Can this machine run labs? What it lacks, and the command or setting that helps. Exit code 3 if it cannot."""
    findings = doctor.examine()
    terminal.print_findings(terminal.open_console(), findings)
    raise typer.Exit(3 if any(finding.required and finding.problem for finding in findings) else 0)


@app.command("schema")
def schema_command() -> None:
    """JSON Schema of scenario files, for editors and validators."""
    typer.echo(json.dumps(scenario.schema(), indent=2))


def _questions(names: Sequence[str], expression: str | None, refs: Sequence[str]) -> list[scenario.Question]:
    questions = [question for name in names for question in scenario.load_questions(name)]
    return selection.select(questions, expression, refs)


def _require_programs(questions: Sequence[scenario.Question]) -> None:
    """A path whose mail program is not on this machine cannot be tried: say so before anything starts."""
    for client in dict.fromkeys(question.path.client for question in questions):
        doctor.require_program(CLIENTS[client].program, f"client {client}")


def _render(report: Report, json_file: Path | None, junit_file: Path | None, *, seed_table: bool) -> None:
    console = terminal.open_console()
    environment = report.environment
    terminal.print_report(console, report.verdicts, environment["seconds"], environment["labs"], seed_table=seed_table)
    if json_file:
        write_json(report, json_file)
    if junit_file:
        write_junit(report.verdicts, junit_file)


def main() -> NoReturn:
    """Entry point of the ``port25lab`` command."""
    signal.signal(signal.SIGTERM, _terminated)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        app(standalone_mode=True)
    except Port25labError as error:
        errors.print(f"port25lab: {error}", markup=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        errors.print("port25lab: interrupted; nothing is left behind")
        sys.exit(130)
    sys.exit(0)


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
