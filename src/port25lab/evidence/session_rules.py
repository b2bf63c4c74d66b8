"""Whether rules may keep packets of an open session from passing: then a node's trace has to follow whole sessions.

A session is open when its SYN and SYN-ACK have passed. Rules stop it afterwards that judge its other packets otherwise:
by what they say, by their number, by what packets before them have left (a mark, a set, a list), or by chance; rules
that are about other packets than SYNs; and rules that let SYNs pass and nothing else.
"""

from __future__ import annotations

from port25lab.evidence.rule_kinds import decides, is_uncertain
from port25lab.rules import Changes, Match, Rule, Ruleset, Table, target_effect
from port25lab.rules.packet import SYN

_OF_CONTENT = frozenset({"string", "length", "connbytes", "u32", "bpf", "tls"})
"""Matches on what the packets of a session say, or how many there were."""

_MARKS = frozenset({"mark", "connmark"})

_STATES = frozenset({"ctstate", "state"})

_OF_LATER_PACKETS = frozenset({"ctstatus", "tcp-option"})
"""Options that a SYN may answer otherwise than the packets after it."""


def act_in_sessions(ruleset: Ruleset) -> bool:
    """Whether a rule of a ruleset may keep packets of an open session from passing that are not SYNs."""
    rules = [rule for rule in ruleset.rules() if decides(rule)]
    marks_decide = any(not _passes(rule) and _modules(rule) & _MARKS for rule in rules)
    return any(_acts(rule, marks_decide) for rule in rules) or any(map(_opens_only, ruleset.tables.values()))


def _acts(rule: Rule, marks_decide: bool) -> bool:
    """``marks_decide``: some rule drops by a mark."""
    if is_uncertain(rule) or _modules(rule) & _OF_CONTENT:
        return True
    changes = _changes(rule)
    if not _for_opening(rule) and (Changes.SETS in changes or "recent" in _modules(rule)):
        return True
    if _passes(rule) and not (marks_decide and changes & {Changes.MARK, Changes.CONNMARK}):
        return False
    return any(_leaves_syns_out(match) for match in rule.matches)


def _opens_only(table: Table) -> bool:
    """Whether a table lets SYNs pass by rules that are about them alone, and may drop what is behind them."""
    rules = list(table.rules())
    builtin = [chain for chain in table.chains.values() if chain.policy is not None]
    drops = any(chain.policy != "ACCEPT" for chain in builtin) or any(
        decides(rule) and not _passes(rule) for rule in rules
    )
    if not drops or not any(decides(rule) and _passes(rule) and _for_opening(rule) for rule in rules):
        return False
    met = [chain for chain in builtin if chain.rules or chain.policy != "ACCEPT"]
    return not all(any(map(_lets_sessions_pass, chain.rules)) for chain in met)


def _lets_sessions_pass(rule: Rule) -> bool:
    """Whether every packet of an open session passes by this rule."""
    if rule.target is None or rule.target.name != "ACCEPT" or rule.header.options:
        return False
    options = [option for match in rule.matches for option in match.options]
    return [option.name in _STATES and not option.negated and "ESTABLISHED" in option.value for option in options] == [
        True
    ]


def _passes(rule: Rule) -> bool:
    """Whether packets that match a rule go on to their end, as far as that rule is concerned: a TTL may be too low."""
    effect = target_effect(rule.target) if rule.target is not None and not rule.target.chain else None
    if effect is None or Changes.TTL in effect.changes:
        return False
    return effect.decision is None or bool(effect.decision.passes)


def _changes(rule: Rule) -> frozenset[Changes]:
    effect = target_effect(rule.target) if rule.target is not None and not rule.target.chain else None
    return effect.changes if effect is not None else frozenset()


def _modules(rule: Rule) -> frozenset[str]:
    return frozenset(match.module for match in rule.matches)


def _for_opening(rule: Rule) -> bool:
    """Whether only packets that open a connection match a rule."""
    for option in (option for match in rule.matches for option in match.options):
        if option.name in _STATES and ("ESTABLISHED" in option.value) is option.negated:
            return True
        if option.name == "tcp-flags" and not option.negated and option.value.value & SYN:
            return True
    return False


def _leaves_syns_out(match: Match) -> bool:
    """Whether a match is about packets that do not open a connection."""
    for option in match.options:
        if option.name in _OF_LATER_PACKETS:
            return True
        if option.name in _STATES and ("NEW" in option.value) is option.negated:
            return True
        if option.name == "tcp-flags" and (option.negated or option.value.value != SYN):
            return True
    return False
