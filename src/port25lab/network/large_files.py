"""Rules files that are too large for one transaction of an ordinary user, loaded in several.

``iptables-restore`` sends a table in one message, and the kernel limits that message to ``net.core.wmem_max`` where the
sender is not root on the host: at about 600 rules. Root on a router has no such limit. A part has the lines of the file
in their order, and each line is in exactly one part: so a chain is declared once, and what a line does (also ``-I``,
``-D``, or a chain that is emptied between rules) it does to the same rules as in the whole. Lines of other parts are
empty, so that iptables names the right line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from subprocess import CompletedProcess

_TOO_LONG = b"Message too long"
"""What iptables says of a message over the limit (EMSGSIZE)."""

PART_LINES = 400
"""Lines in a part, at first: that many plain rules take about half of the default limit."""

Restore = Callable[[bytes, bool], "CompletedProcess[bytes]"]
"""Loads a text; with True, on top of what its tables have."""


class LineTooLongError(Exception):
    """The rules of one line alone do not fit into a message."""

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line}")
        self.line = line


@dataclass(frozen=True)
class _Section:
    """The lines of one table, by number from 0."""

    frame: tuple[int, ...]
    """``*TABLE`` and ``COMMIT``."""
    lines: Sequence[int]
    """All others that are not empty."""


def too_long(done: CompletedProcess[bytes]) -> bool:
    """Whether a text was refused because it does not fit into one message. The kernel has taken nothing of its table.

    Earlier tables of the same text are loaded.
    """
    return done.returncode != 0 and _TOO_LONG in done.stderr


def has_several_tables(content: bytes) -> bool:
    """Whether a file has several transactions, of which the first may be loaded and the second be refused."""
    return content.startswith(b"*") + content.count(b"\n*") > 1


def load(content: bytes, restore: Restore, *, noflush: bool) -> CompletedProcess[bytes]:
    """Load a file in parts as large as the kernel takes.

    Args:
        content: The file.
        restore: Loads a part.
        noflush: Whether the file is for tables that keep what they have.

    Returns: The result of the last part, or of the first one that was refused: those before it are loaded.
    Raises: LineTooLongError.
    """
    lines = content.split(b"\n")
    size = PART_LINES
    done: CompletedProcess[bytes] = CompletedProcess((), 0, b"", b"")
    for section in _sections(lines):
        start, end = 0, len(section.lines)
        while start < end or start == 0:
            part = section.lines[start : start + size]
            done = restore(_only(lines, (*section.frame, *part)), noflush or start > 0)
            if too_long(done):
                if len(part) <= 1:
                    raise LineTooLongError((part or section.frame)[0] + 1)
                size = len(part) // 2
                continue
            if done.returncode:
                return done
            start += max(1, len(part))
    return done


def _sections(lines: Sequence[bytes]) -> list[_Section]:
    """The tables of a file. Lines between them belong to the next one; those behind the last one, to that."""
    sections: list[_Section] = []
    frame: list[int] = []
    others: list[int] = []
    for number, line in enumerate(lines):
        if frame and line == b"COMMIT":
            sections.append(_Section((*frame, number), others))
            frame, others = [], []
        elif not frame and line.startswith(b"*"):
            frame = [number]
        elif line.strip():
            others.append(number)
    rest = sorted([*frame, *others])
    if rest and sections:
        last = sections.pop()
        sections.append(_Section(last.frame, [*last.lines, *rest]))
    return sections


def _only(lines: Sequence[bytes], numbers: Iterable[int]) -> bytes:
    """These lines at their places; the others are empty."""
    text: list[bytes] = []
    place = 0
    for number in sorted(numbers):
        text += [b"\n" * (number - place), lines[number], b"\n"]
        place = number + 1
    return b"".join(text)
