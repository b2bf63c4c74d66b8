"""Standard output and standard error of the command: neither a closed pipe nor a full disk ends in a traceback.

After a reader closed the pipe (``port25lab run | head -1``), further output is discarded, and the exit code is what it
would have been. Any other failure of standard output raises one OutputError.
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
    """Replace ``sys.stdout`` and ``sys.stderr`` by guarded streams, and open /dev/null on closed descriptors.

    Streams that are not the process's own, as in tests, are not replaced.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # on the lowest free number, so that no result file or socket gets it
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout = _guarded(sys.stdout, "standard output")
    if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
        sys.stderr = _guarded(sys.stderr, None)


def print_problems(problems: Iterable[OutputError], code: int) -> int:
    """Print which results could not be written. Returns the exit code: ``code``, or if that is 0 the problem's own."""
    for problem in problems:
        Console(stderr=True, highlight=False, soft_wrap=True, emoji=False).print(f"port25lab: {problem}", markup=False)
        code = code or problem.exit_code
    return code


def _guarded(stream: io.TextIOWrapper, name: str | None) -> io.TextIOWrapper:
    raw = io.BufferedWriter(_Stream(stream.fileno(), name))
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=stream.line_buffering)


class _Stream(io.FileIO):
    """A descriptor that discards everything after its first failure.

    ``name``: the name in an OutputError; None: raise none, because a failure could not be printed anywhere.
    """

    def __init__(self, descriptor: int, name: str | None) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._error_name, self._failed = name, False

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        while not self._failed:
            try:
                written = super().write(data)
            except OSError as error:
                self._failed = True
                if self._error_name is not None and not isinstance(error, BrokenPipeError):
                    raise OutputError(self._error_name, error) from None
            else:
                if written is not None:
                    return written
                select.select([], [self], [])  # another program made the shared terminal non-blocking
        return size
