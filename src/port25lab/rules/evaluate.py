"""One packet on its way along a ruleset: which rules it meets, and what can become of it.

A match that the packet does not answer (a rate, a list of addresses seen, an unknown module) has two answers, and both
ways are followed. So the result is a list of outcomes; one outcome is a certainty. A caller who knows an answer gives
it, and asks again with the answer turned round: that is how ``throttle`` finds out whether a limit decided.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from port25lab.rules.alter import altered
from port25lab.rules.conditions import NO_CONNECTION, Answer, answer
from port25lab.rules.effects import Decision, target_effect
from port25lab.rules.model import Rule, Ruleset, Target
from port25lab.rules.packet import NO_INTERFACE, Packet, Sets, no_sets

Question = tuple[tuple[str, str, int], int]
"""A match in a ruleset: the rule's key (table, chain, number), and which of ``rule.all_matches()`` it is."""

Answers = Mapping[Question, bool]
OnRule = Callable[[Rule, Packet], None]

WAYS: dict[str, tuple[tuple[str, str], ...]] = {
    "forward": (
        ("raw", "PREROUTING"), ("mangle", "PREROUTING"), ("nat", "PREROUTING"),
        ("mangle", "FORWARD"), ("filter", "FORWARD"), ("security", "FORWARD"),
        ("mangle", "POSTROUTING"), ("nat", "POSTROUTING"),
    ),
    "input": (
        ("raw", "PREROUTING"), ("mangle", "PREROUTING"), ("nat", "PREROUTING"),
        ("mangle", "INPUT"), ("filter", "INPUT"), ("security", "INPUT"), ("nat", "INPUT"),
    ),
    "output": (
        ("raw", "OUTPUT"), ("mangle", "OUTPUT"), ("nat", "OUTPUT"), ("filter", "OUTPUT"), ("security", "OUTPUT"),
        ("mangle", "POSTROUTING"), ("nat", "POSTROUTING"),
    ),
}  # fmt: skip
"""The chains that a packet meets, in the kernel's order: forwarded, for this machine, sent by it."""


class Step(NamedTuple):
    """A rule that the packet met."""

    rule: Rule
    matched: Answer
    """None: not known, and it made no difference which."""


class _Trail(NamedTuple):
    """The last step, and those before: branches share what they have in common."""

    before: _Trail | None
    step: Step


class Assumption(NamedTuple):
    """An answer that was taken, where the packet does not tell."""

    rule: Rule
    match: int
    """Which of ``rule.all_matches()``."""
    holds: bool

    @property
    def question(self) -> Question:
        """The match that was asked."""
        return self.rule.key, self.match


@dataclass(frozen=True, slots=True)
class Outcome:
    """What can become of the packet, and why."""

    decision: Decision
    table: str
    chain: str
    """The chain in which the decision fell."""
    decider: Rule | None
    """None: the chain's policy."""
    jumps: tuple[Rule, ...]
    """The rules that led to this chain, of those still open."""
    altered: tuple[Rule, ...]
    """Rules that changed the packet before, in order."""
    assumed: tuple[Assumption, ...]
    """Answers that this outcome rests on. Empty: it is certain, given the answers of the caller."""
    packet: Packet
    """The packet as it is then."""
    _trail: _Trail | None = None

    @property
    def passes(self) -> bool | None:
        """Whether the packet goes on; None: a program decides."""
        return self.decision.passes

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every rule that the packet met, in order."""
        found: list[Step] = []
        node = self._trail
        while node is not None:
            found.append(node.step)
            node = node.before
        return tuple(reversed(found))


@dataclass(frozen=True, slots=True)
class Walk:
    """All that can become of a packet."""

    outcomes: tuple[Outcome, ...]
    complete: bool
    """False: there were too many ways, and some outcomes may be missing."""

    @property
    def certain(self) -> Outcome | None:
        """The only outcome, if there is one."""
        return self.outcomes[0] if self.complete and len(self.outcomes) == 1 else None

    @property
    def passes(self) -> bool | None:
        """Whether the packet goes on, whatever the unknown answers are; None: that depends on them."""
        answers = {outcome.passes for outcome in self.outcomes}
        return answers.pop() if self.complete and len(answers) == 1 else None


class _Frame(NamedTuple):
    """A chain that waits for the packet's return."""

    chain: str
    rule: Rule
    """The rule that jumped."""
    next: int


class _State(NamedTuple):
    """A packet on its way."""

    leg: int
    """Which of the chains of its way it is in."""
    chain: str
    next: int
    frames: tuple[_Frame, ...]
    led: tuple[Rule, ...]
    """The rules that led to this chain: jumps, and the gotos behind them."""
    packet: Packet
    altered: tuple[Rule, ...]
    assumed: tuple[Assumption, ...]
    trail: _Trail | None


