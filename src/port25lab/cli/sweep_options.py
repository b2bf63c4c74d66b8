"""The options of ``port25lab sweep``. What the command does is in ``sweep``, which takes longer to import."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from port25lab.cli import help_text
from port25lab.cli.help_text import with_examples

EPILOG = with_examples(
    ("port25lab sweep spec.yaml --out data", "run all jobs, or those that are missing"),
    ("port25lab sweep spec.yaml --out data --shard $SLURM_ARRAY_TASK_ID/100", "one part of them, as in a Slurm array"),
    ("port25lab sweep tables data", "the data set of all results; then: figures, verify"),
)

RUN = "run"


class _RunByDefault(TyperGroup):
    """``sweep SPEC`` means ``sweep run SPEC``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [RUN, *args]
        return super().parse_args(ctx, args)


sweep_app = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    rich_markup_mode=help_text.MARKUP,
    context_settings={"help_option_names": ["-h", "--help"]},
    short_help="Parameters varied over many labs.",
    help="Run a lab for each combination of parameters, and make a data set of the results.",
    epilog=EPILOG,
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a sweep.", show_default=False)]


@sweep_app.command(RUN, short_help="Run the jobs of a sweep; `run` may be left out.", epilog=EPILOG)
def run_command(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="The sweep's YAML file.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Its folder; what is there already is not run again.")
    ],
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="I/N", help="Only every N-th job, from the I-th; I from 1 to N.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("-j", min=1, metavar="N", help="Labs side by side.", show_default="two a processor")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            metavar="ADDRESS",
            help="Run the jobs on a Dask cluster: tcp://HOST:PORT, or local. Needs port25lab[dask].",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a very large sweep.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try jobs again that were set aside.")] = False,
    time_limit: Annotated[
        float,
        typer.Option(
            "--time-limit", min=1, metavar="SECONDS", help="After which a job has failed; not with --scheduler."
        ),
    ] = 600.0,
) -> None:
    """Run each job of a sweep that has no result yet. It may be stopped at any time, and started again."""
    from port25lab.cli import sweep  # the engine: a third of a second that --help does without

    options = sweep.Options(
        spec, out, shard, jobs, scheduler, yes=yes, retry_failed=retry_failed, time_limit=time_limit
    )
    raise typer.Exit(sweep.run(options))


@sweep_app.command("tables", short_help="Make the data set: tables, and what describes them.")
def tables_command(
    folder: Folder,
    parquet: Annotated[bool, typer.Option("--parquet", help="Also results.parquet; needs port25lab[parquet].")] = False,
) -> None:
    """Make the data set of a sweep from its results, also of one that is not complete."""
    from port25lab.cli import sweep_data

    sweep_data.tables(folder, parquet=parquet)


class FigureFormat(StrEnum):
    """Vector formats."""

    SVG = "svg"
    PDF = "pdf"


@sweep_app.command("figures", short_help="Draw the figures that the sweep's file asks for.")
def figures_command(
    folder: Folder,
    kind: Annotated[FigureFormat, typer.Option("--format", help="Of the files.")] = FigureFormat.SVG,
) -> None:
    """Draw figures from the tables of a sweep's data set alone. Needs port25lab[figures]."""
    from port25lab.cli import sweep_data

    sweep_data.figures(folder, kind.value)


@sweep_app.command("verify", short_help="Check digests, and run a sample of jobs again.")
def verify_command(
    folder: Folder,
    sample: Annotated[int, typer.Option("--sample", min=0, metavar="N", help="Jobs that are run again.")] = 5,
) -> None:
    """Are the results what was written, and does a second run find the same? Exit code 1 if not."""
    from port25lab.cli import sweep_data

    raise typer.Exit(sweep_data.verify(folder, sample))
