"""Text in the format of ``iptables-restore`` becomes a ruleset, each rule with the line it comes from.

In: the text of a file (or of the kernel's own listing) and a family. Out: a ``Ruleset``, as the kernel has it after
the program has read the text. What iptables refuses is refused, in its words and with the line; its exit has the last
word on whether a kernel takes a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from port25lab.errors import InputError
from port25lab.rules.addresses import Resolve, look_up, resolve
from port25lab.rules.command import LONGEST_NAME, Command, CommandReader
from port25lab.rules.model import BUILTIN_CHAINS, HEADER, Chain, Family, Match, Place, Rule, Ruleset, Table, Target
from port25lab.rules.specification import Specification
from port25lab.rules.target_table import TARGETS
from port25lab.rules.values import RefusedError
from port25lab.rules.words import split

LONGEST_LINE = 10239
"""What is longer, iptables-restore reads as several lines."""

_NO_CHAIN = "No chain/target/match by that name"


def decode(data: bytes) -> str:
    """The text of a file, whatever its encoding: bytes that are no UTF-8 are kept for ``encode``."""
    return data.decode("utf-8", "surrogateescape")


def parse(
    text: str,
    family: Family,
    *,
    file: str = "",
    onto: Ruleset | None = None,
    noflush: bool = False,
    resolver: Resolve = look_up,
) -> Ruleset:
    """Read a text as ``iptables-restore`` does.

    Args:
        text: What the program would read from its input.
        family: ``ip`` for iptables-restore, ``ip6`` for ip6tables-restore.
        file: Name of the file, for the places of its rules.
        onto: What the kernel has already; nothing if None.
        noflush: Whether the program gets ``--noflush``: without it, a table that the text names starts empty.
        resolver: Addresses of host names; those that this machine finds if not given.

    Returns: what the kernel has afterwards.

    Raises: InputError with the file and the line, where iptables refuses the text.
    """
    token = resolve.set(resolver)
    try:
        return _Restore(family, file, onto or Ruleset(family), noflush).read(text.split("\n"))
    finally:
        resolve.reset(token)


def parse_listing(text: str, family: Family, *, file: str = "") -> Ruleset:
    """Read what ``iptables-save`` prints: a rule that is not understood stays, with a match named ``unread``.

    The listing is the kernel's word, so a rule that is refused here shows a fault of this parser, not of the rule.
    """
    return _Restore(family, file, Ruleset(family), noflush=False, listing=True).read(_whole(text.split("\n")))


def _whole(lines: Iterable[str]) -> Iterator[str]:
    """Lines, each with those that belong to it: a comment of the kernel's may hold the end of a line."""
    begun: list[str] = []
    inside = False
    for line in lines:
        if '"' in line and line[0] != "#":
            inside ^= line.replace("\\\\", "").replace('\\"', "").count('"') % 2 == 1
        if inside or begun:
            begun.append(line)
            if inside:
                continue
            line = "\n".join(begun)
            begun = []
        yield line
    yield from begun


UNREAD = "unread"
"""Module name of the match that stands for a rule of the kernel's which is not understood."""


class _Draft(NamedTuple):
    """A rule whose number is not settled yet."""

    said: Specification
    header: Match
    place: Place
    text: str
    counters: tuple[int, int]

    @property
    def canonical(self) -> str:
        head, tail = self.header.text, self.said.tail
        return f"{head} {tail}" if head and tail else head or tail


class _Chain:
    """A chain that is being changed."""

    __slots__ = ("counters", "name", "place", "policy", "rules")

    def __init__(self, name: str, policy: str | None = None) -> None:
        self.name, self.policy = name, policy
        self.rules: list[_Draft] = []
        self.counters = (0, 0)
        self.place: Place | None = None


_Chains = dict[str, _Chain]


