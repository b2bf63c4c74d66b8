"""The options of ``port25lab sweep``. What the command does is in ``sweep``, which takes longer to import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from port25lab.cli import help_text
from port25lab.cli.help_text import with_examples

EPILOG = with_examples(
    ("port25lab sweep spec.yaml --out data", "run all jobs, or those that are missing"),
    ("port25lab sweep spec.yaml --out data --shard $SLURM_ARRAY_TASK_ID/100", "one part of them, as in a Slurm array"),
    ("port25lab sweep tables data", "one table of all results"),
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
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a very large sweep.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try jobs again that were set aside.")] = False,
    time_limit: Annotated[
        float, typer.Option("--time-limit", min=1, metavar="SECONDS", help="After which a job has failed.")
    ] = 600.0,
) -> None:
    """Run each job of a sweep that has no result yet. It may be stopped at any time, and started again."""
    from port25lab.cli import sweep  # the engine: a third of a second that --help does without

    options = sweep.Options(spec, out, shard, jobs, yes=yes, retry_failed=retry_failed, time_limit=time_limit)
    raise typer.Exit(sweep.run(options))
