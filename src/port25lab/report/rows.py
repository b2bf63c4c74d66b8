"""Verdicts gathered into the rows of a table: equal results over IPv4 and IPv6, or of several attempts, in one row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from port25lab.model.evidence import Blame
from port25lab.model.outcome import Outcome
from port25lab.model.verdict import Verdict
from port25lab.report import describe
from port25lab.report.text import Glyphs
from port25lab.verdict.series import series


@dataclass(frozen=True)
class Row:
    """One line of a table: one path, over IPv4 and IPv6 together where both ended in the same way."""

    verdicts: tuple[Verdict, ...]

    @property
    def first(self) -> Verdict:
        """The first verdict. The others differ from it in IP version, attempt, rule number and time alone."""
        return self.verdicts[0]

    @property
    def blames(self) -> list[Blame]:
        """The rules that decided: on the client's path, or on that of the relay that took its message."""
        return [verdict.blame for verdict in self.verdicts if verdict.blame] or relay_blames(self.verdicts)


def rows(verdicts: Iterable[Verdict]) -> list[Row]:
    """Verdicts in their order; those that differ in IP version or number of the attempt alone share a row."""
    listed = list(verdicts)
    spans, merged = _spans(listed), dict[object, list[Verdict]]()
    for verdict in listed:
        merged.setdefault((describe.same_question(verdict), _end(verdict), spans.get(id(verdict))), []).append(verdict)
    return [Row(tuple(group)) for group in merged.values()]


def _spans(verdicts: Iterable[Verdict]) -> dict[int, tuple[int, int]]:
    """For each verdict (by ``id``) of a repeated path: first and last of the consecutive attempts that ended alike."""
    spans: dict[int, tuple[int, int]] = {}
    for attempts in series(verdicts):
        for _, alike in groupby(attempts, key=_end):
            run = list(alike)
            spans |= {id(verdict): (run[0].question.path.attempt, run[-1].question.path.attempt) for verdict in run}
    return spans


def _end(verdict: Verdict) -> object:
    """A key that is equal for verdicts that may share a row: all that the row shows but rule numbers and times."""
    hop = describe.failing_hop(verdict)
    return (
        (verdict.ok, verdict.outcome, verdict.mechanism),
        (verdict.question.expected, verdict.question.by, verdict.question.how),
        verdict.judgement.reason if verdict.outcome is Outcome.ERROR else None,
        describe.saw(verdict),
        verdict.blame and chain_of(verdict.blame),
        hop and (hop.node, describe.client_saw(hop.observation), *(chain_of(one.blame) for one in hop.decisions[-1:])),
    )


def chain_of(blame: Blame) -> tuple[str, ...]:
    """Node, policy, table and chain of a rule."""
    return (blame.node, blame.policy or "", blame.table, blame.chain)


def relay_blames(verdicts: Iterable[Verdict]) -> list[Blame]:
    """The rules that blocked relays."""
    hops = (describe.failing_hop(verdict) for verdict in verdicts)
    return [decision.blame for hop in hops if hop for decision in hop.decisions[-1:]]


def stacked_rows(verdicts: Iterable[Verdict]) -> bool:
    """Whether a node has more than one policy, so that a rule's label needs the policy's name."""
    return any(len(names) > 1 for verdict in verdicts for names in verdict.question.config.policy_names.values())


def turns(verdicts: Sequence[Verdict], glyphs: Glyphs) -> list[str]:
    """For each repeated path, the first attempt that failed, or how many did by chance.

    Both IP versions are together where they agree.
    """
    found: dict[tuple[str, str, str], list[Verdict]] = {}
    for group in by_lab(verdicts):
        for attempts in series(group):
            first = attempts[0]
            if len(attempts) < first.question.repeat and first.chance is None:
                continue  # some attempts were not selected, so which one is the first to fail is unknown
            path = ", ".join(filter(None, (describe.ends_words(first, glyphs), describe.options_words(first))))
            found.setdefault((describe.lab_name(first), path, describe.turn_words(attempts)), []).append(first)
    return [f"{lab}: {path}, {describe.asked_versions(firsts)}: {turn}" for (lab, path, turn), firsts in found.items()]


def by_lab(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    """Verdicts by scenario and variant, in their order."""
    labs: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        labs.setdefault((verdict.question.scenario, verdict.question.variant), []).append(verdict)
    return list(labs.values())
