"""One line inside a table, read as ``iptables`` reads its arguments: a command, and the rule it is about.

Long options may be abbreviated: to a start that only one option has, among the options of iptables and of the modules
that the line has loaded so far. An option of the rule's protocol loads the module of that name.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import NamedTuple

from port25lab.rules.extension import Extension, Opt
from port25lab.rules.header import Header
from port25lab.rules.match_table import ALIASES, MATCHES
from port25lab.rules.model import Family
from port25lab.rules.services import protocol_name
from port25lab.rules.specification import Loaded, Specification, SpecificationReader
from port25lab.rules.target_table import TARGETS
from port25lab.rules.values import RefusedError, bounded

_NONE, _ONE, _MAYBE = 0, 1, 2

_LONG = {
    "append": "A", "delete": "D", "check": "C", "insert": "I", "replace": "R", "list": "L", "list-rules": "S",
    "flush": "F", "zero": "Z", "new-chain": "N", "delete-chain": "X", "rename-chain": "E", "policy": "P",
    "source": "s", "destination": "d", "src": "s", "dst": "d", "protocol": "p", "in-interface": "i", "jump": "j",
    "table": "t", "match": "m", "numeric": "n", "out-interface": "o", "verbose": "v", "wait": "w",
    "wait-interval": "W", "exact": "x", "fragments": "f", "version": "V", "help": "h", "line-numbers": "0",
    "modprobe": "M", "set-counters": "c", "goto": "g", "ipv4": "4", "ipv6": "6",
}  # fmt: skip
_ARGUMENTS = {
    **dict.fromkeys("ADCIRNEPspdijtmoMcg", _ONE),
    **dict.fromkeys("LSFZXwWh", _MAYBE),
    **dict.fromkeys("nvxfV046", _NONE),
}
_COMMANDS = frozenset("ADCIRLSFZNXEP")
_WITH_RULE = frozenset("ADCIR")
_OTHER: dict[Family, Family] = {"ip": "ip6", "ip6": "ip"}
LONGEST_NAME = 28


class Command(NamedTuple):
    """A command and its arguments."""

    verb: str
    """A, D, I, R, N, X, F, Z, E, P; C, L and S change nothing. Empty: a line for the other family."""
    chain: str | None = None
    number: int | None = None
    argument: str | None = None
    """The policy, or the new name."""
    rule: Specification | None = None
    counters: tuple[int, int] | None = None


class CommandReader:
    """Reads lines for one family."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.builder = SpecificationReader(family)

    def read(self, words: list[str], chains: Container[str]) -> Command:
        """Read the words of one line.

        ``chains`` tells by ``in`` whether the table has a chain of a name. Raises RefusedError.
        """
        return _Line(self, words, chains).read()


