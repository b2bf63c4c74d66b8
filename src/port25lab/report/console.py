"""Verdicts, checks and the catalogue on a console: with colours on a terminal, plain in a pipe.

In: verdicts. Out: text on a rich console. A terminal gets colours and folded cells. A pipe gets ASCII, one line for
each row, and no trailing blanks, so that ``grep`` and ``diff`` work on it.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Column
from rich.text import Text

from port25lab.model.outcome import OUTCOME_INFO, Outcome
from port25lab.model.verdict import Verdict
from port25lab.report import article_rows, describe, explain, matrix_rows
from port25lab.report.console_tables import (
    article_table,
    catalogue_table,
    checks_table,
    count,
    glyphs_for,
    grid_table,
    indented,
    lab_table,
    mark,
    matrix_table,
)
from port25lab.report.rows import by_lab, turns

if TYPE_CHECKING:
    from port25lab.machine.feature import Check
    from port25lab.scenario.catalogue import Kind


UNLIMITED = 10_000
"""Width of a pipe, so that nothing is folded."""


def open_console(file: TextIO | None = None, *, width: int | None = None, stderr: bool = False) -> Console:
    """A console for our renderings.

    ``file``: where to write; None: standard output, or with ``stderr`` standard error. ``width``: columns; None: the
    variable COLUMNS, or else the terminal's width, or else unlimited. Raises nothing.
    """
    console = Console(file=file, stderr=stderr, width=width, highlight=False, markup=False, emoji=False)
    if width is None and not console.is_terminal:
        console.width = int(os.environ["COLUMNS"]) if os.environ.get("COLUMNS", "").isdigit() else UNLIMITED
    return console


class Detail(Enum):
    """How much of a run is printed."""

    LITTLE = "-q"
    """Failures and the summary."""
    USUAL = ""
    ALL = "-v"
    """The table of each lab; of scenarios that were named, all facts of each path as well."""


def print_report(
    console: Console,
    verdicts: Sequence[Verdict],
    seconds: float,
    labs: int | None = None,
    *,
    seed_table: bool = False,
    detail: Detail = Detail.USUAL,
) -> None:
    """Print a whole run: a table for each lab, the article's rows, the failures, and the summary last.

    ``console``: where to print. ``seconds``: how long the run took. ``labs``: how many labs it started; None: counted
    by scenario and variant. ``seed_table``: whether it is the whole catalogue: the article's rows then stand for the
    tables of its labs. Raises OutputError where standard output cannot be written.
    """
    if detail is Detail.ALL or (detail is Detail.USUAL and not seed_table):
        print_tables(console, verdicts)
    if detail is not Detail.LITTLE:
        if seed_table:
            print_seed_table(console, verdicts)
        print_matrices(console, verdicts)
    if detail is Detail.ALL and not seed_table:
        for verdict in (one for one in verdicts if one.ok):
            emit(console, Text(explain.explain(verdict) + "\n"))
    print_failures(console, verdicts)
    print_summary(console, verdicts, seconds, labs)
    if seed_table and detail is Detail.USUAL:
        emit(console, Text("the table of each lab: -v", "dim"))


def print_tables(console: Console, verdicts: Iterable[Verdict]) -> None:
    """For each lab (scenario and variant) its paths, their outcomes, and the rules that decided."""
    for group in by_lab(verdicts):
        emit(console, lab_table(console, group))


def print_failures(console: Console, verdicts: Iterable[Verdict]) -> None:
    """All that is known of each verdict that is not ok."""
    for group in _by_failure(verdict for verdict in verdicts if not verdict.ok):
        emit(console, _failure(console, group))


def print_summary(console: Console, verdicts: Sequence[Verdict], seconds: float, labs: int | None = None) -> None:
    """How many paths are as expected, and how many there are of each outcome. ``labs``: how many labs the run started.

    Before that, a line for each repeated path says which attempt was the first to fail.
    """
    for turn in turns(verdicts, glyphs_for(console)):
        emit(console, Text(turn))
    emit(console, _summary(verdicts, seconds, labs))


def print_seed_table(console: Console, verdicts: Iterable[Verdict]) -> None:
    """The article's rows, without a policy and with one; nothing where no path has a `ref`."""
    if found := article_rows.lines(verdicts):
        emit(console, article_table(console, found))


