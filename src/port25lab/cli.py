"""The command line: arguments in, a run, renderings out. Exit codes: see ``errors``; 1 where some are not met."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from port25lab import catalogue, doctor, listing, run, scenario, scenariofile, selection, shell
from port25lab.clients import CLIENTS
from port25lab.errors import Interrupted, OutputError, Port25labError
from port25lab.lab import Lab
from port25lab.pcapfiles import CaptureFolder
from port25lab.probe import command as probe
from port25lab.report import console as terminal
from port25lab.report import streams
from port25lab.report.files import is_replaced, is_stdout, require_separate, require_writable
from port25lab.report.jsonfile import write_json
from port25lab.report.junit import write_junit
from port25lab.report.progress import Progress
from port25lab.report.streams import told
from port25lab.verdict import Report, Verdict

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


def _complete_scenarios(incomplete: str) -> list[str]:
    return [name for name in catalogue.all_names("scenarios") if name.startswith(incomplete)]


def _examples(*examples: tuple[str, str]) -> str:
    """One paragraph each: typer folds what stands in one."""
    return "\n\n".join(["Examples:", *(f"[bold]{command}[/bold]  [dim]{what}[/dim]" for command, what in examples)])


@app.command(
    "run",
    epilog=_examples(
        ("port25lab run", "the whole catalogue"),
        ("port25lab run hotel my.yaml --junit results.xml", "and a file of your own"),
        ("port25lab run --ref S3 --ref S10", "paths by reference"),
        ("port25lab run residential -k 'home-server and ipv6'", "only these paths"),
        ("port25lab run my.yaml --shell-on-failure", "look around in what failed"),
    ),
)
def run_command(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SCENARIO",
            help="Names of the catalogue or YAML files; without any, the whole catalogue.",
            autocompletion=_complete_scenarios,
        ),
    ] = None,
    expression: Annotated[
        str | None,
        typer.Option(
            "-k", metavar="EXPR", help="Only paths that match, as in pytest: words of id, name or policy; and, or, not."
        ),
    ] = None,
    refs: Annotated[
        list[str] | None,
        typer.Option("--ref", metavar="REF", help="Only paths with this reference, such as S3. Repeatable."),
    ] = None,
    jobs: Annotated[int, typer.Option("-j", min=1, metavar="N", help="Labs side by side.")] = run.JOBS,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write all verdicts as JSON; -: to stdout, the tables to stderr."),
    ] = None,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML for CI; -: to stdout, likewise.")
    ] = None,
    pcap_folder: Annotated[
        Path | None, typer.Option("--pcap", metavar="DIR", help="Write all packets, one pcapng file for each lab.")
    ] = None,
    pause: Annotated[
        bool,
        typer.Option(
            "--pause", metavar="", help="Keep each lab up after its attempts, and open a shell in a node of it."
        ),
    ] = False,
    shell_on_failure: Annotated[
        bool,
        typer.Option("--shell-on-failure", metavar="", help="The same, for labs in which an expectation was not met."),
    ] = False,
) -> None:
    """Run scenarios in real labs: for each path what happened, which rule decided, and whether that was expected."""
    results = {option: file for option, file in (("--json", json_file), ("--junit", junit_file)) if file}
    outputs = results | ({"--pcap": pcap_folder} if pcap_folder else {})
    for file in results.values():
        require_writable(file)
    require_separate(outputs)
    doctor.require()
    questions = _questions(scenarios or catalogue.names("scenarios"), expression, refs or [])
    run.require_ipv6(questions)
    _require_programs(questions)
    if outputs:
        require_separate(outputs, run.input_files(questions))
    pcap = CaptureFolder(pcap_folder) if pcap_folder else None
    hold = shell.holder(only_failed=not pause) if pause or shell_on_failure else None
    planned = run.plan_jobs(questions)
    with Progress(labs=len(planned), paths=sum(len(job.paths) for job in planned)) as progress:
        hold = _alone_on_the_terminal(hold, progress)
        report = run.run(questions, progress=progress, jobs=jobs, hold=hold, pcap=pcap)
    problems = _write_results(report, json_file, junit_file)
    try:
        console = terminal.open_console(stderr=any(map(is_stdout, results.values())))
        _print(console, report, pcap, seed_table=not (scenarios or expression or refs))
    except OutputError as error:
        problems.append(error)
    raise typer.Exit(told(problems, 0 if all(verdict.ok for verdict in report.verdicts) else 1))


@app.command("list", epilog=_examples(("port25lab list | grep op25b", "policies and scenarios about OP25B")))
def list_command() -> None:
    """Topologies, policies and scenarios of the catalogue, with one line each."""
    terminal.print_catalogue(terminal.open_console(), listing.describe_all())


@app.command("doctor")
def doctor_command() -> None:
    """Can this machine run labs? What it lacks, and the command or setting that helps. Exit code 3 if it cannot."""
    findings = doctor.examine()
    terminal.print_findings(terminal.open_console(), findings)
    raise typer.Exit(3 if any(finding.required and finding.problem for finding in findings) else 0)


@app.command(
    "schema", epilog=_examples(("port25lab schema > scenario.schema.json", "docs/scenarios.md says where it goes"))
)
def schema_command() -> None:
    """JSON Schema of scenario files, for editors and validators."""
    typer.echo(json.dumps(scenariofile.schema(), indent=2))


app.command("probe", epilog=probe.EPILOG)(probe.probe_command)


def _alone_on_the_terminal(hold: run.Hold | None, progress: Progress) -> run.Hold | None:
    """No live line while a person has the terminal."""
    if hold is None:
        return None

    def quietly(lab: Lab, verdicts: Sequence[Verdict]) -> None:
        with progress.set_aside():
            hold(lab, verdicts)

    return quietly


def _questions(names: Sequence[str], expression: str | None, refs: Sequence[str]) -> list[scenario.Question]:
    questions = [question for name in names for question in scenario.load_questions(name)]
    return selection.select(questions, expression, refs)


def _require_programs(questions: Sequence[scenario.Question]) -> None:
    """A path whose mail program is not on this machine cannot be tried: say so before anything starts."""
    for client in dict.fromkeys(question.path.client for question in questions):
        doctor.require_program(CLIENTS[client].program, f"client {client}")


def _write_results(report: Report, json_file: Path | None, junit_file: Path | None) -> list[OutputError]:
    """Write each file for itself, those first that no reader can hold up; what could not be written."""
    writers: dict[Path, Callable[[Path], None]] = {}
    if json_file:
        writers[json_file] = partial(write_json, report)
    if junit_file:
        writers[junit_file] = partial(write_junit, report.verdicts)
    problems = []
    for file in sorted(writers, key=is_replaced, reverse=True):
        try:
            writers[file](file)
        except OutputError as error:
            problems.append(error)
    return problems


def _print(console: Console, report: Report, pcap: CaptureFolder | None, *, seed_table: bool) -> None:
    environment = report.environment
    terminal.print_report(console, report.verdicts, environment["seconds"], environment["labs"], seed_table=seed_table)
    for file in pcap.files if pcap else ():
        if file.problem:
            terminal.emit(console, Text(f"{file.path}: {file.problem}"))


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
