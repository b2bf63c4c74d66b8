"""The tables of the console: rows, matrices, checks and the catalogue, as rich tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from port25lab.machine.feature import apt
from port25lab.model.evidence import Blame
from port25lab.model.outcome import OUTCOME_INFO, PASSING, Outcome, meets
from port25lab.model.verdict import Verdict
from port25lab.report import article_rows, describe, explain, matrix_rows
from port25lab.report.rows import Row, chain_of, relay_blames, rows, stacked_rows
from port25lab.report.text import PLAIN, PRETTY, Glyphs, duration, visible

if TYPE_CHECKING:
    from port25lab.machine.feature import Check
    from port25lab.scenario.catalogue import Kind


NARROW = 100
"""Terminals with fewer columns get fewer table columns: the path's options join the path, the client's view is left to
the failures, and the article's two answers share a cell."""

WIDEST_PATH = 0.42
"""Share of the terminal's width that the path may take before it is folded."""

SHORT_REPLY = 70

FEW_POLICIES = 4
"""How many policies without a deciding rule are named in a line of the article's table."""


def lab_table(console: Console, verdicts: Sequence[Verdict]) -> RenderableType:
    """The rows of one lab."""
    glyphs, narrow, stacked = glyphs_for(console), console.width < NARROW, stacked_rows(verdicts)
    with_ref, with_options = any(v.question.ref for v in verdicts), any(describe.options_words(v) for v in verdicts)
    columns: list[tuple[Column, Callable[[Row], Text | str], bool]] = [
        (Column(""), lambda row: mark(console, row.first.ok, row.first.question.expected is None), True),
        (Column("ref", no_wrap=True), lambda row: visible(row.first.question.ref or ""), with_ref),
        (Column("path", overflow="fold"), lambda row: _path(row.first, glyphs, with_options=narrow), True),
        (
            Column("with", style="dim", overflow="fold"),
            lambda row: describe.options_words(row.first),
            with_options and not narrow,
        ),
        (
            Column("IP", no_wrap=True),
            lambda row: describe.asked_versions(row.verdicts),
            True,
        ),
        (Column("try", no_wrap=True), lambda row: _attempts(row, glyphs), any(v.question.repeat > 1 for v in verdicts)),
        (Column("outcome", no_wrap=True), lambda row: _outcome(console, row.first), True),
        (Column("client saw", style="dim", no_wrap=True), lambda row: _saw(row, glyphs), not narrow),
        (Column("decided by", overflow="fold"), lambda row: decided(row, glyphs, stacked=stacked), True),
    ]
    shown = [(column, cell) for column, cell, shows in columns if shows]
    lines = rows(verdicts)
    longest = max(Text(str(cell(row))).cell_len for column, cell in shown if column.header == "path" for row in lines)
    columns[2][0].width = min(longest, int(console.width * WIDEST_PATH))
    table = bare_table(column for column, _ in shown)
    for row in lines:
        table.add_row(*(cell(row) for _, cell in shown))
    return Group(_lab_heading(verdicts, glyphs), table, *deciding_rules(verdicts, glyphs), Text())


def _lab_heading(verdicts: Sequence[Verdict], glyphs: Glyphs) -> Text:
    wrong = sum(not verdict.ok for verdict in verdicts)
    return Text.assemble(
        (describe.lab_name(verdicts[0]), "bold"),
        (f" {glyphs.between} ", "dim"),
        (describe.policies_words(verdicts[0].question.config.policy_names) or "no policy", "cyan"),
        (f" {glyphs.between} {count(len(verdicts), 'path')}, ", "dim"),
        (f"{wrong} not as expected", "bold red") if wrong else ("all as expected", "dim"),
    )


def _path(verdict: Verdict, glyphs: Glyphs, *, with_options: bool) -> Text:
    source, mx, to = describe.ends(verdict.question.path)
    text = Text.assemble(source, (f" {glyphs.arrow} {mx} " if mx else f" {glyphs.arrow} ", "dim"), to)
    options = describe.options_words(verdict)
    return text.append(f", {options}", "dim") if with_options and options else text


