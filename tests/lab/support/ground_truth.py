"""The ground truth: for each mechanism a path on which it alone is at work, and the nodes where it can be.

A mechanism in the network is a policy in ``policies/`` beside this folder. Each policy is about one destination, so
several can be on one router, and each on any router between client and destination. What the ends do by themselves
needs no policy. Data alone, for more than one classifier: ``cases`` yields the cases, ``Case.question`` the question of
one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.model.path import PathSpec
from port25lab.model.question import LabConfig, Question
from port25lab.scenario.questions import lab_config, question_about

OF_RULES_ALONE = frozenset(
    {Mechanism.RANDOM_LOSS, Mechanism.NO_ANSWER, Mechanism.NEIGHBOUR_DISCOVERY, Mechanism.NAME_SERVICE}
)
"""Mechanisms that a rule and the trace tell, and nothing at the ends: ``test_rules_verdicts`` and ``test_neighbours``
have them."""

POLICIES = Path(__file__).parents[1] / "policies"

Version = Literal[4, 6]


@dataclass(frozen=True)
class Truth:
    """A mechanism, and the path on which it is at work."""

    mechanism: Mechanism
    outcome: Outcome
    to: str
    policy: str | None = None
    """None: a server does it, or no mechanism is at work."""
    path: dict[str, Any] = field(default_factory=dict)
    """The path's fields that differ from the defaults."""
    attempt: int = 1
    """The attempt at which it shows; the attempts before this one are made first."""
    ruled: bool = False
    """Whether the kernel's trace names the rule."""


@dataclass(frozen=True)
class Place:
    """A client, and a router on its path that gets all policies of a stack."""

    topology: str
    source: str
    node: str


ALICE = {"auth": {"user": "alice"}}
IMPLICIT = {"port": 465, "security": "implicit", **ALICE}
SUBMISSION = {"port": 587, "security": "starttls", **ALICE}
LARGE = {"size": 40_000}

TRUTHS: tuple[tuple[Truth, ...], ...] = (
    (
        Truth(Mechanism.SYN_DROP, Outcome.DROPPED, "mx:example.net", "syn-drop", ruled=True),
        Truth(Mechanism.ANSWER_DROP, Outcome.DROPPED, "mx:example.org", "answer-drop", ruled=True),
        Truth(Mechanism.ANSWER_DROP, Outcome.DROPPED, "relay-service", "answer-reject", SUBMISSION, ruled=True),
        Truth(Mechanism.REJECT_ICMP, Outcome.REJECTED_ICMP, "mx:company.example", "reject-icmp", ruled=True),
        Truth(Mechanism.REJECT_RESET, Outcome.REJECTED_RESET, "mx:rental.example", "reject-reset", ruled=True),
        Truth(Mechanism.RATE_LIMIT, Outcome.THROTTLED, "mx:provider.example", "rate-limit", attempt=2, ruled=True),
        Truth(Mechanism.INTERCEPTION, Outcome.INTERCEPTED, "outside", "interception"),
        Truth(Mechanism.SNI_RESET, Outcome.TAMPERED, "provider", "sni-reset-unwatched", IMPLICIT),
        Truth(Mechanism.MTU_BLACK_HOLE, Outcome.TAMPERED, "mx:example.com", "mtu-black-hole-unwatched", LARGE),
        Truth(Mechanism.SESSION_CUT, Outcome.TAMPERED, "rental", "session-cut-unwatched", SUBMISSION),
        Truth(Mechanism.NONE, Outcome.DELIVERED, "mx:example.com"),
    ),
    (
        Truth(Mechanism.REFUSING_GREETING, Outcome.INTERCEPTED, "mx:example.net", "refusing-554"),
        Truth(Mechanism.REFUSING_GREETING, Outcome.INTERCEPTED, "mx:example.org", "refusing-421"),
        Truth(Mechanism.ACCEPT_CLOSE, Outcome.INTERCEPTED, "mx:company.example", "accept-close"),
        Truth(Mechanism.TARPIT, Outcome.INTERCEPTED, "mx:rental.example", "tarpit"),
        Truth(
            Mechanism.STARTTLS_STRIPPING,
            Outcome.TAMPERED,
            "mx:provider.example",
            "starttls-stripping",
            {"security": "starttls"},
        ),
        Truth(Mechanism.STARTTLS_STRIPPING, Outcome.DELIVERED, "mx:provider.example", "starttls-stripping"),
        Truth(Mechanism.BANNER_MASKING, Outcome.DELIVERED, "outside", "banner-masking"),
        Truth(Mechanism.SNI_RESET, Outcome.TAMPERED, "provider", "sni-reset", IMPLICIT, ruled=True),
        Truth(Mechanism.MTU_BLACK_HOLE, Outcome.TAMPERED, "mx:example.com", "mtu-black-hole", LARGE, ruled=True),
        Truth(Mechanism.SESSION_CUT, Outcome.TAMPERED, "rental", "session-cut", SUBMISSION, ruled=True),
        Truth(Mechanism.NONE, Outcome.DELIVERED, "company", path=SUBMISSION),
    ),
)
"""Mechanisms in the network, in stacks: all policies of a stack are on one node of one lab.

sni-reset, mtu-black-hole and session-cut are in both stacks: once the kernel traces whole sessions and names the rule,
and once it does not, so that the packets and the control are the only evidence.
"""

