"""The kernel's listing joined to the lines that its rules come from.

In: what ``iptables-save`` prints in the node, and the files that were loaded, in order. Out: for each rule of the
kernel its file, line and text, and the list of differences. Where the two differ, the kernel is right, and the
difference is an error of this package, or the rules were changed by another program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from enum import StrEnum

from port25lab.rules.addresses import Resolve, look_up
from port25lab.rules.iptables import parse
from port25lab.rules.model import Chain, Family, Option, Rule, Ruleset, Table
from port25lab.rules.values import Range

_HIGHEST = (0xFFFF, 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was given to ``iptables-restore``."""

    text: str
    file: str
    noflush: bool = True


class Differing(StrEnum):
    """How listing and files differ."""

    ONLY_KERNEL = "only in the kernel"
    ONLY_FILES = "only in the files"
    RULE = "another rule"
    FORM = "another form of the same rule"
    """Also: the rule without tests that no packet passes, which some versions of iptables leave out."""
    POLICY = "another policy"


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where listing and files differ."""

    how: Differing
    table: str
    chain: str
    kernel: Rule | None
    """The kernel's rule; its place is the line of the listing."""
    source: Rule | None
    """The rule as it was expected; its place is the line of the file."""
    kernel_policy: str | None = None
    source_policy: str | None = None

    def __str__(self) -> str:
        where = f"{self.table}/{self.chain}"
        if self.how is Differing.POLICY:
            return f"{where}: the kernel's policy is {self.kernel_policy}, expected was {self.source_policy}"
        listed = listed_text(self.kernel) if self.kernel else None
        expected = f"{self.source.canonical!r} ({self.source.place})" if self.source else None
        if listed is None:
            return f"{where}: the kernel does not have {expected}"
        if expected is None:
            return f"{where}: the kernel has {listed!r}, which no file brought"
        return f"{where}: the kernel has {listed!r}, expected was {expected}"


@dataclass(frozen=True, slots=True)
class Joined:
    """The kernel's ruleset, with the places and texts of the files."""

    ruleset: Ruleset
    """The kernel's rules. ``place`` and ``text`` are the file's where one brought the rule; otherwise the listing's."""
    sources: Mapping[tuple[str, str, int], Rule]
    """The rule of the files for each rule of the kernel, by table, chain and number; none where no file brought it."""
    differences: tuple[Difference, ...]

    def source(self, table: str, chain: str, number: int) -> Rule | None:
        """The file's rule for a rule of the kernel."""
        return self.sources.get((table, chain, number))


def stack(sources: Sequence[Source], family: Family, *, resolver: Resolve = look_up) -> Ruleset:
    """What a kernel has after these files were loaded one after the other. Raises InputError."""
    ruleset = Ruleset(family)
    for source in sources:
        ruleset = parse(source.text, family, file=source.file, onto=ruleset, noflush=source.noflush, resolver=resolver)
    return ruleset


def join(kernel: Ruleset, expected: Ruleset) -> Joined:
    """Join the kernel's listing with what the files say.

    Args:
        kernel: The listing, from ``parse_listing``.
        expected: What the files should have made, from ``stack`` or ``parse``.
    """
    tables: dict[str, Table] = {}
    sources: dict[tuple[str, str, int], Rule] = {}
    differences: list[Difference] = []
    for name, table in kernel.tables.items():
        other = expected.tables.get(name)
        chains: dict[str, Chain] = {}
        for chain in table.chains.values():
            source = other.chains.get(chain.name) if other else None
            rules = _chain(name, chain, source, sources, differences)
            place = source.place if source is not None and source.place is not None else chain.place
            chains[chain.name] = replace(chain, rules=tuple(rules), place=place)
        tables[name] = Table(name, chains)
    differences += _missing(kernel, expected)
    return Joined(Ruleset(kernel.family, tables), sources, tuple(differences))


def listed_text(rule: Rule) -> str:
    """A rule exactly as the listing has it, behind ``-A CHAIN``: the kernel's own text, not ours."""
    return rule.text.removeprefix(f"-A {rule.chain}").removeprefix(" ")