def _attempts(row: Row, glyphs: Glyphs) -> str:
    """``4``, or ``1-3`` for attempts in a row; empty for a path that is tried once."""
    if row.first.question.repeat == 1:
        return ""
    numbers = [verdict.question.path.attempt for verdict in row.verdicts]
    first, last = min(numbers), max(numbers)
    return str(first) if first == last else f"{first}{glyphs.through}{last}"


def _outcome(console: Console, verdict: Verdict) -> Text:
    question = verdict.question
    # What was expected is no alarm beside its tick.
    style = "" if verdict.ok and question.expected is not None else OUTCOME_INFO[verdict.outcome].style
    text = Text.assemble((verdict.outcome.value, "green" if verdict.outcome in PASSING else style))
    if verdict.ok or question.expected is None:
        return text
    if not meets(verdict.outcome, question.expected):
        expected = question.expected.value
    else:
        by = question.by if explain.wrong_node(verdict) else explain.missed_mechanism(verdict)
        expected = f"by {visible(by)}" if by else "with proof"
    text.append("\n" if console.is_terminal else ", ").append("expected ", "dim").append(expected, "bold")
    return text


def _saw(row: Row, glyphs: Glyphs) -> str:
    """The client's code and time; the shortest and the longest time where those of IPv4 and IPv6 differ much.

    A client that did not wait until it gave up has no time to show: ``ETIMEDOUT proven in 12 ms``.
    """
    if not describe.saw_something(row.first):
        return ""
    times = [verdict.observation.seconds for verdict in row.verdicts]
    shortest, longest = min(times), max(times)
    near = longest - shortest < max(0.1, 0.2 * longest)
    spread = "" if near else duration(shortest) + glyphs.through
    proven = "proven in " if all(verdict.observation.proven_early for verdict in row.verdicts) else ""
    return f"{describe.saw(row.first)} {proven}{spread}{duration(longest)}".lstrip()


def decided(row: Row, glyphs: Glyphs, *, stacked: bool) -> Text:
    """The rule; or the relay and what stopped it; or the server's reply; or why port25lab failed."""
    verdict, label = row.first, _label(row.blames, stacked=stacked)
    if verdict.outcome is Outcome.ERROR:
        return Text(_cut(visible(verdict.judgement.reason or "no reason given")))
    if hop := describe.failing_hop(verdict):
        failure = visible(f"{hop.node} {glyphs.arrow} {hop.to} {describe.client_saw(hop.observation)}")
        return Text(f"{failure}, {label}" if label else failure)
    if label:
        return Text(label)
    if verdict.outcome is Outcome.DELIVERED:
        relays = dict.fromkeys(visible(hop.node) for hop in verdict.evidence.hops)
        return Text(f"via {', '.join(relays)}" if relays else "", "dim")
    replies = {describe.reply_text(v.observation) for v in row.verdicts if not v.observation.errno}
    return Text(_cut(replies.pop()) if len(replies) == 1 else "", "dim", no_wrap=True, overflow="ellipsis")


def _cut(text: str) -> str:
    return text if len(text) <= SHORT_REPLY else f"{text[:SHORT_REPLY].rstrip()}..."


def _label(blames: Sequence[Blame], *, stacked: bool) -> str:
    if not blames:
        return ""
    return describe.rule_label(blames[0], [blame.rule_number for blame in blames], with_policy=stacked)


def deciding_rules(verdicts: Sequence[Verdict], glyphs: Glyphs) -> list[RenderableType]:
    """Each rule that decided, once: its label in the table, its file and line, its text, and what led there."""
    stacked = stacked_rows(verdicts)
    blames = {*(verdict.blame for verdict in verdicts if verdict.blame), *relay_blames(verdicts)}
    if not blames:
        return []
    grid = grid_table(Column(no_wrap=True), Column(style="dim", no_wrap=True), Column(overflow="fold"))
    before = ""
    for blame in sorted(blames, key=lambda blame: (chain_of(blame), blame.rule_number or 0, blame.family)):
        label = describe.rule_label(blame, with_policy=stacked)
        grid.add_row(
            "" if label == before else label,
            describe.short_place(blame),
            Text("\n".join(filter(None, (visible(blame.rule), describe.trail_words(blame, glyphs)))), "italic"),
        )
        before = label
    return [Text(), indented(grid)]


