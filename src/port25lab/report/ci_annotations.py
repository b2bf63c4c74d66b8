"""Annotations of files, for the page of a CI run: what was not as expected, at the line that decided.

In: verdicts, changes, rows of a contract, hints, refused input. Out: annotations, and their text for a CI service.
GitHub's form is a workflow command on a line of standard output:
https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from port25lab.errors import InputError
from port25lab.model.outcome import Should
from port25lab.model.verdict import Verdict
from port25lab.report import contract_table, describe, explain
from port25lab.report.text import shortened, visible
from port25lab.scenario.allowed_changes import Allowed, Change, reason_for
from port25lab.scenario.hints import Hint


class Level(StrEnum):
    """How grave an annotation is, as GitHub calls it."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Annotation:
    """One annotation. ``file``: its name in results, or its path; None: of the run as a whole."""

    level: Level
    title: str
    text: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    rule: str = ""
    """The rule that decided, in words: it stands there once, below the text."""


def of_verdicts(verdicts: Iterable[Verdict]) -> list[Annotation]:
    """One for each path that is not as expected, at the rule that decided; without one, at the path in its scenario.

    An error where an expectation is not met, a warning where port25lab could not tell.
    """
    return _merged(_of_verdict(verdict, explain.mismatch(verdict)) for verdict in verdicts if not verdict.ok)


def of_changes(changes: Iterable[Change], allowed: Iterable[Allowed]) -> list[Annotation]:
    """One for each change that is not allowed, at the rule that decides now; where none does, at the one that did."""
    permits = list(allowed)
    return _merged(_of_change(change) for change in changes if reason_for(change, permits) is None)


def of_rows(rows: Iterable[contract_table.JudgedRow]) -> list[Annotation]:
    """One for each path that is against a contract."""
    return _merged(
        _of_verdict(verdict, f"{_CONTRACT[judged.row.should]}, found {verdict.outcome.value}")
        for judged in rows
        if judged.row.should in _CONTRACT
        for verdict in judged.verdicts
        if contract_table.word_for(verdict, judged.row.should) in contract_table.UNMET
    )


_CONTRACT = {Should.BLOCKED: "should be blocked", Should.ALLOWED: "should get through"}


def of_hints(hints: Iterable[Hint]) -> list[Annotation]:
    """One warning for each hint."""
    return [
        Annotation(
            Level.WARNING,
            hint.kind or "hint",
            visible(hint.text),
            hint.place.file if hint.place is not None else None,
            hint.place.line if hint.place is not None else None,
        )
        for hint in hints
    ]


def of_errors(errors: Iterable[InputError]) -> list[Annotation]:
    """One for each input that was refused."""
    return [
        Annotation(
            Level.ERROR,
            "refused",
            visible(error.what + f"; {error.allowed}" * bool(error.allowed)),
            str(error.file) if error.file is not None else None,
            error.line,
            error.column,
        )
        for error in errors
    ]


def github(annotation: Annotation, files: Mapping[str, str], top: Path) -> str:
    """The workflow command of an annotation: one line.

    ``files``: paths by names in results. ``top``: the repository's folder; a file outside of it is named in the text,
    since GitHub shows no such file.
    """
    properties: dict[str, str | int] = {}
    text = "\n".join(filter(None, (annotation.text, annotation.rule)))
    if annotation.file is not None:
        path = (top / files.get(annotation.file, annotation.file)).resolve()
        if path.is_relative_to(top.resolve()):
            place = {
                "file": path.relative_to(top.resolve()).as_posix(),
                "line": annotation.line,
                "col": annotation.column,
            }
            properties = {key: value for key, value in place.items() if value is not None}
        else:
            text = f"{annotation.file}:{annotation.line}\n{text}"
    properties["title"] = f"port25lab: {annotation.title}"
    written = ",".join(f"{key}={_escaped(str(value), _PROPERTY)}" for key, value in properties.items())
    return f"::{annotation.level.value} {written}::{_escaped(text, _DATA)}"


_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}

_PROPERTY = _DATA | {":": "%3A", ",": "%2C"}
"""What GitHub's runner decodes, as its own toolkit writes it (actions/toolkit, packages/core/src/command.ts)."""


def _escaped(text: str, table: Mapping[str, str]) -> str:
    return "".join(table.get(character, character) for character in text)


def _of_verdict(verdict: Verdict, title: str) -> Annotation:
    question, blame = verdict.question, verdict.blame
    words = [describe.lab_name(verdict), describe.path_words(verdict)]
    if not verdict.told:
        words.append(shortened(visible(verdict.judgement.reason or "")))
    rule = " ".join((describe.rule_label(blame), visible(blame.rule))) if blame is not None else ""
    file, line = (str(question.file), question.line) if question.file is not None else (None, None)
    if blame is not None and blame.file is not None:
        file, line = blame.file, blame.line
    level = Level.ERROR if verdict.told else Level.WARNING
    return Annotation(level, title, ": ".join(words), file, line, rule=rule)


def _of_change(change: Change) -> Annotation:
    before = change.before.outcome.value if change.before is not None else "not asked"
    title = f"{before} before, {change.after.outcome.value} now"
    if not change.outcome_changed:
        title = f"{before}, by another rule"
    found = _of_verdict(change.after, title)
    if found.file is None and change.before is not None and change.before.blame is not None:
        was = _of_verdict(change.before, title)
        return replace(was, text=found.text, rule=f"decided before: {was.rule}")
    return found


def _merged(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Those of one line that say the same as one, with a line of text for each: GitHub shows ten of a step."""
    alike: dict[Annotation, list[str]] = {}
    for one in annotations:
        alike.setdefault(replace(one, text=""), []).append(one.text)
    return [replace(one, text="\n".join(dict.fromkeys(texts))) for one, texts in alike.items()]
