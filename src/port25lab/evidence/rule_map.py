"""What a node's kernel runs, joined to the lines of the files: from the place of a trace event to the rule.

In: the kernel's own listing, the handles of its rules and the policies that were loaded. Out: ``LoadedRules``, which
says for a place that the kernel's trace names which rule stands there, who wrote it where, and what it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from port25lab.errors import LabError
from port25lab.model.evidence import Blame, Effect
from port25lab.model.policy import Policy
from port25lab.network import firewall
from port25lab.network.builder import LabNode
from port25lab.rules import (
    Chain,
    Differing,
    Family,
    Rule,
    Ruleset,
    Source,
    decode,
    diverts,
    join,
    over_limit,
    parse_listing,
    rejection,
    stack,
    target_effect,
)

FAMILIES: tuple[Family, ...] = ("ip", "ip6")


@dataclass(frozen=True)
class Place:
    """Where the kernel keeps a rule: the key that a trace event carries."""

    family: Literal["ip", "ip6", "inet"]
    table: str
    chain: str
    handle: int | None
    """None: the chain's policy."""


class LoadedRules:
    """The rules of one node, by their places."""

    def __init__(self, node: str, policies: Iterable[Policy] = ()) -> None:
        self.node = node
        self._policies = {str(file.file): policy for policy in policies for file in policy.rules_files}
        self._rulesets: dict[str, Ruleset] = {}
        self._rules: dict[Place, Rule] = {}
        self._diversions: set[Place] = set()

    def __bool__(self) -> bool:
        return bool(self._rulesets)

    def learn(self, ruleset: Ruleset, handles: Mapping[tuple[str, str, str], Sequence[int]]) -> None:
        """Take the rules of one family.

        Args:
            ruleset: The kernel's rules, with the places of the files.
            handles: By family, table and chain: the handles of the rules, in the chain's order.

        Raises: LabError where a chain has another number of handles than rules.
        """
        self._rulesets[ruleset.family] = ruleset
        for table in ruleset.tables.values():
            for chain in table.chains.values():
                known = handles.get((ruleset.family, table.name, chain.name), ())
                if len(known) != len(chain.rules):
                    raise LabError(
                        f"{self.node}: {table.name}/{chain.name} has {len(chain.rules)} rules in the listing "
                        f"and {len(known)} in the kernel"
                    )
                for handle, rule in zip(known, chain.rules, strict=True):
                    place = Place(ruleset.family, table.name, chain.name, handle)
                    self._rules[place] = rule
                    if self._diverts(rule):
                        self._diversions.add(place)

    @property
    def limits(self) -> bool:
        """Whether a limit decides about packets: such a rule may meet a session at any time."""
        return any(
            over_limit(match) is not None for rule in self._rules.values() if _decides(rule) for match in rule.matches
        )

    @property
    def has_diversions(self) -> bool:
        """Whether a policy under test has a rule that sends packets elsewhere."""
        return bool(self._diversions)

    def diverts(self, place: Place) -> bool:
        """Whether a rule under test sends packets elsewhere. The network's own, such as a forwarded port, do not."""
        return place in self._diversions

    def effect(self, place: Place) -> Effect:
        """What the rule at a place does to a packet that it keeps from passing."""
        rule = self._rules.get(place)
        if rule is not None and self._throttles(place.family, rule):
            return Effect.THROTTLE
        how = rejection(rule.target) if rule is not None else None
        if how is None:
            return Effect.DROP
        return Effect.REJECT_RESET if how == "tcp-reset" else Effect.REJECT_ICMP

    def _throttles(self, family: str, rule: Rule) -> bool:
        """Whether the rule has a limit, or the rule before it lets through what is under one."""
        if any(over_limit(match) is not None for match in rule.matches):
            return True
        before = self._rulesets[family].tables[rule.table].chains[rule.chain].rules[rule.number - 2]
        return rule.number > 1 and any(over_limit(match) is not None for match in before.matches)

    def blame(self, place: Place) -> Blame:
        """The rule at a place. One that no policy of ours brought is named by its handle."""
        rule = self._rules.get(place)
        if rule is not None:
            return self._blame_of(place, rule.number, rule.text, str(rule.place.file), rule.place.line, rule.comments)
        if place.handle is not None:
            return self._blame_of(place, None, f"handle {place.handle}")
        chain = self._chain(place)
        if chain is None or chain.place is None:
            return self._blame_of(place, None, f":{place.chain} {chain.policy}" if chain else "chain policy")
        return self._blame_of(place, None, f":{chain.name} {chain.policy}", chain.place.file, chain.place.line)

    def _chain(self, place: Place) -> Chain | None:
        ruleset = self._rulesets.get(place.family)
        table = ruleset.tables.get(place.table) if ruleset is not None else None
        return table.chains.get(place.chain) if table is not None else None

    def _blame_of(
        self,
        place: Place,
        number: int | None,
        rule: str,
        file: str | None = None,
        line: int | None = None,
        comments: Sequence[str] = (),
    ) -> Blame:
        policy = self._policies.get(file or "")
        return Blame(
            node=self.node,
            family=place.family,
            table=place.table,
            chain=place.chain,
            rule_number=number,
            rule=_readable(rule),
            comment=_readable("; ".join(comments)) or None,
            policy=policy.name if policy else None,
            file=file,
            line=line,
        )

    def _diverts(self, rule: Rule) -> bool:
        policy = self._policies.get(rule.place.file)
        if policy is not None and policy.origin == "network":
            return False
        return rule.target is not None and not rule.target.chain and diverts(rule.target)


def join_rules(node: LabNode, policies: Sequence[Policy]) -> LoadedRules:
    """The rules of a node's kernel, each with the line of its file.

    Args:
        node: The node.
        policies: All policies that were loaded into the node, in order.

    Raises: LabError where the kernel has other rules than the files: then this program has read them wrongly.
    """
    loaded = LoadedRules(node.name, policies)
    sources = {family: _sources(policies, family) for family in FAMILIES}
    if not any(sources.values()):
        return loaded
    handles = node.run_inside(firewall.list_handles)
    for family, files in sources.items():
        if not files:
            continue
        # Host names in rules are looked up in the node's namespace, as by iptables.
        expected: Ruleset = node.run_inside(partial(stack, files, family))
        joined = join(parse_listing(firewall.listing(node, family), family), expected)
        wrong = [found for found in joined.differences if found.how is not Differing.FORM]
        if wrong:
            raise LabError(
                f"{node.name}: the rules of the kernel are not those of the files: {_readable(str(wrong[0]))}"
            )
        loaded.learn(joined.ruleset, handles)
    return loaded


def _sources(policies: Sequence[Policy], family: Family) -> list[Source]:
    """The files of one family, in the order and in the way in which ``firewall.load`` loads them."""
    return [
        Source(decode(file.content), str(file.file), noflush=number > 0)
        for number, policy in enumerate(policies)
        for file in policy.rules_files
        if file.family == family
    ]


def _decides(rule: Rule) -> bool:
    """Whether it makes a difference to a packet that a rule matches: LOG does not."""
    if rule.target is None:
        return False
    effect = target_effect(rule.target)
    return effect is None or effect.decision is not None or bool(effect.changes)


def _readable(text: str) -> str:
    """A text with bytes that are not UTF-8 as hexadecimal numbers: it goes into JSON and onto terminals."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
