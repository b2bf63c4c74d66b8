"""The judgement: outcome, mechanism, blame, and whether they meet the expectation. A pure function of evidence, no lab.

``pipeline`` finds outcome and mechanism. ``judge`` then compares them with the kernel's trace, the control and the
expectation.
"""

from __future__ import annotations

from collections.abc import Iterable

from port25lab.model.evidence import Blame, Evidence
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import DECIDED_BY_RULES, Expected, Outcome, meets
from port25lab.model.verdict import Judgement, Reason, ReasonKind
from port25lab.verdict.blame import blamed
from port25lab.verdict.control import unproven, without_policy
from port25lab.verdict.pipeline import classify
from port25lab.verdict.rules import disagreement
from port25lab.verdict.views import Classification


def judge(
    evidence: Evidence,
    expected: Expected | None,
    by: str | None,
    control: Evidence | None,
    how: Mechanism | None = None,
) -> Judgement:
    """Compare the evidence of one attempt with the kernel's trace, the control and the expectation.

    ``evidence``: of the attempt. ``expected``: the outcome that it should have; None: any. ``by``: the node whose rule
    should decide; None: any. ``control``: the evidence of the same path without the policy; None: not tried. ``how``:
    the mechanism that should be at work; None: any. Returns the judgement; raises nothing.

    A path that is blocked, intercepted, altered, closed or unreachable needs a control in which the destination
    answered: without one, nothing says that it was the policy, and the outcome is an error.
    """
    found = classify(evidence, control)
    without = without_policy(control) if control is not None else None
    blame = blamed(evidence, found.outcome, without.outcome if without else None)
    reasons = list(_failures(evidence, found.outcome))
    if doubt := unproven(found, evidence, blame, without, control.error if control is not None else None):
        reasons.append(Reason(ReasonKind.NO_CONTROL, doubt))
        found = Classification(Outcome.ERROR, Mechanism.UNKNOWN)
    reasons += unmet(found, blame, expected, by, how)
    return Judgement(found.outcome, found.mechanism, blame, without, tuple(reasons))


def _failures(evidence: Evidence, found: Outcome) -> Iterable[Reason]:
    """The first reason why the evidence itself proves nothing, or contradicts itself."""
    contradiction = disagreement(evidence)
    if evidence.error:
        yield Reason(ReasonKind.TOOL_FAILED, evidence.error)
    elif contradiction:
        yield Reason(ReasonKind.DISAGREEMENT, contradiction)
    elif found is Outcome.ERROR and evidence.unanswered:
        yield Reason(ReasonKind.DISAGREEMENT, "no DNS server answered, and the trace has no rule that dropped a query")
    elif found is Outcome.ERROR:
        yield Reason(ReasonKind.UNEXPLAINED, "the evidence fits no outcome")


def unmet(
    found: Classification, blame: Blame | None, expected: Expected | None, by: str | None, how: Mechanism | None
) -> Iterable[Reason]:
    """Each part of the expectation that is not met; the parameters are those of ``judge``."""
    if not meets(found.outcome, expected):
        yield Reason(ReasonKind.OUTCOME, f"expected {expected}, found {found.outcome}")
    if by is not None and expected is not None and expected in DECIDED_BY_RULES and (blame is None or blame.node != by):
        node = blame.node if blame else "none"
        yield Reason(ReasonKind.NODE, f"expected a rule on {by} to decide, found {node}")
    if how not in (None, found.mechanism):
        yield Reason(ReasonKind.MECHANISM, f"expected {how} at work, found {found.mechanism}")
