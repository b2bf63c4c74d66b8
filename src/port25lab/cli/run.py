"""``port25lab run``: options checked, questions answered, results written and printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from port25lab.cli import shell
from port25lab.engine import engine
from port25lab.engine import jobs as jobs_module
from port25lab.errors import OutputError
from port25lab.evidence.capture_folder import CaptureFolder
from port25lab.lab.handle import Lab
from port25lab.machine import doctor
from port25lab.model import question as question_module
from port25lab.model.client_kinds import CLIENT_KINDS
from port25lab.model.verdict import Report, Verdict
from port25lab.report import console as console_module
from port25lab.report.files import is_replaced, is_stdout, require_separate, require_writable
from port25lab.report.json_file import write_json
from port25lab.report.junit import write_junit
from port25lab.report.progress import Progress
from port25lab.report.streams import print_problems
from port25lab.scenario import catalogue, selection
from port25lab.scenario import questions as questions_module


def _complete_scenarios(incomplete: str) -> list[str]:
    return [name for name in catalogue.all_names("scenarios") if name.startswith(incomplete)]


def with_examples(*examples: tuple[str, str]) -> str:
    """One paragraph each: typer folds what stands in one."""
    return "\n\n".join(["Examples:", *(f"[bold]{command}[/bold]  [dim]{what}[/dim]" for command, what in examples)])


EPILOG = with_examples(
    ("port25lab run", "the whole catalogue"),
    ("port25lab run hotel my.yaml --junit results.xml", "and a file of your own"),
    ("port25lab run --ref S3 --ref S10", "paths by reference"),
    ("port25lab run residential -k 'home-server and ipv6'", "only these paths"),
    ("port25lab run my.yaml --shell-on-failure", "look around in what failed"),
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
    jobs: Annotated[int, typer.Option("-j", min=1, metavar="N", help="Labs side by side.")] = engine.JOBS,
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
    engine.require_ipv6(questions)
    _require_programs(questions)
    if outputs:
        require_separate(outputs, engine.input_files(questions))
    pcap = CaptureFolder(pcap_folder) if pcap_folder else None
    hold = shell.shell_prompt(only_failed=not pause) if pause or shell_on_failure else None
    planned = jobs_module.plan_jobs(questions)
    with Progress(labs=len(planned), paths=sum(len(job.paths) for job in planned)) as progress:
        hold = _alone_on_the_terminal(hold, progress)
        report = engine.run(questions, progress=progress, jobs=jobs, on_lab_up=hold, pcap=pcap)
    problems = _write_results(report, json_file, junit_file)
    try:
        console = console_module.open_console(stderr=any(map(is_stdout, results.values())))
        _print(console, report, pcap, seed_table=not (scenarios or expression or refs))
    except OutputError as error:
        problems.append(error)
    raise typer.Exit(print_problems(problems, 0 if all(verdict.ok for verdict in report.verdicts) else 1))


def _alone_on_the_terminal(hold: engine.OnLabUp | None, progress: Progress) -> engine.OnLabUp | None:
    """No live line while a person has the terminal."""
    if hold is None:
        return None

    def quietly(lab: Lab, verdicts: Sequence[Verdict]) -> None:
        with progress.set_aside():
            hold(lab, verdicts)

    return quietly


def _questions(names: Sequence[str], expression: str | None, refs: Sequence[str]) -> list[question_module.Question]:
    questions = [question for name in names for question in questions_module.load_questions(name)]
    return selection.select(questions, expression, refs)


def _require_programs(questions: Sequence[question_module.Question]) -> None:
    """A path whose mail program is not on this machine cannot be tried: say so before anything starts."""
    for client in dict.fromkeys(question.path.client for question in questions):
        doctor.require_program(CLIENT_KINDS[client].program, f"client {client}")


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
    console_module.print_report(
        console, report.verdicts, environment["seconds"], environment["labs"], seed_table=seed_table
    )
    for file in pcap.files if pcap else ():
        if file.problem:
            console_module.emit(console, Text(f"{file.path}: {file.problem}"))
