"""Where the command begins: it imports nothing of port25lab or of libraries before Ctrl-C is handled.

The rest takes some tenths of a second to import, and a Ctrl-C in that time would print a traceback. On a machine where
it cannot be imported, the command ends with one line. This file is read by old Pythons as well.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import NoReturn

PYTHON = (3, 11)

OBJECTS = 50_000
"""New objects after which Python looks for garbage. Its own 700 make imports take a tenth longer."""

MACHINE_LACKS = 3
"""The exit code: ``errors.MachineError`` cannot be imported there."""


def main() -> NoReturn:
    """Entry point of the ``port25lab`` command."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted_early)
    gc.set_threshold(OBJECTS)
    if lacking := _lacking(sys.platform, sys.version_info[:2]):
        _end(lacking)
    try:
        from port25lab.cli.main import main as run_main

        run_main()
    except ImportError as error:  # commands import what they need when they run
        _end(_not_loaded(error))


def _lacking(platform: str, python: tuple[int, ...]) -> str | None:
    """What this machine lacks for port25lab to be imported, and what helps; None: nothing."""
    if platform != "linux":
        return (
            f"this is {platform}, and labs are namespaces of Linux; use a Linux machine, such as the one of: vagrant up"
        )
    if python < PYTHON:
        needed, found = (".".join(map(str, version)) for version in (PYTHON, python))
        return (
            f"this is Python {found}, and {needed} is needed; Debian 12 and Ubuntu 24.04 have it: "
            f"pipx install --python python{needed} port25lab"
        )
    return None


def _not_loaded(error: ImportError) -> str:
    """Why a library cannot be loaded, and what helps."""
    place = os.path.dirname(error.path or sys.prefix)  # noqa: PTH120  # pathlib takes 10 ms to import
    try:
        no_programs = os.statvfs(place or "/").f_flag & os.ST_NOEXEC
    except OSError:
        no_programs = 0
    if no_programs:
        return (
            f"{place} is on a file system that forbids programs (noexec), so Python can load no library from there; "
            f'install port25lab elsewhere, or: sudo mount -o remount,exec "$(findmnt -no TARGET -T {place})"'
        )
    return f"{error}; install it again: {sys.executable} -m pip install --force-reinstall port25lab"


def _end(lacking: str) -> NoReturn:
    os.write(2, f"port25lab: {lacking}\n".encode())
    os._exit(MACHINE_LACKS)


def _interrupted_early(number: int, _: object) -> None:
    """End at once: no lab was started, and nothing was written."""
    os.write(2, b"port25lab: interrupted; nothing is left behind\n")
    os._exit(128 + number)
