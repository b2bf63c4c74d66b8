"""What a ruleset consists of: options, matches, targets, rules, chains, tables. Plain values, all immutable.

The text of every value is canonical: what ``iptables-save`` prints. Comments are kept apart from what a rule does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Family = Literal["ip", "ip6"]

BUILTIN_CHAINS: dict[str, tuple[str, ...]] = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
"""The tables of iptables, and the chains that each has by itself."""

HEADER = "header"
"""Module name of the match on the IP header: ``-s -d -i -o -p -f``, which need no ``-m``."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file. Lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a match or target, such as ``! --dport 25``."""

    name: str
    """Canonical long name, without dashes."""
    values: tuple[Any, ...]
    """Typed where the kind is known (network, range, integer, set of names); otherwise the words themselves."""
    negated: bool
    text: str
    """Canonical form, with its name and its ``!``."""

    @property
    def value(self) -> Any:
        """The only value, or the first; None for an option without one."""
        return self.values[0] if self.values else None


@dataclass(frozen=True, slots=True)
class Match:
    """A condition: a module and its options. All must hold."""

    module: str
    options: tuple[Option, ...]
    text: str
    """Canonical form, with its ``-m``; the header's has none."""
    opaque: bool = False
    """The module is unknown here: its options are words, not values."""

    def option(self, name: str) -> Option | None:
        """The option with this canonical name, or None."""
        for option in self.options:
            if option.name == name:
                return option
        return None


@dataclass(frozen=True, slots=True)
class Target:
    """What happens to a packet that matches: a target extension, or a chain of the table."""

    name: str
    options: tuple[Option, ...]
    text: str
    """Canonical form, with its ``-j`` or ``-g``."""
    chain: bool = False
    """The name is one of the table's own chains."""
    goto: bool = False
    opaque: bool = False

    def option(self, name: str) -> Option | None:
        """The option with this canonical name, or None."""
        for option in self.options:
            if option.name == name:
                return option
        return None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the kernel. A line with a list of addresses gives several."""

    table: str
    chain: str
    number: int
    """Its place in the chain, from 1."""
    header: Match
    """``-s -d -i -o -p -f``; without options if the rule names none."""
    matches: tuple[Match, ...]
    """The ``-m`` modules in order, comments left out."""
    target: Target | None
    """None: the rule only counts packets."""
    comments: tuple[str, ...]
    canonical: str
    """The whole rule as ``iptables-save`` prints it, behind ``-A CHAIN``. Empty: it matches all and does nothing."""
    place: Place
    text: str
    """The line as its author wrote it, without counters and surrounding blanks."""
    counters: tuple[int, int] = (0, 0)
    """Packets and bytes."""

    @property
    def key(self) -> tuple[str, str, int]:
        """Table, chain and number: the rule's address in its ruleset."""
        return self.table, self.chain, self.number

    def __str__(self) -> str:
        return f"-A {self.chain} {self.canonical}" if self.canonical else f"-A {self.chain}"

    def uses(self, module: str) -> bool:
        """Whether the rule has a match of this module."""
        return any(match.module == module for match in self.matches)

    def all_matches(self) -> Iterator[Match]:
        """The header's match first, if it asks for anything, then the modules."""
        if self.header.options:
            yield self.header
        yield from self.matches


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain. Rule number N of iptables is ``rules[N - 1]``."""

    name: str
    policy: str | None
    """``ACCEPT`` or ``DROP``; None for a chain that is not builtin."""
    rules: tuple[Rule, ...]
    counters: tuple[int, int] = (0, 0)
    place: Place | None = None
    """The line that declares it or sets its policy; None for a builtin chain that no line mentions."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: builtin chains first, then the others in order of declaration."""

    name: str
    chains: Mapping[str, Chain]

    def rules(self) -> Iterator[Rule]:
        """All rules, chain by chain."""
        for chain in self.chains.values():
            yield from chain.rules


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All tables of one address family."""

    family: Family
    tables: Mapping[str, Table] = field(default_factory=dict)

    def rules(self) -> Iterator[Rule]:
        """All rules, table by table and chain by chain."""
        for table in self.tables.values():
            yield from table.rules()

    @property
    def sees_neighbours(self) -> bool:
        """Whether a rule or a policy may do something to neighbour discovery: no node forwards or translates that.

        iptables has no rules for ARP.
        """
        return self.family == "ip6" and any(
            chain.rules or chain.policy not in (None, "ACCEPT")
            for table in self.tables.values()
            if table.name != "nat"
            for chain in table.chains.values()
            if chain.name in BUILTIN_CHAINS[table.name] and chain.name != "FORWARD"
        )

    def set_names(self) -> dict[str, Rule]:
        """Names of the address sets that rules look up or fill, each with the first rule that does."""
        found: dict[str, Rule] = {}
        for rule in self.rules():
            options = [option for match in rule.matches if match.module == "set" for option in match.options]
            if rule.target is not None and rule.target.name == "SET":
                options += rule.target.options
            for option in options:
                if option.name in ("match-set", "add-set", "del-set", "map-set"):
                    found.setdefault(option.value.name, rule)
        return found

    def save(self, counters: bool = False) -> str:
        """The ruleset in the format of ``iptables-save``, without its comments."""
        lines: list[str] = []
        for table in self.tables.values():
            lines.append(f"*{table.name}")
            for chain in table.chains.values():
                packets, octets = chain.counters if counters else (0, 0)
                lines.append(f":{chain.name} {chain.policy or '-'} [{packets}:{octets}]")
            for rule in table.rules():
                lines.append(f"[{rule.counters[0]}:{rule.counters[1]}] {rule}" if counters else str(rule))
            lines.append("COMMIT")
        return "\n".join([*lines, ""])
