"""The console blocks of Markdown pages: the commands that a reader types, and what they print.

```text title="rules.v4"        a file that the reader makes
```console                      commands behind `$ `, each with its output; `…` stands for any lines
<!-- not run: WHY -->           before a block whose commands are not for this machine
<!-- any output: WHY -->        before a block whose output differs from machine to machine
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SECONDS = 120
"""How long a command may take."""

_FENCE = re.compile(
    r"(?ms)(?:^<!-- (?P<mark>not run|any output): (?P<why>[^\n]+) -->\n)?^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$"
)

_TITLE = re.compile(r'title="([^"]+)"')

_TIME = re.compile(r"\b\d+(?:\.\d+)?(?: s| ms|s)\b")

_SOURCE_PORT = re.compile(r":[2-4]\d{4}\b")


@dataclass(frozen=True)
class Command:
    """One command of a block, and the output that the page shows."""

    typed: str
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """A file to make (``title``), or commands to run."""

    start: int
    """Where its body begins in the page."""
    body: str
    title: str | None
    mark: str | None

    @property
    def commands(self) -> Iterator[Command]:
        """The commands, in their order."""
        typed: str | None = None
        shown: list[str] = []
        for line in self.body.splitlines():
            if line.startswith("$ "):
                if typed is not None:
                    yield Command(typed, tuple(shown))
                typed, shown = line[2:], []
            elif typed is not None:
                shown.append(line)
        if typed is not None:
            yield Command(typed, tuple(shown))


def blocks(text: str) -> list[Block]:
    """The files and console blocks of a page."""
    found = []
    for match in _FENCE.finditer(text):
        title = _TITLE.search(match["info"])
        if title or match["info"].split()[:1] == ["console"]:
            found.append(Block(match.start("body"), match["body"], title[1] if title else None, match["mark"]))
    return found


def unmarked(text: str) -> list[str]:
    """The fenced blocks that have commands and are no console blocks."""
    return [
        match["body"].splitlines()[0]
        for match in _FENCE.finditer(text)
        if re.search(r"(?m)^\$ ", match["body"]) and match["info"].split()[:1] != ["console"]
    ]


def run(typed: str, folder: Path) -> str:
    """What a command prints, standard error included."""
    own = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COLUMNS", "PYTHONPATH"))
    }
    done = subprocess.run(
        ["bash", "-c", f"{typed} 2>&1"],
        cwd=folder,
        env=environment | {"PATH": own, "XDG_RUNTIME_DIR": str(folder / ".runtime")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.stdout.replace(f"{folder}/", "")


def agree(shown: tuple[str, ...], printed: str) -> bool:
    """Whether a page shows what was printed. Times and blanks may differ."""
    pattern = []
    for line in map(_bare, shown):
        pattern.append("(?:.*\n)*?" if line == "…" else f"{re.escape(line).replace('…', '.*')}\n")
    text = "".join(f"{_bare(line)}\n" for line in printed.strip("\n").splitlines())
    return re.fullmatch("".join(pattern).rstrip("\n") + "\n?", text) is not None


def _bare(line: str) -> str:
    return " ".join(_SOURCE_PORT.sub(":PORT", _TIME.sub("TIME", line)).split())
