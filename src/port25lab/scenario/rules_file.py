"""A rules file of a policy: read as ``iptables-restore`` reads it, and checked against the policy's sets.

In: a file and the names of the sets in `policy.yaml`. Out: a ``RulesFile`` with the bytes of the file, or an
InputError with the line and the words of iptables.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from port25lab.errors import InputError, nearest
from port25lab.model.policy import Family, RulesFile
from port25lab.rules import BUILTIN_CHAINS, Ruleset, decode, parse

RULES_FILES: dict[Family, str] = {"ip": "rules.v4", "ip6": "rules.v6"}

_NFT_COMMANDS = ("table", "add", "create", "flush", "define", "include", "delete", "destroy")

_DOCUMENTATION = {4: 0xC0000201, 6: 0x20010DB8 << 96 | 1}


def read_rules(family: Family, file: Path, sets: tuple[str, ...], saved: Collection[str] = ()) -> RulesFile:
    """Read and check one rules file.

    Args:
        family: ``ip`` for `rules.v4`, ``ip6`` for `rules.v6`.
        file: The file.
        sets: The names of the policy's address sets, without the 6 of IPv6.
        saved: The names of sets that the policy brings itself.

    Raises: InputError for the first thing that iptables refuses, and for a set that is not one of the policy's.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=file) from None
    text = decode(content)
    lines = text.split("\n")
    try:
        ruleset = parse(text, family, file=str(file), resolver=_any_name)
    except InputError as refused:
        if refused.line is not None and lines[refused.line - 1].endswith("\r"):
            # To iptables-restore, the carriage return is a part of the last word.
            what = "the line ends with a carriage return"
            raise InputError(what, allowed="line ends of Unix (LF)", file=file, line=refused.line) from None
        if refused.line is not None and _is_nft(lines[refused.line - 1]):
            what, allowed = "this is text of nft, not of iptables", "what iptables-save prints"
            raise InputError(what, allowed=allowed, file=file, line=refused.line) from None
        raise
    _check_sets(ruleset, family, file, sets, saved, lines)
    chains = tuple(
        (table.name, chain)
        for table in ruleset.tables.values()
        for chain in table.chains
        if chain not in BUILTIN_CHAINS[table.name]
    )
    return RulesFile(family=family, file=file, content=content, chains=chains, sees_neighbours=ruleset.sees_neighbours)


def _is_nft(line: str) -> bool:
    """Whether a line that iptables refuses begins a command of nft(8)."""
    words = line.split()
    return bool(words) and (words[0] in _NFT_COMMANDS or line.startswith("#!"))


def _any_name(name: str, version: int) -> tuple[int, ...]:
    """Host names mean nodes of the lab, which is not up yet: any name will do, for an address or two."""
    return (_DOCUMENTATION[version],)


def _check_sets(
    ruleset: Ruleset,
    family: Family,
    file: Path,
    sets: tuple[str, ...],
    saved: Collection[str],
    lines: list[str],
) -> None:
    known = {*saved, *(f"{name}6" if family == "ip6" else name for name in sets)}
    for name, rule in ruleset.set_names().items():
        if name not in known:
            written = re.search(rf"(?<=[\s\"]){re.escape(name)}(?![^\s\"])", lines[rule.place.line - 1])
            allowed = f"the sets in policy.yaml{', with a 6 behind' if family == 'ip6' else ''}"
            raise InputError(
                f"the set {name!r} is not one of the policy's",
                allowed=f"{allowed}: {nearest(name, known)}",
                file=file,
                line=rule.place.line,
                column=written.start() + 1 if written else None,
            )
