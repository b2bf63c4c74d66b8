"""What a node's kernel runs, joined to the lines of the files: from the place of a trace event to the rule.

In: the kernel's own listing, the handles of its rules and the policies that were loaded. Out: ``LoadedRules``, which
says for a place that the kernel's trace names which rule stands there, who wrote it where, and what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from port25lab.errors import LabError
from port25lab.evidence import rule_kinds
from port25lab.evidence.session_rules import act_in_sessions
from port25lab.evidence.traced_packet import Passage
from port25lab.model.addresses import IPNetwork
from port25lab.model.evidence import Blame, Decision, Effect, PacketSummary, TrailRule
from port25lab.model.policy import Policy
from port25lab.network.firewall import FAMILY_NUMBER
from port25lab.rules import (
    Chain,
    Family,
    Outcome,
    Packet,
    Rule,
    Ruleset,
    Sets,
    by_chance,
    changed_by_chance,
    refill_seconds,
    rejection,
    sets_of,
    throttled,
    trail,
    walk,
)

FAMILIES: tuple[Family, ...] = ("ip", "ip6")


@dataclass(frozen=True)
class Place:
    """Where the kernel keeps a rule: the key that a trace event carries."""

    family: Literal["ip", "ip6", "inet", "arp"]
    table: str
    chain: str
    handle: int | None
    """None: the chain's policy."""


class Met(NamedTuple):
    """A packet and the rules that it has matched."""

    ruleset: Ruleset | None
    """None: there are none for the packet's family."""
    packet: Packet
    keys: frozenset[tuple[str, str, int]]
    fixed_sets: frozenset[str]
    """Names of the sets that keep their members."""


class _Followed(NamedTuple):
    """A packet that matched the rules which the trace names, and what can have become of it."""

    ruleset: Ruleset
    packet: Packet
    sets: Sets
    outcomes: tuple[Outcome, ...]