class _Restore:
    """Reads one text from top to bottom."""

    def __init__(self, family: Family, file: str, onto: Ruleset, noflush: bool, listing: bool = False) -> None:
        self._family, self._file, self._noflush = family, file, noflush
        self._tables: dict[str, _Chains] = {name: _thawed(table) for name, table in onto.tables.items()}
        self._reader = CommandReader(family)
        self._listing = listing
        self._line = 0
        self._table = ""
        self._chains: _Chains = {}

    def read(self, lines: Iterable[str]) -> Ruleset:
        for self._line, line in enumerate(lines, 1):
            try:
                if len(line) <= LONGEST_LINE:
                    self._read_line(line)
                else:
                    for start in range(0, len(line), LONGEST_LINE):
                        self._read_line(line[start : start + LONGEST_LINE])
            except RefusedError as refused:
                program = "iptables-restore" if self._family == "ip" else "ip6tables-restore"
                raise InputError(
                    str(refused), allowed=f"what {program} takes", file=self._file or None, line=self._line
                ) from None
        if self._table:
            raise InputError(
                "COMMIT expected",
                allowed=f"COMMIT behind the last rule of {self._table}",
                file=self._file or None,
                line=self._line,
            )
        return Ruleset(self._family, {name: _frozen(name, chains) for name, chains in self._tables.items()})

    def _read_line(self, line: str) -> None:
        if not line or line[0] == "#":
            return
        if not self._table:
            if line[0] != "*":
                raise RefusedError(
                    f"{line.split(maxsplit=1)[0]!r} outside of a table"
                    if line.split()
                    else "a line of blanks outside of a table"
                )
            self._begin(line)
        elif line == "COMMIT":
            self._table = ""
        elif line[0] == ":":
            self._declare(line)
        else:
            self._command(line)

    def _begin(self, line: str) -> None:
        name = next(iter(line[1:].replace("\t", " ").split(" ")), "")
        if name not in BUILTIN_CHAINS:
            raise RefusedError(f"table name '{name}' invalid")
        self._table = name
        if name not in self._tables or not self._noflush:
            self._tables[name] = {chain: _Chain(chain, "ACCEPT") for chain in BUILTIN_CHAINS[name]}
        self._chains = self._tables[name]

    def _declare(self, line: str) -> None:
        words = [word for word in line[1:].replace("\t", " ").split(" ") if word]
        if len(words) < 2:
            raise RefusedError("policy invalid" if words else "chain name invalid")
        name, policy = words[:2]
        if name in BUILTIN_CHAINS[self._table]:
            self._set_policy(name, policy)
            if len(words) > 2:
                self._chains[name].counters = _counters(words[2], name)
            return
        # A chain that is there already is emptied, with --noflush too.
        self._new_chain(name, anew=True)

    def _set_policy(self, name: str | None, policy: str) -> None:
        if name not in BUILTIN_CHAINS[self._table]:
            raise RefusedError(_NO_CHAIN if name in self._chains else "Bad built-in chain name")
        chain = self._chains[name]
        if policy in ("ACCEPT", "DROP"):
            chain.policy, chain.place = policy, Place(self._file, self._line)
        elif policy != "-":
            raise RefusedError("Bad policy name")

    def _new_chain(self, name: str, *, anew: bool = False) -> None:
        if len(name) > LONGEST_NAME:
            raise RefusedError(f"chain name `{name}' too long (must be under {LONGEST_NAME + 1} chars)")
        if name[:1] in ("-", "!"):
            raise RefusedError(f"chain name not allowed to start with `{name[:1]}'")
        if (self._family, name) in TARGETS:
            raise RefusedError("chain name may not clash with target name")
        if any(character.isspace() for character in name):
            raise RefusedError(f"Invalid chain name `{name}'")
        if not anew and name in self._chains:
            raise RefusedError("Chain already exists")
        chain = self._chains.setdefault(name, _Chain(name))
        chain.rules, chain.place = [], Place(self._file, self._line)

    def _command(self, line: str) -> None:
        counters = (0, 0)
        if line[0] == "[":
            line, counters = _split_counters(line, self._line)
        try:
            command = self._reader.read(split(line), self._chains)
        except RefusedError:
            if not self._listing:
                raise
            command = self._unread(split(line))
        verb, chain = command.verb, command.chain
        if verb == "A" and command.rule is not None:
            self._rules_of(chain).extend(self._made(command, line, counters))
        elif verb == "I" and command.rule is not None:
            rules, place = self._rules_of(chain), (command.number or 1) - 1
            for rule in self._made(command, line, counters):
                if place > len(rules):
                    raise RefusedError("Index of insertion too big")
                rules.insert(place, rule)
        elif verb == "R" and command.rule is not None:
            self._replace(command, line, counters)
        elif verb == "D":
            self._delete(command, line)
        elif verb == "N":
            self._new_chain(chain or "")
        elif verb == "P":
            if self._table == "nat" and command.argument == "DROP":
                raise RefusedError(_NO_FILTER)
            self._set_policy(chain, command.argument or "")
        elif verb == "F":
            for name in [chain] if chain is not None else list(self._chains):
                self._rules_of(name).clear()
        elif verb == "X":
            self._delete_chains(chain)
        elif verb == "E":
            self._rename(chain or "", command.argument or "")
        elif verb == "Z" and chain is not None:
            self._rules_of(chain)

    def _unread(self, words: list[str]) -> Command:
        if len(words) < 2 or words[0] != "-A":
            raise RefusedError(f"Bad argument `{words[0] if words else ''}'")
        target = next((Target(words[place + 1], (), " ".join(words[place:]), opaque=True)
                       for place, word in enumerate(words[:-1]) if word in ("-j", "-g")), None)  # fmt: skip
        if target is not None and target.name in self._chains:
            target = replace(target, chain=True, opaque=False, goto=target.text.startswith("-g"))
        tail = " ".join(words[2:])
        said = Specification((Match(HEADER, (), ""),), (Match(UNREAD, (), tail, opaque=True),), target, (), tail)
        return Command("A", words[1], rule=said)

    def _rules_of(self, name: str | None) -> list[_Draft]:
        if name is None or name not in self._chains:
            raise RefusedError(_NO_CHAIN)
        return self._chains[name].rules

    def _made(self, command: Command, line: str, counters: tuple[int, int]) -> list[_Draft]:
        """The rules that the kernel gets of one line."""
        said = command.rule
        assert said is not None and command.chain is not None
        if self._table == "nat" and said.target is not None and said.target.name == "DROP" and not said.target.chain:
            raise RefusedError(_NO_FILTER)
        if said.target is not None and not said.target.chain:
            extension = TARGETS.get((self._family, said.target.name))
            if extension is not None and extension.tables and self._table not in extension.tables:
                where = " and ".join(extension.tables)
                raise RefusedError(
                    f"RULE_APPEND failed (Invalid argument): {said.target.name} is for the table {where}"
                )
        place, text = Place(self._file, self._line), line.strip(" \t")
        counted = command.counters or counters
        return [_Draft(said, header, place, text, counted) for header in said.headers]

    def _replace(self, command: Command, line: str, counters: tuple[int, int]) -> None:
        rules, place = self._rules_of(command.chain), (command.number or 1) - 1
        made = self._made(command, line, counters)
        if len(made) != 1:
            raise RefusedError("Replacement rule does not specify a unique address")
        if place >= len(rules):
            raise RefusedError("Index of replacement too big")
        rules[place] = made[0]

    def _delete(self, command: Command, line: str) -> None:
        rules = self._rules_of(command.chain)
        if command.number is not None:
            if command.number > len(rules):
                raise RefusedError(_NO_CHAIN)
            del rules[command.number - 1]
            return
        for rule in self._made(command, line, (0, 0)):
            place = next((place for place, one in enumerate(rules) if one.canonical == rule.canonical), None)
            if place is None:
                raise RefusedError("Bad rule (does a matching rule exist in that chain?)")
            del rules[place]

    def _delete_chains(self, name: str | None) -> None:
        builtin = BUILTIN_CHAINS[self._table]
        if name is not None and (name not in self._chains or name in builtin):
            raise RefusedError(_NO_CHAIN)
        for chain in [name] if name is not None else [chain for chain in self._chains if chain not in builtin]:
            if self._chains[chain].rules and name is not None:
                raise RefusedError("Directory not empty")
            if any(
                draft.said.target and draft.said.target.name == chain
                for one in self._chains.values()
                for draft in one.rules
            ):
                raise RefusedError(f"CHAIN_DEL failed (Device or resource busy): chain {chain}")
            del self._chains[chain]

    def _rename(self, old: str, new: str) -> None:
        if old not in self._chains or old in BUILTIN_CHAINS[self._table]:
            raise RefusedError(_NO_CHAIN)
        self._new_chain(new)
        chain = self._chains.pop(old)
        moved = self._chains[new]
        moved.rules = chain.rules
        for one in self._chains.values():
            one.rules = [_leading_to(draft, old, new) for draft in one.rules]


