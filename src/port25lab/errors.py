"""The errors that port25lab raises for the user, and the exit code of each.

Port25labError
├── InputError      2   the user's files or arguments are wrong: where, what, and what is allowed
├── MachineError    3   this machine lacks a program, a kernel feature or a permission: what, and its remedy
├── OutputError     4   results that could not be written: where to, and why
└── LabError        -   a lab failed while running; its paths become `error` verdicts, others go on

Interrupted             a signal ended the command; no `except Exception` catches it
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

NOT_TOLD = 4
"""Exit code where all expectations are met but those of paths that port25lab could not tell; or results are missing."""


class Port25labError(Exception):
    """Base of all errors that the user reads: the text is complete, and no traceback is needed."""

    exit_code = 1


class InputError(Port25labError):
    """Bad input, printed as ``FILE:LINE:COLUMN: what is wrong; what is allowed``.

    ``allowed`` says what may stand there. Lines and columns count from 1; what is unknown is left out.
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


class NewLabNeededError(InputError):
    """These rules need a lab that is built for them: they cannot replace those of a running one."""


class LackingError(InputError):
    """What the user wrote may be right on the machine that it is for. This machine lacks what it takes to try it."""

    exit_code = 3


class MachineError(Port25labError):
    """This machine lacks something. ``what`` it is; ``remedy`` is the command or setting that helps."""

    exit_code = 3

    def __init__(self, what: str, remedy: str) -> None:
        self.what, self.remedy = what, remedy
        super().__init__(f"{what}; {remedy}")


class OutputError(Port25labError):
    """A result file or standard output could not be written. The run is complete, and other results are written."""

    exit_code = NOT_TOLD

    def __init__(self, place: Path | str, error: OSError) -> None:
        self.place = place
        super().__init__(f"{place}: cannot be written: {error.strerror or error}")


class LabError(Port25labError):
    """A lab could not be built, or broke while it ran."""


class Interrupted(BaseException):
    """A signal ended the command. No KeyboardInterrupt: typer would catch that, and print a message of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


MOST_NAMES, FEW_NAMES = 36, 6
"""Names in one error. Of more than the first number, only the likeliest few are named."""


_MEANT = {
    "accept": ("delivered",),
    "allow": ("delivered",),
    "block": ("blocked",),
    "drop": ("dropped",),
    "refused": ("closed",),
    "reject": ("rejected-icmp", "rejected-reset"),
    "ssl": ("implicit",),
    "timeout": ("dropped",),
    "tls": ("implicit", "starttls"),
}
"""Words of the field for which a name stands that does not look like them."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The names that are allowed, the likeliest first: ``did you mean 'op25b'? known: …``."""
    names = sorted(known)
    folded = {one.casefold(): one for one in names}
    close = [folded[one] for one in difflib.get_close_matches(name.casefold(), folded, n=FEW_NAMES, cutoff=0.5)]
    close = [one for one in _MEANT.get(name.casefold(), ()) if one in names] or close
    likeliest = " or ".join(f"'{one}'" for one in (_MEANT.get(name.casefold()) and close) or close[:1])
    hint = f"did you mean {likeliest}? " if close else ""
    if len(names) <= MOST_NAMES:
        return f"{hint}known: {', '.join(names) or 'none'}"
    likely = list(dict.fromkeys((*close, *names)))[:FEW_NAMES]
    return f"{hint}known: {', '.join(likely)}, and {len(names) - len(likely)} more"
