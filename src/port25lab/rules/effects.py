"""What targets and matches do, as tables: which targets end a packet's way, what they change, which matches are limits.

``evaluate`` and the classifiers ask these tables; nothing else in port25lab lists targets or matches.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from port25lab.rules.model import Match, Option, Target


class Decision(StrEnum):
    """What becomes of a packet."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    """Dropped, and its sender is told: ``--reject-with`` says how."""
    QUEUE = "queue"
    """Given to a program, which decides."""
    STOLEN = "stolen"
    """Answered by the rule itself (SYNPROXY, TARPIT): it goes no further."""

    @property
    def passes(self) -> bool | None:
        """Whether the packet goes on; None: a program decides."""
        return {Decision.ACCEPT: True, Decision.QUEUE: None}.get(self, False)


class Changes(StrEnum):
    """What a target changes, as later rules and the way of the packet see it."""

    MARK = "mark"
    CONNMARK = "connmark"
    SOURCE = "source"
    DESTINATION = "destination"
    TTL = "ttl"
    TOS = "tos"
    TRACKING = "tracking"
    SETS = "sets"
    TCP = "tcp"
    OTHER = "other"


class TargetEffect(NamedTuple):
    """What a target does."""

    decision: Decision | None = None
    """None: the packet goes on to the next rule."""
    changes: frozenset[Changes] = frozenset()
    diverts: bool = False
    """The packet goes elsewhere than its sender meant, or a program gets it."""


def _going_on(*changes: Changes) -> TargetEffect:
    return TargetEffect(None, frozenset(changes))


_SOURCE, _DESTINATION = frozenset({Changes.SOURCE}), frozenset({Changes.DESTINATION})
_DROPS, _STEALS = TargetEffect(Decision.DROP), TargetEffect(Decision.STOLEN)

TARGET_EFFECTS: dict[str, TargetEffect] = {
    "ACCEPT": TargetEffect(Decision.ACCEPT),
    "DROP": _DROPS,
    "REJECT": TargetEffect(Decision.REJECT),
    "QUEUE": TargetEffect(Decision.QUEUE, diverts=True),
    "NFQUEUE": TargetEffect(Decision.QUEUE, diverts=True),
    "DNAT": TargetEffect(Decision.ACCEPT, _DESTINATION, diverts=True),
    "REDIRECT": TargetEffect(Decision.ACCEPT, _DESTINATION, diverts=True),
    "SNAT": TargetEffect(Decision.ACCEPT, _SOURCE),
    "MASQUERADE": TargetEffect(Decision.ACCEPT, _SOURCE),
    "NETMAP": TargetEffect(Decision.ACCEPT, _SOURCE | _DESTINATION),
    "TPROXY": TargetEffect(Decision.ACCEPT, frozenset({Changes.MARK}), diverts=True),
    "SYNPROXY": TargetEffect(Decision.STOLEN, diverts=True),
    "TARPIT": _STEALS,
    "CHAOS": _STEALS,
    "ECHO": _STEALS,
    "DELUDE": _DROPS,
    "STEAL": _DROPS,
    "DNPT": _going_on(Changes.DESTINATION),
    "SNPT": _going_on(Changes.SOURCE),
    "MARK": _going_on(Changes.MARK),
    "CONNMARK": _going_on(Changes.MARK, Changes.CONNMARK),
    "HMARK": _going_on(Changes.MARK),
    "IPMARK": _going_on(Changes.MARK),
    "SET": _going_on(Changes.SETS, Changes.MARK),
    "TTL": _going_on(Changes.TTL),
    "HL": _going_on(Changes.TTL),
    "TOS": _going_on(Changes.TOS),
    "DSCP": _going_on(Changes.TOS),
    "ECN": _going_on(Changes.TOS, Changes.TCP),
    "CT": _going_on(Changes.TRACKING),
    "NOTRACK": _going_on(Changes.TRACKING),
    "TCPMSS": _going_on(Changes.TCP),
    "TCPOPTSTRIP": _going_on(Changes.TCP),
    "CHECKSUM": _going_on(Changes.OTHER),
    "CLASSIFY": _going_on(Changes.OTHER),
    "SECMARK": _going_on(Changes.OTHER),
    "CONNSECMARK": _going_on(Changes.OTHER),
    "IDLETIMER": _going_on(),
    "LOG": _going_on(),
    "NFLOG": _going_on(),
    "ULOG": _going_on(),
    "AUDIT": _going_on(),
    "TRACE": _going_on(),
    "TEE": _going_on(),
    "LED": _going_on(),
    "RATEEST": _going_on(),
    "ACCOUNT": _going_on(),
    "LOGMARK": _going_on(),
    "CLUSTERIP": _going_on(),
}

NAT_TARGETS = frozenset({"DNAT", "REDIRECT", "SNAT", "MASQUERADE", "NETMAP"})


def target_effect(target: Target | None) -> TargetEffect | None:
    """What a target does; None for one that is unknown, which may do anything. A chain is no target."""
    if target is None:
        return _going_on()
    return TARGET_EFFECTS.get(target.name)


def changes(target: Target) -> frozenset[Changes]:
    """What a target changes, by its options; everything that its kind may change where they do not tell."""
    effect = target_effect(target)
    if effect is None:
        return frozenset()
    if target.name == "CONNMARK":
        return frozenset({Changes.MARK if target.option("restore-mark") else Changes.CONNMARK})
    if target.name == "SET" and not target.option("map-mark"):
        return effect.changes - {Changes.MARK}
    return effect.changes


def sets_anew(target: Target) -> frozenset[Changes]:
    """What a target sets whatever it was before."""
    if target.name in ("TTL", "HL"):
        return changes(target) if any(option.name.endswith("-set") for option in target.options) else frozenset()
    if target.name not in ("MARK", "CONNMARK"):
        return frozenset()
    option = target.option("set-xmark")
    masked = option.value[1] != _ALL_BITS if option else target.option("nfmask") or target.option("ctmask")
    return frozenset() if masked else changes(target)


_ALL_BITS = 0xFFFFFFFF


def diverts(target: Target | None) -> bool:
    """Whether a target sends packets elsewhere, or to a program."""
    effect = target_effect(target)
    return effect is not None and effect.diverts


class Limit(NamedTuple):
    """A match on a rate or an amount. Without options: every match of the module is one."""

    over: bool
    """The answer that a packet over the limit gets."""
    option: str | None = None


LIMITS: dict[str, tuple[Limit, ...]] = {
    "limit": (Limit(False),),
    "hashlimit": (Limit(False, "hashlimit-upto"), Limit(True, "hashlimit-above")),
    "connlimit": (Limit(False, "connlimit-upto"), Limit(True, "connlimit-above")),
    "quota": (Limit(False, "quota"),),
}
"""Matches that are limits. A ``recent`` list is none: it remembers addresses, whatever their rate."""

RANDOM = frozenset({"statistic"})
"""Matches that leave the answer to chance, or to a count of packets."""

_BOTH = frozenset({Changes.SOURCE, Changes.DESTINATION})
_ENDS = {
    "source": _SOURCE, "sport": _SOURCE, "sports": _SOURCE, "src-range": _SOURCE, "src-type": _SOURCE,
    "destination": _DESTINATION, "dport": _DESTINATION, "dports": _DESTINATION, "dst-range": _DESTINATION,
    "dst-type": _DESTINATION, "ports": _BOTH,
    "tcp-option": frozenset({Changes.TCP}),
}  # fmt: skip
_READS: dict[str, frozenset[Changes]] = {
    "mark": frozenset({Changes.MARK}),
    "connmark": frozenset({Changes.CONNMARK}),
    "ttl": frozenset({Changes.TTL}),
    "hl": frozenset({Changes.TTL}),
    "tos": frozenset({Changes.TOS}),
    "dscp": frozenset({Changes.TOS}),
    "ecn": frozenset({Changes.TOS}),
    "tcpmss": frozenset({Changes.TCP}),
    "conntrack": frozenset({Changes.TRACKING}),
    "state": frozenset({Changes.TRACKING}),
    "set": frozenset({Changes.SETS}),
    "hashlimit": _BOTH,
    "connlimit": _BOTH,
    "recent": _BOTH,
}


def reads(match: Match) -> frozenset[Changes]:
    """What a match looks at, of that which targets change."""
    found = _READS.get(match.module, frozenset())
    for option in match.options:
        if option.name == "match-set":
            found |= frozenset().union(*(_SOURCE if end == "src" else _DESTINATION for end in option.value.ends))
        else:
            found |= _ENDS.get(option.name, frozenset())
    return found


def rejection(target: Target | None) -> str | None:
    """How REJECT answers, such as ``tcp-reset`` or ``icmp-port-unreachable``; None for another target."""
    if target is None or target.name != "REJECT" or target.chain:
        return None
    option = target.option("reject-with")
    return option.value if option is not None else None


def over_limit(match: Match) -> bool | None:
    """The answer that a packet over the limit gets from a match; None if the match is no limit."""
    for limit in LIMITS.get(match.module, ()):
        option = _deciding(match, limit)
        if limit.option is None:
            return limit.over
        if option is not None:
            return limit.over != option.negated
    return None


def _deciding(match: Match, limit: Limit) -> Option | None:
    return match.option(limit.option) if limit.option is not None else None


def is_random(match: Match) -> bool:
    """Whether a match leaves its answer to chance."""
    return match.module in RANDOM
