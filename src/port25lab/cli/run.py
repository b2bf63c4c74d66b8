"""What ``port25lab run`` does: check the options, answer the questions, write and print the results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from port25lab.cli import annotate, result_files, shell
from port25lab.engine import engine, needs
from port25lab.engine import jobs as jobs_module
from port25lab.errors import NOT_TOLD, OutputError
from port25lab.evidence.capture_folder import CaptureFolder
from port25lab.lab.handle import Lab
from port25lab.machine import doctor
from port25lab.model.client_kinds import CLIENT_KINDS
from port25lab.model.question import Question
from port25lab.model.verdict import Report, Verdict
from port25lab.report import ci_annotations, contract_table, describe
from port25lab.report import console as console_module
from port25lab.report.files import is_stdout, require_separate
from port25lab.report.progress import Progress
from port25lab.report.streams import print_problems
from port25lab.report.text import visible
from port25lab.scenario import catalogue, own_policies, policy_warnings, selection
from port25lab.scenario import questions as questions_module


@dataclass(frozen=True)
class RunOptions:
    """What the user asked for."""

    scenarios: Sequence[str]
    """Names of the catalogue or YAML files; none: the whole catalogue."""
    expression: str | None
    """What follows ``-k``."""
    refs: Sequence[str]
    policies: Sequence[str]
    """NODE=POLICY, in place of the scenarios' variants."""
    jobs: int | None
    """Labs side by side; None: as many as the engine likes."""
    results: result_files.Results
    pcap_folder: Path | None
    detail: console_module.Detail
    pause: bool
    shell_on_failure: bool
    annotate: annotate.Annotate | None = None


def run(options: RunOptions) -> int:
    """Check the options, run the scenarios, and write and print the results. Returns the exit code.

    Raises InputError and MachineError before any lab starts.
    """
    with annotate.refusals(options.annotate, stderr=result_files.on_stdout(options.results)):
        return _run(options)


def _run(options: RunOptions) -> int:
    result_files.require(options.results)
    outputs = dict(options.results) | ({"--pcap": options.pcap_folder} if options.pcap_folder else {})
    require_separate(outputs)
    doctor.require()
    questions = _questions(options)
    needs.require_ipv6(questions)
    _require_programs(questions)
    if outputs:
        require_separate(outputs, needs.input_files(questions))
    for warning in policy_warnings.warnings(questions):
        typer.echo(f"port25lab: warning: {visible(str(warning))}", err=True)
    pcap = CaptureFolder(options.pcap_folder) if options.pcap_folder else None
    hold = shell.shell_prompt(only_failed=not options.pause) if options.pause or options.shell_on_failure else None
    planned = jobs_module.plan_jobs(questions)
    with Progress(labs=len(planned), paths=sum(len(job.paths) for job in planned)) as progress:
        hold = _alone_on_the_terminal(hold, progress)
        report = engine.run(questions, progress=progress, jobs=options.jobs, on_lab_up=hold, pcap=pcap)
    problems = result_files.write(report, options.results)
    try:
        console = console_module.open_console(stderr=result_files.on_stdout(options.results))
        _print(
            console,
            report,
            pcap,
            seed_table=not (options.scenarios or options.expression or options.refs),
            own=bool(options.policies),
            detail=options.detail,
            page=options.results.get("--html"),
        )
        found = ci_annotations.of_verdicts(report.verdicts)
        annotate.show(options.annotate, found, report.verdicts, stderr=result_files.on_stdout(options.results))
    except OutputError as error:
        problems.append(error)
    return print_problems(problems, exit_code(report.verdicts))


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """The exit code of a run: 1 where an expectation is not met, else 4 where port25lab could not tell, else 0."""
    failed = [verdict for verdict in verdicts if not verdict.ok]
    if any(verdict.told for verdict in failed):
        return 1
    return NOT_TOLD if failed else 0


def _alone_on_the_terminal(hold: engine.OnLabUp | None, progress: Progress) -> engine.OnLabUp | None:
    """The same function, without the live line of progress while the user has the terminal."""
    if hold is None:
        return None

    def quietly(lab: Lab, verdicts: Sequence[Verdict]) -> None:
        with progress.set_aside():
            hold(lab, verdicts)

    return quietly


def _questions(options: RunOptions) -> list[Question]:
    names = options.scenarios or catalogue.names("scenarios")
    questions = [question for name in names for question in questions_module.load_questions(name)]
    if options.policies:
        questions = own_policies.under_own_policies(questions, own_policies.read_own(options.policies))
    return selection.select(questions, options.expression, options.refs)


def _require_programs(questions: Sequence[Question]) -> None:
    """Raise MachineError before anything starts where a path's client program is not installed."""
    for client in dict.fromkeys(question.path.client for question in questions):
        doctor.require_program(CLIENT_KINDS[client].program, f"client {client}")


def _print_own(console: Console, report: Report) -> None:
    """One short table for each scenario: a policy that blocks in its own way has nothing to explain."""
    for scenario in dict.fromkeys(verdict.question.scenario for verdict in report.verdicts):
        mine = [verdict for verdict in report.verdicts if verdict.question.scenario == scenario]
        policies = describe.policies_words(mine[0].question.config.policy_names)
        contract_table.print_contract(console, f"{scenario} under {policies}", contract_table.rows_of(mine))
    console_module.print_summary(console, report.verdicts, report.environment["seconds"], report.environment["labs"])


def _print(
    console: Console,
    report: Report,
    pcap: CaptureFolder | None,
    *,
    seed_table: bool,
    own: bool,
    detail: console_module.Detail,
    page: Path | None,
) -> None:
    environment = report.environment
    if own:
        _print_own(console, report)
    else:
        console_module.print_report(
            console, report.verdicts, environment["seconds"], environment["labs"], seed_table=seed_table, detail=detail
        )
    if page is not None and not is_stdout(page):
        console_module.emit(console, Text(f"report: {page.absolute()}"))
    for file in pcap.files if pcap else ():
        if file.problem:
            console_module.emit(console, Text(f"{file.path}: {file.problem}"))
