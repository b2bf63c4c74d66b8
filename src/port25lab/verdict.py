"""The verdict: outcome + mechanism + blame + whether it meets the expectation. A pure function of evidence, no lab.

``classifier`` finds outcome and mechanism. ``judge`` then holds them against the kernel's word, the control and the
expectation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from port25lab.classifier import Finding, classify
from port25lab.classifier.rules import disagreement
from port25lab.classifier.views import deciding, telling_try
from port25lab.evidence import Arrival, Blame, Decision, Evidence, Hop, IcmpError, Observation, PacketSeen, Stage
from port25lab.mechanism import Mechanism
from port25lab.outcome import DECIDED_BY_RULES, MEANINGS, Outcome, Should

SCHEMA_VERSION = 1


class Control(BaseModel):
    """The same path in the same topology without the policy: what makes `blocked` a statement about the policy."""

    model_config = ConfigDict(extra="forbid")

    outcome: Outcome
    through: bool
    """True where the client reached the destination."""


class Verdict(BaseModel):
    """One attempt, judged. The field names are a contract with whoever reads the JSON."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    scenario: str
    variant: str | None = None
    path: str
    """The path's id: ``port25lab run -k ID`` repeats it."""
    name: str | None = None
    ref: str | None = None
    source: str = Field(alias="from")
    to: str
    port: int
    ip_version: Literal[4, 6] | None
    security: str
    auth: str | None
    client: str
    recipient: str | None = None
    sender: str | None = None
    """Envelope sender; None: the node's own."""
    size: int = 0
    """Bytes to which the message was padded."""
    packet: str | None = None
    """The kind of a raw-packet probe, which has no client."""
    spoof: str | None = None
    """The node whose address a probe had as its source."""
    policies: dict[str, list[str]]
    outcome: Outcome
    mechanism: Mechanism = Mechanism.UNKNOWN
    """What is at work on the path."""
    expected: Outcome | None
    expected_by: str | None = None
    expected_how: Mechanism | None = None
    expected_from: int | None = None
    """Of a repeated path, the attempt at which the expectation turns."""
    attempt: int = 1
    repeat: int = 1
    """How often the path was tried in all; each attempt has a verdict of its own."""
    ok: bool
    blame: Blame | None
    observation: Observation
    decisions: list[Decision] = []
    diverted: list[Decision] = []
    icmp: list[IcmpError] = []
    answered_by: str | None = None
    """The node whose service took the connection."""
    hops: list[Hop] = []
    arrival: Arrival | None = None
    """Where a probe arrived, and what came back."""
    should: Should | None = None
    """What a correct policy does with the path."""
    matrix: bool = False
    """Its scenario asks for a table of all paths by all variants."""
    control: Control | None = None
    disagreement: str | None = None
    """Where the client and the kernel do not say the same: both, in words."""
    reason: str | None = None
    """Why the verdict is not ok, or why the tool failed."""
    retried: str | None = None
    """Why the path was tried once more, alone in a new lab: the verdict is about that attempt."""
    packets: list[PacketSeen] = []
    divergence: str | None = None
    """Where the two sides of a node that passes sessions on first differ, in words."""
    pcap: str | None = None
    """Name of the lab's capture file, in the folder of `--pcap`."""


class Report(BaseModel):
    """A whole run, as written by ``--json``."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    tool: dict[str, str]
    environment: dict[str, Any]
    verdicts: list[Verdict]


def got_through(evidence: Evidence) -> bool:
    """Whether the packets reached the destination, be it closed: what a control has to show."""
    reached = evidence.observation.stage not in (Stage.RESOLVE, Stage.CONNECT)
    return not evidence.error and (reached or classify(evidence).outcome in (Outcome.CLOSED, Outcome.REACHED))


def blamed(evidence: Evidence, outcome: Outcome) -> Blame | None:
    """The rule that decided: on the client's own way, or for a deferred message on the relay's."""
    decision = deciding(evidence)
    if MEANINGS[outcome].blocked:
        return decision.blame if decision else None
    if outcome is Outcome.TAMPERED and decision and decision.in_session:
        return decision.blame
    if outcome in (Outcome.INTERCEPTED, Outcome.TAMPERED):
        return evidence.diverted[-1].blame if evidence.diverted else None
    told = telling_try(evidence.hops)
    if outcome is Outcome.DEFERRED and told and told.observation.stage is Stage.CONNECT:
        return told.decisions[-1].blame if told.decisions else None
    return None


class Judgement(BaseModel):
    """What ``judge`` finds."""

    model_config = ConfigDict(frozen=True)

    outcome: Outcome
    mechanism: Mechanism
    blame: Blame | None
    ok: bool
    control: Control | None
    disagreement: str | None
    reason: str | None


def judge(
    evidence: Evidence,
    expected: Outcome | None,
    by: str | None,
    control: Evidence | None,
    how: Mechanism | None = None,
) -> Judgement:
    """Hold the evidence of one attempt against the kernel's word, the control and the expectation.

    ``control`` is the evidence of the same path without the policy. A blocked path without a control that got
    through is an error: nothing then says that it was the policy.
    """
    found = classify(evidence, control)
    blame = blamed(evidence, found.outcome)
    contradiction = disagreement(evidence)
    without = _without_policy(control) if control is not None else None
    reasons = list(_failures(evidence, found.outcome, contradiction))
    if MEANINGS[found.outcome].blocked and not (without and without.through):
        reasons.append(_no_control(without))
        found = Finding(Outcome.ERROR, Mechanism.UNKNOWN)
    if expected is not None and found.outcome is not expected:
        reasons.append(f"expected {expected}, found {found.outcome}")
    if by is not None and expected is not None and expected in DECIDED_BY_RULES and (blame is None or blame.node != by):
        reasons.append(f"expected a rule on {by} to decide, found {blame.node if blame else 'none'}")
    if how not in (None, found.mechanism):
        reasons.append(f"expected {how} at work, found {found.mechanism}")
    return Judgement(
        outcome=found.outcome,
        mechanism=found.mechanism,
        blame=blame,
        ok=not reasons,
        control=without,
        disagreement=contradiction,
        reason="; ".join(reasons) or None,
    )


def _without_policy(control: Evidence) -> Control:
    return Control(outcome=classify(control).outcome, through=got_through(control))


def _failures(evidence: Evidence, found: Outcome, contradiction: str | None) -> Iterable[str]:
    if evidence.error:
        yield evidence.error
    elif contradiction:
        yield contradiction
    elif found is Outcome.ERROR:
        yield "the evidence fits no outcome"


def _no_control(control: Control | None) -> str:
    if control is None:
        return "no control was run: blocked by the policy is not proven"
    found = f"without the policy the path does not get through either ({control.outcome})"
    return f"{found}: blocked by the policy is not proven"