def _chain(
    table: str,
    chain: Chain,
    source: Chain | None,
    sources: dict[tuple[str, str, int], Rule],
    differences: list[Difference],
) -> Iterator[Rule]:
    """The kernel's rules of one chain, with the places of the files."""
    if source is not None and source.policy != chain.policy:
        differences.append(Difference(Differing.POLICY, table, chain.name, None, None, chain.policy, source.policy))
    joined: list[Rule] = []
    for rule, origin in _aligned(chain.rules, source.rules if source else ()):
        if rule is None:
            differences.append(Difference(Differing.ONLY_FILES, table, chain.name, None, origin))
            continue
        if origin is None:
            differences.append(Difference(Differing.ONLY_KERNEL, table, chain.name, rule, None))
            joined.append(rule)
            continue
        sources[rule.key] = origin
        if listed_text(rule) != origin.canonical:
            same = rule.canonical == origin.canonical or _is_without_empty_ranges(rule, origin)
            how = Differing.FORM if same else Differing.RULE
            differences.append(Difference(how, table, chain.name, rule, origin))
        joined.append(_placed(rule, origin))
    return iter(joined)


def _is_without_empty_ranges(kernel: Rule, origin: Rule) -> bool:
    """Whether iptables made the kernel's rule of the file's, and left out tests that no packet passes.

    That of Debian 12 (1.8.9, nf_tables) takes ``! --dport :`` for no test; that of Debian 13 (1.8.11) gives it to the
    kernel and lists it.
    """
    return bool(_emptied(origin)) and (kernel.header, kernel.target, _tests(kernel)) == (
        origin.header,
        origin.target,
        _tests(origin),
    )


def _tests(rule: Rule) -> list[tuple[str, list[Option]]]:
    kept = [(match.module, [one for one in match.options if not _is_empty_range(one)]) for match in rule.matches]
    emptied = _emptied(rule)
    return [(module, options) for module, options in kept if options or module not in emptied]


def _emptied(rule: Rule) -> set[str]:
    return {match.module for match in rule.matches if any(map(_is_empty_range, match.options))}


def _is_empty_range(option: Option) -> bool:
    return option.negated and any(
        isinstance(value, Range) and value.low == 0 and value.high in _HIGHEST for value in option.values
    )


def _placed(kernel: Rule, origin: Rule) -> Rule:
    """A rule of the kernel, with the place and the text of the file."""
    return Rule(
        kernel.table, kernel.chain, kernel.number, kernel.header, kernel.matches, kernel.target, kernel.comments,
        kernel.canonical, origin.place, origin.text, kernel.counters,
    )  # fmt: skip


def _aligned(kernel: Sequence[Rule], source: Sequence[Rule]) -> Iterator[tuple[Rule | None, Rule | None]]:
    """Pairs in the order of the kernel. Equal rules belong together; between them, so do places."""
    listed, expected = [rule.canonical for rule in kernel], [rule.canonical for rule in source]
    if listed == expected:
        yield from zip(kernel, source, strict=True)
        return
    start, end = 0, 0
    shorter = min(len(listed), len(expected))
    while start < shorter and listed[start] == expected[start]:
        start += 1
    while end < shorter - start and listed[-1 - end] == expected[-1 - end]:
        end += 1
    yield from zip(kernel[:start], source[:start], strict=True)
    middle = SequenceMatcher(
        None, listed[start : len(listed) - end], expected[start : len(expected) - end], autojunk=False
    )
    for _, low, high, source_low, source_high in middle.get_opcodes():
        ours = kernel[start + low : start + high]
        theirs = source[start + source_low : start + source_high]
        for place in range(max(len(ours), len(theirs))):
            yield (
                ours[place] if place < len(ours) else None,
                theirs[place] if place < len(theirs) else None,
            )
    if end:
        yield from zip(kernel[-end:], source[-end:], strict=True)


def _missing(kernel: Ruleset, expected: Ruleset) -> Iterator[Difference]:
    """Chains with rules, or with a policy, that the kernel does not list."""
    for name, table in expected.tables.items():
        there = kernel.tables[name].chains if name in kernel.tables else {}
        for chain in table.chains.values():
            if chain.name in there:
                continue
            for rule in chain.rules:
                yield Difference(Differing.ONLY_FILES, name, chain.name, None, rule)
            if chain.policy == "DROP":
                yield Difference(Differing.POLICY, name, chain.name, None, None, None, chain.policy)
