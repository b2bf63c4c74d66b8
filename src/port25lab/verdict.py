"""The verdict: outcome + blame + whether it meets the expectation. A pure function of evidence; needs no lab.

``classify`` asks a row of small classifiers in turn, each of which says an outcome or passes. ``judge`` then holds the
outcome against the kernel's word, the control and the expectation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from port25lab.evidence import Blame, Decision, Effect, Evidence, Hop, IcmpError, Observation, Stage
from port25lab.outcome import MEANINGS, Outcome

SCHEMA_VERSION = 1

UNREACHABLE_ERRNOS = frozenset({"EHOSTUNREACH", "ENETUNREACH", "EACCES", "ENOPROTOOPT", "EPROTO", "EPERM"})


class Control(BaseModel):
    """The same path in the same topology without the policy: what makes `blocked` a statement about the policy."""

    model_config = ConfigDict(extra="forbid")

    outcome: Outcome
    through: bool
    """True where the client reached a server."""


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
    policies: dict[str, list[str]]
    outcome: Outcome
    expected: Outcome | None
    expected_by: str | None = None
    ok: bool
    blame: Blame | None
    observation: Observation
    decisions: list[Decision] = []
    icmp: list[IcmpError] = []
    hops: list[Hop] = []
    control: Control | None = None
    disagreement: str | None = None
    """Where the client and the kernel do not say the same: both, in words."""
    reason: str | None = None
    """Why the verdict is not ok, or why the tool failed."""
    pcap: str | None = None


class Report(BaseModel):
    """A whole run, as written by ``--json``."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    tool: dict[str, str]
    environment: dict[str, Any]
    verdicts: list[Verdict]


Classifier = Callable[[Evidence], Outcome | None]


def classify(evidence: Evidence) -> Outcome:
    """The outcome that the evidence proves. The first classifier that knows decides."""
    return next(outcome for classifier in CLASSIFIERS if (outcome := classifier(evidence)) is not None)


def _tool_failed(evidence: Evidence) -> Outcome | None:
    return Outcome.ERROR if evidence.error else None


def _arrived(evidence: Evidence) -> Outcome | None:
    return Outcome.DELIVERED if evidence.delivered_to else None


def _name_unknown(evidence: Evidence) -> Outcome | None:
    return Outcome.DNS_FAILURE if evidence.observation.stage is Stage.RESOLVE else None


def _ruled_out(evidence: Evidence) -> Outcome | None:
    """No connection, and the kernel names the rule: its effect is the outcome, whatever errno it became."""
    if evidence.observation.stage is not Stage.CONNECT:
        return None
    decision = deciding(evidence)
    return OUTCOME_OF_EFFECT[decision.effect] if decision else None


def _refused_by_nobody_between(evidence: Evidence) -> Outcome | None:
    """No connection, no rule: the destination said RST, or a router had no way to go on, or the tool missed something."""
    if evidence.observation.stage is not Stage.CONNECT:
        return None
    if evidence.observation.errno == "ECONNREFUSED":
        return Outcome.CLOSED
    if evidence.observation.errno in UNREACHABLE_ERRNOS:
        return Outcome.UNREACHABLE
    return Outcome.ERROR


def _other_server(evidence: Evidence) -> Outcome | None:
    wrong = evidence.answered_by and evidence.dialled and evidence.answered_by != evidence.dialled
    return Outcome.INTERCEPTED if wrong else None


def _tls(evidence: Evidence) -> Outcome | None:
    seen = evidence.observation
    if seen.stage is Stage.TLS or (seen.stage is Stage.STARTTLS and seen.smtp_code in (None, 220, 250, 454, 502, 500)):
        return Outcome.TLS_FAILED
    return None


def _reply(evidence: Evidence) -> Outcome | None:
    """The server's last words, by the table of replies."""
    seen = evidence.observation
    if seen.smtp_code is None or seen.stage is Stage.DONE:
        return None
    return next((reply.outcome for reply in REPLIES if reply.fits(seen)), None)


def _accepted(evidence: Evidence) -> Outcome | None:
    """Some server took the message, and it is not in the mailbox."""
    return Outcome.DEFERRED if evidence.observation.stage is Stage.DONE and evidence.hops else None


def _cut_off(evidence: Evidence) -> Outcome | None:
    """The session began and broke without a last reply."""
    seen = evidence.observation
    return Outcome.TAMPERED if seen.smtp_code is None and seen.stage is not Stage.DONE else None


def _unexplained(_: Evidence) -> Outcome | None:
    return Outcome.ERROR


CLASSIFIERS: tuple[Classifier, ...] = (
    _tool_failed,
    _arrived,
    _name_unknown,
    _ruled_out,
    _refused_by_nobody_between,
    _other_server,
    _tls,
    _reply,
    _accepted,
    _cut_off,
    _unexplained,
)

OUTCOME_OF_EFFECT = {
    Effect.DROP: Outcome.DROPPED,
    Effect.REJECT_ICMP: Outcome.REJECTED_ICMP,
    Effect.REJECT_RESET: Outcome.REJECTED_RESET,
}

ERRNOS_OF_EFFECT = {
    Effect.DROP: frozenset({"ETIMEDOUT"}),
    Effect.REJECT_ICMP: UNREACHABLE_ERRNOS | {"ECONNREFUSED"},
    Effect.REJECT_RESET: frozenset({"ECONNREFUSED"}),
}
"""What the client must have seen if the rule did what the trace says (DOMAIN: what a client sees)."""


