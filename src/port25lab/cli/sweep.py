"""What ``port25lab sweep`` does: check everything, run the jobs, and say what became of them."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from port25lab.cli import sweep_data
from port25lab.engine import needs, provenance
from port25lab.errors import NOT_TOLD, InputError
from port25lab.machine import doctor, processors
from port25lab.model.client_kinds import CLIENT_KINDS
from port25lab.model.question import Question
from port25lab.model.verdict import InputFile
from port25lab.report.sweep_progress import SweepProgress
from port25lab.report.text import visible
from port25lab.sweep import shape, store
from port25lab.sweep.cluster import run_on_cluster
from port25lab.sweep.jobs import Jobs
from port25lab.sweep.run import Part, run_local
from port25lab.sweep.spec import Spec

MANY_JOBS = 100_000
"""More are run only after a question, or with --yes."""

LABS_EACH = 2
"""Workers for each processor: a lab waits for about half of its time."""


@dataclass(frozen=True)
class Options:
    """What the user asked for."""

    spec: Path
    out: Path
    shard: str | None
    jobs: int | None
    scheduler: str | None
    yes: bool
    retry_failed: bool
    time_limit: float


def run(options: Options) -> int:
    """Run a sweep, or go on with it. Returns the exit code.

    Raises InputError and MachineError before any lab starts, OutputError where results cannot be written.
    """
    part = _part(options.shard)
    folder, spec = store.open_store(options.out, options.spec, parts=options.shard is not None)
    jobs = Jobs(spec)
    _require_consent(jobs.count, yes=options.yes)
    doctor.require()
    inputs = _checked(spec, jobs)
    with store.locked(folder, str(part)):
        store.begin(folder, spec, jobs, inputs)
        if spec.seed_made:
            typer.echo(
                f"port25lab: seed {spec.seed}, made for this sweep; it is in {folder.folder / store.ABOUT}", err=True
            )
        with SweepProgress(part.size(jobs.count)) as progress:
            workers = options.jobs or max(1, round(LABS_EACH * processors.available()))
            again = options.retry_failed
            if options.scheduler is not None:
                run_on_cluster(folder, jobs, part, progress, options.scheduler, workers=workers, retry_failed=again)
            else:
                limit = options.time_limit
                run_local(folder, jobs, part, progress, workers=workers, retry_failed=again, most_seconds=limit)
    typer.echo(progress.summary())
    if part.of == 1:
        sweep_data.tables(folder.folder)
    failures = folder.failures()
    if failures:
        typer.echo(f"port25lab: {len(failures)} jobs are set aside: the reasons are in {failures[0].parent}", err=True)
    return NOT_TOLD if failures else 0


def _part(shard: str | None) -> Part:
    if shard is None:
        return Part()
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", shard)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--shard {visible(shard)}", allowed="I/N with I from 1 to N, such as 1/100")
    return Part(int(found[1]), int(found[2]))


def _require_consent(jobs: int, *, yes: bool) -> None:
    if jobs <= MANY_JOBS or yes:
        return
    if not (sys.stdin and sys.stdin.isatty()):
        raise InputError(f"{jobs:,} jobs", allowed=f"at most {MANY_JOBS:,} without --yes")
    if not typer.confirm(f"{jobs:,} jobs. Run them?", err=True):
        raise InputError("not confirmed", allowed="fewer jobs, or --yes")


def _checked(spec: Spec, jobs: Jobs) -> list[InputFile]:
    """Check jobs that together have every listed value. Returns the files that they read.

    Raises InputError and MachineError.
    """
    asked: list[Question] = [question for job in jobs.probes() for question in shape.questions(spec, job)]
    needs.require_ipv6(asked)
    for config in dict.fromkeys(question.config for question in asked):
        needs.require_features(config)
    for client in dict.fromkeys(question.path.client for question in asked):
        doctor.require_program(CLIENT_KINDS[client].program, f"client {client}")
    own = spec.file.resolve()
    return [one for one in provenance.inputs(asked) if Path(one.path).resolve() != own]
