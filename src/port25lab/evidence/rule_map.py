"""The kernel's rules, joined to the lines of the files that they come from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from port25lab.errors import LabError
from port25lab.model.evidence import Blame, Effect
from port25lab.model.policy import Policy, RuleText
from port25lab.network.builder import LabNode
from port25lab.network.firewall import list_handles


@dataclass(frozen=True)
class Place:
    """Where the kernel keeps a rule: the key that a trace event carries."""

    family: str
    table: str
    chain: str
    handle: int | None
    """None: the chain's policy."""


class LoadedRules:
    """What a node's kernel runs, joined to what its author wrote."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._blame: dict[Place, tuple[Blame, Effect]] = {}
        self.diversions: dict[Place, Blame] = {}
        """Rules of a policy that send packets elsewhere. The network's own, such as a forwarded port, are none."""

    def __bool__(self) -> bool:
        return bool(self._blame)

    def learn(self, place: Place, blame: Blame, effect: Effect) -> None:
        """Remember one rule."""
        self._blame[place] = (blame, effect)

    @property
    def limits(self) -> bool:
        """Whether a rule drops what exceeds a limit: such a rule may meet a session at any time."""
        return any(effect is Effect.THROTTLE for _, effect in self._blame.values())

    def decided(self, place: Place) -> tuple[Blame, Effect]:
        """The rule at a place. One that no policy of ours brought is named by its handle."""
        unknown = Blame(
            node=self.node,
            family=place.family,
            table=place.table,
            chain=place.chain,
            rule_number=None,
            rule=f"handle {place.handle}" if place.handle else "chain policy",
        )
        return self._blame.get(place, (unknown, Effect.DROP))


def join(node: LabNode, policies: Sequence[Policy]) -> LoadedRules:
    """The rules of a node's kernel, each with the line of its file. ``policies``: all that were loaded, in order.

    Raises LabError where the kernel has other rules than the files.
    """
    written: dict[tuple[Literal["ip", "ip6"], str, str], list[tuple[Policy, RuleText]]] = {}
    loaded = LoadedRules(node.name)
    for policy in policies:
        for ruleset in policy.rulesets:
            for rule in ruleset.rules:
                written.setdefault((ruleset.family, rule.table, rule.chain), []).append((policy, rule))
            for chain_policy in ruleset.chain_policies:
                place = Place(ruleset.family, chain_policy.table, chain_policy.chain, None)
                loaded.learn(place, _blame(node, ruleset.family, policy, chain_policy, None), Effect.DROP)
    if not written:
        return loaded
    own = {Path(name).name for name in node.plan.policies}
    handles = node.run_inside(list_handles)
    for (family, table, chain), rules in written.items():
        kernel = handles.get((family, table, chain), [])
        if len(kernel) != len(rules):
            raise LabError(
                f"{node.name}: {table}/{chain} has {len(kernel)} rules in the kernel, {len(rules)} in the files"
            )
        for number, (handle, (policy, rule)) in enumerate(zip(kernel, rules, strict=True), 1):
            before = rules[number - 2][1].text if number > 1 else ""
            place, blame = Place(family, table, chain, handle), _blame(node, family, policy, rule, number)
            loaded.learn(place, blame, _effect(rule.text, before))
            if policy.name not in own and re.search(_DIVERSION, rule.text):
                loaded.diversions[place] = blame
    return loaded


def _blame(node: LabNode, family: Literal["ip", "ip6"], policy: Policy, rule: RuleText, number: int | None) -> Blame:
    return Blame(
        node=node.name,
        family=family,
        table=rule.table,
        chain=rule.chain,
        rule_number=number,
        rule=rule.text,
        policy=policy.name,
        file=str(rule.file),
        line=rule.line,
    )


_DIVERSION = r"(?:-j|--jump)\s+(?:DNAT|REDIRECT|TPROXY|NFQUEUE)\b"

_LIMIT = r"(?:-m|--match)\s+(?:hashlimit|limit|connlimit|recent)\b"

_LIMIT_WORDS = rf"(?:!\s+)?(?:{_LIMIT}|--(?:hashlimit|limit|connlimit)\S*(?:\s+[^\s-]\S*)?)"


def _effect(rule: str, before: str = "") -> Effect:
    """A REJECT traces as a drop; what it does stands in its own words, and so does a limit.

    A limit has two idioms: the rule that drops says it (``--hashlimit-above … -j DROP``), or the rule ``before`` it
    lets through what is under the limit, and the plain DROP for the same packets takes the rest.
    """
    if re.search(_LIMIT, rule) or _spares_what_is_under_a_limit(before, rule):
        return Effect.THROTTLE
    if not re.search(r"(?:-j|--jump)\s+REJECT\b", rule):
        return Effect.DROP
    return Effect.REJECT_RESET if re.search(r"--reject-with\s+tcp-reset\b", rule) else Effect.REJECT_ICMP


def _spares_what_is_under_a_limit(before: str, rule: str) -> bool:
    passes = re.search(rf"{_LIMIT}.*(?:-j|--jump)\s+(?:ACCEPT|RETURN)\b", before)
    return bool(passes) and _matches(before) == _matches(rule)


def _matches(rule: str) -> str:
    """The packets that a rule is about: without its limit, and what it does to them."""
    return " ".join(re.sub(rf"{_LIMIT_WORDS}|(?:-j|--jump)\s.*", " ", rule).split())
