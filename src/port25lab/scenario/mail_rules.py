"""What single rules say of mail: ports, networks, interfaces; and which chains lead where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from port25lab.model.addresses import IPNetwork
from port25lab.rules import Match, Option, Rule, Ruleset
from port25lab.rules.values import Range

MAIL_PORTS = (25, 465, 587, 2525)

_TCP = 6


def reached(ruleset: Ruleset, table: str, begin: Sequence[str]) -> set[str]:
    """The chains that a packet can get to from these."""
    chains = ruleset.tables[table].chains
    found: set[str] = set()
    waiting = [name for name in begin if name in chains]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [_target(rule) for rule in chains[name].rules if rule.target is not None and rule.target.chain]
    return found


def _target(rule: Rule) -> str:
    return rule.target.name if rule.target is not None else ""


def mail_ports(rule: Rule) -> tuple[int, ...]:
    """The mail ports to which the rule may apply as a destination; none for other protocols and ports."""
    protocol = rule.header.option("protocol")
    if protocol is not None and (protocol.value == _TCP) is protocol.negated:
        return ()
    options = [option for match in rule.matches for option in _port_options(match)]
    return tuple(port for port in MAIL_PORTS if all(_may_fit(option, port) for option in options))


def names_mail(rule: Rule) -> bool:
    """Whether the rule is about mail: it names a mail port, and not nearly all ports."""
    return len(mail_ports(rule)) > 0 and any(_port_options(match) for match in rule.matches)


def networks(rule: Rule, option: str) -> list[IPNetwork]:
    """The networks that a rule names as ``source`` or ``destination``; also those that it excepts."""
    found = rule.header.option(option)
    return [value for value in found.values if value.prefixlen] if found is not None else []


def blocks(rule: Rule) -> bool:
    """Whether the rule itself ends a packet's way."""
    return rule.target is not None and rule.target.name in ("DROP", "REJECT")


def interface_of(rule: Rule, option: str) -> str | None:
    """The name at ``-i`` (``in-interface``) or ``-o`` (``out-interface``); None: there is none, or it is excepted."""
    found = rule.header.option(option)
    return None if found is None or found.negated else str(found.value)


def fits(pattern: str, name: str) -> bool:
    """Whether an interface's name fits what stands at ``-i`` or ``-o``: ``ppp+`` is every name that begins so."""
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


def _port_options(match: Match) -> list[Option]:
    if match.module not in ("tcp", "multiport"):
        return []
    return [option for option in match.options if option.name in ("dport", "dports", "ports")]


def _may_fit(option: Option, port: int) -> bool:
    inside = any(part.low <= port <= part.high for value in option.values for part in _ranges(value))
    return inside is not option.negated or option.name == "ports"


def _ranges(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, Range) else tuple(value)


def chains_of_mail(ruleset: Ruleset) -> set[tuple[str, str]]:
    """Table and name of the chains that mail alone gets to."""
    found: set[tuple[str, str]] = set()
    for table in ruleset.tables.values():
        waiting = [rule.target.name for rule in table.rules() if rule.target and rule.target.chain and names_mail(rule)]
        while waiting:
            name = waiting.pop()
            if (table.name, name) not in found and name in table.chains:
                found.add((table.name, name))
                jumps = (rule.target for rule in table.chains[name].rules)
                waiting += [target.name for target in jumps if target is not None and target.chain]
    return found
