"""What real client programs said, in files beside this one: their exit code, stdout, and stderr."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("transcripts_recorded")
BETWEEN = "--- stderr\n"


@dataclass(frozen=True)
class Said:
    exit_code: int
    stdout: list[str]
    stderr: list[str]


def transcript(program: str, name: str) -> Said:
    first, rest = (FOLDER / f"{program}-{name}.txt").read_text().split("\n", 1)
    stdout, _, stderr = rest.rpartition(BETWEEN)
    return Said(int(first.removeprefix("exit ")), stdout.splitlines(), stderr.splitlines())
