"""Result files: checked before a run, and replaced in one step after it, so that no reader sees half a file.

``-`` and ``/dev/stdout`` are standard output. Devices, pipes and open descriptors (``/dev/fd/63``) are written as they
are.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from port25lab.errors import InputError, OutputError

STDOUT = Path("-")

_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}

Identity = tuple[int, int, str]
"""Device and inode; of a file that does not exist yet, those of the nearest folder, and the way from there."""


def is_stdout(path: Path) -> bool:
    """Whether this output goes to standard output, so that tables go to standard error."""
    return path == STDOUT or _descriptor(path) == 1


def is_replaced(path: Path) -> bool:
    """Whether ``write`` replaces a file. Anything else, such as a pipe, may have a reader that blocks the writer."""
    return not is_stdout(path) and _descriptor(path) is None and _is_regular(_target(path))


def require_writable(path: Path) -> None:
    """Raise InputError before the run where ``write`` could not succeed after it. Creates no file."""
    try:
        what, allowed = _obstacle(path)
    except OSError as error:
        what, allowed = f"cannot be written: {error.strerror or error}", ""
    if what:
        raise InputError(what, allowed=allowed, file=path)


def require_separate(outputs: Mapping[str, Path], inputs: Iterable[Path] = ()) -> None:
    """Raise InputError where two outputs are one file, under any names, or where an output is a file that is read.

    ``outputs``: by the option that asks for each. Standard output and standard error count as outputs, too.
    """
    taken = {identity: option for option, identity in _redirected().items()}
    read = {identity for path in inputs if (identity := _identity(path))}
    for option, path in outputs.items():
        if is_stdout(path):
            if "-" in taken.values():
                raise InputError("two outputs to standard output", allowed="a file for one of them", file=path)
            taken[0, 0, ""] = "-"
            continue
        identity = None if _descriptor(path) is not None else _identity(path)
        if identity is None:
            continue
        if identity in taken:
            what = f"{option} and {taken[identity]} are the same file"
            raise InputError(what, allowed="a file of its own for each", file=path)
        if identity in read:
            what = f"{option} would overwrite a file that the run reads"
            raise InputError(what, allowed="another file", file=path)
        taken[identity] = option


def write(path: Path, content: bytes) -> None:
    """Write the whole file or nothing: write a new file in the same folder, then rename it.

    Raises OutputError.
    """
    try:
        descriptor = _descriptor(path)
        if is_stdout(path):
            sys.stdout.flush()
            sys.stdout.buffer.write(content)
            sys.stdout.flush()
        elif descriptor is not None:
            # Opened by its name, a file would be truncated, and a socket could not be opened at all.
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(content)
        elif is_replaced(path):
            _replace(_target(path), content)
        else:
            path.write_bytes(content)
    except OSError as error:
        raise OutputError(path, error) from error


def _obstacle(path: Path) -> tuple[str, str]:
    """What is wrong with a path, and what is allowed; both are empty where it can be written. Raises OSError."""
    descriptor = 1 if is_stdout(path) else _descriptor(path)
    if descriptor is not None:
        closed = sys.stdout is None if descriptor == 1 else not _is_open(descriptor)
        return ("is not open for writing", "a file") if closed else ("", "")
    target = _target(path)
    if target.is_dir():
        return "is a folder", "the name of a file to write"
    if target.is_symlink():
        return "cannot be written: a symbolic link to itself", "a file"
    if not target.parent.exists():
        return f"cannot be written: folder {target.parent} does not exist", ""
    if target.exists() and not os.access(target, os.W_OK):
        return "cannot be written: no permission", ""
    if _is_regular(target):
        try:
            with tempfile.TemporaryFile(dir=target.parent):
                pass
        except OSError as error:
            return f"cannot be written: no file can be made in {target.parent}: {error.strerror or error}", ""
    return "", ""


def _replace(target: Path, content: bytes) -> None:
    # The name is chosen before the file is made, so that a signal at any moment leaves no file. It does not contain
    # the target's name, which may be as long as a name can be.
    beside = target.with_name(f".port25lab-{secrets.token_hex(8)}")
    try:
        with beside.open("xb") as file:
            if target.exists():
                _take_after(file.fileno(), target.stat())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a full disk may show only here
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _take_after(descriptor: int, old: os.stat_result) -> None:
    """Copy the old file's mode and, as root, its owner: under `sudo` a user's file stays the user's."""
    if os.geteuid() == 0:
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _target(path: Path) -> Path:
    """The file to replace: of a symbolic link, its target."""
    return Path(os.path.realpath(path))


def _is_regular(target: Path) -> bool:
    return not target.exists() or stat.S_ISREG(target.stat().st_mode)


def _descriptor(path: Path) -> int | None:
    """The number of the open file that a path such as /dev/fd/63 or /dev/stdout names; None for all other paths."""
    name = str(path.absolute())
    numbered = re.fullmatch(r"/(?:dev|proc/self)/fd/(\d+)", name)
    return int(numbered[1]) if numbered else _STREAMS.get(name)


def _is_open(descriptor: int) -> bool:
    """Whether one can write to it."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    except OSError:
        return False


def _identity(path: Path) -> Identity | None:
    """Identifies a file under all its names. None for devices, to which several outputs may go."""
    target = _target(path)
    for place in (target, *target.parents):
        try:
            status = place.stat()
        except FileNotFoundError:
            continue
        except OSError:
            return None
        missing = str(target.relative_to(place)) if place != target else ""
        return (status.st_dev, status.st_ino, missing) if missing else _number(status)
    return None


def _redirected() -> dict[str, Identity]:
    """The files and pipes to which the shell sent standard output and standard error."""
    found: dict[str, Identity] = {}
    for name, stream in (("standard error", sys.stderr), ("standard output", sys.stdout)):
        try:
            identity = _number(os.fstat(stream.fileno()))
        except (AttributeError, OSError, ValueError):  # closed, or replaced by something in memory
            continue
        if identity is not None:
            found[name] = identity
    return found


def _number(status: os.stat_result) -> Identity | None:
    return None if stat.S_ISCHR(status.st_mode) else (status.st_dev, status.st_ino, "")