_NO_FILTER = 'The "nat" table is not intended for filtering, the use of DROP is therefore inhibited.'


def _leading_to(draft: _Draft, old: str, new: str) -> _Draft:
    target = draft.said.target
    if target is None or not target.chain or target.name != old:
        return draft
    text = f"{target.text.split(' ', 1)[0]} {new}"
    tail = draft.said.tail.removesuffix(target.text) + text
    return draft._replace(said=draft.said._replace(target=replace(target, name=new, text=text), tail=tail))


def _counters(text: str, chain: str) -> tuple[int, int]:
    packets, colon, octets = text.removeprefix("[").removesuffix("]").partition(":")
    if not colon or not packets.isdigit() or not octets.isdigit():
        raise RefusedError(f"invalid policy counters for chain '{chain}'")
    return int(packets), int(octets)


def _split_counters(line: str, number: int) -> tuple[str, tuple[int, int]]:
    inside, bracket, rest = line[1:].partition("]")
    packets, colon, octets = inside.partition(":")
    if not bracket or not colon:
        raise RefusedError(f"Bad line {number}: need {':' if bracket else ']'}")
    # iptables-restore reads the numbers only when it is told to; what is none counts nothing.
    return rest, (int(packets) if packets.isdigit() else 0, int(octets) if octets.isdigit() else 0)


