"""What a rule says, apart from where it stands: its matches and its target in canonical form."""

from __future__ import annotations

from typing import NamedTuple

from port25lab.rules.extension import Extension
from port25lab.rules.header import Header
from port25lab.rules.model import Family, Match, Option, Target
from port25lab.rules.services import protocol_name, protocol_number
from port25lab.rules.values import Context, RefusedError

_PORT_NAMES = frozenset({"tcp", "udp", "sctp", "dccp"})
_PORT_PROTOCOLS = {6: "tcp", 17: "udp", 33: "dccp", 132: "sctp", 136: "udplite"}

Written = tuple[str, bool, tuple[str, ...]]
"""Name, ``!`` and words of an option."""


class Specification(NamedTuple):
    """What a rule says, apart from where it stands. One line may be several rules: one for each of ``headers``."""

    headers: tuple[Match, ...]
    matches: tuple[Match, ...]
    target: Target | None
    comments: tuple[str, ...]
    tail: str
    """Canonical form of all that follows the header."""


class Loaded:
    """A module that a line has loaded, and the options it got."""

    __slots__ = ("chain", "extension", "given", "goto")

    def __init__(self, extension: Extension) -> None:
        self.extension = extension
        self.given: list[Written] = []
        self.chain = self.goto = False
        """Of a target: whether it is a chain, and one without return."""


class SpecificationReader:
    """Reads what lines say. Keeps what it has read, since rules are much alike."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._matches: dict[tuple[str, Context, tuple[Written, ...]], tuple[Match, bool]] = {}
        self._targets: dict[tuple[str, Context, tuple[Written, ...]], tuple[Option, ...]] = {}

    def read(self, header: Header, modules: list[Loaded], jump: Loaded | None) -> Specification:
        """Read the options of the header, of the matches and of the target. Raises RefusedError."""
        number = protocol_number(header.protocol_text) if header.protocol_text is not None else 0
        said = 0 if header.protocol_negated else number
        matches: list[Match] = []
        comments: list[str] = []
        shown: list[Match] = []
        for loaded in modules:
            name = loaded.extension.name
            _check_protocol(loaded.extension, said)
            protocol = name if name in _PORT_NAMES else _PORT_PROTOCOLS.get(number)
            match, kept = self._match(loaded, Context(self._family, protocol, number))
            if name == "comment":
                comments.append(match.options[0].value)
            elif kept:
                matches.append(match)
            if kept:
                shown.append(match)
        words = [match.text for match in _listed(shown)]
        target = None
        if jump is not None:
            _check_protocol(jump.extension, said)
            target = self._target(jump, Context(self._family, _PORT_PROTOCOLS.get(number), number))
            words.append(target.text)
        return Specification(header.matches(), tuple(matches), target, tuple(comments), " ".join(words))

    def _match(self, loaded: Loaded, context: Context) -> tuple[Match, bool]:
        """A match, and whether the kernel keeps it at all."""
        extension, given = loaded.extension, tuple(loaded.given)
        key = (extension.name, context, given)
        found = self._matches.get(key)
        if found is None:
            options = extension.read(given, context)
            text = " ".join([f"-m {extension.name}", *[option.text for option in options]])
            # iptables-nft translates these two, and a test that all packets pass is translated to nothing.
            kept = bool(options) or extension.name not in ("tcp", "udp") or not any(one[1] for one in given)
            found = self._matches[key] = Match(extension.name, options, text, extension.opaque), kept
        return found

    def _target(self, loaded: Loaded, context: Context) -> Target:
        extension, given = loaded.extension, tuple(loaded.given)
        if loaded.chain and given:
            raise RefusedError(f'unknown option "--{given[0][0]}"')
        key = (extension.name, context, given)
        options = self._targets.get(key)
        if options is None:
            if negated := next((name for name, negated, _ in given if negated), None):
                raise RefusedError(f'{extension.name}: option "--{negated}" cannot be inverted.')
            options = self._targets[key] = extension.read(given, context)
        text = " ".join([f"-{'g' if loaded.goto else 'j'} {extension.name}", *[option.text for option in options]])
        return Target(extension.name, options, text, loaded.chain, loaded.goto, extension.opaque)


def _check_protocol(extension: Extension, number: int) -> None:
    if extension.protocols and number not in extension.protocols:
        names = " or ".join(f"-p {protocol_name(one) or one}" for one in extension.protocols)
        raise RefusedError(f"{extension.name} needs {names}")


def _listed(matches: list[Match]) -> list[Match]:
    """Matches as the listing has them: iptables-nft translates tests of ports, and reads them back as one module."""
    names = [match.module for match in matches]
    if names.count("tcp") < 2 and names.count("udp") < 2:
        return matches
    first: dict[str, int] = {}
    shown: list[Match] = []
    for match in matches:
        translated = match.module in ("tcp", "udp") and match.options and not match.option("tcp-option")
        if translated and match.module in first:
            place = first[match.module]
            merged = {option.name: option for option in (*shown[place].options, *match.options)}
            options = tuple(merged[name] for name in ("sport", "dport", "tcp-flags") if name in merged)
            text = " ".join([f"-m {match.module}", *[option.text for option in options]])
            shown[place] = Match(match.module, options, text)
            continue
        if translated:
            first[match.module] = len(shown)
        shown.append(match)
    return shown