class Reply(BaseModel):
    """One row of the table of SMTP replies. A field that is None fits everything."""

    model_config = ConfigDict(frozen=True)

    outcome: Outcome
    code: range | tuple[int, ...]
    enhanced: str | None = None
    words: str | None = None
    stages: tuple[Stage, ...] | None = None

    def fits(self, seen: Observation) -> bool:
        """Whether this row is about that reply."""
        return (
            seen.smtp_code in self.code
            and (self.enhanced is None or re.fullmatch(self.enhanced, seen.enhanced_code or "") is not None)
            and (self.words is None or re.search(self.words, seen.reply or "", re.IGNORECASE) is not None)
            and (self.stages is None or seen.stage in self.stages)
        )


ENVELOPE = (Stage.MAIL, Stage.RCPT, Stage.DATA)

REPLIES: tuple[Reply, ...] = (
    Reply(outcome=Outcome.TLS_REQUIRED, code=(530, 538), words="starttls|encrypt|tls"),  # RFC 3207 4, RFC 4954 6
    Reply(outcome=Outcome.TLS_REQUIRED, code=(538,)),  # RFC 4954 6
    Reply(outcome=Outcome.AUTH_REQUIRED, code=(530,)),  # RFC 4954 6
    Reply(outcome=Outcome.AUTH_REQUIRED, code=(550, 553, 554), words="authenticat", stages=ENVELOPE),
    Reply(outcome=Outcome.AUTH_FAILED, code=(534, 535)),  # RFC 4954 6
    Reply(
        outcome=Outcome.RELAY_DENIED,
        code=(550, 551, 553, 554),
        enhanced="5[.]7[.][0-9]+",
        words="relay",
        stages=ENVELOPE,
    ),
    Reply(outcome=Outcome.RELAY_DENIED, code=(454,), enhanced="4[.]7[.]1", stages=ENVELOPE),
    Reply(outcome=Outcome.THROTTLED, code=(421, 450, 451, 452), words="rate|too many|limit"),
    Reply(outcome=Outcome.TEMPFAIL, code=range(400, 500)),
    Reply(outcome=Outcome.REJECTED, code=range(500, 600)),
)


def deciding(evidence: Evidence) -> Decision | None:
    """The decision on the address that was dialled last; an earlier address has decisions of its own."""
    address = evidence.observation.address
    family = None if address is None else "ip6" if ":" in address else "ip"
    fitting = [found for found in evidence.decisions if family is None or found.blame.family in (family, "inet")]
    return fitting[-1] if fitting else None


def disagreement(evidence: Evidence) -> str | None:
    """Where the client and the kernel do not say the same, in words; None where they agree."""
    seen, decision = evidence.observation, deciding(evidence)
    if evidence.error or seen.stage is Stage.RESOLVE:
        return None
    if seen.stage is Stage.CONNECT:
        if decision is None:
            if seen.errno == "ETIMEDOUT":
                return "the client timed out, and the kernel saw no rule that dropped its packets"
            return None
        if seen.errno not in ERRNOS_OF_EFFECT[decision.effect]:
            return f"the client saw {seen.errno}, and the kernel did {decision.effect} at {decision.blame.node}"
        return None
    if decision is not None:
        return f"the client came as far as {seen.stage}, and the kernel did {decision.effect} at {decision.blame.node}"
    return None


def got_through(evidence: Evidence) -> bool:
    """Whether a server answered: what a control has to show."""
    return not evidence.error and evidence.observation.stage not in (Stage.RESOLVE, Stage.CONNECT)


def blamed(evidence: Evidence, outcome: Outcome) -> Blame | None:
    """The rule that decided: on the client's own way, or for a deferred message on the relay's."""
    if MEANINGS[outcome].blocked:
        decision = deciding(evidence)
        return decision.blame if decision else None
    if outcome is Outcome.DEFERRED:
        return next((found.blame for hop in reversed(evidence.hops) for found in hop.decisions), None)
    return None


class Judgement(BaseModel):
    """What ``judge`` finds."""

    model_config = ConfigDict(frozen=True)

    outcome: Outcome
    blame: Blame | None
    ok: bool
    control: Control | None
    disagreement: str | None
    reason: str | None


def judge(evidence: Evidence, expected: Outcome | None, by: str | None, control: Evidence | None) -> Judgement:
    """Hold the evidence of one attempt against the kernel's word, the control and the expectation.

    ``control`` is the evidence of the same path without the policy. A blocked path without a control that got
    through is an error: nothing then says that it was the policy.
    """
    found = classify(evidence)
    blame = blamed(evidence, found)
    contradiction = disagreement(evidence)
    without = Control(outcome=classify(control), through=got_through(control)) if control is not None else None
    reasons = list(_failures(evidence, found, contradiction))
    if MEANINGS[found].blocked and not (without and without.through):
        reasons.append(_no_control(without))
        found = Outcome.ERROR
    if expected is not None and found is not expected:
        reasons.append(f"expected {expected}, found {found}")
    if by is not None and expected is not None and MEANINGS[expected].blocked and (blame is None or blame.node != by):
        reasons.append(f"expected a rule on {by} to decide, found {blame.node if blame else 'none'}")
    ok = not reasons
    return Judgement(
        outcome=found,
        blame=blame,
        ok=ok,
        control=without,
        disagreement=contradiction,
        reason="; ".join(reasons) or None,
    )


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
    return f"without the policy the path does not get through either ({control.outcome}): blocked by the policy is not proven"
