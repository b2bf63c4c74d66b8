"""A confusion matrix: what a classifier says, beside what is true. In: pairs. Out: plain text, and pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

NEVER = "."
"""In a cell: this was never said of that."""


def confusion(pairs: Iterable[tuple[str, str]], order: Iterable[str] = ()) -> str:
    """Truth by row, what was said by column, how often in each cell; right answers stand in the diagonal.

    ``pairs``: the truth, and what was said. ``order``: of the names; those that it lacks come last. Columns are headed
    by the number of the row that has the same name. Below the table each pair that was confused, in words.
    """
    counts = Counter(pairs)
    seen = {name for pair in counts for name in pair}
    names = [name for name in dict.fromkeys([*order, *sorted(seen)]) if name in seen]
    if not names:
        return "no case was classified\n"
    head = [f"{number}" for number in range(1, 1 + len(names))]
    lines = [["", "truth", *head]]
    for number, truth in enumerate(names, 1):
        cells = [str(counts[truth, said] or NEVER) for said in names]
        lines.append([str(number), truth, *cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) + 2)]
    table = [
        "  ".join([line[0].rjust(widths[0]), line[1].ljust(widths[1]), *map(str.rjust, line[2:], widths[2:])]).rstrip()
        for line in lines
    ]
    return "\n".join([*table, "", _summary(counts), *_confused(counts)]) + "\n"


def _summary(counts: Counter[tuple[str, str]]) -> str:
    right = sum(number for (truth, said), number in counts.items() if truth == said)
    return f"{right} of {counts.total()} right"


def _confused(counts: Counter[tuple[str, str]]) -> list[str]:
    wrong = sorted((truth, said, number) for (truth, said), number in counts.items() if truth != said)
    return [f"{truth} was taken for {said}: {number}" for truth, said, number in wrong]
