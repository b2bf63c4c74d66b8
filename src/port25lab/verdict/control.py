"""Whether the control proves that the policy is the cause: the same path, in the same topology, without the policy.

A control proves it by an answer of the destination, whatever the answer is. Where no host answers, or a rule blocks the
path, or the tool fails, nothing is proven, and the verdict is an error that says so.
"""

from __future__ import annotations

from port25lab.model.evidence import Blame, Evidence
from port25lab.model.outcome import OUTCOME_INFO, Outcome
from port25lab.model.verdict import Control
from port25lab.verdict.blame import OF_A_REPLY
from port25lab.verdict.pipeline import classify
from port25lab.verdict.views import Classification

ANSWERED = OF_A_REPLY | {Outcome.DELIVERED, Outcome.REACHED, Outcome.DEFERRED, Outcome.CLOSED}
"""Outcomes in which the destination itself answered."""

COMPARED = frozenset({Outcome.INTERCEPTED, Outcome.TAMPERED, Outcome.CLOSED, Outcome.UNREACHABLE, Outcome.DNS_FAILURE})
"""Beside the blocked ones: outcomes that the policy may be the cause of, or the network itself."""


def got_through(evidence: Evidence) -> bool:
    """Whether the destination answered, even where its port is closed: what a control has to show."""
    return not evidence.error and classify(evidence).outcome in ANSWERED


def without_policy(control: Evidence) -> Control:
    """The control as a part of the verdict."""
    return Control(outcome=classify(control).outcome, through=got_through(control))


def unproven(
    found: Classification, evidence: Evidence, blame: Blame | None, control: Control | None, why: str | None = None
) -> str | None:
    """Why the control does not prove that the policy is the cause, in words; None where it does, or need not.

    Args:
        found: What became of the attempt.
        evidence: Of the attempt.
        blame: The rule that is blamed.
        control: The same path without the policy; None: not tried.
        why: Why the tool failed in the control, where it did.
    """
    blocked = OUTCOME_INFO[found.outcome].blocked
    by_comparison = found.outcome is Outcome.TLS_FAILED or evidence.observation.missing is not None
    if not (blocked or by_comparison or found.outcome in COMPARED):
        return None
    what = f"{'blocked' if blocked else found.outcome} by the policy is not proven"
    if control is None:
        return None if by_comparison and not blocked else f"no control was run: {what}"
    if control.through or (control.outcome is found.outcome and blame is None and not blocked):
        return None
    because = f", {why}" if why else ""
    return f"without the policy the path does not get through either ({control.outcome}{because}): {what}"
