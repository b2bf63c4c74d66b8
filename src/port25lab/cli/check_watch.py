"""What ``check --watch`` does: keep the mirror up, and ask again when one of the files is saved."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

from port25lab.cli.check import Checked, CheckOptions, checked
from port25lab.engine import provenance
from port25lab.engine.engine import Engine
from port25lab.engine.progress import Quiet
from port25lab.errors import InputError
from port25lab.kernel.inotify import Watch
from port25lab.machine import doctor
from port25lab.model.question import LabConfig, Question
from port25lab.model.snapshot import Snapshot
from port25lab.model.verdict import Report, Verdict
from port25lab.report import check_tables
from port25lab.report import console as console_module


def watch(options: CheckOptions) -> NoReturn:
    """Check, and check again when a file is saved, until a signal ends it. A wrong file leaves the last answers.

    Raises InputError where the files are wrong at first, and MachineError.
    """
    doctor.require()
    places = [Path(file).absolute() for file in options.files]
    console = console_module.open_console()
    known: Sequence[Verdict] | None = None
    since: dict[object, str] = {}
    with Watch() as files, Engine(Quiet(), jobs=options.jobs, keep_labs=True) as engine:
        answers = KeptMirror(engine)
        for folder in dict.fromkeys(place.parent for place in places):
            files.add(folder)
        stamps = _stamps(places)
        while True:
            started = time.perf_counter()
            clock = time.strftime("%H:%M:%S")
            try:
                found, snapshot = checked(options, answers)
            except InputError as error:
                if known is None:
                    raise
                typer.echo(f"{clock} {error}; the last answers stay", err=True)
            else:
                if known is None:
                    _print_first(console, found, snapshot)
                    since = dict.fromkeys(map(check_tables.asked, found.new), clock)
                else:
                    seconds = time.perf_counter() - started
                    console_module.emit(console, Text(f"{clock} {len(found.new)} paths, {seconds:.2f} s", "dim"))
                    changed = check_tables.changes(known, found.new)
                    check_tables.print_changes(console, changed, [], since)
                    since |= {check_tables.asked(one.after): clock for one in changed}
                known = found.new
            while stamps == (now := _stamps(places)):
                files.wait()
            stamps = now


class KeptMirror:
    """Answers the questions of a mirror in labs that stay up: new rules are loaded into the lab that is there."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ruled: LabConfig | None = None

    def __call__(self, questions: Sequence[Question]) -> Report:
        """The report. Raises InputError for a rule that iptables refuses: the lab then has the rules of before."""
        configs = list(dict.fromkeys(question.config for question in questions))
        ruled = next((config for config in configs if config.policies), None)
        if ruled is not None and self._ruled is not None:
            self._engine.replace(self._ruled, ruled)
        self._ruled = ruled
        verdicts = self._engine.verdicts(questions)
        self._engine.keep_only(configs)
        return provenance.report_of(verdicts, {})


def _stamps(places: Sequence[Path]) -> list[tuple[int, int, int] | None]:
    """What tells that a file was saved; None: it is not there."""
    found: list[tuple[int, int, int] | None] = []
    for place in places:
        try:
            status = place.stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return found


def _print_first(console: Console, found: Checked, snapshot: Snapshot) -> None:
    check_tables.print_shape(console, found.mirrors[0], snapshot.notes)
    check_tables.print_table(console, found.new)
    console_module.emit(console, Text("waiting for changes"))
