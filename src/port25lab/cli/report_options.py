"""The command ``port25lab report``: a page from results that were written before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from port25lab.cli.help_text import with_examples
from port25lab.errors import InputError

EPILOG = with_examples(
    ("port25lab report results.json --html report.html", "from what run, check or pytest wrote with --json"),
    ("port25lab report new.json --against old.json --html changes.html", "what changed comes first"),
)


def report_command(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="What --json wrote; -: standard input.")],
    html_file: Annotated[Path, typer.Option("--html", metavar="FILE", help="The page; -: to stdout.")],
    against: Annotated[
        Path | None, typer.Option("--against", metavar="OLD", help="Older results: what changed since comes first.")
    ] = None,
) -> None:
    """A report from results that were written before: one page that works offline."""
    from port25lab.report import files, results_file
    from port25lab.report.html.page import page

    files.require_writable(html_file)
    files.require_separate({"--html": html_file}, [file for file in (results, against) if file is not None])
    new = results_file.read(results)
    old = None if against is None else results_file.read(against)
    try:
        text = page(new, old)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        what = f"results that this version cannot show: {type(error).__name__}: {error}"
        raise InputError(what, allowed="what --json of this version writes", file=results) from None
    files.write(html_file, text.encode("utf-8", "backslashreplace"))
