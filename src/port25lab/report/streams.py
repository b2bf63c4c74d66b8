"""Standard output and standard error of the command: a reader that leaves early or a full disk ends in no traceback.

A closed pipe is the reader's choice (``port25lab run | head -1``): what comes after it is thrown away, and the command
ends with the exit code that it would have had. Any other failure of standard output is an OutputError, once.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console

from port25lab.errors import OutputError


def guard() -> None:
    """Put guarded streams in place of ``sys.stdout`` and ``sys.stderr``, and something behind closed descriptors.

    Streams that are not the process's own, as in tests, stay as they are.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: no result file or socket may get it
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout = _guarded(sys.stdout, "standard output")
    if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
        sys.stderr = _guarded(sys.stderr, None)


def told(problems: Iterable[OutputError], code: int) -> int:
    """Say which results could not be written; the exit code, in which an unmet expectation wins over that."""
    for problem in problems:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"port25lab: {problem}", markup=False)
        code = code or problem.exit_code
    return code


def _guarded(stream: io.TextIOWrapper, name: str | None) -> io.TextIOWrapper:
    raw = io.BufferedWriter(_Stream(stream.fileno(), name))
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=stream.line_buffering)


class _Stream(io.FileIO):
    """A descriptor that takes everything after its first failure, and says nothing more.

    ``name``: what an OutputError calls it; None: there is no place left where a failure could be told.
    """

    def __init__(self, descriptor: int, name: str | None) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._told_as, self._failed = name, False

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        while not self._failed:
            try:
                written = super().write(data)
            except OSError as error:
                self._failed = True
                if self._told_as is not None and not isinstance(error, BrokenPipeError):
                    raise OutputError(self._told_as, error) from None
            else:
                if written is not None:
                    return written
                select.select([], [self], [])  # whoever shares the terminal made it non-blocking
        return size