def _thawed(table: Table) -> _Chains:
    chains: _Chains = {}
    for name, chain in table.chains.items():
        one = chains[name] = _Chain(name, chain.policy)
        one.rules = [_draft(rule) for rule in chain.rules]
        one.counters, one.place = chain.counters, chain.place
    return chains


def _draft(rule: Rule) -> _Draft:
    tail = rule.canonical[len(rule.header.text) :].lstrip(" ")
    said = Specification((rule.header,), rule.matches, rule.target, rule.comments, tail)
    return _Draft(said, rule.header, rule.place, rule.text, rule.counters)


def _frozen(name: str, chains: _Chains) -> Table:
    """Builtin chains first, the others by name, as the listing has them."""
    builtin = BUILTIN_CHAINS[name]
    frozen = {}
    for chain in [*builtin, *sorted(chain for chain in chains if chain not in builtin)]:
        one = chains[chain]
        rules = tuple([
            Rule(
                name, chain, number, draft.header, draft.said.matches, draft.said.target, draft.said.comments,
                draft.canonical, draft.place, draft.text, draft.counters,
            )
            for number, draft in enumerate(one.rules, 1)
        ])  # fmt: skip
        frozen[chain] = Chain(chain, one.policy, rules, one.counters, one.place)
    return Table(name, frozen)
