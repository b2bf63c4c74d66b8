"""Verdicts and findings on a console: beautiful on a terminal, plain in a pipe.

In: verdicts. Out: text on a rich console. A terminal gets colours and folded cells; a pipe gets ASCII, one line for
each row however long, and no trailing blanks, so that ``grep`` and ``diff`` work on it.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from port25lab.evidence import Blame
from port25lab.outcome import MEANINGS, Outcome
from port25lab.report import matrix, seed, words
from port25lab.verdict import Verdict

if TYPE_CHECKING:
    from port25lab.catalogue import Kind
    from port25lab.doctor import Finding

UNLIMITED = 10_000
"""Width of a pipe: nothing is folded."""

NARROW = 100
"""Below so many columns, columns join: the manner goes to the path, the client's view to the failures, and the seed
table's two answers into one cell."""

WIDEST_PATH = 0.42
"""Share of the terminal's width that the path may take before it is folded."""

SHORT_REPLY = 70

FEW_POLICIES = 4
"""So many policies without a rule are named in a line of the seed table."""


def open_console(file: TextIO | None = None, *, width: int | None = None, stderr: bool = False) -> Console:
    """A console for our renderings; ``width`` and the variable COLUMNS win over what the terminal says."""
    console = Console(file=file, stderr=stderr, width=width, highlight=False, markup=False, emoji=False)
    if width is None and not console.is_terminal:
        console.width = int(os.environ["COLUMNS"]) if os.environ.get("COLUMNS", "").isdigit() else UNLIMITED
    return console


def print_report(
    console: Console,
    verdicts: Sequence[Verdict],
    seconds: float,
    labs: int | None = None,
    *,
    seed_table: bool = False,
) -> None:
    """The whole story of a run: a table for each lab, the seed table if wanted, the failures, and the summary last."""
    print_tables(console, verdicts)
    if seed_table:
        print_seed_table(console, verdicts)
    print_matrices(console, verdicts)
    print_failures(console, verdicts)
    print_summary(console, verdicts, seconds, labs)


def print_tables(console: Console, verdicts: Iterable[Verdict]) -> None:
    """For each lab (scenario and variant) its paths, what became of them, and the rules that decided."""
    for group in _by_lab(verdicts):
        emit(console, _lab(console, group))


def print_failures(console: Console, verdicts: Iterable[Verdict]) -> None:
    """All that is known of each verdict that is not ok."""
    for group in _by_failure(verdict for verdict in verdicts if not verdict.ok):
        emit(console, _failure(console, group))


def print_summary(console: Console, verdicts: Sequence[Verdict], seconds: float, labs: int | None = None) -> None:
    """How many paths, as expected or not, and how many ended in which way. ``labs``: how many the run really had.

    First a line for each repeated path: which attempt was the first to fail.
    """
    for turn in _turns(verdicts, _glyphs(console)):
        emit(console, Text(turn))
    emit(console, _summary(verdicts, seconds, labs))


def print_seed_table(console: Console, verdicts: Iterable[Verdict]) -> None:
    """The seed article's rows, without a policy beside with it; nothing where no path has a `ref`."""
    if found := seed.lines(verdicts):
        emit(console, _seed_table(console, found))


def print_matrices(console: Console, verdicts: Iterable[Verdict]) -> None:
    """For each scenario that asks for it, its paths by its variants."""
    for group in matrix.matrices(verdicts):
        emit(console, _matrix(console, group))


def print_findings(console: Console, findings: Sequence[Finding]) -> None:
    """What ``doctor`` found, and how to get what is missing."""
    emit(console, _findings(console, findings))


def print_catalogue(console: Console, catalogue: Mapping[Kind, Sequence[tuple[str, str]]]) -> None:
    """What there is to choose from: for each kind a heading, and under it names with one line each."""
    emit(console, _catalogue(catalogue))


# -- rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One line of a table: one path, over IPv4 and IPv6 together where both met the same end."""

    verdicts: tuple[Verdict, ...]

    @property
    def first(self) -> Verdict:
        """Stands for all of them, but for the IP version and for what differs with it."""
        return self.verdicts[0]

    @property
    def blames(self) -> list[Blame]:
        """The rules that decided: on the client's way, or on that of the relay that took its message."""
        return [verdict.blame for verdict in self.verdicts if verdict.blame] or _met_by_relays(self.verdicts)


