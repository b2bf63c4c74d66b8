"""Questions about a single rule that evidence asks: by its typed matches and target, never by its text."""

from __future__ import annotations

from port25lab.model.evidence import Effect
from port25lab.rules import Changes, Rule, Ruleset, diverts, is_random, over_limit, target_effect

_OF_CONTENT = frozenset({"string", "length", "connbytes", "u32", "bpf", "tls"})
"""Matches on what the packets of a session say, or how many there were."""


def decides(rule: Rule) -> bool:
    """Whether it makes a difference to a packet that it matches the rule: LOG and a bare counter make none."""
    if rule.target is None:
        return False
    if rule.target.chain:
        return True
    effect = target_effect(rule.target)
    return effect is None or effect.decision is not None or bool(effect.changes)


def only_translates(ruleset: Ruleset) -> bool:
    """Whether every packet passes, whatever it is, with another source or destination at most."""
    chains = (chain for table in ruleset.tables.values() for chain in table.chains.values())
    return all(_passes(rule) for rule in ruleset.rules()) and not any(chain.policy == "DROP" for chain in chains)


def _passes(rule: Rule) -> bool:
    if rule.target is None or rule.target.chain:
        return True
    effect = target_effect(rule.target)
    if effect is None or not effect.changes <= {Changes.SOURCE, Changes.DESTINATION}:
        return False
    return effect.decision is None or bool(effect.decision.passes)


def is_uncertain(rule: Rule) -> bool:
    """Whether a match of the rule is a limit, or leaves its answer to chance."""
    return any(over_limit(match) is not None or is_random(match) for match in rule.matches)


def queues(rule: Rule) -> range | None:
    """The queues of programs into which a rule puts packets; None for every other rule."""
    target = rule.target
    if target is None or target.chain or target.name not in ("NFQUEUE", "QUEUE"):
        return None
    balance, number = target.option("queue-balance"), target.option("queue-num")
    if balance is not None:
        return range(balance.value.low, balance.value.high + 1)
    first = number.value if number is not None else 0
    return range(first, first + 1)


def steering(rule: Rule) -> Effect | None:
    """DIVERT for a rule that sends packets elsewhere, CHANGE for another source or TTL, None for every other rule."""
    target = rule.target
    if target is None or target.chain:
        return None
    effect = target_effect(target)
    if effect is None:
        return None
    if diverts(target) or Changes.DESTINATION in effect.changes:
        return Effect.DIVERT
    return Effect.CHANGE if effect.changes & {Changes.SOURCE, Changes.TTL} else None
