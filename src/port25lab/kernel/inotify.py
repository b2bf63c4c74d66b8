"""Wait until files in some folders are saved (inotify(7)), by ctypes: Python has no such call."""

from __future__ import annotations

import ctypes
import os
import select
import struct
from pathlib import Path
from typing import Self

SETTLE_SECONDS = 0.03
"""An editor writes, renames and removes: what comes within this time belongs together."""

_CLOSE_WRITE, _MOVED_TO, _MOVED_FROM, _DELETE = 0x8, 0x80, 0x40, 0x200

_OVERFLOW = 0x4000

_EVENT = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Folders that are watched. A context manager; leaving it ends that."""

    def __init__(self) -> None:
        self._descriptor = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0:
            raise _error("inotify")
        self._folders: dict[int, Path] = {}

    def add(self, folder: Path) -> None:
        """Watch the files of a folder, but not of those in it. Raises OSError."""
        number = _libc.inotify_add_watch(
            self._descriptor, os.fsencode(folder), _CLOSE_WRITE | _MOVED_TO | _MOVED_FROM | _DELETE
        )
        if number < 0:
            raise _error(str(folder))
        self._folders[number] = folder

    def wait(self, seconds: float | None = None) -> set[Path]:
        """Return the folders in which files were saved or removed, as soon as there are some.

        ``seconds``: how long to wait; None: without end. Returns none where nothing happened. All, where the kernel
        lost events.
        """
        changed: set[Path] = set()
        timeout = seconds
        while select.select([self._descriptor], [], [], timeout)[0]:
            changed |= self._read()
            timeout = SETTLE_SECONDS
        return changed

    def _read(self) -> set[Path]:
        data, changed, at = os.read(self._descriptor, 1 << 16), set(), 0
        while at < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, at)
            if mask & _OVERFLOW:
                return set(self._folders.values())
            if number in self._folders:
                changed.add(self._folders[number])
            at += _EVENT.size + length
        return changed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
