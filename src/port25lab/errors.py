"""Everything that port25lab raises on purpose, and the exit code each one ends the program with.

Port25labError
├── InputError      2   the user's files or arguments are wrong: where, what, and what is allowed
├── MachineError    3   this machine lacks a program, a kernel feature or a permission: what, and its remedy
├── OutputError     4   results that could not be written: where to, and why
└── LabError        -   a lab failed while running; its paths become `error` verdicts, others go on

Interrupted             a signal ended the command: no error, and nothing that an `except Exception` should catch
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class Port25labError(Exception):
    """Base of all errors that are meant for the user's eyes: its text is complete, no traceback is needed."""

    exit_code = 1


class InputError(Port25labError):
    """Bad input, printed as ``FILE:LINE:COLUMN: what is wrong; what is allowed``.

    Lines and columns count from 1; where a place is unknown, its part is left out.
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        allowed: str = "",
        file: Path | str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        self.what, self.allowed = what, allowed
        self.file, self.line, self.column = file, line, column
        place = ":".join(str(part) for part in (file, line, column) if part is not None)
        super().__init__(f"{place}: " * bool(place) + what + f"; {allowed}" * bool(allowed))


class MachineError(Port25labError):
    """This machine cannot do what was asked; ``remedy`` is the command or setting that helps."""

    exit_code = 3

    def __init__(self, what: str, remedy: str) -> None:
        self.what, self.remedy = what, remedy
        super().__init__(f"{what}; {remedy}")


class OutputError(Port25labError):
    """A result or a report could not be written. The run itself is done, and the other results are written."""

    exit_code = 4

    def __init__(self, place: Path | str, error: OSError) -> None:
        self.place = place
        super().__init__(f"{place}: cannot be written: {error.strerror or error}")


class LabError(Port25labError):
    """A lab could not be built, or broke while it ran."""


class Interrupted(BaseException):
    """A signal to end. Not a KeyboardInterrupt: typer would take that, and say something of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def nearest(name: str, known: Iterable[str]) -> str:
    """Say what names are allowed, the likeliest first: ``did you mean 'op25b'? (known: …)``."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {', '.join(names) or 'none'}"