class LoadedRules:
    """The rules of one node, by their places."""

    def __init__(
        self,
        node: str,
        policies: Iterable[Policy] = (),
        *,
        sets: Mapping[str, Iterable[IPNetwork]] | None = None,
        interfaces: Mapping[int, str] | None = None,
        queues: Callable[[], Container[int]] = frozenset,
    ) -> None:
        """Make a node without rules, which it can ``learn``.

        Args:
            node: Its name.
            policies: Those that it has loaded.
            sets: Members of the address sets, by name; IPv6 rules say the name with a 6 behind it.
            interfaces: Names by the kernel's index.
            queues: Tells the numbers of the queues that a program reads at the moment.
        """
        self.node = node
        self._interfaces = interfaces or {}
        self._queues = queues
        self._sets = {
            f"{name}{suffix}": tuple(network for network in members if network.version == version)
            for name, members in (sets or {}).items()
            for suffix, version in (("", 4), ("6", 6))
        }
        self._policies = {str(file.file): policy for policy in policies for file in policy.rules_files}
        self._rulesets: dict[str, Ruleset] = {}
        self._rules: dict[Place, Rule] = {}
        self._steering: dict[Place, Effect] = {}
        self._handovers: dict[Place, range] = {}
        """Rules that give packets to a program: the queues."""
        self._uncertain: set[str] = set()
        """Families with a limit, or chance, in a rule that decides."""
        self._foreign = False
        """The kernel has other chains than those of the policies."""

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
        tables = ruleset.tables
        self._foreign |= any(
            family == ruleset.family and (table not in tables or chain not in tables[table].chains)
            for family, table, chain in handles
        )
        for table in ruleset.tables.values():
            for chain in table.chains.values():
                known = handles.get((ruleset.family, table.name, chain.name), ())
                if len(known) != len(chain.rules):
                    raise LabError(
                        f"{self.node}: {table.name}/{chain.name} has {len(chain.rules)} rules in the listing "
                        f"and {len(known)} in the kernel"
                    )
                for handle, rule in zip(known, chain.rules, strict=True):
                    self._learn_rule(Place(ruleset.family, table.name, chain.name, handle), rule)

    def _learn_rule(self, place: Place, rule: Rule) -> None:
        self._rules[place] = rule
        if rule_kinds.decides(rule) and rule_kinds.is_uncertain(rule):
            self._uncertain.add(place.family)
        queues = rule_kinds.queues(rule)
        if queues is not None:
            self._handovers[place] = queues
        policy = self._policies.get(rule.place.file)
        effect = rule_kinds.steering(rule)
        if effect is not None and (policy is None or policy.origin == "user"):
            self._steering[place] = effect

    @property
    def refill_seconds(self) -> float | None:
        """The shortest time after which a limit in a rule that decides lets one more packet pass; None: no limit."""
        limits = (match for rule in self._rules.values() if rule_kinds.decides(rule) for match in rule.matches)
        return min((found for match in limits if (found := refill_seconds(match)) is not None), default=None)

    @property
    def acts_in_sessions(self) -> bool:
        """Whether a rule may keep packets of an open session from passing."""
        return any(map(act_in_sessions, self._rulesets.values()))

    @property
    def sees_neighbours(self) -> bool:
        """Whether a rule or a policy may do something to neighbour discovery."""
        return any(ruleset.sees_neighbours for ruleset in self._rulesets.values())

    @property
    def steers(self) -> bool:
        """Whether a policy under test has a rule that changes where or how packets go."""
        return bool(self._steering)

    def steering(self, place: Place, hook: str) -> Effect | None:
        """What a rule under test does to the way of a packet that matches it; None for every other rule.

        The network's own rules, such as a forwarded port, are not under test. ``hook``: the base chain.
        """
        effect = self._steering.get(place)
        if effect is None or self._unread(place):
            return None
        if hook in ("INPUT", "POSTROUTING") and place.table == "nat":
            return Effect.CHANGE  # NETMAP translates the source there
        return effect

    def takes(self, place: Place) -> bool:
        """Whether a rule takes a packet away without a word: it is for a program, and no program reads the queue."""
        rule = self._rules.get(place)
        if rule is None or rule.target is None or rule.target.option("queue-bypass") is not None:
            return False
        return self._unread(place)

    def _unread(self, place: Place) -> bool:
        """Whether a rule gives packets to a queue that no program reads."""
        queues = self._handovers.get(place)
        if queues is None:
            return False
        read = self._queues()
        return not any(number in read for number in queues)

    def decision(self, place: Place, passage: Passage, packet: PacketSummary, *, in_session: bool = False) -> Decision:
        """What the rule at a place did to a packet that it kept from passing.

        Args:
            place: The rule, or the policy of a chain.
            passage: The packet's way through the node.
            packet: The packet as the rule saw it.
            in_session: Whether its session was open already.
        """
        rule = self._rules.get(place)
        effect, by_chance = self._effect(place, passage)
        led = trail(self._matched(passage, place)) if rule else ()
        return Decision(
            blame=self.blame(place, passage),
            modules=tuple(dict.fromkeys(match.module for one in led for match in one.matches)),
            effect=effect,
            traced=packet,
            in_session=in_session,
            target=rule.target.name if rule and rule.target else None,
            by_chance=by_chance,
        )

    def diversion(
        self, place: Place, effect: Effect, passage: Passage, packet: PacketSummary, *, in_session: bool = False
    ) -> Decision:
        """What the rule at a place did to a packet that it sent elsewhere, or on in another form."""
        target = self._rules[place].target
        return Decision(
            blame=self.blame(place, passage),
            effect=effect,
            traced=packet,
            in_session=in_session,
            target=target.name if target else None,
            by_chance=self._changes_by_chance(place, passage),
        )

    def blame(self, place: Place, passage: Passage | None = None) -> Blame:
        """The rule at a place, and those that led there. One that no policy of ours brought is named by its handle."""
        decider = self._described(place)
        matched = [] if passage is None else self._matched(passage, up_to=place)
        led = [self._described_rule(rule) for rule in trail(matched)[:-1]] if self._rules.get(place) else []
        policy = self._policies.get(decider.file or "")
        return Blame(
            node=self.node,
            family=place.family,
            policy=policy.name if policy else None,
            trail=(*led, decider),
            **decider.model_dump(),
        )

    def met(self, passage: Passage) -> Met | None:
        """A packet as it came, and the rules that it has matched so far. None where not all of that is known."""
        packet = passage.packet(self._interfaces)
        if packet is None or self._foreign:
            return None
        places = [place_if_known(*one) for one in passage.matched]
        if any(place is None or not (place in self._rules or self._chain(place)) for place in places):
            return None
        ruleset = self._rulesets.get(packet.family)
        fixed = frozenset(self._known_sets(ruleset)) if ruleset is not None else frozenset()
        keys = frozenset(self._rules[place].key for place in places if place in self._rules)
        return Met(ruleset, packet, keys, fixed)

    def key_at(self, place: Place) -> tuple[str, str, int | None]:
        """Table, chain and number of the rule at a place; no number: the chain's policy."""
        rule = self._rules.get(place)
        return place.table, place.chain, rule.number if rule else None

    def drops_silently(self, place: Place) -> bool:
        """Whether the rule or policy at a place, which dropped a packet, told its sender nothing."""
        rule = self._rules.get(place)
        return rule is None or (rule.target is not None and rule.target.name == "DROP" and not rule.target.chain)

    def _matched(self, passage: Passage, up_to: Place) -> list[Rule]:
        """The rules that a packet had matched when it met the one at a place, which is the last of them.

        A rule for a queue that no program reads, and that lets packets pass then, did nothing.
        """
        matched = []
        for family, table, chain, handle in passage.matched:
            place = place_if_known(family, table, chain, handle)
            rule = self._rules.get(place) if place else None
            if place is not None and rule is not None and (place == up_to or not self._unread(place)):
                matched.append(rule)
            if place == up_to:
                break
        return matched

    def _effect(self, place: Place, passage: Passage) -> tuple[Effect, bool]:
        """What the rule at a place does to a packet that it keeps from passing, and whether by chance."""
        rule = self._rules.get(place)
        how = rejection(rule.target) if rule is not None else None
        plain = Effect.DROP
        if how is not None:
            plain = Effect.REJECT_RESET if how == "tcp-reset" else Effect.REJECT_ICMP
        known = self._followed(place, passage)
        if known is None:
            return plain, False
        ruleset, packet, sets, outcomes = known
        for outcome in outcomes:
            decider = outcome.decider.key if outcome.decider else None
            if decider != (rule.key if rule else None) or (outcome.table, outcome.chain) != (place.table, place.chain):
                continue
            if throttled(ruleset, packet, passage.way, outcome, sets=sets):
                return Effect.THROTTLE, False
            if by_chance(ruleset, packet, passage.way, outcome, sets=sets):
                return plain, True
        return plain, False

    def _changes_by_chance(self, place: Place, passage: Passage) -> bool:
        """Whether chance is why the rule at a place sent a packet elsewhere, or on in another form."""
        known, rule = self._followed(place, passage), self._rules[place]
        if known is None:
            return False
        ruleset, packet, sets, outcomes = known
        return any(
            changed_by_chance(ruleset, packet, passage.way, outcome, rule, sets=sets)
            for outcome in outcomes
            if rule in (*outcome.altered, outcome.decider)
        )

    def _followed(self, place: Place, passage: Passage) -> _Followed | None:
        """What can have become of a packet that matched what the trace says; None where no limit or chance decides."""
        packet = passage.packet(self._interfaces) if place.family in self._uncertain else None
        if packet is None:
            return None
        ruleset = self._rulesets[place.family]
        matched = {one.key for one in self._matched(passage, place)}
        sets = sets_of(self._known_sets(ruleset))
        return _Followed(ruleset, packet, sets, walk(ruleset, packet, passage.way, sets=sets, met=matched).outcomes)

    def _known_sets(self, ruleset: Ruleset) -> dict[str, tuple[IPNetwork, ...]]:
        """Members of the sets that no rule fills."""
        filled = {
            option.value.name
            for rule in ruleset.rules()
            if rule.target is not None and rule.target.name == "SET" and not rule.target.chain
            for option in rule.target.options
            if option.name in ("add-set", "del-set")
        }
        return {name: members for name, members in self._sets.items() if name not in filled}

    def _described(self, place: Place) -> TrailRule:
        rule = self._rules.get(place)
        if rule is not None:
            return self._described_rule(rule)
        at = {"table": place.table, "chain": place.chain, "rule_number": None}
        if place.handle is not None:
            return TrailRule(**at, rule=f"handle {place.handle}")
        chain = self._chain(place)
        if chain is None:
            return TrailRule(**at, rule="chain policy")
        text = f":{chain.name} {chain.policy}"
        if chain.place is None:
            return TrailRule(**at, rule=text)
        return TrailRule(**at, rule=text, file=chain.place.file, line=chain.place.line)

    @staticmethod
    def _described_rule(rule: Rule) -> TrailRule:
        return TrailRule(
            table=rule.table,
            chain=rule.chain,
            rule_number=rule.number,
            rule=readable(rule.text),
            file=rule.place.file or None,
            line=rule.place.line,
            comment=readable("; ".join(rule.comments)) or None,
        )

    def _chain(self, place: Place) -> Chain | None:
        ruleset = self._rulesets.get(place.family)
        table = ruleset.tables.get(place.table) if ruleset is not None else None
        return table.chains.get(place.chain) if table is not None else None


def place_of(family: int, table: bytes, chain: bytes, handle: int | None) -> Place:
    """The place that a trace event names."""
    return Place(FAMILY_NUMBER[family], _text(table), _text(chain), handle)


def place_if_known(family: int, table: bytes, chain: bytes, handle: int | None) -> Place | None:
    """As ``place_of``; None for a family that no policy has rules for."""
    return place_of(family, table, chain, handle) if family in FAMILY_NUMBER else None


def _text(name: bytes) -> str:
    return name.rstrip(b"\0").decode("utf-8", "backslashreplace")


def readable(text: str) -> str:
    """A text with bytes that are not UTF-8 as hexadecimal numbers: it goes into JSON and onto terminals."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