class _Line:
    """The words of one line on their way to a command."""

    def __init__(self, reader: CommandReader, words: list[str], chains: Container[str]) -> None:
        self._reader, self._family, self._words, self._chains = reader, reader.family, words, chains
        self._next = 0
        self._verb = ""
        self._chain: str | None = None
        self._number: int | None = None
        self._argument: str | None = None
        self._header = Header(reader.family)
        self._loaded: list[Loaded] = []
        self._target: Loaded | None = None
        self._jump = ""
        self._goto = False
        self._protocol_used = False
        self._negated = False
        self._counters: tuple[int, int] | None = None

    def read(self) -> Command:
        words = self._words
        while self._next < len(words):
            word = words[self._next]
            self._next += 1
            if word == "!":
                if self._negated:
                    raise RefusedError("multiple consecutive ! not allowed")
                self._negated = True
                continue
            if word == "--":
                if self._next < len(words):
                    raise RefusedError("unknown arguments found on commandline")
                break
            if word[:2] == "--":
                self._long(word[2:])
            elif word[:1] == "-" and len(word) > 1:
                if not self._short(word):
                    return Command("")
            else:
                raise RefusedError(f"Bad argument `{word}'")
            self._negated = False
            if self._verb == "other family":
                return Command("")
        if self._negated:
            raise RefusedError("nothing appropriate following !")
        return self._command()

    def _long(self, text: str) -> None:
        name, equals, attached = text.partition("=")
        value = attached if equals else None
        letter = _LONG.get(name)
        option = None if letter else self._option(name)
        unread = None
        if letter is None and option is None:
            unread = next((one for one in reversed(self._all()) if one.extension.opaque), None)
            if unread is None:
                letter, option = self._abbreviated(name)
        if letter:
            self._base(letter, self._argument_of(letter, value, f"--{text}"))
        elif option:
            self._take(option[0], option[1], name, value)
        elif unread is not None and not self._is_of_protocol(name):
            # Whether it abbreviates another option cannot be told, since those of the module are not known.
            unread.given.append((name, self._negated, (attached,) if equals else tuple(self._until_option())))
        elif self._load_protocol():
            self._long(text)
        else:
            raise RefusedError(f'unknown option "--{text}"')

    def _short(self, word: str) -> bool:
        place = 1
        while place < len(word):
            letter = word[place]
            kind = _ARGUMENTS.get(letter)
            if kind is None:
                raise RefusedError(f'unknown option "{word}"')
            rest = word[place + 1 :]
            if kind == _NONE:
                self._base(letter, None)
                place += 1
                continue
            value = rest or None
            self._base(letter, self._argument_of(letter, value, word) if kind == _ONE else value)
            break
        return True

    def _all(self) -> list[Loaded]:
        """Modules by age; the option of the newest counts."""
        return self._loaded if self._target is None else [*self._loaded, self._target]

    def _option(self, name: str) -> tuple[Loaded, Opt] | None:
        target = self._target
        if target is not None and (option := target.extension.names.get(name)):
            return target, option
        for loaded in reversed(self._loaded):
            if option := loaded.extension.names.get(name):
                return loaded, option
        return None

    def _abbreviated(self, start: str) -> tuple[str | None, tuple[Loaded, Opt] | None]:
        letters = {letter for name, letter in _LONG.items() if name.startswith(start)}
        options = {
            (id(loaded), option.name): (loaded, option)
            for loaded in self._all()
            for name, option in loaded.extension.names.items()
            if name.startswith(start)
        }
        if len(letters) + len(options) != 1:
            return None, None
        return next(iter(letters), None), next(iter(options.values()), None)

    def _argument_of(self, letter: str, value: str | None, word: str) -> str | None:
        kind = _ARGUMENTS[letter]
        if kind == _NONE and value is not None:
            raise RefusedError(f'unknown option "{word}"')
        if kind == _ONE and value is None:
            if self._next >= len(self._words):
                raise RefusedError(f'option "{word}" requires an argument')
            value = self._words[self._next]
            self._next += 1
        return value

    def _take(self, loaded: Loaded, option: Opt, name: str, value: str | None) -> None:
        """Give a module's option its words."""
        values: tuple[str, ...] = ()
        if option.optional:
            more = self._more()
            values = () if more is None else (more,)
        elif option.kind is not None:
            if value is None:
                if self._next >= len(self._words):
                    raise RefusedError(f'option "--{name}" requires an argument')
                value = self._words[self._next]
                self._next += 1
            values = (value,)
            for _ in range(1, option.words):
                more = self._more()
                if more is None:
                    raise RefusedError(f"--{option.name} requires two args.")
                values = (*values, more)
        elif value is not None:
            raise RefusedError(f'unknown option "--{name}={value}"')
        loaded.given.append((option.name, self._negated, values))

    def _more(self) -> str | None:
        """The next word, unless it looks like an option."""
        if self._next < len(self._words) and self._words[self._next][:1] not in ("-", "!"):
            self._next += 1
            return self._words[self._next - 1]
        return None

    def _until_option(self) -> Iterator[str]:
        while self._next < len(self._words):
            word = self._words[self._next]
            if word == "!" or (word[:1] == "-" and len(word) > 1 and not word[1].isdigit()):
                return
            self._next += 1
            yield word

    def _base(self, letter: str, value: str | None) -> None:
        """An option of iptables itself."""
        if letter in _COMMANDS:
            self._begin(letter, value)
        elif letter == "m":
            self._match(value or "")
        elif letter in "jg":
            self._jump_to(value or "", letter == "g")
        elif letter in "sdiopf":
            self._header.take(letter, value or "", self._negated)
        elif letter == "c":
            packets, comma, octets = (value or "").partition(",")
            octets = octets if comma else self._more() or ""
            try:
                self._counters = int(packets), int(octets)
            except ValueError:
                raise RefusedError("-c packet counter not numeric") from None
        elif letter == "t":
            raise RefusedError("The -t option cannot be used in iptables-restore.")
        elif letter in "wW":
            raise RefusedError(f"You cannot use `-{letter}' from iptables-restore")
        elif (letter == "4" and self._family == "ip6") or (letter == "6" and self._family == "ip"):
            self._verb = "other family"

    def _begin(self, verb: str, value: str | None) -> None:
        if self._negated:
            raise RefusedError("unexpected '!' flag")
        if self._verb:
            raise RefusedError(f"Cannot use -{verb} with -{self._verb}")
        self._verb = verb
        self._chain = value if value is not None or verb in "AN" else self._more()
        if verb in "IDRZ":
            number = self._more()
            if number is not None:
                self._number = _rule_number(number)
            elif verb == "R":
                raise RefusedError("-R requires a rule number")
            elif verb == "I":
                self._number = 1
        elif verb in "EP":
            self._argument = self._more()
            if self._argument is None:
                needs = "old-chain-name and new-chain-name" if verb == "E" else "a chain and a policy"
                raise RefusedError(f"-{verb} requires {needs}")
        elif verb in "LS":
            self._more()

    def _match(self, name: str) -> None:
        if self._negated:
            raise RefusedError("unexpected ! flag before --match")
        self._loaded.append(Loaded(self._module(name)))

    def _module(self, name: str) -> Extension:
        if len(name) > LONGEST_NAME:
            raise RefusedError(f'Invalid match name "{name}" ({LONGEST_NAME} chars max)')
        name = ALIASES.get(name, name)
        extension = MATCHES.get((self._family, name))
        if extension is None and (_OTHER[self._family], name) in MATCHES:
            raise RefusedError(f"Couldn't load match `{name}':No such file or directory")
        return extension or Extension(name, opaque=True)

    def _jump_to(self, name: str, goto: bool) -> None:
        if self._jump:
            raise RefusedError("multiple -j flags not allowed")
        if not name or len(name) > LONGEST_NAME:
            raise RefusedError(
                f"Invalid target name `{name}' ({LONGEST_NAME} chars max)"
                if name
                else "Invalid target name (too short)"
            )
        if name == "CONTINUE" and not goto:
            return
        self._jump, self._goto = name, goto
        extension = TARGETS.get((self._family, name))
        if extension is None or goto:
            known = self._is_chain(name) or (_OTHER[self._family], name) in TARGETS
            extension = Extension(name, opaque=not known)
        self._target = Loaded(extension)

    def _is_chain(self, name: str) -> bool:
        return name in self._chains

    def _of_protocol(self) -> Extension | None:
        """The module of the rule's protocol, unless it was loaded so already."""
        text = self._header.protocol_text
        if text is None or self._protocol_used:
            return None
        try:
            name = protocol_name(bounded(text, 0, 255)) or ""
        except RefusedError:
            name = text
        return MATCHES.get((self._family, ALIASES.get(name, name)))

    def _is_of_protocol(self, name: str) -> bool:
        extension = self._of_protocol()
        return extension is not None and name in extension.names

    def _load_protocol(self) -> bool:
        """Load the module of the rule's protocol, once."""
        extension = self._of_protocol()
        if extension is None:
            return False
        self._protocol_used = True
        self._loaded.append(Loaded(extension))
        return True

    def _command(self) -> Command:
        verb = self._verb
        if not verb:
            raise RefusedError("no command specified")
        if verb not in _WITH_RULE or (verb == "D" and self._number is not None):
            return Command(verb, self._chain, self._number, self._argument)
        return Command(verb, self._chain, self._number, None, self._specification(), self._counters)

    def _specification(self) -> Specification:
        self._check_chain()
        target = self._target
        if target is not None:
            chain = self._goto or (self._family, self._jump) not in TARGETS
            if chain and not self._is_chain(self._jump) and (self._goto or not target.given):
                raise RefusedError(f"Chain '{self._jump}' does not exist")
            target.chain, target.goto = chain and self._is_chain(self._jump), self._goto
        return self._reader.builder.read(self._header, self._loaded, target)

    def _check_chain(self) -> None:
        for chains, letter in ((("PREROUTING", "INPUT"), "o"), (("POSTROUTING", "OUTPUT"), "i")):
            if self._chain in chains and letter in self._header.given:
                raise RefusedError(f"Can't use -{letter} with {self._chain}")


def _rule_number(text: str) -> int:
    try:
        return bounded(text, 1, 0x7FFFFFFF)
    except RefusedError:
        raise RefusedError(f"Invalid rule number `{text}'") from None
