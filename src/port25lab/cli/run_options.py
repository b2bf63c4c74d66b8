"""The options of ``port25lab run``. What the command does is in ``run``, which takes longer to import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from port25lab.cli.annotate import AnnotateOption
from port25lab.cli.help_text import with_examples
from port25lab.scenario import catalogue


def _complete_scenarios(incomplete: str) -> list[str]:
    return [name for name in catalogue.all_names("scenarios") if name.startswith(incomplete)]


EPILOG = with_examples(
    ("port25lab run", "the whole catalogue"),
    ("port25lab run hotel my.yaml --junit results.xml", "and a file of your own"),
    ("port25lab run --ref S3 --ref S10", "paths by reference"),
    ("port25lab run residential -k 'home-server and ipv6'", "only these paths"),
    ("port25lab run conformance/op25b --policy isp-edge=./mine", "a policy of your own, held against the suite"),
    ("port25lab run my.yaml --annotate github", "in a workflow of GitHub"),
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
    jobs: Annotated[
        int | None,
        typer.Option("-j", min=1, metavar="N", help="Labs side by side.", show_default="four for each processor"),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write all verdicts as JSON; -: to stdout, the tables to stderr."),
    ] = None,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML for CI; -: to stdout, likewise.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a report as one page; -: likewise.")
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write a table, a row for each attempt; -: likewise.")
    ] = None,
    policies: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            metavar="NODE=POLICY",
            help="Try the scenario's paths under this policy in place of its variants; what a correct policy does "
            "(`should`) is expected. Repeatable.",
        ),
    ] = None,
    annotate: AnnotateOption = None,
    pcap_folder: Annotated[
        Path | None, typer.Option("--pcap", metavar="DIR", help="Write all packets, one pcapng file for each lab.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("-v", help="All tables of the catalogue; of named scenarios, all facts of each path.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", help="Failures and the summary alone.")] = False,
    pause: Annotated[
        bool,
        typer.Option("--pause", help="Keep each lab up after its attempts, and open a shell in a node of it."),
    ] = False,
    shell_on_failure: Annotated[
        bool,
        typer.Option("--shell-on-failure", help="The same, only for labs in which an expectation was not met."),
    ] = False,
) -> None:
    """Run scenarios in real labs: for each path what happened, which rule decided, and whether that was expected."""
    from port25lab.cli import (  # the engine, SMTP and DNS libraries: a third of a second that --help does without
        result_files,
        run,
    )
    from port25lab.report.console import Detail

    options = run.RunOptions(
        scenarios=scenarios or [],
        expression=expression,
        refs=refs or [],
        policies=policies or [],
        jobs=jobs,
        results=result_files.chosen(json=json_file, junit=junit_file, csv=csv_file, html=html_file),
        pcap_folder=pcap_folder,
        detail=Detail.LITTLE if quiet else Detail.ALL if verbose else Detail.USUAL,
        pause=pause,
        shell_on_failure=shell_on_failure,
        annotate=annotate,
    )
    raise typer.Exit(run.run(options))
