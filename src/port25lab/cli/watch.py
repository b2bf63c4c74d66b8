"""What ``watch`` does: keep a scenario's labs up, and ask again when one of its files is saved."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer

from port25lab.engine.engine import Engine
from port25lab.engine.needs import input_files
from port25lab.engine.progress import Quiet
from port25lab.errors import InputError, LabError
from port25lab.kernel.inotify import Watch
from port25lab.machine import doctor
from port25lab.model.question import LabConfig, Question
from port25lab.model.verdict import Verdict
from port25lab.report import watch_text
from port25lab.scenario import catalogue
from port25lab.scenario.questions import load_questions


def watch(scenario: str) -> None:
    """Ask, then wait for changes, until a signal ends it. Raises InputError for a scenario that is wrong at first."""
    doctor.require()
    with Engine(Quiet(), keep_labs=True) as engine, Watch() as files:
        questions = load_questions(scenario)
        _look_at(files, questions)
        known = _answers(engine, questions)
        since = dict.fromkeys(known, _clock())
        for line in watch_text.first(list(known.values())):
            typer.echo(line)
        while True:
            changed = files.wait()
            sys.stdout.flush()
            started = time.perf_counter()
            try:
                questions = load_questions(scenario)
                _look_at(files, questions)
                _renew(engine, questions, changed)
                new = _answers(engine, questions)
                engine.keep_only(question.config for question in questions)
            except (InputError, LabError) as error:
                typer.echo(f"{_clock()} {error}; the last answers stay", err=True)
                continue
            clock, seconds = _clock(), time.perf_counter() - started
            for line in watch_text.changes(known, new, since, clock, seconds):
                typer.echo(line)
            changed_now = {name for name, one in new.items() if watch_text.differs(known.get(name), one)}
            since = {name: clock if name in changed_now else since[name] for name in new}
            known = new


def _answers(engine: Engine, questions: Sequence[Question]) -> dict[str, Verdict]:
    return {verdict.id: verdict for verdict in engine.verdicts(questions)}


def _renew(engine: Engine, questions: Iterable[Question], changed: set[Path]) -> None:
    """Replace the rules of the labs whose policies changed. Other files are part of what names a lab."""
    for config in dict.fromkeys(question.config for question in questions):
        if any(folder in changed or folder.resolve() in changed for folder in _folders(config)):
            engine.renew(config)


def _folders(config: LabConfig) -> list[Path]:
    return [one.absolute() for _, stack in config.policies for one in stack if isinstance(one, Path)]


def _look_at(files: Watch, questions: Sequence[Question]) -> None:
    """Watch the folders of all files that the questions come from."""
    places = [*input_files(questions), catalogue.find("scenarios", questions[0].scenario)] if questions else []
    for folder in dict.fromkeys(place.absolute().parent for place in places):
        files.add(folder)


def _clock() -> str:
    return time.strftime("%H:%M:%S")
