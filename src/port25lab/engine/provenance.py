"""Where a report comes from: every file that the run read, with its digest, the commit, and the command."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from port25lab.engine import needs
from port25lab.machine.versions import git_state, own_version
from port25lab.model.policy import Policy
from port25lab.model.question import Question
from port25lab.model.verdict import InputFile, Report, Verdict
from port25lab.rules import decode
from port25lab.scenario import catalogue
from port25lab.scenario.rules_file import RULES_FILES


def report_of(verdicts: list[Verdict], environment: dict[str, Any]) -> Report:
    """A report of this tool, without its origin: that is looked for where the report is written to a file."""
    return Report(tool={"name": "port25lab", "version": own_version()}, environment=environment, verdicts=verdicts)


def traced(report: Report) -> Report:
    """The report with its origin: the files that were read, the command, and the commit."""
    questions = [verdict.question for verdict in report.verdicts]
    return replace(report, environment=report.environment | origin(), inputs=inputs(questions))


def inputs(questions: Iterable[Question]) -> tuple[InputFile, ...]:
    """The files that a run of these questions reads, sorted by name. What is no file, such as a pipe, is left out."""
    asked = list(questions)
    files = {path.absolute(): False for path in needs.input_files(asked)}
    files |= {path: True for path in files if path.name in RULES_FILES.values()}
    files |= {path.absolute(): True for path in _rules(asked)}
    found = (_input(file, has_rules) for file, has_rules in files.items())
    return tuple(sorted((one for one in found if one is not None), key=lambda one: (one.name, one.path)))


def origin() -> dict[str, Any]:
    """The command, and the commit of the repository in which it was started."""
    return {"command": list(sys.argv), "git": git_state(Path.cwd())}


def _rules(questions: Iterable[Question]) -> Iterator[Path]:
    """The rules files of policies that are no folder, as those of a mirror are."""
    for config in dict.fromkeys(question.config for question in questions):
        for policy in (one for _, stack in config.policies for one in stack if isinstance(one, Policy)):
            yield from (part.file for part in policy.rules_files)


def _input(file: Path, has_rules: bool) -> InputFile | None:
    try:
        content = file.read_bytes() if file.is_file() else None
    except OSError:
        return None
    if content is None:
        return None
    text = decode(content) if has_rules else None
    return InputFile(str(file), catalogue.stable_name(file), hashlib.sha256(content).hexdigest(), text)
