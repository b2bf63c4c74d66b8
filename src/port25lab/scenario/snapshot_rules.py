"""Rules of a file: restore input and ``iptables -S`` output become ``RulesPart``s, each with its family.

Line numbers stay those of the file. The family is told by which of ``iptables-restore`` and ``ip6tables-restore`` takes
the text; where both do, by the comment or the command above it, by other rules of the file, or by the file's name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from port25lab.errors import InputError
from port25lab.model.policy import Family
from port25lab.model.snapshot import FamilyTold, RulesPart, SnapshotNote
from port25lab.rules import BUILTIN_CHAINS, parse
from port25lab.rules.iptables import LONGEST_LINE
from port25lab.rules.words import split
from port25lab.scenario.snapshot_parts import Kind, Part

_FAMILIES: tuple[Family, Family] = ("ip", "ip6")
_DOCUMENTATION = {4: 0xC0000201, 6: 0x20010DB8 << 96 | 1}


_BEGINNING = 100
"""Lines."""


@dataclass
class _Block:
    """One table of a file."""

    table: str
    lines: list[tuple[int, str]]
    part: Part
    listed: bool = False
    """Whether it was printed by ``iptables -S``."""
    assumed: bool = False
    """Whether nothing says for sure that it is this table."""
    family: Family | None = None
    told_by: FamilyTold = "rules"

    @property
    def text(self) -> str:
        """The table as restore input, without the lines above."""
        return "\n".join(line for _, line in self.lines) + "\n"

    @property
    def beginning(self) -> str:
        """Its first lines as restore input: most tables tell their family there, and reading all takes long."""
        first = [line for _, line in self.lines[:_BEGINNING]]
        return "\n".join([*first, "COMMIT"] if len(first) < len(self.lines) else first) + "\n"


def rules_of(parts: Iterable[Part], file: str) -> tuple[list[RulesPart], list[SnapshotNote]]:
    """The rules of a file.

    Returns: A part for each family, and one more for each table of ``iptables -S``; and notes.
    Raises: InputError for two dumps of one family in the file, and for line ends that iptables takes for a part of the
        last word.
    """
    blocks: list[_Block] = []
    notes: list[SnapshotNote] = []
    for part in parts:
        if part.kind is Kind.RULES:
            blocks.append(_Block(split(part.lines[0][1][1:])[0] if part.lines[0][1][1:].strip() else "",
                                 part.lines, part))  # fmt: skip
        elif part.kind is Kind.LISTING:
            for block in _listed(part):
                if block.assumed:
                    place = part.lines[0][0]
                    notes.append(SnapshotNote(kind="table-assumed", file=Path(file), line=place, subject=block.table))
                blocks.append(block)
    notes += _without_carriage_returns(blocks, file)
    _find_families(blocks, file)
    _refuse_two_dumps(blocks, file)
    unknown = [block.part.lines[0][0] for block in blocks if block.told_by == "nothing"]
    notes += [SnapshotNote(kind="family-assumed", file=Path(file), line=line, subject="IPv4") for line in unknown[:1]]
    return _parts(blocks, file), notes


def _without_carriage_returns(blocks: Iterable[_Block], file: str) -> list[SnapshotNote]:
    """Take the line ends of Windows from what a program printed: they came on the way. Raises InputError elsewhere."""
    places = []
    for block in blocks:
        ends = [number for number, line in block.lines if line.endswith("\r")]
        if ends and not block.listed and block.part.header is None:
            # To iptables-restore, the carriage return is a part of the last word.
            what = "the line ends with a carriage return"
            raise InputError(what, allowed="line ends of Unix (LF)", file=file, line=ends[0])
        block.lines = [(number, line.removesuffix("\r")) for number, line in block.lines]
        places += ends
    return [SnapshotNote(kind="line-ends", file=Path(file), line=place, subject="CR LF") for place in places[:1]]


def _parts(blocks: Sequence[_Block], file: str) -> list[RulesPart]:
    found: list[RulesPart] = []
    for family in _FAMILIES:
        mine = [block for block in blocks if block.family == family]
        whole = [block for block in mine if not block.listed]
        for together in [*([whole] if whole else []), *([block] for block in mine if block.listed)]:
            lines = dict(line for block in together for line in block.lines)
            content = "\n".join(lines.get(number, "") for number in range(1, max(lines) + 1)) + "\n"
            told = next((block.told_by for block in together if block.told_by != "rules"), "rules")
            data = content.encode("utf-8", "surrogateescape")
            found.append(RulesPart(family=family, file=Path(file), content=data, told_by=told))
    return found


# --- iptables -S


def _listed(part: Part) -> list[_Block]:
    """The tables of one ``iptables -S`` output, or of several: the next begins with a policy behind rules."""
    tables: list[list[tuple[int, str]]] = [[]]
    ruled = False
    for number, line in part.lines:
        policy = line.startswith(("-P ", ":"))
        if policy and ruled:
            tables.append([])
        ruled = not policy and (ruled or line.startswith(("-A ", "[")))
        if line.rstrip("\r") != "COMMIT":
            tables[-1].append((number, line))
    return [_as_restore(lines, part) for lines in tables if lines]


def _as_restore(lines: list[tuple[int, str]], part: Part) -> _Block:
    table, told = _table_of(lines, part)
    said = [(number, _declaration(line)) for number, line in lines]
    first, last = said[0][0], said[-1][0]
    if first > 1:
        said.insert(0, (first - 1, f"*{table}"))
    else:
        # No line is free above: iptables-restore reads what is longer than this as two lines, and counts one.
        said[0] = (1, f"*{table}".ljust(LONGEST_LINE) + said[0][1])
    return _Block(table, [*said, (last + 1, "COMMIT")], part, listed=True, assumed=not told)


def _declaration(line: str) -> str:
    """What ``-P`` and ``-N`` are in restore input; other lines are the same there."""
    words = line.split()
    if words[0] == "-P" and len(words) >= 3:
        counters = f"[{words[4]}:{words[5]}]" if len(words) >= 6 and words[3] == "-c" else "[0:0]"
        return f":{words[1]} {words[2]} {counters}"
    if words[0] == "-N" and len(words) == 2:
        return f":{words[1]} - [0:0]"
    return line


_TABLE_OF_TARGET = {
    **dict.fromkeys(("DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP"), "nat"),
    **dict.fromkeys(("CT", "NOTRACK"), "raw"),
}


def _table_of(lines: list[tuple[int, str]], part: Part) -> tuple[str, bool]:
    """The table that ``iptables -S`` was asked for, by its command, its chains, their targets; and if that is sure."""
    words = part.command.split()
    if "-t" in words[:-1]:
        return words[words.index("-t") + 1], True
    cut = [split(line) for _, line in lines]
    policies = {said[0][1:] if said[0][0] == ":" else said[1] for said in cut if said[0][0] == ":" or said[0] == "-P"}
    policies &= {chain for chains in BUILTIN_CHAINS.values() for chain in chains}
    for name in ("filter", "nat", "mangle", "raw"):
        if policies == set(BUILTIN_CHAINS[name]):
            return name, True
    if policies == {"PREROUTING", "OUTPUT", "POSTROUTING"}:
        return "nat", True  # of a kernel before 2.6.36
    named = policies or {said[1] for said in cut if said[0] == "-A" and len(said) > 1}
    if named & {"PREROUTING", "POSTROUTING"} or (named and not named & set(BUILTIN_CHAINS["filter"])):
        targets = {said[place + 1] for said in cut for place, word in enumerate(said[:-1]) if word == "-j"}
        tables = {_TABLE_OF_TARGET[target] for target in targets if target in _TABLE_OF_TARGET}
        if len(tables) == 1:
            return tables.pop(), False
        return ("mangle" if named & {"PREROUTING", "POSTROUTING"} else "filter"), False
    return "filter", False


# --- families


def _find_families(blocks: Sequence[_Block], file: str) -> None:
    for block in blocks:
        block.family, block.told_by = _told(block)
    for block in blocks:
        if block.family is None:
            block.family, block.told_by = _guessed(block, blocks, file)


def _told(block: _Block) -> tuple[Family | None, FamilyTold]:
    """The family that a table tells by itself, and by what."""
    said: Family | None = block.part.header
    told_by: FamilyTold = "header"
    program = block.part.command.split(" ")[0]
    if said is None and program.startswith(("iptables", "ip6tables")):
        said, told_by = ("ip6" if program.startswith("ip6") else "ip"), "command"
    if said is not None and _read(block.text, said).refused_at is None:
        return said, told_by
    begun = [family for family in _FAMILIES if _read(block.beginning, family).refused_at is None]
    if len(begun) == 1:  # the other program is refused there: this one gets further, and nothing else matters
        return begun[0], "rules"
    read = {family: _read(block.text, family) for family in _FAMILIES}
    taken = [family for family in _FAMILIES if read[family].refused_at is None]
    if len(taken) == 1:
        return taken[0], "rules"
    if said is not None:
        return said, told_by
    if not taken and read["ip"].refused_at != read["ip6"].refused_at:
        # Both programs refuse it. The family of the rules is that of the program that gets further.
        return max(_FAMILIES, key=lambda family: read[family].refused_at or 0), "rules"
    families = {_ICMP[number] for number in read["ip"].protocols if number in _ICMP}
    if len(families) == 1:  # each program knows the name of the other's protocol
        return families.pop(), "rules"
    return None, "nothing"


def _guessed(block: _Block, blocks: Sequence[_Block], file: str) -> tuple[Family, FamilyTold]:
    known = {other.family for other in blocks if other.family is not None and other.told_by != "name"}
    has = {other.family for other in blocks if other is not block and other.table == block.table}
    if "ip" in has and "ip6" not in has:
        return "ip6", "neighbours"
    if len(known) == 1:
        return next(family for family in _FAMILIES if family in known), "neighbours"
    name = Path(file).name.lower()
    if re.search(r"v6|ip6", name):
        return "ip6", "name"
    return "ip", "name" if re.search(r"v4|ip4", name) else "nothing"


_ICMP: dict[int, Family] = {1: "ip", 58: "ip6"}


class _Read(NamedTuple):
    """A table as the program of one family reads it."""

    refused_at: int | None
    """The line of the table that it refuses first; None if it takes all."""
    protocols: frozenset[int] = frozenset()
    """Those that rules name."""


def _read(text: str, family: Family) -> _Read:
    try:
        ruleset = parse(text, family, resolver=_any_name)
    except InputError as refused:
        return _Read(refused.line)
    named = (rule.header.option("protocol") for rule in ruleset.rules())
    return _Read(None, frozenset(option.value for option in named if option is not None and not option.negated))


def _any_name(name: str, version: int) -> tuple[int, ...]:
    """Host names are names of any family; addresses of the other family are none."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return () if re.fullmatch(r"[\d.]*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", name) else (_DOCUMENTATION[version],)
    return ()


def _refuse_two_dumps(blocks: Sequence[_Block], file: str) -> None:
    """A file of two routers. Hand-written restore input may name a table twice: iptables-restore takes the last."""
    seen: dict[tuple[Family | None, str], _Block] = {}
    for block in blocks:
        first = seen.setdefault((block.family, block.table), block)
        if first is not block and block.part.dump != first.part.dump and first.part.dump and block.part.dump:
            program = "ip6tables-save" if block.family == "ip6" else "iptables-save"
            raise InputError(
                f"the second table {block.table!r} of {program}, after that of line {first.lines[0][0]}: "
                "two routers, or one at two times",
                allowed="a file for each",
                file=file,
                line=block.lines[0][0],
            )
