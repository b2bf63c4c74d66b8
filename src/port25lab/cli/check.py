"""What ``port25lab check`` does: read the files, build the mirror, ask, print what the rules do or what changes."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from itertools import islice
from pathlib import Path

import typer

from port25lab.cli import annotate, result_files
from port25lab.engine import engine, needs
from port25lab.engine import jobs as jobs_module
from port25lab.errors import NOT_TOLD, InputError, OutputError
from port25lab.machine import doctor
from port25lab.model.addresses import IPNetwork, IpVersion
from port25lab.model.outcome import Outcome
from port25lab.model.policy import Family
from port25lab.model.question import Question
from port25lab.model.snapshot import RulesPart, Snapshot
from port25lab.model.verdict import Report, Verdict
from port25lab.report import check_file, check_tables, ci_annotations, contract_table
from port25lab.report import console as console_module
from port25lab.report.files import require_separate
from port25lab.report.progress import Progress
from port25lab.report.streams import print_problems
from port25lab.scenario import allowed_changes
from port25lab.scenario.contract import Contract, asked_rows, read_contract
from port25lab.scenario.hints import hints
from port25lab.scenario.mirror import Mirror, mirror
from port25lab.scenario.mirror_addresses import VERSIONS
from port25lab.scenario.mirror_questions import questions_of
from port25lab.scenario.router_facts import read_router, together
from port25lab.scenario.snapshot import read_snapshot

_FAMILY: dict[IpVersion, Family] = {4: "ip", 6: "ip6"}


@dataclass(frozen=True)
class CheckOptions:
    """What the user asked for, as the user wrote it."""

    files: Sequence[str]
    against: Sequence[str] = ()
    allow: Path | None = None
    contract: str | None = None
    inside: Sequence[str] = ()
    outside: str | None = None
    host: bool = False
    ask: Sequence[str] = ()
    ip: int | None = None
    jobs: int | None = None
    results: result_files.Results = field(default_factory=dict)
    verbose: bool = False
    annotate: annotate.Annotate | None = None

    @property
    def versions(self) -> tuple[IpVersion, ...]:
        """The IP versions that are asked about."""
        return VERSIONS if self.ip is None else (4 if self.ip == 4 else 6,)


def run(options: CheckOptions) -> int:
    """Check. Returns the exit code: 1 where something changed that is not allowed, 4 where something is not known.

    Raises InputError and MachineError before any lab starts.
    """
    with annotate.refusals(options.annotate, stderr=result_files.on_stdout(options.results)):
        return _run(options)


def _run(options: CheckOptions) -> int:
    result_files.require(options.results)
    require_separate(dict(options.results), [Path(file) for file in [*options.files, *options.against]])
    doctor.require()
    allowed = allowed_changes.read(options.allow) if options.allow else []
    contract = read_contract(options.contract) if options.contract else None
    new, refused = _snapshot(options.files)
    old, old_refused = _snapshot(options.against) if options.against else (None, [])
    refused += old_refused
    started = time.perf_counter()
    versions = options.versions
    while True:
        try:
            found = _checked(options, new, old, contract, versions)
            break
        except InputError as error:
            parts = [part for one in (new, old) if one is not None for part in one.rules if _is_in(error, part)]
            versions = tuple(one for one in versions if all(_FAMILY[one] != part.family for part in parts))
            new, old = _without(new, error), old and _without(old, error)
            if not parts or not versions or not new.rules or (old is not None and not old.rules):
                raise
            refused.append(error)
    report, mine = found.report, found.mirrors[0]
    hinted = hints(mine.facts, found.new)
    more = {"mapping": check_file.mapping(mine), "findings": check_file.findings(hinted)}
    problems = result_files.write(report, options.results, more)
    console = console_module.open_console(stderr=result_files.on_stdout(options.results))
    changed: list[allowed_changes.Change] = []
    try:
        check_tables.print_shape(console, mine, new.notes)
        if old is not None:
            changed = check_tables.changes(found.old, found.new)
            check_tables.print_changes(console, changed, allowed)
        if contract is not None:
            contract_table.print_contract(console, contract.title, found.rows)
        check_tables.print_table(console, found.new, verbose=options.verbose, repeat=_command(options))
        check_tables.print_hints(console, hinted)
        shown = [
            *ci_annotations.of_errors(refused),
            *ci_annotations.of_changes(changed, allowed),
            *ci_annotations.of_rows(found.rows),
            *ci_annotations.of_hints(hinted),
        ]
        annotate.show(options.annotate, shown, report.verdicts, stderr=result_files.on_stdout(options.results))
        check_tables.print_end(console, report.verdicts, time.perf_counter() - started)
    except OutputError as problem:
        problems.append(problem)
    for why in refused:
        typer.echo(f"port25lab: {why}", err=True)
    unwanted = any(allowed_changes.reason_for(change, allowed) is None for change in changed)
    unmet = any(contract_table.is_unmet(row) for row in found.rows)
    wrong = any(why.exit_code == InputError.exit_code for why in refused)
    return print_problems(problems, _exit_code(report.verdicts, unwanted or unmet, wrong))


def _command(options: CheckOptions) -> str:
    """The command that asks the same questions of these files again."""
    named = {"--inside": options.inside, "--outside": [options.outside or ""], "--ask": options.ask}
    chosen = [word for name, values in named.items() for value in values if value for word in (name, value)]
    return shlex.join(["port25lab", "check", *options.files, *chosen, *["--host"] * options.host])


@dataclass(frozen=True)
class Checked:
    """All that was asked, and its verdicts."""

    mirrors: list[Mirror]
    report: Report
    new: Sequence[Verdict]
    old: Sequence[Verdict]
    rows: Sequence[contract_table.JudgedRow]


def checked(
    options: CheckOptions, answers: Callable[[Sequence[Question]], Report] | None = None
) -> tuple[Checked, Snapshot]:
    """The verdicts on the rules of the files alone, and what the files say. Raises InputError and MachineError.

    ``answers``: answers questions; None: in labs that are up for this call alone.
    """
    new, refused = _snapshot(options.files)
    if refused:
        raise refused[0]
    return _checked(options, new, None, None, options.versions, answers), new


def _checked(
    options: CheckOptions,
    new: Snapshot,
    old: Snapshot | None,
    contract: Contract | None,
    versions: tuple[IpVersion, ...],
    answers: Callable[[Sequence[Question]], Report] | None = None,
) -> Checked:
    """Build the mirrors, ask, and gather the verdicts. Raises InputError for a rule that is refused.

    ``answers``: answers questions; None: in labs that are up for this call alone.
    """
    mirrors = _mirrors(options, new, old)
    names = ("new", "old") if old is not None else (mirrors[0].policy.name,)
    asked = [questions_of(one, name, options.ask, versions) for one, name in zip(mirrors, names, strict=True)]
    rows = asked_rows(contract, mirrors[0], names[0], versions) if contract is not None else []
    questions = [*(one for some in asked for one in some), *(one for row in rows for one in row.questions)]
    needs.require_ipv6(questions)
    report = answers(questions) if answers is not None else _answers(options, questions)
    verdicts = iter(report.verdicts)
    answered = [list(islice(verdicts, len(some))) for some in asked]
    judged = [contract_table.JudgedRow(row.row, tuple(islice(verdicts, len(row.questions)))) for row in rows]
    return Checked(mirrors, report, answered[0], answered[1] if old is not None else [], judged)


def _is_in(refused: InputError, part: RulesPart) -> bool:
    """Whether the refused line is one of these rules: the lines of others are empty there."""
    if str(part.file) != str(refused.file):
        return False
    lines = part.content.split(b"\n")
    return refused.line is None or (refused.line <= len(lines) and bool(lines[refused.line - 1].strip()))


def _without(snapshot: Snapshot, refused: InputError) -> Snapshot:
    """The snapshot without the rules that were refused."""
    kept = tuple(part for part in snapshot.rules if not _is_in(refused, part))
    return snapshot.model_copy(update={"rules": kept})


def _exit_code(
    verdicts: Sequence[Verdict],
    failed: bool,
    refused: bool,
) -> int:
    if refused:
        return InputError.exit_code
    if failed:
        return 1
    return NOT_TOLD if any(verdict.outcome is Outcome.ERROR for verdict in verdicts) else 0


def _snapshot(files: Sequence[str]) -> tuple[Snapshot, list[InputError]]:
    """What the files say, and which of them were refused. Raises InputError where none has rules."""
    reading = read_snapshot(files)
    if not reading.snapshot.rules:
        if reading.errors:
            raise reading.errors[0]
        accepted = "the output of iptables-save, ip6tables-save or port25lab collect"
        raise InputError(f"no rules in {', '.join(files)}", allowed=accepted)
    return reading.snapshot, list(reading.errors)


def mirror_of(files: Sequence[str]) -> Mirror:
    """The mirror of a router's files. Raises InputError where one of them is refused."""
    snapshot, refused = _snapshot(files)
    if refused:
        raise refused[0]
    return _mirrors(CheckOptions(files), snapshot, None)[0]


