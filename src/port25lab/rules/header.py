"""The match on the IP header: ``-s -d -i -o -p -f``. Lists of addresses and host names make several of one."""

from __future__ import annotations

from functools import lru_cache

from port25lab.rules.addresses import NotNumericError, interface, network, numeric_network
from port25lab.rules.model import HEADER, Family, Match, Option
from port25lab.rules.services import protocol_name, protocol_number
from port25lab.rules.values import RefusedError

_ORDER = "sdiopf"
_NAMES = {
    "s": "source",
    "d": "destination",
    "i": "in-interface",
    "o": "out-interface",
    "p": "protocol",
    "f": "fragments",
}


class Header:
    """The header's options of one line, as they come."""

    __slots__ = ("_family", "given")

    def __init__(self, family: Family) -> None:
        self._family = family
        self.given: dict[str, tuple[str, bool]] = {}
        """Value and ``!`` by letter."""

    def take(self, letter: str, value: str, negated: bool) -> None:
        """Take one option. Raises RefusedError."""
        if letter in self.given:
            raise RefusedError(f"multiple -{letter} flags not allowed")
        if letter == "f" and self._family == "ip6":
            raise RefusedError("`-f' is not supported in IPv6, use -m frag instead")
        if letter in "io":
            if not value:
                raise RefusedError("Empty interface is likely to be undesired")
            interface(value, None)  # type: ignore[arg-type]
        elif letter == "p":
            value = value.lower()
            if protocol_number(value) == 0 and negated:
                raise RefusedError("rule would never match protocol")
        self.given[letter] = value, negated

    @property
    def protocol_text(self) -> str | None:
        """The protocol as it was written, in lower case."""
        given = self.given.get("p")
        return given[0] if given else None

    @property
    def protocol_negated(self) -> bool:
        """Whether the rule is about all other protocols."""
        return self.given["p"][1] if "p" in self.given else False

    def matches(self) -> tuple[Match, ...]:
        """One match for each pair of source and destination, in the order of iptables. Raises RefusedError."""
        given = self.given
        sources = self._addresses("s")
        destinations = self._addresses("d")
        if len(sources) * len(destinations) > 1 and any(given[end][1] for end in "sd" if end in given):
            raise RefusedError("! not allowed with multiple source or destination IP addresses")
        common = tuple(
            option
            for letter in _ORDER[2:]
            if letter in given and (option := _option(letter, *given[letter])) is not None
        )
        return tuple(
            _match(tuple(option for option in (source, destination) if option is not None) + common)
            for source in sources
            for destination in destinations
        )

    def _addresses(self, letter: str) -> tuple[Option | None, ...]:
        given = self.given.get(letter)
        if given is None:
            return (None,)
        try:
            return _numeric_options(letter, given[0], given[1], self._family)
        except NotNumericError:
            return tuple(
                _address_option(letter, shown, value, given[1])
                for part in _list(given[0])
                for value, shown in network(part, self._family, True)
            )


def _list(text: str) -> list[str]:
    return [part.lstrip(" \t\n\v\f\r") for part in text.split(",")]


@lru_cache(maxsize=65536)
def _numeric_options(letter: str, text: str, negated: bool, family: Family) -> tuple[Option | None, ...]:
    found = [numeric_network(part, family, True) for part in _list(text)]
    return tuple(_address_option(letter, shown, value, negated) for value, shown in found)


def _address_option(letter: str, shown: str, value: object, negated: bool) -> Option | None:
    if shown in ("0.0.0.0/0", "::/0") and not negated:
        return None
    return Option(_NAMES[letter], (value,), negated, f"{'! ' if negated else ''}-{letter} {shown}")


@lru_cache(maxsize=4096)
def _option(letter: str, text: str, negated: bool) -> Option | None:
    mark = "! " if negated else ""
    if letter == "p":
        value = protocol_number(text)
        return Option("protocol", (value,), negated, f"{mark}-p {protocol_name(value) or value}") if value else None
    if letter == "f":
        return Option("fragments", (), negated, f"{mark}-f")
    return None if text == "+" else Option(_NAMES[letter], (text,), negated, f"{mark}-{letter} {text}")


def _match(options: tuple[Option, ...]) -> Match:
    return Match(HEADER, options, " ".join([option.text for option in options]))
