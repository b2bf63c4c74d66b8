"""Result files: checked before a run, replaced in one step after it, so that nobody ever reads half of one."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from port25lab.errors import InputError


def require_writable(path: Path) -> None:
    """Raise InputError now where ``write`` would raise it after the run."""
    target = _target(path)
    if target.is_dir():
        raise InputError("is a folder", allowed="the name of a file to write", file=path)
    place = target if target.exists() and not _replaceable(target) else target.parent
    if not place.exists():
        raise InputError(f"cannot be written: folder {place} does not exist", file=path)
    if not os.access(place, os.W_OK):
        raise InputError(f"cannot be written: no permission to write in {place}", file=path)


def write(path: Path, content: bytes) -> None:
    """Write a whole file or nothing. A device or a pipe, such as /dev/stdout, is written to as it is."""
    require_writable(path)
    target = _target(path)
    try:
        if target.exists() and not _replaceable(target):
            target.write_bytes(content)
        else:
            _replace(target, content)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", file=path) from error


def _replace(target: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), _mode(target))
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink()
        raise


def _target(path: Path) -> Path:
    """What a symbolic link points to is replaced, not the link."""
    return Path(os.path.realpath(path))


def _replaceable(target: Path) -> bool:
    return stat.S_ISREG(target.stat().st_mode)


def _mode(target: Path) -> int:
    """The old file's mode, or what a new file would get."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask
