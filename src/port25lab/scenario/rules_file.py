"""A rules file in the format of iptables-save: its frame (tables, chains, sets) read and checked."""

from __future__ import annotations

import re
from pathlib import Path

from port25lab.errors import InputError, nearest
from port25lab.model.policy import BUILTIN_CHAINS, Family, Ruleset, RuleText
from port25lab.scenario import document as document_module

RULES_FILES: dict[Family, str] = {"ip": "rules.v4", "ip6": "rules.v6"}

_COUNTERS = r"\[\d+:\d+\]"

_TABLE = re.compile(r"\*(\S+)[ \t]*")

_CHAIN = re.compile(rf":(\S+)[ \t]+(\S+)(?:[ \t]+{_COUNTERS})?[ \t]*")

_RULE = re.compile(rf"(?:{_COUNTERS}[ \t]+)?(?P<rule>-A[ \t]+(?P<chain>\S+).*)")

_WORD = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|[^\s"])+|\S""")

_SET_OPTIONS = {"--match-set", "--add-set", "--del-set", "--map-set"}

_ADDRESS_OPTIONS = {"-s", "--source", "--src", "-d", "--destination", "--dst"}

_FAMILY_OPTIONS = {"-4", "--ipv4", "-6", "--ipv6"}

_LINES = "*TABLE, :CHAIN POLICY [n:n], -A CHAIN …, COMMIT, and comments with # in column 1"


class RulesFile:
    """Reads one file in the format of iptables-save, from top to bottom."""

    def __init__(self, family: Family, file: Path, sets: tuple[str, ...]) -> None:
        self._family, self._file = family, file
        self._sets = {f"{name}6" for name in sets} if family == "ip6" else set(sets)
        self._number = 0
        self._table: str | None = None
        self._table_line = 0
        self._chains: set[str] = set()
        self._rules: list[RuleText] = []
        self._policies: list[RuleText] = []

    def read(self) -> Ruleset:
        text = document_module.read_text(self._file)
        for self._number, line in enumerate(text.split("\n"), 1):
            self._line(line)
        if self._table is not None:
            self._number = self._table_line
            raise self._error(f"the table {self._table} has no COMMIT", "COMMIT after its last rule", 1)
        return Ruleset(
            family=self._family,
            file=self._file,
            text=text,
            rules=tuple(self._rules),
            chain_policies=tuple(self._policies),
        )

    def _line(self, line: str) -> None:
        if not line or line.startswith("#"):
            return
        if match := _TABLE.fullmatch(line):
            self._begin(match)
        elif match := _CHAIN.fullmatch(line):
            self._declare(match)
        elif match := _RULE.fullmatch(line):
            self._append(match)
        elif line.rstrip() == "COMMIT":
            self._inside("COMMIT")
            self._table = None
        else:
            words = line.split()
            first = f"{words[0]!r}" if words else "a line of blanks"
            raise self._error(f"{first} is not understood", _LINES, len(line) - len(line.lstrip()) + 1 if words else 1)

    def _begin(self, match: re.Match[str]) -> None:
        if self._table is not None:
            raise self._error(f"the table {self._table} has no COMMIT yet", "COMMIT before the next table", 1)
        if match[1] not in BUILTIN_CHAINS:
            raise self._error(f"unknown table {match[1]!r}", nearest(match[1], BUILTIN_CHAINS), match.start(1) + 1)
        self._table, self._table_line = match[1], self._number
        self._chains = set(BUILTIN_CHAINS[match[1]])

    def _declare(self, match: re.Match[str]) -> None:
        table, chain, policy = self._inside("a chain"), match[1], match[2]
        builtin = chain in BUILTIN_CHAINS[table]
        allowed = ("ACCEPT", "DROP") if builtin else ("-",)
        if policy not in allowed:
            whose = f"builtin chain {chain}" if builtin else f"chain {chain}, which is not builtin in {table}"
            raise self._error(f"policy {policy!r} for the {whose}", " or ".join(allowed), match.start(2) + 1)
        self._chains.add(chain)
        if policy == "DROP":
            self._policies.append(self._written(table, chain, f":{chain} {policy}"))

    def _append(self, match: re.Match[str]) -> None:
        table, chain = self._inside("a rule"), match["chain"]
        if chain not in self._chains:
            raise self._error(
                f"the chain {chain!r} is not declared in {table}",
                f":{chain} - [0:0] before the rule, or {nearest(chain, self._chains)}",
                match.start("chain") + 1,
            )
        copies = self._check(match["rule"], match.start("rule") + 1)
        self._rules += [self._written(table, chain, match["rule"].rstrip())] * copies

    def _check(self, rule: str, start: int) -> int:
        """What iptables would not say, or not clearly. Returns how many rules the kernel makes of this one."""
        copies = 1
        words = [(word[0], start + word.start()) for word in _WORD.finditer(rule)]
        for (word, column), (value, value_column) in zip(words, [*words[1:], ("", 0)], strict=True):
            if word == '"':
                raise self._error("a quotation mark without its partner", '"…"', column)
            if word in _FAMILY_OPTIONS:
                # iptables-restore leaves out a rule for the other family without a word.
                raise self._error(f"{word} in a rule", f"{RULES_FILES['ip']} and {RULES_FILES['ip6']}", column)
            if word in _SET_OPTIONS and value not in self._sets:
                allowed = f"the sets in policy.yaml{', with a 6 behind' if self._family == 'ip6' else ''}"
                what = f"the set {value!r} is not one of the policy's"
                raise self._error(what, f"{allowed}: {nearest(value, self._sets)}", value_column or column)
            if word in _ADDRESS_OPTIONS:
                copies *= 1 + value.count(",")
        return copies

    def _inside(self, what: str) -> str:
        if self._table is None:
            raise self._error(f"{what} outside of a table", "*TABLE first, such as *filter", 1)
        return self._table

    def _written(self, table: str, chain: str, text: str) -> RuleText:
        return RuleText(table=table, chain=chain, text=text, file=self._file, line=self._number)

    def _error(self, what: str, allowed: str, column: int) -> InputError:
        return InputError(what, allowed=allowed, file=self._file, line=self._number, column=column)
