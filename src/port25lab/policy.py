"""A policy: a folder with `policy.yaml` and native rules, read and checked before any lab starts.

In: a name of the catalogue or a folder. Out: a ``Policy``, plain data that crosses to a lab's process as JSON. Rules
keep their author's text; what is checked here is the frame around them (tables, chains, sets), and iptables itself
has the last word on each rule.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from port25lab import catalogue
from port25lab.catalogue import Strict, wrong
from port25lab.errors import InputError, nearest
from port25lab.services.kinds import troubles

Family = Literal["ip", "ip6"]

Watch = Literal["syn", "session"]
"""What the kernel is to trace: SYNs and their answers, or whole sessions, for rules that act in mid-session."""

RULES_FILES: dict[Family, str] = {"ip": "rules.v4", "ip6": "rules.v6"}
NFT_FILE = "ruleset.nft"

BUILTIN_CHAINS: dict[str, tuple[str, ...]] = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
"""The tables of iptables, and the chains that each has by itself."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RuleText(_Frozen):
    """One rule of the kernel's, or the DROP policy of a chain, as its author wrote it."""

    table: str
    chain: str
    text: str
    file: Path
    line: int


class Ruleset(_Frozen):
    """One rules file."""

    family: Family
    file: Path
    text: str
    """The whole file, unchanged."""
    rules: tuple[RuleText, ...]
    """In order. A rule for several addresses (``-s A,B``) stands here as often as in the kernel."""
    chain_policies: tuple[RuleText, ...]
    """Builtin chains that drop what no rule decides about."""

    @property
    def own_chains(self) -> set[tuple[str, str]]:
        """Table and name of the chains that are the policy's own."""
        return {(rule.table, rule.chain) for rule in self.rules if rule.chain not in BUILTIN_CHAINS[rule.table]}


class Policy(_Frozen):
    """A policy, complete."""

    name: str
    folder: Path
    title: str
    description: str
    source: str
    sets: tuple[str, ...]
    """Names of the address sets that the topology has to fill; IPv6 rules say the name with a 6 behind it."""
    rulesets: tuple[Ruleset, ...]
    services: tuple[dict[str, Any], ...] = ()
    """Programs that run on the policy's node, such as a proxy that its rules lead to: kinds of ``services``."""
    watch: Watch = "syn"

    def without_ipv6(self) -> Policy:
        """The same policy on a kernel without IPv6."""
        return self.model_copy(update={"rulesets": tuple(rules for rules in self.rulesets if rules.family == "ip")})


SetName = Annotated[str, Field(min_length=1)]


class PolicyFile(Strict):
    """What stands in `policy.yaml`."""

    title: Annotated[str, Field(min_length=1)]
    description: str = ""
    source: str = ""
    sets: tuple[SetName, ...] = ()
    services: tuple[dict[str, Any], ...] = ()
    watch: Watch = "syn"

    @field_validator("sets", mode="after")
    @classmethod
    def _names_of_sets(cls, sets: tuple[str, ...]) -> tuple[str, ...]:
        for number, name in enumerate(sets):
            # ipset takes 31 characters, and one is ours: the 6 of IPv6.
            if not re.fullmatch(r"[A-Za-z0-9_.-]{1,30}", name):
                wrong(f"{name!r} is no name for a set", "1 to 30 letters, digits and _ . -", number)
            if name in sets[:number]:
                wrong(f"the set {name!r} is named twice", "each set once", number)
        return sets


def load_policy(name_or_path: str, relative_to: Path | None = None) -> Policy:
    """Read a policy from the catalogue or from a folder.

    Raises InputError ``FILE:LINE:COLUMN`` for the first thing that is wrong in it.
    """
    folder = catalogue.find("policies", name_or_path, relative_to)
    stamps = tuple(_stamp(folder / name) for name in ("policy.yaml", NFT_FILE, *RULES_FILES.values()))
    return _load(folder, folder.absolute(), stamps)


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=256)
def _load(folder: Path, absolute: Path, stamps: object) -> Policy:
    """A lab asks for the same few policies again and again: each is read once, until one of its files changes."""
    document = catalogue.read_yaml(folder / "policy.yaml")
    head = catalogue.validated(document, PolicyFile)
    for number, service in enumerate(head.services):
        for trouble in troubles(service):
            keys = () if trouble.parameter is None else (trouble.parameter,)
            raise document.error(trouble.what, trouble.allowed, "services", number, *keys)
    if (folder / NFT_FILE).exists():
        raise InputError(
            "native nftables rulesets are not supported yet", allowed="rules.v4 and rules.v6", file=folder / NFT_FILE
        )
    files = [(family, folder / file) for family, file in RULES_FILES.items() if (folder / file).exists()]
    if not files and not head.services:
        raise InputError("the policy has no rules", allowed="rules.v4, rules.v6 or both", file=folder)
    rulesets = tuple(_RulesFile(family, file, head.sets).read() for family, file in files)
    return Policy(
        name=absolute.name,
        folder=folder,
        title=head.title,
        description=head.description.strip(),
        source=head.source.strip(),
        sets=head.sets,
        rulesets=rulesets,
        services=head.services,
        watch=head.watch,
    )


_COUNTERS = r"\[\d+:\d+\]"
_TABLE = re.compile(r"\*(\S+)[ \t]*")
_CHAIN = re.compile(rf":(\S+)[ \t]+(\S+)(?:[ \t]+{_COUNTERS})?[ \t]*")
_RULE = re.compile(rf"(?:{_COUNTERS}[ \t]+)?(?P<rule>-A[ \t]+(?P<chain>\S+).*)")
_WORD = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|[^\s"])+|\S""")
_SET_OPTIONS = {"--match-set", "--add-set", "--del-set", "--map-set"}
_ADDRESS_OPTIONS = {"-s", "--source", "--src", "-d", "--destination", "--dst"}
_FAMILY_OPTIONS = {"-4", "--ipv4", "-6", "--ipv6"}

_LINES = "*TABLE, :CHAIN POLICY [n:n], -A CHAIN …, COMMIT, and comments with # in column 1"


class _RulesFile:
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
        text = catalogue.read_text(self._file)
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
