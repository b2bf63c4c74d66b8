"""What ``check`` prints: the mirror's shape, changes, the table of groups by destinations, hints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import PurePath

from rich.console import Console, Group
from rich.table import Column
from rich.text import Text

from port25lab.model.evidence import Blame
from port25lab.model.outcome import OUTCOME_INFO, Outcome
from port25lab.model.snapshot import NoteKind, SnapshotNote
from port25lab.model.verdict import Verdict
from port25lab.report import describe, explain
from port25lab.report.console import emit
from port25lab.report.console_tables import (
    bare_table,
    count,
    decided,
    deciding_rules,
    glyphs_for,
    grid_table,
    indented,
)
from port25lab.report.rows import Row, rows
from port25lab.report.text import Glyphs, duration, visible
from port25lab.scenario.allowed_changes import Allowed, Change, reason_for
from port25lab.scenario.hints import Hint
from port25lab.scenario.mirror import Mirror

_MOST_FROM, _MOST_TO = 36, 72
"""Widths, in characters, at which names of hosts go on in the next line."""


def print_shape(console: Console, mirror: Mirror, notes: Iterable[SnapshotNote]) -> None:
    """What the mirror is, what was inferred, and why. ``notes``: of the reader of the files."""
    emit(console, Text.assemble((visible(mirror.policy.name), "bold"), ("  a router in this shape", "dim")))
    grid = grid_table(Column(no_wrap=True), Column(style="dim", overflow="fold"))
    for group in mirror.groups:
        if group.interface is not None or group.node != "router":
            node = mirror.plan.nodes[group.node]
            addresses = ", ".join(str(address.ip) for address in node.addresses)
            same = f"; the same as {', '.join(group.same)}" if group.same else ""
            grid.add_row(visible(group.node), visible(f"{addresses}; {group.why}{same}"))
    for server in (*mirror.listed, *mirror.outsiders):
        address = ", ".join(map(str, mirror.plan.nodes[server.node].published))
        grid.add_row(visible(server.node), visible(f"{address}; outside; {server.why}"))
    words = [*mirror.notes, *(f"{note.file}:{note.line}: {_NOTES[note.kind]} {note.subject}" for note in notes)]
    for number, note in enumerate(words):
        grid.add_row("note" if not number else "", visible(note))
    emit(console, Group(indented(grid), Text()))


_NOTES: Mapping[NoteKind, str] = {
    "not-installed": "this program is not on the router:",
    "failed": "this command failed there:",
    "nft-tables": "not read, a table of nft:",
    "not-read": "not read:",
    "table-assumed": "the table is taken to be",
    "family-assumed": "nothing tells the family of these rules; it is taken to be",
    "line-ends": "iptables-restore refuses these line ends:",
    "cut-off": "the file ends within",
}


def changes(before: Sequence[Verdict], after: Sequence[Verdict]) -> list[Change]:
    """The paths with another outcome or another deciding rule, those with another outcome first."""
    known = {asked(verdict): verdict for verdict in before}
    found = [Change(known.get(asked(verdict)), verdict) for verdict in after]
    return sorted(
        (one for one in found if one.outcome_changed or _rule(one.before) != _rule(one.after)),
        key=lambda one: not one.outcome_changed,
    )


def print_changes(
    console: Console, found: Sequence[Change], allowed: Sequence[Allowed], since: Mapping[object, str] | None = None
) -> None:
    """The rows that changed, with the deciding lines of both sides. Rows with another outcome come first.

    ``since``: by ``asked``, from when on a row was as it was before; then that is shown in place of ``allowed``.
    """
    glyphs = glyphs_for(console)
    other = [one for one in found if one.outcome_changed]
    if not found:
        emit(console, Group(Text("Nothing changes.", "bold"), Text()))
        return
    emit(console, Text(f"{count(len(other), 'path')} with another outcome", "bold red" if other else "bold"))
    table = bare_table([Column("path"), Column("IP"), Column("before"), Column("after")])
    table.add_column("allowed" if since is None else "before was so since")
    for one in other:
        path = one.after.question.path
        table.add_row(
            describe.ends_words(one.after, glyphs),
            f"v{path.ip_version}",
            _side(one.before, glyphs),
            _side(one.after, glyphs),
            visible(reason_for(one, allowed) or "") if since is None else since.get(asked(one.after), "new"),
        )
    emit(console, Group(table, Text()) if other else Text())
    if moved := len(found) - len(other):
        same = [one for one in found if not one.outcome_changed]
        pairs = dict.fromkeys((_place(one.before), _place(one.after)) for one in same)
        words = ", ".join(f"{old or 'no rule'} {glyphs.arrow} {new or 'no rule'}" for old, new in pairs)
        emit(console, Group(Text(f"{count(moved, 'path')} with the same outcome by another rule: {words}"), Text()))


_NARROWEST = 30
"""Columns for the IP versions, the gaps, and a rule's file and line."""


def _longest_word(texts: Iterable[str], most: int) -> int:
    words = (word for text in texts for word in text.split(" "))
    return min(max(map(len, words), default=0), most)


