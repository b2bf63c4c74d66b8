"""Capture files of a run: one pcapng for each lab, in a folder of the user's.

The engine opens each file and passes it to the lab's process, so that the user owns it wherever the lab runs. After the
run the comment on the file is written again, with each path and its outcome.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from port25lab.errors import InputError
from port25lab.evidence import pcapng
from port25lab.model.evidence import CaptureSummary

LONGEST_NAME = 120
"""Characters; file systems take 255 bytes."""

_ENDING = ".pcapng"


@dataclass
class CaptureFile:
    """One lab's capture file, and what it holds."""

    path: Path
    packets: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    """Packets that the capture missed, by node."""
    problem: str | None = "the lab ended before its capture was complete"
    """Why packets are missing from it, if they are."""

    def ended(self, summary: CaptureSummary) -> None:
        """Note what is in the file now that the lab has completed it."""
        self.packets, self.lost, self.problem = summary.packets, summary.lost, summary.problem
        if self.lost and self.problem is None:
            nodes = ", ".join(f"{count} at {node}" for node, count in self.lost.items())
            self.problem = f"the capture lost packets: {nodes}"


class CaptureFolder:
    """The folder of the files. It is made where it does not exist. Raises InputError where it cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if str(folder) == "-":
            raise InputError("captures are files, and standard output is none", allowed="a folder", file=folder)
        self._made = [place for place in (folder, *folder.parents) if not place.exists()]
        """Folders that were not there before, the innermost first."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise InputError(
                f"cannot be written: {error.strerror or error}",
                allowed="a folder in which files can be written",
                file=folder,
            ) from error
        self.files: list[CaptureFile] = []
        self._lock = threading.Lock()

    def open(self, name: str) -> tuple[CaptureFile, BinaryIO]:
        """A new file for a lab of this name. Raises OSError."""
        with self._lock:
            file = CaptureFile(self.folder / self._unique(safe_name(name)))
            opened = file.path.open("wb", buffering=0)
            self.files.append(file)
        return file, opened

    def close(self) -> None:
        """Remove empty files, whose labs did not start, and folders that were made and are empty."""
        for file in self.files:
            with contextlib.suppress(OSError):
                if file.path.stat().st_size == 0:
                    file.path.unlink()
        for folder in self._made:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def as_data(self) -> dict[str, Any]:
        """For the report's environment."""
        files = {file.path.name: {"packets": file.packets, "problem": file.problem} for file in self.files}
        return {"folder": str(self.folder), "files": files}

    def _unique(self, name: str) -> str:
        taken = {file.path.name.casefold() for file in self.files}
        candidates = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 3)))
        return next(f"{one}{_ENDING}" for one in candidates if f"{one}{_ENDING}".casefold() not in taken)


def safe_name(name: str) -> str:
    """A file name out of any text: letters, digits, ``_``, ``+``, ``.`` and ``-``, with no dot in front."""
    safe = re.sub(r"-{2,}", "-", re.sub(r"[^A-Za-z0-9_+.-]+", "-", name.replace(" + ", "+")))
    return safe[:LONGEST_NAME].strip("-.") or "lab"


def comment(file: CaptureFile, lines: Iterable[str]) -> None:
    """Replace the comment on a whole file. An error in writing becomes the file's problem."""
    if not file.path.exists() or not file.path.stat().st_size:
        return
    try:
        _replace_section(file.path, pcapng.section("\n".join(lines), "port25lab"))
    except (OSError, ValueError) as error:
        file.problem = file.problem or f"cannot be commented: {error}"


def _replace_section(path: Path, section: bytes) -> None:
    with (
        path.open("rb") as old,
        tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as new,
    ):
        try:
            old.seek(pcapng.section_length(old.read(12)))
            new.write(section)
            shutil.copyfileobj(old, new, 1 << 20)
            os.fchmod(new.fileno(), path.stat().st_mode & 0o777)
            new.flush()
            Path(new.name).replace(path)
        except BaseException:
            Path(new.name).unlink()
            raise