def walk(
    ruleset: Ruleset,
    packet: Packet,
    way: str | Sequence[tuple[str, str]],
    *,
    sets: Sets = no_sets,
    answers: Answers | None = None,
    met: Collection[tuple[str, str, int]] | None = None,
    most: int = 10_000,
    on_rule: OnRule | None = None,
) -> Walk:
    """Follow a packet.

    Args:
        ruleset: The rules; best the kernel's own listing.
        packet: The packet as it arrives.
        way: ``forward``, ``input`` or ``output``, or the (table, chain) pairs that it meets in order.
        sets: Membership in address sets.
        answers: Known answers to matches that the packet does not answer itself.
        met: Keys of the rules that the packet is known to have matched, such as the kernel's trace names them. A match
            that the packet does not answer then holds if its rule is among them.
        most: How many branches are followed before the walk gives up.
        on_rule: Is called with each rule that the packet meets on any of the ways, and the packet as it is there.

    Returns: the outcomes that are possible, each once.
    """
    legs = WAYS[way] if isinstance(way, str) else tuple(way)
    return _Walker(ruleset, legs, sets, answers or {}, met, most, on_rule).walk(packet)


class _Walker:
    def __init__(
        self,
        ruleset: Ruleset,
        legs: Sequence[tuple[str, str]],
        sets: Sets,
        answers: Answers,
        met: Collection[tuple[str, str, int]] | None,
        most: int,
        on_rule: OnRule | None,
    ) -> None:
        self._ruleset, self._sets, self._answers, self._most = ruleset, sets, answers, most
        self._met, self._on_rule = met, on_rule
        self._legs = [(table, chain) for table, chain in legs if table in ruleset.tables]
        self._waiting: list[_State] = []
        self._seen: set[tuple[object, ...]] = set()
        self._outcomes: dict[tuple[object, ...], Outcome] = {}
        self._branches = 0

    def walk(self, packet: Packet) -> Walk:
        complete = True
        first = _State(-1, "", 0, (), (), packet, (), (), None)
        if (state := self._next_leg(first)) is None:
            return Walk((Outcome(Decision.ACCEPT, "", "", None, (), (), (), packet),), True)
        self._waiting.append(state)
        while self._waiting:
            self._run(self._waiting.pop())
            if self._branches > self._most:
                complete = False
                break
        return Walk(tuple(self._outcomes.values()), complete)

    def _next_leg(self, state: _State) -> _State | None:
        """The packet at the start of the next chain of its way, or None at the way's end."""
        for leg in range(state.leg + 1, len(self._legs)):
            table, chain = self._legs[leg]
            # Only the first packet of a connection meets the nat table.
            if table == "nat" and state.packet.state not in ("NEW", "RELATED", None):
                continue
            return state._replace(leg=leg, chain=chain, next=0, frames=(), led=())
        return None

    def _run(self, state: _State) -> None:
        """Follow one branch until the packet's fate is settled. Other branches are put aside."""
        table, builtin = self._legs[state.leg]
        chains = self._ruleset.tables[table].chains
        while True:
            chain = chains[state.chain]
            if state.next >= len(chain.rules):
                back = self._returned(state)
                if back is None:
                    self._policy(state, builtin)
                    return
                state = back
                continue
            rule = chain.rules[state.next]
            state = state._replace(next=state.next + 1)
            known, unknown, given = self._ask(rule, state)
            if known is None and not self._matters(rule):
                state = state._replace(trail=_Trail(state.trail, Step(rule, None)))
                continue
            if given:
                # The caller's answers are part of what the outcome rests on.
                told = tuple(Assumption(rule, one, self._answers[rule.key, one]) for one in given)
                state = state._replace(assumed=(*state.assumed, *told))
            if known is None:
                matched = None if self._met is None else rule.key in self._met
                if matched is not True:
                    for denied in self._denials(rule, unknown):
                        trail = _Trail(state.trail, Step(rule, False))
                        self._put_aside(state._replace(assumed=(*state.assumed, *denied), trail=trail))
                if matched is False:
                    return
                taken = tuple(Assumption(rule, one, True) for one in unknown)
                state = state._replace(assumed=(*state.assumed, *taken))
                known = True
            state = state._replace(trail=_Trail(state.trail, Step(rule, known)))
            if known:
                following = self._act(rule, state, table, builtin)
                if following is None:
                    return
                state = following

    def _ask(self, rule: Rule, state: _State) -> tuple[Answer, list[int], list[int]]:
        """Whether a rule matches; then the matches without an answer, and those the caller answered."""
        table, builtin = self._legs[state.leg]
        packet = _where(state.packet, table, builtin)
        if self._on_rule is not None:
            self._on_rule(rule, packet)
        unknown: list[int] = []
        given: list[int] = []
        for number, match in enumerate(rule.all_matches()):
            one = answer(match, packet, self._sets)
            if one is None:
                one = self._answers.get((rule.key, number))
                if one is not None:
                    given.append(number)
                    if one is False:
                        # The others do not matter any more.
                        return False, [], [number]
                else:
                    unknown.append(number)
            if one is False:
                return False, [], []
        return (None if unknown else True), unknown, given

    @staticmethod
    def _denials(rule: Rule, asked: list[int]) -> Iterator[tuple[Assumption, ...]]:
        """The ways in which a rule does not match: the first question, or the second, … is denied."""
        for place in range(len(asked)):
            held = tuple(Assumption(rule, index, True) for index in asked[:place])
            yield (*held, Assumption(rule, asked[place], False))

    @staticmethod
    def _matters(rule: Rule) -> bool:
        """Whether it makes a difference if the rule matches."""
        if rule.target is None:
            return False
        if rule.target.chain or rule.target.name == "RETURN":
            return True
        effect = target_effect(rule.target)
        return effect is None or effect.decision is not None or bool(effect.changes)

    def _put_aside(self, state: _State) -> None:
        """Follow another branch later, unless an equal packet is or was at the same place."""
        frames = tuple((frame.rule.key, frame.next) for frame in state.frames)
        led = tuple(rule.key for rule in state.led)
        altered_by = tuple(rule.key for rule in state.altered)
        key = (state.leg, state.chain, state.next, frames, led, state.packet, altered_by)
        if key in self._seen:
            return
        self._seen.add(key)
        self._branches += 1
        self._waiting.append(state)

    def _act(self, rule: Rule, state: _State, table: str, builtin: str) -> _State | None:
        """What a rule that matched does to the packet; None if its way through the branch ends here."""
        target = rule.target
        if target is None:
            return state
        if target.chain:
            if target.name not in self._ruleset.tables[table].chains:
                return state
            frames = state.frames if target.goto else (*state.frames, _Frame(state.chain, rule, state.next))
            if len(frames) > 64:
                # The kernel refuses loops; a listing has none.
                return None
            return state._replace(chain=target.name, next=0, frames=frames, led=(*state.led, rule))
        if target.name == "RETURN":
            back = self._returned(state)
            if back is None:
                self._policy(state, builtin)
            return back
        effect = target_effect(target)
        if effect is None:
            # An unknown target may end the packet's way, or not.
            for decision in (Decision.ACCEPT, Decision.DROP):
                self._settle(state, decision, rule)
            return state._replace(packet=self._changed(target, state))
        if effect.changes:
            changed = self._changed(target, state)
            state = state._replace(packet=changed, altered=(*state.altered, rule))
        if effect.decision is None:
            return state
        self._settle(state, effect.decision, rule)
        return None

    def _changed(self, target: Target, state: _State) -> Packet:
        table, builtin = self._legs[state.leg]
        if target.name == "CONNMARK" and table == "raw":
            # There is no connection yet.
            return state.packet
        return altered(target, builtin, state.packet)

    def _returned(self, state: _State) -> _State | None:
        """The packet back in the chain that jumped; None in a builtin chain."""
        if not state.frames:
            return None
        frame = state.frames[-1]
        led = state.led[: state.led.index(frame.rule)] if frame.rule in state.led else ()
        return state._replace(chain=frame.chain, next=frame.next, frames=state.frames[:-1], led=led)

    def _policy(self, state: _State, builtin: str) -> None:
        table, _ = self._legs[state.leg]
        policy = self._ruleset.tables[table].chains[builtin].policy or "ACCEPT"
        state = state._replace(chain=builtin, led=(), frames=())
        self._settle(state, Decision.DROP if policy == "DROP" else Decision.ACCEPT, None)

    def _settle(self, state: _State, decision: Decision, decider: Rule | None) -> None:
        """A decision has fallen in one chain of the way: the packet goes on to the next, or this is its outcome."""
        if decision is Decision.ACCEPT and (following := self._next_leg(state)) is not None:
            self._put_aside(following)
            return
        table, _ = self._legs[state.leg]
        before = state.altered
        if before and decider is before[-1]:
            before = before[:-1]
        outcome = Outcome(
            decision, table, state.chain, decider, state.led, before, state.assumed, state.packet, state.trail
        )
        key = (
            decision, table, state.chain, decider.key if decider else None, tuple(rule.key for rule in state.led),
            tuple(rule.key for rule in before), state.packet,
        )  # fmt: skip
        self._outcomes.setdefault(key, outcome)


def _where(packet: Packet, table: str, builtin: str) -> Packet:
    """The packet as rules of a hook see it: without what is not known there yet."""
    if builtin in ("PREROUTING", "INPUT") and packet.out_interface:
        packet = replace(packet, out_interface=NO_INTERFACE)
    if builtin in ("OUTPUT", "POSTROUTING") and packet.in_interface:
        packet = replace(packet, in_interface=NO_INTERFACE)
    if table == "raw" and packet.state not in NO_CONNECTION:
        # Connections are looked up behind this table.
        packet = replace(packet, state="INVALID")
    return packet
