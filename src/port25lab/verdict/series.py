"""Repeated paths: the attempts of each, and where a rule decided about them by chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from port25lab.model.evidence import Blame, Evidence, Hop
from port25lab.model.verdict import Chance, Verdict


def series(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    """The attempts of each repeated path over each IP version, in their order."""
    found: dict[object, list[Verdict]] = {}
    for verdict in verdicts:
        question = verdict.question
        if question.repeat > 1:
            path = question.path.model_copy(update={"attempt": 1})
            key = (question.scenario, question.variant, question.ref, question.name, path)
            found.setdefault(key, []).append(verdict)
    return [sorted(attempts, key=lambda verdict: verdict.question.path.attempt) for attempts in found.values()]


def with_chance(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The same verdicts; those of a path whose attempts differ, by a rule of chance, say so."""
    chances = {
        id(verdict): chance
        for attempts in series(verdicts)
        if (chance := chance_of(attempts)) is not None
        for verdict in attempts
    }
    return [replace(one, chance=chances[id(one)]) if id(one) in chances else one for one in verdicts]


def chance_of(attempts: Sequence[Verdict]) -> Chance | None:
    """How the attempts of one path ended; None where all ended alike, or no rule decided by chance."""
    outcomes = Counter(verdict.outcome for verdict in attempts)
    rules = dict.fromkeys(blame for verdict in attempts for blame in _by_chance(verdict.evidence))
    return Chance(outcomes=dict(outcomes), rules=tuple(rules)) if rules and len(outcomes) > 1 else None


def _by_chance(evidence: Evidence) -> Iterator[Blame]:
    """The rules that decided by chance about an attempt, on its own packets and on those of relays."""
    tries: list[Evidence | Hop] = [evidence, *evidence.hops]
    decisions = (decision for one in tries for decision in (*one.decisions, *one.diverted))
    return (decision.blame for decision in decisions if decision.by_chance)