def _mirrors(options: CheckOptions, new: Snapshot, old: Snapshot | None) -> list[Mirror]:
    """The mirror of the new rules, and that of the old ones: both in the shape that both say together."""
    inside = dict(_inside(text) for text in options.inside)
    if old is None:
        alone = read_router(new, options.outside, inside)
        return [mirror(new, alone, inside=inside, host=options.host, name=_name(new))]
    bare = {name: getattr(new, name) or getattr(old, name) for name in ("interfaces", "routes", "sysctls")}
    both = [one.model_copy(update=bare | {"sets": one.sets or new.sets or old.sets}) for one in (new, old)]
    facts = [read_router(one, options.outside, inside) for one in both]
    shape = together(*facts)
    first, second = (
        mirror(one, own, inside=inside, host=options.host, name=_name(one), shape=shape)
        for one, own in zip(both, facts, strict=True)
    )
    return [first, replace(second, plan=first.plan)]  # one plan: one control answers for both


def _inside(text: str) -> tuple[str, IPNetwork | None]:
    name, _, network = text.partition("=")
    try:
        return name, ip_network(network) if network else None
    except ValueError as error:
        allowed = "IF or IF=NETWORK, such as br-lan=192.168.1.0/24"
        raise InputError(f"--inside {text}: {error}", allowed=allowed) from None


def _name(snapshot: Snapshot) -> str:
    return snapshot.hostname or next((part.file.name for part in snapshot.rules), "rules")


def _answers(options: CheckOptions, questions: Sequence[Question]) -> Report:
    planned = jobs_module.plan_jobs(questions)
    with Progress(labs=len(planned), paths=sum(len(job.paths) for job in planned)) as progress:
        return engine.run(questions, progress=progress, jobs=options.jobs)