def print_matrices(console: Console, verdicts: Iterable[Verdict]) -> None:
    """For each scenario that asks for it, its paths by its variants."""
    for group in matrix_rows.matrices(verdicts):
        emit(console, matrix_table(console, group))


def print_checks(console: Console, checks: Sequence[Check]) -> None:
    """The checks of ``doctor``, and how to install what is missing."""
    emit(console, checks_table(console, checks))


def print_catalogue(console: Console, catalogue: Mapping[Kind, Sequence[tuple[str, str]]]) -> None:
    """The catalogue: for each kind a heading, and under it the names with one line each."""
    emit(console, catalogue_table(catalogue))


def _failure(console: Console, verdicts: Sequence[Verdict]) -> RenderableType:
    glyphs, first = glyphs_for(console), verdicts[0]
    heading = Text.assemble(mark(console, False, False), " ", (explain.title(first), "bold"))
    if len(verdicts) > 1:
        heading = Text.assemble(
            mark(console, False, False),
            " ",
            (f"{describe.lab_name(first)}: error on {count(len(verdicts), 'path')}", "bold"),
        )
    grid = grid_table(Column(style="dim", no_wrap=True, min_width=8), Column(overflow="fold"))
    command = Text(no_wrap=True, overflow="ignore")
    for key, text in explain.facts(first, glyphs):
        if key == "repeat":
            # The terminal folds this line. A line end that we print would be pasted with the command.
            command.append(f"  {key:<8}  ", "dim").append(text, "bold")
            continue
        grid.add_row(key, Text(text, _FACT_STYLES.get(key, "")))
        if key == "path":
            for other in verdicts[1:]:
                grid.add_row("", describe.path_words(other, glyphs))
    return Group(heading, indented(grid), command, Text())


_FACT_STYLES = {"expected": "green", "found": "red", "differ": "yellow"}


def _by_failure(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    """Each failure alone, but together all paths of a lab that could not be tried for one reason."""
    groups: dict[object, list[Verdict]] = {}
    for verdict in verdicts:
        alone = verdict.outcome is not Outcome.ERROR or verdict.judgement.reason is None
        key = id(verdict) if alone else (verdict.question.scenario, verdict.question.variant, verdict.judgement.reason)
        groups.setdefault(key, []).append(verdict)
    return list(groups.values())


def _summary(verdicts: Sequence[Verdict], seconds: float, labs: int | None) -> RenderableType:
    judged = [verdict for verdict in verdicts if verdict.question.expected is not None or not verdict.ok]
    good = sum(verdict.ok for verdict in judged)
    untold = sum(not verdict.told for verdict in judged)
    bad = len(judged) - good - untold
    line = Text.assemble(
        (f"{count(len(verdicts), 'path')} in {count(labs or len(by_lab(verdicts)), 'lab')}", "bold"),
        (f", {seconds:.1f} s: ", ""),
        (f"{good} as expected", "green" if good else ""),
        (f", {bad} not", "bold red") if bad else ("", ""),
        (f", {untold} could not be told", "bold yellow") if untold else ("", ""),
        (f", {len(verdicts) - len(judged)} without expectation", "dim") if len(judged) < len(verdicts) else ("", ""),
    )
    counts = Counter(verdict.outcome for verdict in verdicts)
    ways = Text(", ").join(
        Text.assemble((outcome.value, OUTCOME_INFO[outcome].style), f" {counts[outcome]}")
        for outcome in Outcome
        if counts[outcome]
    )
    return Group(line, ways) if ways else line


def emit(console: Console, renderable: RenderableType) -> None:
    """Print. A pipe gets no trailing blanks, and a character that the encoding lacks is printed as its escape."""
    with console.capture() as capture:
        console.print(renderable, crop=False)
    text = capture.get()
    if not console.is_terminal:
        text = re.sub(r" +$", "", text, flags=re.MULTILINE)
    console.file.write(text.encode(console.encoding, "backslashreplace").decode(console.encoding))
    console.file.flush()
