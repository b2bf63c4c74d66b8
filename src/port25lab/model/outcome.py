"""The outcomes: how one attempt can end, and the RFC that defines it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """The classified result of an attempt."""

    DELIVERED = "delivered"
    REACHED = "reached"
    DEFERRED = "deferred"
    DROPPED = "dropped"
    REJECTED_ICMP = "rejected-icmp"
    REJECTED_RESET = "rejected-reset"
    CLOSED = "closed"
    UNREACHABLE = "unreachable"
    INTERCEPTED = "intercepted"
    TAMPERED = "tampered"
    THROTTLED = "throttled"
    AUTH_REQUIRED = "auth-required"
    AUTH_FAILED = "auth-failed"
    RELAY_DENIED = "relay-denied"
    TLS_REQUIRED = "tls-required"
    TLS_FAILED = "tls-failed"
    TEMPFAIL = "tempfail"
    REJECTED = "rejected"
    DNS_FAILURE = "dns-failure"
    ERROR = "error"


@dataclass(frozen=True)
class OutcomeInfo:
    """What an outcome means, and where it is defined.

    ``blocked`` marks the outcomes by which a firewall keeps a client from its server: they need a control
    and a rule to blame. ``style`` is a rich style for terminals.
    """

    text: str
    source: str
    style: str
    blocked: bool = False


class Should(StrEnum):
    """What a correct policy does with a path, whether the tested policy does so or not."""

    BLOCKED = "blocked"
    ALLOWED = "allowed"
    NOT_COVERED = "not-covered"
    """Outside the policy's purpose, or its own choice: to block and to pass are both correct."""


OUTCOME_INFO: dict[Outcome, OutcomeInfo] = {
    Outcome.DELIVERED: OutcomeInfo("the message is in the recipient's mailbox", "RFC 5321 4.2.5", "green"),
    Outcome.REACHED: OutcomeInfo("a hand-made packet arrived at the destination", "packet(7)", "green"),
    Outcome.DEFERRED: OutcomeInfo("a relay took it and cannot pass it on yet", "RFC 5321 4.5.4.1", "yellow"),
    Outcome.DROPPED: OutcomeInfo("a rule drops the SYN and says nothing", "RFC 9293 3.10.7", "red", blocked=True),
    Outcome.REJECTED_ICMP: OutcomeInfo(
        "a rule answers with an ICMP error", "RFC 1812 5.2.7.1, RFC 4443 3.1", "red", blocked=True
    ),
    Outcome.REJECTED_RESET: OutcomeInfo("a node on the way answers with RST", "RFC 9293 3.5.2", "red", blocked=True),
    Outcome.CLOSED: OutcomeInfo("the destination itself answers RST: nothing listens", "RFC 9293 3.5.2", "magenta"),
    Outcome.UNREACHABLE: OutcomeInfo("no route, or no host answers there", "RFC 1812 5.2.7.1", "magenta"),
    Outcome.INTERCEPTED: OutcomeInfo("another server than the one dialled answered", "RFC 3234 2.1", "red"),
    Outcome.TAMPERED: OutcomeInfo("the session was altered on the way", "RFC 3207 6", "red"),
    Outcome.THROTTLED: OutcomeInfo("over a rate or connection limit", "RFC 5321 4.5.4.2", "yellow", blocked=True),
    Outcome.AUTH_REQUIRED: OutcomeInfo("the server wants SMTP AUTH first", "RFC 4954 6, 530 5.7.0", "cyan"),
    Outcome.AUTH_FAILED: OutcomeInfo("the server takes no credentials, or not these", "RFC 4954 6, 535 5.7.8", "cyan"),
    Outcome.RELAY_DENIED: OutcomeInfo("the server does not relay for this client", "RFC 3463 5.7.1", "cyan"),
    Outcome.TLS_REQUIRED: OutcomeInfo("the server insists on TLS", "RFC 3207 4, 530 5.7.0", "cyan"),
    Outcome.TLS_FAILED: OutcomeInfo("TLS handshake or certificate failed", "RFC 8446, RFC 8314 3", "magenta"),
    Outcome.TEMPFAIL: OutcomeInfo("another 4xx reply", "RFC 5321 4.2.1", "yellow"),
    Outcome.REJECTED: OutcomeInfo("another 5xx reply", "RFC 5321 4.2.1", "magenta"),
    Outcome.DNS_FAILURE: OutcomeInfo("the name or its MX cannot be resolved", "RFC 5321 5.1", "magenta"),
    Outcome.ERROR: OutcomeInfo("port25lab itself failed; says nothing about the path", "", "bold white on red"),
}


class AnyOf(StrEnum):
    """Outcomes that can be expected together."""

    BLOCKED = "blocked"
    """Every way in which a rule keeps a path from its destination: ``OutcomeInfo.blocked``."""
    PASSES = "passes"
    """The message is in the mailbox, or the packet arrived."""


Expected = Outcome | AnyOf
"""What can be expected of a path."""


def meets(outcome: Outcome, expected: Expected | None) -> bool:
    """Whether an outcome is what was expected; ``expected`` None: any."""
    if expected is AnyOf.BLOCKED:
        return OUTCOME_INFO[outcome].blocked
    if expected is AnyOf.PASSES:
        return outcome in PASSING
    return expected is None or outcome is expected


PASSING = (Outcome.DELIVERED, Outcome.REACHED)
"""Outcomes of a path that gets through."""

DECIDED_BY_RULES: tuple[Expected, ...] = (
    *(outcome for outcome, meaning in OUTCOME_INFO.items() if meaning.blocked),
    Outcome.DEFERRED,
    Outcome.INTERCEPTED,
    Outcome.TAMPERED,
    Outcome.CLOSED,
    Outcome.UNREACHABLE,
    Outcome.AUTH_REQUIRED,
    Outcome.DNS_FAILURE,
    AnyOf.BLOCKED,
)
"""Outcomes for which a rule can be to blame: on the client's own way, or for a deferred message on the relay's."""
