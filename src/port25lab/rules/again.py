"""Whether a rule judges a second SYN as it judged the first: what must hold so that one more SYN proves a drop.

A client sends its SYN again after a second. Where every rule that it may meet judges by the packet alone, by what is
set up, or by the connection's own state, the answer is known before: to these rules, a second SYN from the same port is
the same. Everything that is not in the tables below counts as a rule that may judge otherwise.
"""

from __future__ import annotations

from port25lab.rules.effects import TARGET_EFFECTS
from port25lab.rules.model import Match, Rule, Ruleset, Target

JUDGES_ALIKE: dict[str, tuple[str, ...]] = {
    "the packet's header is the same in both SYNs": (
        "header", "ah", "dccp", "dscp", "dst", "esp", "eui64", "frag", "hbh", "hl", "icmp", "icmp6", "ipcomp",
        "iprange", "ipv6header", "length", "mac", "mh", "multiport", "pkttype", "rt", "sctp", "srh", "tcp", "tcpmss",
        "tos", "ttl", "udp",
    ),
    "interfaces, addresses and routes stay as they are": (
        "addrtype", "devgroup", "physdev", "realm", "rpfilter",
    ),
    "the sender is the same program": ("owner",),
    "rules before it set the mark, and judge alike themselves": ("mark", "connmark"),
    "the connection of both is the same, and new to both": ("conntrack", "state"),
    "no rule changes the set (the target SET does not judge alike)": ("set",),
    "it is a remark": ("comment",),
}  # fmt: skip
"""By the reason why: modules of matches that give the same answer for both SYNs."""

DIFFERS = frozenset({"SET", "NFQUEUE", "QUEUE", "SYNPROXY", "TARPIT", "CHAOS", "ECHO", "CLUSTERIP", "RATEEST", "HMARK"})
"""Targets that remember packets, change sets, or give packets to a program. Unknown ones count as well."""

_RANDOM = frozenset({"random", "random-fully"})
"""Options of NAT by which the second SYN may get another port."""

_OF_TIME = frozenset({"ctexpire", "packets-eq", "packets-lt", "packets-gt", "bytes-eq", "bytes-lt", "bytes-gt"})
"""Options of the matches above that count, or look at the clock."""

_ALIKE = frozenset(module for modules in JUDGES_ALIKE.values() for module in modules)


def judges_alike(ruleset: Ruleset) -> bool:
    """Whether every rule of a ruleset judges both SYNs alike."""
    return all(_rule(rule) for rule in ruleset.rules())


def _rule(rule: Rule) -> bool:
    return all(_match(match) for match in rule.all_matches()) and (rule.target is None or _target(rule.target))


def _match(match: Match) -> bool:
    if match.opaque or match.module not in _ALIKE:
        return False
    return not any(option.name in _OF_TIME for option in match.options)


def _target(target: Target) -> bool:
    if target.chain:
        return True
    if target.opaque or target.name in DIFFERS or target.name not in {*TARGET_EFFECTS, "RETURN"}:
        return False
    return not any(option.name in _RANDOM for option in target.options)
