"""The judgement: outcome, mechanism, blame, and whether they meet the expectation. A pure function of evidence, no lab.

``pipeline`` finds outcome and mechanism. ``judge`` then compares them with the kernel's trace, the control and the
expectation.
"""

from __future__ import annotations

from collections.abc import Iterable

from port25lab.model.evidence import Blame, Effect, Evidence, Stage
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import DECIDED_BY_RULES, OUTCOME_INFO, Outcome
from port25lab.model.verdict import Control, Judgement, Reason, ReasonKind
from port25lab.verdict.pipeline import classify
from port25lab.verdict.rules import disagreement
from port25lab.verdict.views import Classification, deciding, decisive_try


def got_through(evidence: Evidence) -> bool:
    """Whether the packets reached the destination, even where its port is closed: what a control has to show."""
    reached = evidence.observation.stage not in (Stage.RESOLVE, Stage.CONNECT)
    return not evidence.error and (reached or classify(evidence).outcome in (Outcome.CLOSED, Outcome.REACHED))


def blamed(evidence: Evidence, outcome: Outcome) -> Blame | None:
    """The rule that decided: on the client's path, or for a deferred message on the relay's."""
    decision = deciding(evidence)
    if OUTCOME_INFO[outcome].blocked:
        return decision.blame if decision else None
    if outcome is Outcome.TAMPERED and decision and decision.in_session:
        return decision.blame
    if outcome in (Outcome.INTERCEPTED, Outcome.TAMPERED):
        diverted = [decision for decision in evidence.diverted if decision.effect is Effect.DIVERT]
        return diverted[-1].blame if diverted else None
    last_try = decisive_try(evidence.hops)
    if outcome is Outcome.DEFERRED and last_try and last_try.observation.stage is Stage.CONNECT:
        return last_try.decisions[-1].blame if last_try.decisions else None
    return None


def judge(
    evidence: Evidence,
    expected: Outcome | None,
    by: str | None,
    control: Evidence | None,
    how: Mechanism | None = None,
) -> Judgement:
    """Compare the evidence of one attempt with the kernel's trace, the control and the expectation.

    ``evidence``: of the attempt. ``expected``: the outcome that it should have; None: any. ``by``: the node whose rule
    should decide; None: any. ``control``: the evidence of the same path without the policy; None: not tried. ``how``:
    the mechanism that should be at work; None: any. Returns the judgement; raises nothing.

    A blocked path without a control that got through is an error: nothing then says that it was the policy.
    """
    found = classify(evidence, control)
    blame = blamed(evidence, found.outcome)
    without = _without_policy(control) if control is not None else None
    reasons = list(_failures(evidence, found.outcome))
    if OUTCOME_INFO[found.outcome].blocked and not (without and without.through):
        reasons.append(Reason(ReasonKind.NO_CONTROL, _no_control(without)))
        found = Classification(Outcome.ERROR, Mechanism.UNKNOWN)
    reasons += unmet(found, blame, expected, by, how)
    return Judgement(found.outcome, found.mechanism, blame, without, tuple(reasons))


def _without_policy(control: Evidence) -> Control:
    return Control(outcome=classify(control).outcome, through=got_through(control))


def _failures(evidence: Evidence, found: Outcome) -> Iterable[Reason]:
    """The first reason why the evidence itself proves nothing, or contradicts itself."""
    contradiction = disagreement(evidence)
    if evidence.error:
        yield Reason(ReasonKind.TOOL_FAILED, evidence.error)
    elif contradiction:
        yield Reason(ReasonKind.DISAGREEMENT, contradiction)
    elif found is Outcome.ERROR:
        yield Reason(ReasonKind.UNEXPLAINED, "the evidence fits no outcome")


def unmet(
    found: Classification, blame: Blame | None, expected: Outcome | None, by: str | None, how: Mechanism | None
) -> Iterable[Reason]:
    """Each part of the expectation that is not met; the parameters are those of ``judge``."""
    if expected is not None and found.outcome is not expected:
        yield Reason(ReasonKind.OUTCOME, f"expected {expected}, found {found.outcome}")
    if by is not None and expected is not None and expected in DECIDED_BY_RULES and (blame is None or blame.node != by):
        node = blame.node if blame else "none"
        yield Reason(ReasonKind.NODE, f"expected a rule on {by} to decide, found {node}")
    if how not in (None, found.mechanism):
        yield Reason(ReasonKind.MECHANISM, f"expected {how} at work, found {found.mechanism}")


def _no_control(control: Control | None) -> str:
    if control is None:
        return "no control was run: blocked by the policy is not proven"
    found = f"without the policy the path does not get through either ({control.outcome})"
    return f"{found}: blocked by the policy is not proven"