OF_ENDS: tuple[Truth, ...] = (
    Truth(Mechanism.GREYLISTING, Outcome.TEMPFAIL, "mx:greylisting.example"),
    Truth(Mechanism.DNSBL_LISTING, Outcome.REJECTED, "mx:blocklisting.example"),
    Truth(Mechanism.SERVER_REFUSAL, Outcome.RELAY_DENIED, "mx", path={"recipient": "recipient@example.org"}),
    Truth(
        Mechanism.SERVER_REFUSAL,
        Outcome.AUTH_FAILED,
        "relay-service",
        path={"port": 587, "security": "starttls", "auth": {"user": "alice", "password": "wrong"}},
    ),
    Truth(
        Mechanism.SERVER_REFUSAL,
        Outcome.AUTH_REQUIRED,
        "relay-service",
        path={"port": 587, "security": "starttls"},
    ),
    Truth(Mechanism.NO_LISTENER, Outcome.CLOSED, "mx", path={"port": 587}),
    Truth(Mechanism.NO_ROUTE, Outcome.UNREACHABLE, "nowhere"),
    Truth(Mechanism.NO_NAME, Outcome.DNS_FAILURE, "mx:no-such-domain.example"),
    Truth(Mechanism.NONE, Outcome.DELIVERED, "mx:example.net"),
    Truth(Mechanism.NONE, Outcome.DELIVERED, "isp-relay"),
)
"""What the ends do by themselves, without a policy. Any client can try these."""

NOWHERE = {4: "192.0.2.201", 6: "2001:db8:201::1"}
"""Addresses to which no router has a route."""

ALL = os.environ.get("PORT25LAB_GROUND_TRUTH") == "all"
"""Whether every router is tried."""

_FIRST = (
    Place("residential_isp", "pc", "isp-edge"),
    Place("residential_isp", "pc", "ix"),
    Place("hotel", "guest-1", "hotel-gw"),
)

_MORE = tuple(Place("residential_isp", "pc", node) for node in ("cpe", "isp-cgn", "isp-border"))

PLACES: tuple[Place, ...] = (*_FIRST, *_MORE) if ALL else _FIRST

CLIENTS = {"residential_isp": "pc", "hotel": "guest-1"}


@dataclass(frozen=True)
class Case:
    """One truth at one place, or without a policy, over one IP version."""

    truth: Truth
    topology: str
    source: str
    node: str | None
    """The node of the mechanism; None: it is not in the network."""
    version: Version
    config: LabConfig

    def question(self, attempt: int | None = None) -> Question:
        """The question, with what is expected. Of an attempt before the mechanism shows, nothing is expected."""
        truth, number = self.truth, attempt or self.truth.attempt
        path = PathSpec.model_validate(
            {
                "source": self.source,
                "to": NOWHERE[self.version] if truth.to == "nowhere" else truth.to,
                "ip_version": self.version,
                "attempt": number,
                "recipient": _recipient(truth.to),
            }
            | truth.path
        )
        if number != truth.attempt:
            return question_about(path, self.config)
        by = self.node if truth.ruled else None
        return question_about(path, self.config, expected=truth.outcome, by=by, how=truth.mechanism)


def cases() -> Iterator[Case]:
    """All cases."""
    for place in PLACES:
        for stack in TRUTHS:
            names = dict.fromkeys(truth.policy for truth in stack if truth.policy)
            config = lab_config(place.topology, {place.node: [str(POLICIES / name) for name in names]}, {})
            for truth in stack:
                node = place.node if truth.policy else None
                yield from (Case(truth, place.topology, place.source, node, version, config) for version in (4, 6))
    for topology, source in CLIENTS.items():
        config = lab_config(topology, {}, {})
        for truth in OF_ENDS:
            yield from (Case(truth, topology, source, None, version, config) for version in (4, 6))


def _recipient(to: str) -> str:
    """The recipient: at the domain whose MX is dialled, or at one whose MX no stack has a policy about."""
    domain = to.removeprefix("mx:") if to.startswith("mx:") else "example.com"
    return f"recipient@{domain}"
