"""A confusion matrix: the classifier's answers beside the truth. In: pairs. Out: plain text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

NEVER = "."
"""The text of a cell that counts nothing."""


def confusion(pairs: Iterable[tuple[str, str]], order: Iterable[str] = ()) -> str:
    """The matrix: truths in rows, answers in columns, counts in cells; right answers are on the diagonal.

    ``pairs``: truth and answer. ``order``: names in the order of the rows; other names follow. The heading of a column
    is the number of the row with the same name. Below the table are the confused pairs, in words.
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