def rows(verdicts: Iterable[Verdict]) -> list[Row]:
    """Verdicts in their order, those merged that differ in the IP version alone, or in the number of the attempt."""
    listed = list(verdicts)
    spans, merged = _spans(listed), dict[object, list[Verdict]]()
    for verdict in listed:
        merged.setdefault((words.question(verdict), _end(verdict), spans.get(id(verdict))), []).append(verdict)
    return [Row(tuple(group)) for group in merged.values()]


def _series(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    """The attempts of each repeated path over each IP version, in their order."""
    found: dict[object, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.repeat > 1:
            key = (verdict.variant, words.question(verdict), verdict.ip_version)
            found.setdefault(key, []).append(verdict)
    return [sorted(series, key=lambda verdict: verdict.attempt) for series in found.values()]


def _spans(verdicts: Iterable[Verdict]) -> dict[int, tuple[int, int]]:
    """First and last of the attempts in a row that ended alike, for each verdict (by ``id``) of a repeated path."""
    spans: dict[int, tuple[int, int]] = {}
    for series in _series(verdicts):
        for _, alike in groupby(series, key=_end):
            run = list(alike)
            spans |= {id(verdict): (run[0].attempt, run[-1].attempt) for verdict in run}
    return spans


def _end(verdict: Verdict) -> object:
    """What must be equal for two IP versions to share a row: all that the row shows, but for rule numbers and times."""
    hop = words.failing_hop(verdict)
    return (
        (verdict.ok, verdict.outcome, verdict.mechanism),
        (verdict.expected, verdict.expected_by, verdict.expected_how),
        verdict.reason if verdict.outcome is Outcome.ERROR else None,
        words.saw(verdict),
        verdict.blame and _chain(verdict.blame),
        hop and (hop.node, words.client_saw(hop.observation), *(_chain(one.blame) for one in hop.decisions[-1:])),
    )


def _chain(blame: Blame) -> tuple[str, ...]:
    return (blame.node, blame.policy or "", blame.table, blame.chain)


def _met_by_relays(verdicts: Iterable[Verdict]) -> list[Blame]:
    hops = (words.failing_hop(verdict) for verdict in verdicts)
    return [decision.blame for hop in hops if hop for decision in hop.decisions[-1:]]


# -- the table of one lab --------------------------------------------------------------------------------------------


def _lab(console: Console, verdicts: Sequence[Verdict]) -> RenderableType:
    glyphs, narrow, stacked = _glyphs(console), console.width < NARROW, _stacked(verdicts)
    with_ref, with_manner = any(v.ref for v in verdicts), any(words.manner_words(v) for v in verdicts)
    columns: list[tuple[Column, Callable[[Row], Text | str], bool]] = [
        (Column(""), lambda row: _mark(console, row.first.ok, row.first.expected is None), True),
        (Column("ref", no_wrap=True), lambda row: words.visible(row.first.ref or ""), with_ref),
        (Column("path", overflow="fold"), lambda row: _path(row.first, glyphs, with_manner=narrow), True),
        (
            Column("with", style="dim", overflow="fold"),
            lambda row: words.manner_words(row.first),
            with_manner and not narrow,
        ),
        (Column("IP", no_wrap=True), lambda row: words.versions_words(v.ip_version for v in row.verdicts), True),
        (Column("try", no_wrap=True), lambda row: _attempts(row, glyphs), any(v.repeat > 1 for v in verdicts)),
        (Column("outcome", no_wrap=True), lambda row: _outcome(console, row.first), True),
        (Column("client saw", style="dim", no_wrap=True), lambda row: _saw(row, glyphs), not narrow),
        (Column("decided by", overflow="fold"), lambda row: _decided(row, glyphs, stacked=stacked), True),
    ]
    shown = [(column, cell) for column, cell, wanted in columns if wanted]
    lines = rows(verdicts)
    longest = max(Text(str(cell(row))).cell_len for column, cell in shown if column.header == "path" for row in lines)
    columns[2][0].width = min(longest, int(console.width * WIDEST_PATH))
    table = _table(column for column, _ in shown)
    for row in lines:
        table.add_row(*(cell(row) for _, cell in shown))
    return Group(_lab_heading(verdicts, glyphs), table, *_rules(verdicts), Text())


def _stacked(verdicts: Iterable[Verdict]) -> bool:
    """Whether some node has more than one policy, so that a rule's place needs the policy's name as well."""
    return any(len(names) > 1 for verdict in verdicts for names in verdict.policies.values())


def _lab_heading(verdicts: Sequence[Verdict], glyphs: words.Glyphs) -> Text:
    wrong = sum(not verdict.ok for verdict in verdicts)
    return Text.assemble(
        (words.lab_name(verdicts[0]), "bold"),
        (f" {glyphs.between} ", "dim"),
        (words.policies_words(verdicts[0].policies) or "no policy", "cyan"),
        (f" {glyphs.between} {_count(len(verdicts), 'path')}, ", "dim"),
        (f"{wrong} not as expected", "bold red") if wrong else ("all as expected", "dim"),
    )


def _path(verdict: Verdict, glyphs: words.Glyphs, *, with_manner: bool) -> Text:
    text = Text(words.ends_words(verdict, glyphs))
    text.highlight_regex(rf" {glyphs.arrow} (MX of )?", "dim")
    manner = words.manner_words(verdict)
    return text.append(f", {manner}", "dim") if with_manner and manner else text


def _attempts(row: Row, glyphs: words.Glyphs) -> str:
    """``4``, or ``1-3`` for attempts in a row; empty for a path that is tried once."""
    if row.first.repeat == 1:
        return ""
    numbers = [verdict.attempt for verdict in row.verdicts]
    first, last = min(numbers), max(numbers)
    return str(first) if first == last else f"{first}{glyphs.through}{last}"


def _outcome(console: Console, verdict: Verdict) -> Text:
    text = Text.assemble((verdict.outcome.value, MEANINGS[verdict.outcome].style))
    if verdict.ok or verdict.expected is None:
        return text
    if verdict.outcome is not verdict.expected:
        expected = verdict.expected.value
    else:
        by = verdict.expected_by if words.wrong_node(verdict) else words.missed_mechanism(verdict)
        expected = f"by {words.visible(by)}" if by else "with proof"
    text.append("\n" if console.is_terminal else ", ").append("expected ", "dim").append(expected, "bold")
    return text


def _saw(row: Row, glyphs: words.Glyphs) -> str:
    """The client's code and time; shortest and longest time where IPv4 and IPv6 differ enough to matter."""
    if not words.saw_something(row.first):
        return ""
    times = [verdict.observation.seconds for verdict in row.verdicts]
    shortest, longest = min(times), max(times)
    near = longest - shortest < max(0.1, 0.2 * longest)
    spread = "" if near else words.duration(shortest) + glyphs.through
    return f"{words.saw(row.first)} {spread}{words.duration(longest)}".lstrip()


def _decided(row: Row, glyphs: words.Glyphs, *, stacked: bool) -> Text:
    """The rule; or the relay and what stopped it; or the server's words; or why port25lab cannot tell."""
    verdict, label = row.first, _label(row.blames, stacked=stacked)
    if verdict.outcome is Outcome.ERROR:
        return Text(_cut(words.visible(verdict.reason or "no reason given")))
    if hop := words.failing_hop(verdict):
        met = words.visible(f"{hop.node} {glyphs.arrow} {hop.to} {words.client_saw(hop.observation)}")
        return Text(f"{met}, {label}" if label else met)
    if label:
        return Text(label)
    if verdict.outcome is Outcome.DELIVERED:
        relays = dict.fromkeys(words.visible(hop.node) for hop in verdict.hops)
        return Text(f"via {', '.join(relays)}" if relays else "", "dim")
    replies = {words.reply_text(v.observation) for v in row.verdicts if not v.observation.errno}
    return Text(_cut(replies.pop()) if len(replies) == 1 else "", "dim", no_wrap=True, overflow="ellipsis")


def _cut(text: str) -> str:
    return text if len(text) <= SHORT_REPLY else f"{text[:SHORT_REPLY].rstrip()}..."


def _label(blames: Sequence[Blame], *, stacked: bool) -> str:
    if not blames:
        return ""
    return words.rule_label(blames[0], [blame.rule_number for blame in blames], with_policy=stacked)


def _rules(verdicts: Sequence[Verdict]) -> list[RenderableType]:
    """Each rule that decided, once: what the table calls it, where it stands, and its text."""
    stacked = _stacked(verdicts)
    blames = {*(verdict.blame for verdict in verdicts if verdict.blame), *_met_by_relays(verdicts)}
    if not blames:
        return []
    grid = _grid(Column(no_wrap=True), Column(style="dim", no_wrap=True), Column(overflow="fold"))
    before = ""
    for blame in sorted(blames, key=lambda blame: (_chain(blame), blame.rule_number or 0, blame.family)):
        label = words.rule_label(blame, with_policy=stacked)
        grid.add_row(
            "" if label == before else label, words.short_place(blame), Text(words.visible(blame.rule), "italic")
        )
        before = label
    return [Text(), _indented(grid)]


# -- failures --------------------------------------------------------------------------------------------------------


def _failure(console: Console, verdicts: Sequence[Verdict]) -> RenderableType:
    glyphs, first = _glyphs(console), verdicts[0]
    heading = Text.assemble(_mark(console, False, False), " ", (words.title(first), "bold"))
    if len(verdicts) > 1:
        heading = Text.assemble(
            _mark(console, False, False),
            " ",
            (f"{words.lab_name(first)}: error on {_count(len(verdicts), 'path')}", "bold"),
        )
    grid = _grid(Column(style="dim", no_wrap=True, min_width=8), Column(overflow="fold"))
    command = Text(no_wrap=True, overflow="ignore")
    for key, text in words.facts(first, glyphs):
        if key == "repeat":
            # Left to the terminal to fold: a line end of ours would be pasted with the command.
            command.append(f"  {key:<8}  ", "dim").append(text, "bold")
            continue
        grid.add_row(key, Text(text, _FACT_STYLES.get(key, "")))
        if key == "path":
            for other in verdicts[1:]:
                grid.add_row("", words.path_words(other, glyphs))
    return Group(heading, _indented(grid), command, Text())


_FACT_STYLES = {"expected": "green", "found": "red", "differ": "yellow"}


def _by_failure(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    """One failure each, but all paths of a lab together that could not be tried for the same reason."""
    groups: dict[object, list[Verdict]] = {}
    for verdict in verdicts:
        alone = verdict.outcome is not Outcome.ERROR or verdict.reason is None
        key = id(verdict) if alone else (verdict.scenario, verdict.variant, verdict.reason)
        groups.setdefault(key, []).append(verdict)
    return list(groups.values())


# -- summary and seed table ------------------------------------------------------------------------------------------


def _summary(verdicts: Sequence[Verdict], seconds: float, labs: int | None) -> RenderableType:
    judged = [verdict for verdict in verdicts if verdict.expected is not None or not verdict.ok]
    good = sum(verdict.ok for verdict in judged)
    line = Text.assemble(
        (f"{_count(len(verdicts), 'path')} in {_count(labs or len(_by_lab(verdicts)), 'lab')}", "bold"),
        (f", {seconds:.1f} s: ", ""),
        (f"{good} as expected", "green" if good else ""),
        (f", {len(judged) - good} not", "bold red") if good < len(judged) else ("", ""),
        (f", {len(verdicts) - len(judged)} without expectation", "dim") if len(judged) < len(verdicts) else ("", ""),
    )
    counts = Counter(verdict.outcome for verdict in verdicts)
    ways = Text(", ").join(
        Text.assemble((outcome.value, MEANINGS[outcome].style), f" {counts[outcome]}")
        for outcome in Outcome
        if counts[outcome]
    )
    return Group(line, ways) if ways else line


def _turns(verdicts: Sequence[Verdict], glyphs: words.Glyphs) -> list[str]:
    """Of each repeated path, which attempt was the first to fail; over both IP versions together where they agree."""
    found: dict[tuple[str, str, str], list[Verdict]] = {}
    for group in _by_lab(verdicts):
        for series in _series(group):
            if len(series) < series[0].repeat:
                continue  # of a few attempts that were picked out, nobody can say which was the first
            path = ", ".join(filter(None, (words.ends_words(series[0], glyphs), words.manner_words(series[0]))))
            found.setdefault((words.lab_name(series[0]), path, words.turn_words(series)), []).append(series[0])
    return [
        f"{lab}: {path}, {words.versions_words(v.ip_version for v in firsts)}: {turn}"
        for (lab, path, turn), firsts in found.items()
    ]


def _seed_table(console: Console, lines: Sequence[seed.Line]) -> RenderableType:
    glyphs, narrow = _glyphs(console), console.width < NARROW
    columns: list[tuple[Column, Callable[[seed.Line], Text | str], bool]] = [
        (Column(""), lambda line: _mark(console, line.ok, False), True),
        (Column("ref", no_wrap=True), lambda line: words.visible(line.ref), True),
        (Column("path", overflow="fold"), lambda line: _question(line, glyphs), True),
        (Column("IP", no_wrap=True), _asked_versions, True),
        (Column("without policy"), lambda line: _answer(line.without), not narrow),
        (Column("with policy"), lambda line: _answer(line.with_policy), not narrow),
        (Column("without, with"), lambda line: _both_answers(line, glyphs), narrow),
        (Column("policy, and its rule", overflow="fold"), _policies_with_rules, True),
    ]
    shown = [(column, cell) for column, cell, wanted in columns if wanted]
    table = _table(column for column, _ in shown)
    before = ""
    for line in lines:
        cells = {column.header: cell(line) for column, cell in shown}
        if line.ref == before:
            cells |= {"ref": "", "path": ""}
        before = line.ref
        table.add_row(*cells.values())
    heading = Text.assemble(
        ("OP25B, row by row", "bold"), (f" {glyphs.between} ", "dim"), ("without a policy, and with one", "cyan")
    )
    refs = {line.ref for line in lines}
    notes = [Text(note.replace("–", glyphs.through), "dim") for ref, note in seed.NOTES.items() if ref in refs]
    return Group(heading, table, *([Text(), *(_indented(note) for note in notes)] if notes else []), Text())


def _question(line: seed.Line, glyphs: words.Glyphs) -> str:
    first = (line.verdicts or line.baseline)[0]
    question = seed.QUESTIONS.get(line.ref) or words.visible(first.name or words.ends_words(first))
    return question.replace("→", glyphs.arrow)


def _asked_versions(line: seed.Line) -> str:
    return words.versions_words(version for version, _ in line.with_policy or line.without)


def _both_answers(line: seed.Line, glyphs: words.Glyphs) -> Text:
    arrow = f"\n{glyphs.arrow} " if line.without and line.with_policy else ""
    return Text.assemble(_answer(line.without), (arrow, "dim"), _answer(line.with_policy))


def _policies_with_rules(line: seed.Line) -> Text:
    """``op25b #4, op25b-all #3 on isp-edge``: each policy with its rule, and once for all of a node, the node.

    Of many policies without a rule the first few: that they let it through is all there is to say.
    """
    idle = [policy for policy, blames in line.rules.items() if not blames]
    untold = idle[FEW_POLICIES:] if len(idle) > FEW_POLICIES + 1 else []
    text, node = Text(), ""
    for policy, blames in line.rules.items():
        if policy in untold:
            continue
        here = blames[0].node if blames else ""
        if text:
            text.append(f" on {node}" if node and node != here else "", "dim").append(", ")
        node = words.visible(here)
        text.append(policy, "" if blames else "dim")
        text.append(":" if blames and " + " in policy else "").append(_rules_in_words(policy, blames))
    text.append(f" on {node}" if node else "", "dim")
    return text.append(f" and {len(untold)} more" if untold else "", "dim")


def _rules_in_words(policy: str, blames: Sequence[Blame]) -> str:
    """A rule's number, after its chain where that is not named like the policy; those of both families as ``#5/#3``."""
    chains: dict[str, list[str]] = {}
    for blame in blames:
        chain = words.visible(blame.chain)
        number = "policy" if blame.rule_number is None else f"#{blame.rule_number}"
        chains.setdefault(f" {chain}" if chain != policy else "", []).append(number)
    return "".join(f"{chain} {'/'.join(dict.fromkeys(numbers))}" for chain, numbers in chains.items())


def _answer(answer: seed.Answer) -> Text:
    text = Text(seed.answer_words(answer))
    for _, outcome in answer:
        text.highlight_words([outcome.value], MEANINGS[outcome].style)
    return text


# -- paths by variants -----------------------------------------------------------------------------------------------


def _matrix(console: Console, group: matrix.Matrix) -> RenderableType:
    glyphs = _glyphs(console)
    about = matrix.GROUPS[group.should]
    heading = Text.assemble((words.visible(group.scenario), "bold"))
    if about:
        heading.append(f" {glyphs.between} ", "dim").append(about, "cyan")
    columns = [Column("path", overflow="fold"), *(Column(variant, overflow="fold") for variant in group.variants)]
    table = _table(columns)
    for line in group.lines:
        table.add_row(line.name, *(_matrix_cell(console, cell) for cell in line.cells))
    return Group(heading, table, Text())


_WRONG = {"leak": "red", "over": "yellow", "error": "bold white on red"}


def _matrix_cell(console: Console, cell: matrix.Cell) -> Text:
    """What the policy does; marked where the scenario did not expect that."""
    glyphs = _glyphs(console)
    text = Text(glyphs.good if cell.text == matrix.RIGHT else cell.text, "green" if cell.text == matrix.RIGHT else "")
    for word, style in (*_WRONG.items(), *((outcome.value, MEANINGS[outcome].style) for outcome in Outcome)):
        text.highlight_words([word], style)
    return text if cell.as_expected else text.append(f" {glyphs.bad}", "bold red")


# -- findings of the doctor ------------------------------------------------------------------------------------------


def _findings(console: Console, findings: Sequence[Finding]) -> RenderableType:
    parts: list[RenderableType] = []
    for heading, wanted in (("required", True), ("optional", False)):
        table = _table(
            (Column(""), Column(heading, no_wrap=True), Column("found", overflow="fold"), Column("for", style="dim"))
        )
        for finding in findings:
            if finding.required is wanted:
                found = Text(words.visible(finding.text), "" if finding.ok else "bold")
                if finding.remedy:
                    found.append("\n" if console.is_terminal else "; ").append(finding.remedy, "yellow")
                table.add_row(
                    _mark(console, finding.ok, not finding.ok and not wanted), finding.name, found, finding.purpose
                )
        parts += [table, Text()]
    return Group(*parts)


# -- the catalogue ---------------------------------------------------------------------------------------------------


def _catalogue(catalogue: Mapping[Kind, Sequence[tuple[str, str]]]) -> RenderableType:
    widest = max((len(words.visible(name)) for entries in catalogue.values() for name, _ in entries), default=0)
    parts: list[RenderableType] = []
    for kind, entries in catalogue.items():
        grid = _grid(Column(style="cyan", no_wrap=True, min_width=widest), Column(overflow="fold"))
        for name, line in entries:
            grid.add_row(words.visible(name), words.visible(line))
        parts += [Text(words.visible(kind), "bold"), _indented(grid), Text()]
    return Group(*parts)


# -- shared ----------------------------------------------------------------------------------------------------------


def _glyphs(console: Console) -> words.Glyphs:
    return words.PRETTY if console.is_terminal and console.encoding.startswith("utf") else words.PLAIN


def _mark(console: Console, ok: bool, neutral: bool) -> Text:
    glyphs = _glyphs(console)
    if not ok:
        return Text(glyphs.neutral if neutral else glyphs.bad, "yellow" if neutral else "bold red")
    return Text(glyphs.neutral, "dim") if neutral else Text(glyphs.good, "green")


def _table(columns: Iterable[Column]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.columns = list(columns)
    return table


def _grid(*columns: Column) -> Table:
    return Table.grid(*columns, padding=(0, 2, 0, 0))


def _indented(renderable: RenderableType) -> RenderableType:
    return Padding(renderable, (0, 0, 0, 2), expand=False)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)


def _by_lab(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    labs: dict[tuple[str, str | None], list[Verdict]] = {}
    for verdict in verdicts:
        labs.setdefault((verdict.scenario, verdict.variant), []).append(verdict)
    return list(labs.values())


def emit(console: Console, renderable: RenderableType) -> None:
    """Print; without trailing blanks into a pipe, and never failing on a character that the encoding lacks."""
    with console.capture() as capture:
        console.print(renderable, crop=False)
    text = capture.get()
    if not console.is_terminal:
        text = re.sub(r" +$", "", text, flags=re.MULTILINE)
    console.file.write(text.encode(console.encoding, "backslashreplace").decode(console.encoding))
    console.file.flush()
