"""Whether a SYN and its retransmission meet the same fate: what a rule asks and does, as tables with reasons.

A client that gets no answer sends its SYN again. A rule keeps the second one from passing as it did the first where
everything that the packet meets depends on the packet's headers and on what is set up, and on nothing that the first
packet, other packets or the time may have changed. What is not listed here is taken to depend on that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from port25lab.rules.conditions import answer
from port25lab.rules.effects import target_effect
from port25lab.rules.evaluate import Walk, walk
from port25lab.rules.model import Match, Rule, Ruleset, Target
from port25lab.rules.packet import Packet, no_sets

_HEADERS = "reads headers that are the same in a retransmission"
_OTHER_PROTOCOLS = "reads headers of other protocols, which a SYN does not have"
_LINKS = "reads interfaces, links and routes, which are set up once"


class Stateless(NamedTuple):
    """Why the answer of a match, or what a target does, is the same for a retransmission."""

    why: str
    options: frozenset[str] | None = None
    """The only options for which that holds; None: for all."""


STATELESS_MATCHES: dict[str, Stateless] = {
    **{
        name: Stateless(_HEADERS)
        for name in (
            "header", "tcp", "multiport", "iprange", "tcpmss", "length", "ttl", "hl", "tos", "dscp", "ecn",
            "ipv6header", "frag", "hbh", "dst", "rt", "srh", "eui64",
        )
    },
    **{
        name: Stateless(_OTHER_PROTOCOLS)
        for name in ("udp", "icmp", "icmp6", "sctp", "dccp", "ah", "esp", "ipcomp", "mh")
    },
    **{name: Stateless(_LINKS) for name in ("addrtype", "devgroup", "mac", "physdev", "pkttype", "realm", "rpfilter")},
    "comment": Stateless("asks nothing"),
    "mark": Stateless("reads a mark that rules have set on this packet"),
    "owner": Stateless("reads the user of the sending process"),
    "set": Stateless(
        "reads a set that a topology has filled, and that no rule changes", frozenset({"match-set", "return-nomatch"})
    ),
    "state": Stateless("a connection whose SYN has no answer stays NEW"),
    "conntrack": Stateless(
        "a connection whose SYN has no answer stays NEW, and keeps its first addresses and ports",
        frozenset({"ctstate", "ctproto", "ctdir", "ctorigsrc", "ctorigdst", "ctorigsrcport", "ctorigdstport"}),
    ),
}  # fmt: skip
"""Matches whose answer for a SYN is the same for its retransmission. The sets of ``set`` are checked beside."""

_DECIDES, _REPORTS = "decides, and remembers nothing", "tells of the packet, and lets it go on"
_REWRITES = "writes the same into each packet"
_TRANSLATES = (
    "a connection keeps its translation, and a SYN that is dropped before the end of the node had none to keep"
)

STATELESS_TARGETS: dict[str, Stateless] = {
    **{name: Stateless(_DECIDES) for name in ("ACCEPT", "DROP", "REJECT", "RETURN")},
    **{name: Stateless(_REPORTS) for name in ("LOG", "NFLOG", "ULOG", "AUDIT", "TRACE")},
    **{
        name: Stateless(_REWRITES)
        for name in (
            "MARK", "TOS", "DSCP", "TTL", "HL", "ECN", "TCPMSS", "TCPOPTSTRIP", "CHECKSUM", "CLASSIFY", "SECMARK",
            "DNPT", "SNPT",
        )
    },
    **{name: Stateless("says how connections are followed") for name in ("CT", "NOTRACK")},
    **{name: Stateless(_TRANSLATES) for name in ("SNAT", "MASQUERADE", "NETMAP")},
    "DNAT": Stateless("chooses by addresses alone, with one port", frozenset({"to-destination", "persistent"})),
    "REDIRECT": Stateless("chooses by addresses alone, with one port", frozenset({"to-ports"})),
}  # fmt: skip
"""Targets that do the same to a SYN and to its retransmission. A chain of the table is followed instead."""

OWN_MEMORY = frozenset({
    "bpf", "conntrack", "connbytes", "connlimit", "connmark", "cpu", "helper", "limit", "osf", "policy", "quota",
    "rateest", "statistic", "string", "time", "u32",
})  # fmt: skip
"""Matches that are not stateless, but change nothing that another rule reads: under a LOG they are harmless."""


def is_stateless(match: Match) -> bool:
    """Whether a match gives a SYN and its retransmission the same answer; of ``set``, if its set does not change."""
    row = STATELESS_MATCHES.get(match.module)
    if row is None or match.opaque:
        return False
    if row.options is not None and any(option.name not in row.options for option in match.options):
        return False
    # The first SYN leaves its translation behind where it passed: the second one has it from the start.
    return not any(option.value & {"SNAT", "DNAT"} for option in match.options if option.name in ("ctstate", "state"))


def is_stateless_target(target: Target | None) -> bool:
    """Whether a target does the same to a SYN and to its retransmission."""
    if target is None or target.chain:
        return True
    row = STATELESS_TARGETS.get(target.name)
    if row is None or target.opaque:
        return False
    if row.options is None:
        return True
    # The kernel chooses from a range of ports by chance.
    return all(option.name in row.options for option in target.options) and not any(
        ports is not None and ports.low != ports.high
        for option in target.options
        if option.name.startswith("to-")
        for ports in [option.value.ports]
    )


def remembers(rule: Rule, packet: Packet, fixed_sets: Collection[str]) -> Match | Target | None:
    """What in a rule may treat this packet's retransmission in another way, or change how another rule treats it.

    Args:
        rule: A rule that the packet meets.
        packet: The packet, as it is there.
        fixed_sets: Names of the sets that keep their members.

    Returns: the first such match or target that the packet gets to, or None. The kernel asks matches in their order,
    and one that fails ends the rule.
    """
    for match in rule.all_matches():
        if not (is_stateless(match) and _fixed(match, fixed_sets)):
            if match.opaque or match.module not in OWN_MEMORY or _matters(rule.target):
                return match
        elif answer(match, packet, no_sets) is False:
            return None
    return None if is_stateless_target(rule.target) else rule.target


def repeats(
    ruleset: Ruleset,
    packet: Packet,
    way: str | Sequence[tuple[str, str]],
    *,
    met: Collection[tuple[str, str, int]],
    fixed_sets: Collection[str],
) -> Walk | None:
    """Follow a SYN, and tell whether a retransmission would meet the same fate.

    Args:
        ruleset, packet, way: As of ``walk``.
        met: Keys of the rules that the packet has matched, as the kernel's trace names them.
        fixed_sets: Names of the sets that keep their members.

    Returns: the walk; None where some rule on the packet's way, matched or not, remembers something, or where there
    were too many ways.
    """
    remembering: list[Rule] = []

    def ask(rule: Rule, seen: Packet) -> None:
        if remembers(rule, seen, fixed_sets) is not None:
            remembering.append(rule)

    found = walk(ruleset, packet, way, met=met, on_rule=ask)
    return found if found.complete and not remembering else None


def _fixed(match: Match, fixed_sets: Collection[str]) -> bool:
    return all(option.value.name in fixed_sets for option in match.options if option.name == "match-set")


def _matters(target: Target | None) -> bool:
    if target is None:
        return False
    if target.chain:
        return True
    effect = target_effect(target)
    return effect is None or effect.decision is not None or bool(effect.changes) or not is_stateless_target(target)
