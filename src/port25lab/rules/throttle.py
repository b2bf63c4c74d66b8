"""Whether a limit, or chance, decided: the packet passes with the answer turned round, and did not without.

``throttled`` is about limits that a packet is over: ACCEPT under a limit with a DROP behind it, or a DROP of what is
above one. A limit on the *answers* (``-m limit … -j REJECT``, then DROP), a rule that refuses what is *under* a limit
(``--connlimit-upto 2 -j REJECT``) and a ``recent`` list are no throttles.
"""

from __future__ import annotations

from collections.abc import Sequence

from port25lab.rules.effects import is_random, over_limit
from port25lab.rules.evaluate import Answers, Assumption, Outcome, walk
from port25lab.rules.kinds.limits import Rate
from port25lab.rules.model import Match, Rule, Ruleset
from port25lab.rules.packet import Packet, Sets, no_sets

_BYTES_SECONDS = 1.0
"""A limit in bytes a second counts in seconds."""


def match_of(assumption: Assumption) -> Match:
    """The match that an assumption is about."""
    return list(assumption.rule.all_matches())[assumption.match]


def throttled(
    ruleset: Ruleset,
    packet: Packet,
    way: str | Sequence[tuple[str, str]],
    outcome: Outcome,
    *,
    sets: Sets = no_sets,
) -> Rule | None:
    """The rule whose limit kept the packet from passing, or None.

    Args:
        ruleset, packet, way, sets: As they were given to ``walk``.
        outcome: The one of its outcomes that is asked about, such as the one that the kernel's trace shows.
    """
    if outcome.passes is not False:
        return None
    for assumption in outcome.assumed:
        over = over_limit(match_of(assumption))
        if (
            over is not None
            and assumption.holds == over
            and _passes_without(ruleset, packet, way, outcome, assumption, sets)
        ):
            return assumption.rule
    return None


def by_chance(
    ruleset: Ruleset,
    packet: Packet,
    way: str | Sequence[tuple[str, str]],
    outcome: Outcome,
    *,
    sets: Sets = no_sets,
) -> Rule | None:
    """The rule whose ``statistic`` match kept the packet from passing, or None. Arguments as of ``throttled``."""
    if outcome.passes is not False:
        return None
    for assumption in outcome.assumed:
        if is_random(match_of(assumption)) and _passes_without(ruleset, packet, way, outcome, assumption, sets):
            return assumption.rule
    return None


def changed_by_chance(
    ruleset: Ruleset,
    packet: Packet,
    way: str | Sequence[tuple[str, str]],
    outcome: Outcome,
    changer: Rule,
    *,
    sets: Sets = no_sets,
) -> bool:
    """Whether a ``statistic`` match is why a rule changed the packet on its way, or gave it to a program.

    ``changer``: one of the rules that the outcome has as ``altered`` or ``decider``. Others as of ``throttled``.
    """
    return any(
        changer not in (*one.altered, one.decider)
        for assumption in outcome.assumed
        if is_random(match_of(assumption))
        for one in _without(ruleset, packet, way, outcome, assumption, sets)
    )


def _passes_without(
    ruleset: Ruleset,
    packet: Packet,
    way: str | Sequence[tuple[str, str]],
    outcome: Outcome,
    turned: Assumption,
    sets: Sets,
) -> bool:
    """Whether the packet can pass with one answer turned round, and the others as they were."""
    return any(one.passes for one in _without(ruleset, packet, way, outcome, turned, sets))


def _without(
    ruleset: Ruleset,
    packet: Packet,
    way: str | Sequence[tuple[str, str]],
    outcome: Outcome,
    turned: Assumption,
    sets: Sets,
) -> tuple[Outcome, ...]:
    """What can become of the packet with one answer turned round, and the others as they were."""
    answers: dict[tuple[tuple[str, str, int], int], bool] = {one.question: one.holds for one in outcome.assumed}
    answers[turned.question] = not turned.holds
    return walk(ruleset, packet, way, sets=sets, answers=answers).outcomes


def answers_of(ruleset: Ruleset, known: dict[str, bool]) -> Answers:
    """Answers for every match of some modules: ``{"limit": False}`` is a packet over every limit of that kind."""
    return {
        (rule.key, index): known[match.module]
        for rule in ruleset.rules()
        for index, match in enumerate(rule.all_matches())
        if match.module in known
    }


def refill_seconds(match: Match) -> float | None:
    """Seconds after which a limit in time lets one more packet pass, or forgets one; None for every other match."""
    if match.module == "recent":
        window = match.option("seconds")
        return None if window is None else float(window.value)
    for name, scale in (("limit", 10_000), ("hashlimit-upto", 1_000_000), ("hashlimit-above", 1_000_000)):
        option = match.option(name) if match.module in ("limit", "hashlimit") else None
        if option is not None:
            return option.value.period / scale if isinstance(option.value, Rate) else _BYTES_SECONDS
    return None
