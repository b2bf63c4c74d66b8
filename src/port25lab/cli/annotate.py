"""``--annotate``: what ``run`` and ``check`` print for the page of a CI run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from port25lab.errors import InputError

if TYPE_CHECKING:
    from port25lab.model.verdict import Verdict
    from port25lab.report.ci_annotations import Annotation


class Annotate(StrEnum):
    """The CI services whose annotations port25lab can print."""

    GITHUB = "github"


AnnotateOption = Annotated[
    Annotate | None,
    typer.Option("--annotate", help="Print also what GitHub shows at the line of the rule that decided."),
]


@contextmanager
def refusals(service: Annotate | None, *, stderr: bool) -> Iterator[None]:
    """Annotate the InputError that ends the block, at its line. ``stderr``: whether stdout is a result file's."""
    try:
        yield
    except InputError as error:
        if service is not None:
            from port25lab.report import ci_annotations  # not for --help

            show(service, ci_annotations.of_errors([error]), (), stderr=stderr)
        raise


def show(service: Annotate | None, found: Iterable[Annotation], verdicts: Iterable[Verdict], *, stderr: bool) -> None:
    """Print annotations; nothing where no service was named. ``verdicts``: of the run, whose files are looked up."""
    if service is None:
        return
    from port25lab.engine import provenance  # not for --help
    from port25lab.report import ci_annotations

    files = {file.name: file.path for file in provenance.inputs(verdict.question for verdict in verdicts)}
    top = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd())
    for one in found:
        typer.echo(ci_annotations.github(one, files, top), err=stderr)
