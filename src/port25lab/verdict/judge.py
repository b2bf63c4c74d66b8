"""The verdict: outcome + mechanism + blame + whether it meets the expectation. A pure function of evidence, no lab.

``classifier`` finds outcome and mechanism. ``judge`` then holds them against the kernel's word, the control and the
expectation.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from port25lab.model.evidence import Blame, Effect, Evidence, Stage
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import DECIDED_BY_RULES, OUTCOME_INFO, Outcome
from port25lab.model.verdict import Control
from port25lab.verdict.pipeline import classify
from port25lab.verdict.rules import disagreement
from port25lab.verdict.views import Classification, deciding, decisive_try


def got_through(evidence: Evidence) -> bool:
    """Whether the packets reached the destination, be it closed: what a control has to show."""
    reached = evidence.observation.stage not in (Stage.RESOLVE, Stage.CONNECT)
    return not evidence.error and (reached or classify(evidence).outcome in (Outcome.CLOSED, Outcome.REACHED))


def blamed(evidence: Evidence, outcome: Outcome) -> Blame | None:
    """The rule that decided: on the client's own way, or for a deferred message on the relay's."""
    decision = deciding(evidence)
    if OUTCOME_INFO[outcome].blocked:
        return decision.blame if decision else None
    if outcome is Outcome.TAMPERED and decision and decision.in_session:
        return decision.blame
    if outcome in (Outcome.INTERCEPTED, Outcome.TAMPERED):
        diverted = [decision for decision in evidence.diverted if decision.effect is Effect.DIVERT]
        return diverted[-1].blame if diverted else None
    told = decisive_try(evidence.hops)
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
    if OUTCOME_INFO[found.outcome].blocked and not (without and without.through):
        reasons.append(_no_control(without))
        found = Classification(Outcome.ERROR, Mechanism.UNKNOWN)
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