def article_table(console: Console, lines: Sequence[article_rows.Line]) -> RenderableType:
    """The article's rows."""
    glyphs, narrow = glyphs_for(console), console.width < NARROW
    columns: list[tuple[Column, Callable[[article_rows.Line], Text | str], bool]] = [
        (Column(""), lambda line: mark(console, line.ok, False), True),
        (Column("ref", no_wrap=True), lambda line: visible(line.ref), True),
        (Column("path", overflow="fold"), lambda line: _question(line, glyphs), True),
        (Column("IP", no_wrap=True), _asked_versions, True),
        (Column("without policy"), lambda line: _answer(line.without), not narrow),
        (Column("with policy"), lambda line: _answer(line.with_policy), not narrow),
        (Column("without, with"), lambda line: _both_answers(line, glyphs), narrow),
        (Column("policy, and its rule", overflow="fold"), _policies_with_rules, True),
    ]
    shown = [(column, cell) for column, cell, shows in columns if shows]
    table = bare_table(column for column, _ in shown)
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
    notes = [Text(note.replace("–", glyphs.through), "dim") for ref, note in article_rows.NOTES.items() if ref in refs]
    return Group(heading, table, *([Text(), *(indented(note) for note in notes)] if notes else []), Text())


def _question(line: article_rows.Line, glyphs: Glyphs) -> str:
    first = (line.verdicts or line.baseline)[0]
    question = article_rows.QUESTIONS.get(line.ref) or visible(first.question.name or describe.ends_words(first))
    return question.replace("→", glyphs.arrow)


def _asked_versions(line: article_rows.Line) -> str:
    return describe.versions_words(version for version, _ in line.with_policy or line.without)


def _both_answers(line: article_rows.Line, glyphs: Glyphs) -> Text:
    arrow = f"\n{glyphs.arrow} " if line.without and line.with_policy else ""
    return Text.assemble(_answer(line.without), (arrow, "dim"), _answer(line.with_policy))


def _policies_with_rules(line: article_rows.Line) -> Text:
    """``op25b #4, op25b-all #3 on isp-edge``: each policy with its rule, and after the policies of a node, the node.

    Of policies without a deciding rule, only the first ``FEW_POLICIES`` are named.
    """
    idle = [policy for policy, blames in line.rules.items() if not blames]
    unnamed = idle[FEW_POLICIES:] if len(idle) > FEW_POLICIES + 1 else []
    text, node = Text(), ""
    for policy, blames in line.rules.items():
        if policy in unnamed:
            continue
        here = blames[0].node if blames else ""
        if text:
            text.append(f" on {node}" if node and node != here else "", "dim").append(", ")
        node = visible(here)
        text.append(policy, "" if blames else "dim")
        text.append(":" if blames and " + " in policy else "").append(_rules_in_words(policy, blames))
    text.append(f" on {node}" if node else "", "dim")
    return text.append(f" and {len(unnamed)} more" if unnamed else "", "dim")


def _rules_in_words(policy: str, blames: Sequence[Blame]) -> str:
    """A rule's number, after its chain where the chain is not named like the policy; of both families ``#5/#3``."""
    chains: dict[str, list[str]] = {}
    for blame in blames:
        chain = visible(blame.chain)
        number = "policy" if blame.rule_number is None else f"#{blame.rule_number}"
        chains.setdefault(f" {chain}" if chain != policy else "", []).append(number)
    return "".join(f"{chain} {'/'.join(dict.fromkeys(numbers))}" for chain, numbers in chains.items())


def _answer(answer: article_rows.Answer) -> Text:
    text = Text()
    for versions, outcome in article_rows.answer_parts(answer):
        text.append(", " if text else "").append(f"{versions} " if versions else "")
        text.append(outcome.value, OUTCOME_INFO[outcome].style)
    return text


def matrix_table(console: Console, group: matrix_rows.Matrix) -> RenderableType:
    """Paths by variants."""
    glyphs = glyphs_for(console)
    about = matrix_rows.GROUPS[group.should]
    heading = Text.assemble((visible(group.scenario), "bold"))
    if about:
        heading.append(f" {glyphs.between} ", "dim").append(about, "cyan")
    columns = [Column("path", overflow="fold"), *(Column(variant, overflow="fold") for variant in group.variants)]
    table = bare_table(columns)
    for line in group.lines:
        table.add_row(line.name, *(_matrix_cell(console, cell) for cell in line.cells))
    return Group(heading, table, Text())


