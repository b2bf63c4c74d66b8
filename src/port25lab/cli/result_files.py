"""The result files of ``run`` and ``check``: the option of each format, and what writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from port25lab.engine import provenance
from port25lab.errors import OutputError
from port25lab.model.verdict import Report
from port25lab.report.csv_file import write_csv
from port25lab.report.files import is_replaced, is_stdout, require_separate, require_writable
from port25lab.report.json_file import write_json
from port25lab.report.junit import write_junit

Results = Mapping[str, Path]
"""The file that the user named for a format, by the format's option."""

Writer = Callable[[Report, Path, Mapping[str, Any]], None]
"""Writes a report; the mapping is what the command has beside verdicts."""


def _write_html(report: Report, file: Path, more: Mapping[str, Any]) -> None:
    from port25lab.report.html.page import write_html  # its templates take a tenth of the time in which `run` starts

    write_html(report, file, more)


WRITERS: dict[str, Writer] = {
    "--json": lambda report, file, more: write_json(report, file, more),
    "--junit": lambda report, file, _: write_junit(report, file),
    "--html": _write_html,
    "--csv": lambda report, file, _: write_csv(report, file),
}


def chosen(**files: Path | None) -> Results:
    """The files that were named: ``chosen(json=…, csv=None)``."""
    return {f"--{name}": file for name, file in files.items() if file is not None}


def require(results: Results) -> None:
    """Raise InputError where a file cannot be written, or one is named for two formats."""
    for file in results.values():
        require_writable(file)
    require_separate(dict(results))


def on_stdout(results: Results) -> bool:
    """Whether one of the files is standard output, so that tables go to standard error."""
    return any(map(is_stdout, results.values()))


def write(report: Report, results: Results, more: Mapping[str, Any] | None = None) -> list[OutputError]:
    """Write each file, and return what could not be written. Files come before pipes, whose reader may be slow."""
    problems = []
    report = provenance.traced(report) if results else report
    for option, file in sorted(results.items(), key=lambda one: is_replaced(one[1]), reverse=True):
        try:
            WRITERS[option](report, file, more or {})
        except OutputError as error:
            problems.append(error)
    return problems
