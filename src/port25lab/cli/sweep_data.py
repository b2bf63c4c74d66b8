"""What ``port25lab sweep tables``, ``figures`` and ``verify`` do."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from port25lab.errors import InputError
from port25lab.machine import doctor
from port25lab.report.text import visible
from port25lab.sweep import dataset
from port25lab.sweep import figures as figures_module
from port25lab.sweep.figure_spec import Figure
from port25lab.sweep.store import Store
from port25lab.sweep.verify import verify as verify_results


def tables(folder: Path, *, parquet: bool = False) -> None:
    """Write the data set of a sweep. Raises InputError and OutputError."""
    made = dataset.write_dataset(Store(folder), parquet=parquet)
    found = made.contents
    aside = f", {found.set_aside:,} set aside" if found.set_aside else ""
    typer.echo(f"{made.folder}: {found.attempts:,} attempts of {found.done:,} of {found.jobs:,} jobs{aside}")
    typer.echo(f"digest of the results: {found.digest}")


def figures(folder: Path, kind: figures_module.Format) -> None:
    """Draw the figures of a data set. Raises InputError and OutputError."""
    place = folder if (folder / dataset.PACKAGE).exists() else folder / dataset.DATASET
    file = place / dataset.PACKAGE
    try:
        asked = json.loads(file.read_bytes())["port25lab"]["figures"]
    except FileNotFoundError:
        raise InputError("no data set", allowed="port25lab sweep tables DIR, first", file=file) from None
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot be read: {error}", allowed="the data set of a sweep", file=file) from None
    if not asked:
        raise InputError("the sweep's file asks for no figures", allowed="figures: [{name: …, x: …, y: …}]", file=file)
    drawings = figures_module.read(place, [Figure.model_validate(one) for one in asked])
    for drawn in figures_module.draw(place, drawings, kind):
        typer.echo(str(drawn))


def verify(folder: Path, sample: int) -> int:
    """Check a sweep's results, and run a sample of jobs again. Returns the exit code."""
    if sample:
        doctor.require()
    found = verify_results(Store(folder), sample, lambda job: typer.echo(f"job {job} again", err=True))
    typer.echo(
        f"{found.results:,} results are what was written; {found.repeated} of {sample} jobs found the same again"
    )
    for problem in found.problems:
        typer.echo(f"port25lab: {visible(problem)}", err=True)
    return 1 if found.problems else 0
