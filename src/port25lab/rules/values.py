"""Kinds of option values: how a word is read, and how ``iptables-save`` prints it.

A kind takes the option's words and a ``Context`` and returns the typed value with its canonical text. It raises
``RefusedError`` for a word that iptables refuses. Kinds are plain functions, or factories of such functions; the tables
in ``match_table`` and ``target_table`` name one for each option.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from port25lab.rules.model import Family

U8, U16, U32, U64 = 0xFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


class RefusedError(ValueError):
    """iptables does not take this. The text is in its own words where they are known."""


class Context(NamedTuple):
    """What a value may depend on."""

    family: Family
    protocol: str | None
    """Name of the rule's protocol as ``getservbyname`` wants it; None if the rule names none that has ports."""
    number: int = 0
    """The rule's protocol; 0 if it names none."""


class Read(NamedTuple):
    """A value, and its canonical text."""

    value: Any
    text: str


Kind = Callable[[str, Context], Read]


class Range(NamedTuple):
    """From ``low`` to ``high``, both included."""

    low: int
    high: int

    def __contains__(self, number: object) -> bool:
        return self.low <= number <= self.high  # type: ignore[operator]


class Masked(NamedTuple):
    """A number of which only the bits under ``mask`` count."""

    value: int
    mask: int

    def __contains__(self, number: object) -> bool:
        return number & self.mask == self.value  # type: ignore[operator]


def number(text: str) -> tuple[int, str]:
    """Read an integer as C's ``strtoul(…, 0)`` does. Returns it and what is left of the text."""
    if text.isascii() and text.isdigit() and text[0] != "0":
        return int(text), ""
    text = text.lstrip(" \t\n\v\f\r")
    sign = text[:1] if text[:1] == "+" else ""
    digits = text[len(sign) :].lower()
    base, start, allowed = 10, 0, "0123456789"
    if digits.startswith("0x") and digits[2:3] and digits[2:3] in "0123456789abcdef":
        base, start, allowed = 16, 2, "0123456789abcdef"
    elif digits.startswith("0"):
        base, allowed = 8, "01234567"
    end = start
    while end < len(digits) and digits[end] in allowed:
        end += 1
    if end == start:
        raise RefusedError(f"bad value {text!r}")
    return int(digits[start:end], base), text[len(sign) + end :]


def bounded(text: str, low: int, high: int) -> int:
    """Read a whole word as an integer between two bounds."""
    value, rest = number(text)
    if rest or not low <= value <= high:
        raise RefusedError(f"bad value {text!r}, or out of range ({low}-{high})")
    return value


def integer(high: int = U32, low: int = 0, form: str = "d") -> Kind:
    """An integer; ``form`` is its format for printing."""
    prefix = "0x" if form.endswith("x") else ""

    def read(text: str, _: Context) -> Read:
        value = bounded(text, low, high)
        return Read(value, f"{prefix}{value:{form}}")

    return read


def span(high: int) -> Kind:
    """A range ``LOW:HIGH``, either end may be missing; one number is both ends. One turned round never matches."""

    def read(text: str, _: Context) -> Read:
        first, colon, last = text.partition(":")
        low = bounded(first, 0, high) if first else 0
        top = (bounded(last, 0, high) if last else high) if colon else low
        return Read(Range(low, top), f"{low}" if low == top else f"{low}:{top}")

    return read


_UNQUOTED = frozenset("_-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def quoted(text: str) -> str:
    """A string as ``iptables-save`` prints it: in quotes where it has to be."""
    if text and _UNQUOTED.issuperset(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("'", "\\'") + '"'


def string(longest: int | None = None, shortest: int = 0) -> Kind:
    """A string that is quoted where it has to be. What is longer than iptables keeps is cut as it cuts it."""

    def read(text: str, _: Context) -> Read:
        if len(text) < shortest:
            raise RefusedError(f"Argument must have a minimum length of {shortest} characters")
        kept = text if longest is None else text[:longest]
        return Read(kept, quoted(kept))

    return read


def word(text: str, _: Context) -> Read:
    """A string that is printed as it is."""
    return Read(text, text)


def in_quotes(text: str, _: Context) -> Read:
    """A string that is always printed in quotes."""
    return Read(text, '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')


def one_of(*names: str, aliases: Mapping[str, str] | None = None, fold: bool = False, prefix: bool = False) -> Kind:
    """One name out of a few. ``prefix``: its start is enough, and the first that fits is meant."""
    shown = {**{name: name for name in names}, **(aliases or {})}

    def read(text: str, _: Context) -> Read:
        for name, canonical in shown.items():
            known, given = (name.lower(), text.lower()) if fold or prefix else (name, text)
            if known == given or (prefix and known.startswith(given)):
                return Read(canonical, canonical)
        raise RefusedError(f"bad value {text!r}")

    return read


def names(known: Iterable[str], *, prefix: bool = False, everything: str = "", nothing: str = "") -> Kind:
    """A list of names, printed in the order of ``known``."""
    known = tuple(known)

    def read(text: str, _: Context) -> Read:
        found: set[str] = set()
        for part in text.split(","):
            given = part.lower()
            if nothing and given == nothing.lower():
                continue
            if everything and given == everything.lower():
                found.update(known)
                continue
            hits = [name for name in known if name.lower() == given or (prefix and name.lower().startswith(given))]
            if not hits:
                raise RefusedError(f"bad value {part!r}")
            found.add(hits[0])
        shown = ",".join(name for name in known if name in found)
        return Read(frozenset(found), shown or nothing)

    return read


def mark_mask(text: str, _: Context) -> Read:
    """``VALUE[/MASK]``, printed in hexadecimal; a full mask is left out."""
    value = masked(text)
    return Read(value, f"0x{value.value:x}" if value.mask == U32 else f"0x{value.value:x}/0x{value.mask:x}")


def masked(text: str, high: int = U32) -> Masked:
    """Read ``VALUE[/MASK]``."""
    value, rest = number(text)
    mask = high
    if rest.startswith("/"):
        mask, rest = number(rest[1:])
    if rest or value > high or mask > high:
        raise RefusedError(f"bad integer value {text!r}, or out of range")
    return Masked(value, mask)
