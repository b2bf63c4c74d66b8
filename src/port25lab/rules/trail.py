"""The rules that led to a decision: open jumps, what changed the packet in a way that mattered, the decider last.

In: the rules that the packet matched, in order, as the kernel's trace or a walk has them. Rules that only log, chains
that returned and marks that no later rule matched are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from port25lab.rules.effects import Changes, changes, diverts, reads, sets_anew
from port25lab.rules.model import Rule


def open_jumps(met: Sequence[Rule]) -> tuple[Rule, ...]:
    """The jumps and gotos that are open at the last of these rules."""
    return tuple(met[place] for place in _open(met))


def trail(met: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules that led to a decision, in order.

    Args:
        met: All rules that the packet matched, the decider last.

    Returns: the rules that changed the packet so that the decider, or a jump to it, looked at the change (marks, NAT,
        TTL …); the open jumps; the decider.
    """
    if not met:
        return ()
    last = len(met) - 1
    kept = {*_open(met), last}
    wanted: frozenset[Changes] = frozenset()
    for place in range(last, -1, -1):
        rule = met[place]
        if place not in kept:
            target = rule.target
            if target is None or target.chain or not (changes(target) & wanted or diverts(target)):
                continue
            kept.add(place)
            wanted -= sets_anew(target)
        wanted |= _looked_at(rule)
    return tuple(met[place] for place in sorted(kept))


def _open(met: Sequence[Rule]) -> list[int]:
    """Places of the jumps that are open at the last rule."""
    stack: list[int] = []
    for place, rule in enumerate(met):
        while stack and not _leads_to(met[stack[-1]], rule):
            stack.pop()
        if place < len(met) - 1 and rule.target is not None and rule.target.chain:
            stack.append(place)
    return stack


def _leads_to(jump: Rule, rule: Rule) -> bool:
    return jump.table == rule.table and jump.target is not None and jump.target.name == rule.chain


def _looked_at(rule: Rule) -> frozenset[Changes]:
    """What a rule depends on, of that which other rules may have changed."""
    found: frozenset[Changes] = frozenset()
    for match in rule.all_matches():
        found |= reads(match)
    target = rule.target
    if target is not None and target.name == "CONNMARK":
        if target.option("restore-mark"):
            found |= {Changes.CONNMARK}
        if target.option("save-mark"):
            found |= {Changes.MARK}
    return found
