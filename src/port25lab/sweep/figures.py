"""Figures of a sweep, drawn by matplotlib from the tables of its data set alone.

Colours are those of Okabe and Ito, which colour-blind people tell apart; lines also differ in their marks and dashes.
"""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from port25lab.errors import InputError
from port25lab.sweep import tables
from port25lab.sweep.columns import DONE, PREFIX
from port25lab.sweep.figure_spec import Figure, Measure
from port25lab.sweep.store import write_by

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

MARKS = ("o", "s", "^", "D", "v", "P", "X")

DASHES = ("-", "--", "-.", ":")

Format = Literal["svg", "pdf"]

Line = dict[float | str, list[float]]
"""By the value of x, what each job measured."""


@dataclass(frozen=True)
class Drawing:
    """The numbers of a figure."""

    figure: Figure
    lines: Mapping[str, Line]


def read(folder: Path, figures: Sequence[Figure]) -> list[Drawing]:
    """Measure what the figures show, in one pass through the tables of a data set. Raises InputError."""
    measured = [_PerJob(figure.y) for figure in figures]
    for row in _rows(folder / tables.RESULTS):
        for one in measured:
            one.add(row)
    lines: list[dict[str, Line]] = [defaultdict(lambda: defaultdict(list)) for _ in figures]
    for job in _rows(folder / tables.JOBS):
        if job["state"] != DONE:
            continue
        for figure, one, found in zip(figures, measured, lines, strict=True):
            if any(column in job and job[column] != str(value) for column, value in figure.y.where.items()):
                continue
            name = f"{figure.lines} = {job[PREFIX + figure.lines]}" if figure.lines else ""
            value = one.value(job["job"])
            if value is not None:
                found[name][_number(job[PREFIX + figure.x])].append(value)
    return [Drawing(figure, found) for figure, found in zip(figures, lines, strict=True)]


class _PerJob:
    """A measure, gathered for each job."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._all: dict[str, int] = defaultdict(int)
        self._found: dict[str, int] = defaultdict(int)
        self._values: dict[str, set[str]] = defaultdict(set)

    def add(self, row: Mapping[str, str]) -> None:
        """Count an attempt."""
        if any(row.get(column) != str(value) for column, value in self._measure.where.items()):
            return
        job = row["job"]
        self._all[job] += 1
        if row["outcome"] not in self._measure.outcome:
            return
        self._found[job] += 1
        if self._measure.of is not None:
            self._values[job].add(row[self._measure.of])

    def value(self, job: str) -> float | None:
        """What a job measured; None: a share of no attempts."""
        if self._measure.measure == "count":
            return self._found.get(job, 0)
        if self._measure.measure == "distinct":
            return len(self._values.get(job, ()))
        return self._found.get(job, 0) / self._all[job] if self._all.get(job) else None


def draw(folder: Path, drawings: Sequence[Drawing], kind: Format) -> list[Path]:
    """Draw figures into the folder ``figures`` of a data set. Returns their files.

    Raises InputError where matplotlib is not installed, and OutputError.
    """
    try:
        import matplotlib
    except ImportError:
        allowed = "pip install 'port25lab[figures]'"
        raise InputError("figures need matplotlib, which is not installed", allowed=allowed) from None
    matplotlib.use("agg")
    # Texts stay texts, and equal data gives equal files.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "port25lab", "pdf.fonttype": 42})
    files = []
    for drawing in drawings:
        file = folder / "figures" / f"{drawing.figure.name}.{kind}"
        canvas = _canvas(drawing)
        date = {"Date": None} if kind == "svg" else {"CreationDate": None}
        write_by(file, partial(canvas.savefig, format=kind, metadata=date))
        files.append(file)
    return files


def _canvas(drawing: Drawing) -> Any:
    from matplotlib.figure import Figure as Canvas

    figure = drawing.figure
    canvas = Canvas(figsize=(6.4, 4.2), layout="constrained")
    axes: Any = canvas.subplots()
    for number, (name, line) in enumerate(sorted(drawing.lines.items(), key=lambda one: _key(one[0]))):
        look = {
            "color": COLOURS[number % len(COLOURS)],
            "marker": MARKS[number % len(MARKS)],
            "linestyle": DASHES[number % len(DASHES)],
        }
        xs = sorted(line, key=lambda x: (isinstance(x, str), x))
        axes.plot(xs, [statistics.fmean(line[x]) for x in xs], label=name or None, **look)
        if any(len(line[x]) > 1 for x in xs):
            band = [min(line[x]) for x in xs], [max(line[x]) for x in xs]
            axes.fill_between(xs, *band, color=look["color"], alpha=0.15, linewidth=0)
    axes.set_title(figure.title)
    axes.set_xlabel(figure.x_label or figure.x)
    axes.set_ylabel(figure.y_label or _words(figure.y))
    axes.grid(visible=True, color="#cccccc", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=0)
    if figure.lines:
        axes.legend(frameon=False)
    return canvas


def _key(name: str) -> tuple[bool, float | str]:
    value = _number(name.rpartition(" = ")[2])
    return isinstance(value, str), value


def _words(measure: Measure) -> str:
    outcomes = " or ".join(measure.outcome)
    if measure.measure == "distinct":
        return f"values of {measure.of}, {outcomes}"
    return f"{'share of attempts' if measure.measure == 'share' else 'attempts'} {outcomes}"


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _rows(file: Path) -> Iterator[dict[str, str]]:
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            yield from csv.DictReader(opened)
    except FileNotFoundError:
        raise InputError("no table of a sweep", allowed="port25lab sweep tables DIR, first", file=file) from None
