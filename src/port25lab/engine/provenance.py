"""Where a report comes from: every file that the run read, with its digest, the commit, and the command."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from port25lab.engine import needs
from port25lab.machine.versions import git_state
from port25lab.model.policy import Policy
from port25lab.model.question import Question
from port25lab.model.verdict import InputFile
from port25lab.scenario import catalogue


def inputs(questions: Iterable[Question]) -> tuple[InputFile, ...]:
    """The files that a run of these questions reads, sorted by name. What is no file, such as a pipe, is left out."""
    asked = list(questions)
    files = {path.absolute() for path in (*needs.input_files(asked), *_rules(asked))}
    found = (_input(file) for file in files)
    return tuple(sorted((one for one in found if one is not None), key=lambda one: (one.name, one.path)))


def origin() -> dict[str, Any]:
    """The command, and the commit of the repository in which it was started."""
    return {"command": list(sys.argv), "git": git_state(Path.cwd())}


def _rules(questions: Iterable[Question]) -> Iterator[Path]:
    """The rules files of policies that are no folder, as those of a mirror are."""
    for config in dict.fromkeys(question.config for question in questions):
        for policy in (one for _, stack in config.policies for one in stack if isinstance(one, Policy)):
            yield from (part.file for part in policy.rules_files)


def _input(file: Path) -> InputFile | None:
    try:
        content = file.read_bytes() if file.is_file() else None
    except OSError:
        return None
    digest = None if content is None else hashlib.sha256(content).hexdigest()
    return None if digest is None else InputFile(str(file), catalogue.stable_name(file), digest)