_WORD_STYLES = {
    **{outcome.value: info.style for outcome, info in OUTCOME_INFO.items()},
    "leak": "red",
    "over": "yellow",
    "error": "bold white on red",
    matrix_rows.RIGHT: "green",
}


def _matrix_cell(console: Console, cell: matrix_rows.Cell) -> Text:
    """What the policy does, marked where the scenario expected something else."""
    glyphs, text = glyphs_for(console), Text()
    for versions, word in cell.words:
        text.append(" " if text else "").append(f"{versions} " if versions else "")
        text.append(glyphs.good if word == matrix_rows.RIGHT else word, _WORD_STYLES.get(word, ""))
    return text if cell.as_expected else text.append(f" {glyphs.bad}", "bold red")


def checks_table(console: Console, checks: Sequence[Check]) -> RenderableType:
    """The doctor's checks."""
    parts: list[RenderableType] = []
    for heading, required in (("required", True), ("optional", False)):
        table = bare_table(
            (Column(""), Column(heading, no_wrap=True), Column("found", overflow="fold"), Column("for", style="dim"))
        )
        for check in checks:
            if check.required is required:
                found = Text(visible(check.text), "" if check.ok else "bold")
                if check.remedy:
                    found.append("\n" if console.is_terminal else "; ").append(check.remedy, "yellow")
                table.add_row(mark(console, check.ok, not check.ok and not required), check.name, found, check.purpose)
        parts += [table, Text()]
    return Group(*parts, *_installing(checks))


def _installing(checks: Sequence[Check]) -> list[RenderableType]:
    """One command for all Debian packages that are required, and one for those that are optional as well."""
    lines: list[RenderableType] = []
    needed = [package for check in checks if check.required for package in check.packages]
    every = [*needed, *(package for check in checks if not check.required for package in check.packages)]
    for heading, packages in (("install what is required", needed), ("install all of it", every)):
        if packages and (packages is needed or set(every) != set(needed)):
            lines += [
                Text(f"{heading}:", "bold"),
                Text(f"  {apt(*packages)}", "yellow", no_wrap=True, overflow="ignore"),
            ]
    return lines


def catalogue_table(catalogue: Mapping[Kind, Sequence[tuple[str, str]]]) -> RenderableType:
    """Topologies, policies and scenarios, a line each."""
    widest = max((len(visible(name)) for entries in catalogue.values() for name, _ in entries), default=0)
    parts: list[RenderableType] = []
    for kind, entries in catalogue.items():
        grid = grid_table(Column(style="cyan", no_wrap=True, min_width=widest), Column(overflow="fold"))
        for name, line in entries:
            grid.add_row(visible(name), visible(line))
        parts += [Text(visible(kind), "bold"), indented(grid), Text()]
    return Group(*parts)


def glyphs_for(console: Console) -> Glyphs:
    """The glyphs that a console can show."""
    return PRETTY if console.is_terminal and console.encoding.startswith("utf") else PLAIN


def mark(console: Console, ok: bool, neutral: bool) -> Text:
    """The mark of a row: as expected, not as expected, or (``neutral``) nothing expected."""
    glyphs = glyphs_for(console)
    if not ok:
        return Text(glyphs.neutral if neutral else glyphs.bad, "yellow" if neutral else "bold red")
    return Text(glyphs.neutral, "dim") if neutral else Text(glyphs.good, "green")


def bare_table(columns: Iterable[Column]) -> Table:
    """A table without lines."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.columns = list(columns)
    return table


def grid_table(*columns: Column) -> Table:
    """A table without lines."""
    return Table.grid(*columns, padding=(0, 2, 0, 0))


def indented(renderable: RenderableType) -> RenderableType:
    """Two columns further to the right."""
    return Padding(renderable, (0, 0, 0, 2), expand=False)


def count(number: int, noun: str) -> str:
    """A number and its noun."""
    return f"{number} {noun}" + "s" * (number != 1)