def print_table(
    console: Console, verdicts: Sequence[Verdict], *, verbose: bool = False, repeat: str | None = None
) -> None:
    """Groups by destinations: outcome and deciding line; below it each rule that decided.

    ``verbose``: all facts. ``repeat``: the command that answers these questions again.
    """
    glyphs = glyphs_for(console)
    groups = list(_by_source(verdicts, glyphs, verbose=verbose))
    names = [visible(", ".join(sources)) for sources, _ in groups]
    least_from = _longest_word(names, _MOST_FROM)
    least_to = _longest_word((line.destinations for _, lines in groups for line in lines), _MOST_TO)
    columns = [
        Column("from", overflow="fold", max_width=_MOST_FROM, min_width=least_from),
        Column("to", overflow="fold", max_width=_MOST_TO, min_width=least_to),
        Column("IP", no_wrap=True),
        Column("outcome", no_wrap=True),
    ]
    outcomes = max((len(line.outcome.value) for _, lines in groups for line in lines), default=0)
    # On a narrow terminal names would be cut; the rules that decided stand below the table as well.
    with_rules = console.width >= least_from + least_to + outcomes + _NARROWEST
    table = bare_table([*columns, *[Column("decided by", overflow="fold")] * with_rules])
    for name, (_, lines) in zip(names, groups, strict=True):
        shown = name
        for line in lines:
            outcome = Text(line.outcome.value, OUTCOME_INFO[line.outcome].style)
            decided_by = [_decided(line.first, glyphs)] * with_rules
            table.add_row(shown, line.destinations, line.versions, outcome, *decided_by)
            shown = ""
    emit(console, Group(table, *deciding_rules(verdicts, glyphs), Text()))
    if verbose:
        for verdict in verdicts:
            emit(console, Text(explain.explain(verdict, repeat)))


def print_hints(console: Console, found: Sequence[Hint]) -> None:
    """One line for each hint, with the line of the file that it is about."""
    for hint in found:
        place = f"{hint.place}: " if hint.place is not None else ""
        emit(console, Text(visible(f"hint  {place}{hint.text}"), "yellow"))
    if found:
        emit(console, Text())


def print_end(console: Console, verdicts: Iterable[Verdict], seconds: float) -> None:
    """The summary line."""
    listed = list(verdicts)
    unknown = sum(verdict.outcome is Outcome.ERROR for verdict in listed)
    more = f", {unknown} could not be told" if unknown else ""
    emit(console, Text(f"{count(len(listed), 'path')}, {duration(seconds)}{more}"))


@dataclass(frozen=True)
class _Line:
    """What is printed of some rows of one source."""

    destinations: str
    versions: str
    outcome: Outcome
    decided_by: str
    first: Row = field(compare=False)


def _by_source(
    verdicts: Sequence[Verdict], glyphs: Glyphs, *, verbose: bool
) -> Iterator[tuple[list[str], tuple[_Line, ...]]]:
    """The lines of each source; sources with the same lines together, unless all rows are wanted."""
    found: dict[object, tuple[list[str], tuple[_Line, ...]]] = {}
    for source, group in groupby(rows(verdicts), key=lambda row: row.first.question.path.source):
        lines = tuple(
            _Line(
                destinations=", ".join(_destination(row, verbose=verbose) for row in alike),
                versions=describe.asked_versions(alike[0].verdicts),
                outcome=alike[0].first.outcome,
                decided_by=_decided(alike[0], glyphs).plain,
                first=alike[0],
            )
            for alike in _alike(group, glyphs, verbose=verbose)
        )
        found.setdefault(source if verbose else lines, ([], lines))[0].append(source)
    yield from found.values()


def _alike(group: Iterable[Row], glyphs: Glyphs, *, verbose: bool) -> Iterable[list[Row]]:
    """Rows that differ in their destination alone, together; each alone where all of them are wanted."""
    found: dict[object, list[Row]] = {}
    for number, row in enumerate(group):
        decided_by = _decided(row, glyphs).plain
        key = (row.first.outcome, describe.asked_versions(row.verdicts), decided_by.partition("via ")[0])
        found.setdefault(number if verbose else key, []).append(row)
    return found.values()


def _destination(row: Row, *, verbose: bool) -> str:
    _, mx, to = describe.ends(row.first.question.path)
    if not verbose:
        return f"MX:{row.first.question.path.port}" if mx else to
    return " ".join(part for part in (mx, to, describe.options_words(row.first)) if part)


def _decided(row: Row, glyphs: Glyphs) -> Text:
    """The line of the user's file; or what else decided."""
    places = list(dict.fromkeys(line_of(blame) for blame in row.blames if blame.file is not None))
    return Text(", ".join(places)) if places else decided(row, glyphs, stacked=False)


def line_of(blame: Blame) -> str:
    """The file's name and the line."""
    name = PurePath(blame.file or "").name
    return visible(f"{name}:{blame.line}" if blame.line else name)


def asked(verdict: Verdict) -> object:
    """What tells a path from others, whatever rules it meets."""
    return verdict.question.path


def _rule(verdict: Verdict | None) -> object:
    """What decided, as the rule's text: line numbers move when a file is edited."""
    return verdict and verdict.blame and (verdict.blame.table, verdict.blame.chain, verdict.blame.rule)


def _place(verdict: Verdict | None) -> str:
    return line_of(verdict.blame) if verdict is not None and verdict.blame is not None else ""


def _side(verdict: Verdict | None, glyphs: Glyphs) -> str:
    if verdict is None:
        return "not asked"
    rule = f" {visible(verdict.blame.rule)}" if verdict.blame is not None else ""
    return f"{verdict.outcome.value} {_place(verdict)}{rule}".strip()
