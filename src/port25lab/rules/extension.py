"""How an extension is described, and how its words become a match or target.

An ``Extension`` is a row of data: its options in the order in which ``iptables-save`` prints them, each with its kind
of value. What the order alone cannot say (defaults that depend on other options, two names for one meaning) is one
small function in ``arrange``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from port25lab.rules.model import Family, Option
from port25lab.rules.values import Context, Kind, RefusedError


class Opt(NamedTuple):
    """One option of an extension."""

    name: str
    kind: Kind | None = None
    """None: the option has no value."""
    aliases: tuple[str, ...] = ()
    hide: str | None = None
    """Canonical value that is not printed, since it says nothing. Negated, it is what no packet has, and printed."""
    default: str | None = None
    """Value that is printed when the option is not given."""
    words: int = 1
    """How many words the value has."""
    many: bool = False
    """May be given more than once."""
    negatable: bool = True
    optional: bool = False
    """The value may be missing."""


def plain(name: str, kind: Kind | None = None, aliases: tuple[str, ...] = (), **more: Any) -> Opt:
    """An option that takes no ``!``."""
    return Opt(name, kind, aliases, negatable=False, **more)


class Given(NamedTuple):
    """An option as it was written."""

    name: str
    negated: bool
    values: tuple[Any, ...]
    text: str
    """Canonical value, without the name."""


Arranged = dict[str, Given]
Arrange = Callable[[Arranged, Context], Arranged]


@dataclass(frozen=True)
class Extension:
    """One match or target module."""

    name: str
    options: tuple[Opt, ...] = ()
    families: tuple[Family, ...] = ("ip", "ip6")
    arrange: Arrange | None = None
    needs: tuple[tuple[str, ...], ...] = ()
    """Of each of these groups one option must be given."""
    alone: tuple[tuple[str, ...], ...] = ()
    """Of each of these groups one option may be given."""
    also: tuple[tuple[str, str], ...] = ()
    """The first option asks for the second."""
    some: str = ""
    """What iptables says when no option is given; empty: it takes that."""
    protocols: tuple[int, ...] = ()
    """The rule must name one of these protocols; empty: any rule will do."""
    tables: tuple[str, ...] = ()
    """The kernel takes it in these tables alone; empty: in all."""
    sequence: Callable[[Sequence[Given], Context], Sequence[Given]] | None = None
    """For modules whose options may be repeated: puts them in order instead of ``arrange``."""
    opaque: bool = False
    """Nothing is known about its options."""
    names: dict[str, Opt] = field(default_factory=dict)
    """Every name of every option; filled in here."""

    def __post_init__(self) -> None:
        for option in self.options:
            for name in (option.name, *option.aliases):
                self.names.setdefault(name, option)

    def read(self, given: Sequence[tuple[str, bool, tuple[str, ...]]], context: Context) -> tuple[Option, ...]:
        """Options as they were written (name, negated, words) in canonical form and order.

        Raises RefusedError for a value that iptables refuses, or an option that must not be missing.
        """
        if self.opaque:
            return tuple(raw_option(name, negated, words) for name, negated, words in given)
        if self.some and not given:
            raise RefusedError(self.some)
        read: list[Given] = []
        for written, negated, words in given:
            option = self.names[written]
            if negated and not option.negatable:
                raise RefusedError(f'{self.name}: option "--{written}" cannot be inverted.')
            if option.kind is None or not words:
                read.append(Given(option.name, negated, (), ""))
            else:
                value, text = option.kind(" ".join(words), context)
                read.append(Given(option.name, negated, (value,), text))
        if self.sequence is not None:
            return tuple(_option(one) for one in self.sequence(read, context))
        found: Arranged = {}
        for one in read:
            if one.name in found:
                raise RefusedError(f'{self.name}: option "--{one.name}" can only be used once.')
            found[one.name] = one
        for group in self.needs:
            if not any(name in found for name in group):
                raise RefusedError(f'{self.name}: option "--{group[0]}" must be specified')
        for group in self.alone:
            both = [name for name in group if name in found]
            if len(both) > 1:
                raise RefusedError(f'{self.name}: option "--{both[0]}" cannot be used together with "--{both[1]}".')
        for name, other in self.also:
            if name in found and other not in found:
                raise RefusedError(f'{self.name}: option "--{name}" also requires "--{other}".')
        if self.arrange is not None:
            found = self.arrange(found, context)
        return tuple(self._printed(found, context))

    def _printed(self, found: Arranged, context: Context) -> list[Option]:
        shown = []
        for option in self.options:
            one = found.get(option.name)
            if one is None:
                if option.default is None or option.kind is None:
                    continue
                value, text = option.kind(option.default, context)
                one = Given(option.name, False, (value,), text)
            if option.kind is not None and one.text == option.hide and not one.negated:
                continue
            shown.append(_option(one))
        return shown


def _option(given: Given) -> Option:
    name, negated, values, text = given
    return Option(name, values, negated, f"{'! ' if negated else ''}--{name}{' ' if text else ''}{text}")


def raw_option(name: str, negated: bool, words: tuple[str, ...]) -> Option:
    """An option of which nothing is known: its words as they are."""
    from port25lab.rules.values import quoted

    text = " ".join([f"{'! ' if negated else ''}--{name}", *map(quoted, words)])
    return Option(name, words, negated, text)
