"""The verdict: outcome + blame + whether it meets the expectation. A pure function of evidence; needs no lab.

``classify`` asks a row of small classifiers in turn, each of which says an outcome or passes. ``judge`` then holds the
outcome against the kernel's word, the control and the expectation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from port25lab.evidence import Blame, Decision, Effect, Evidence, Hop, IcmpError, Observation, Stage
from port25lab.outcome import DECIDED_BY_RULES, MEANINGS, Outcome

SCHEMA_VERSION = 1

UNREACHABLE_ERRNOS = frozenset({"EHOSTUNREACH", "ENETUNREACH", "EACCES", "ENOPROTOOPT", "EPROTO", "EPERM"})


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


def _probed(evidence: Evidence) -> Outcome | None:
    """A raw-packet probe: it arrived, or a rule kept it from arriving, or the tool missed something."""
    if evidence.arrival is None:
        return None
    if evidence.arrival.reached:
        return Outcome.REACHED
    decision = deciding(evidence)
    return OUTCOME_OF_EFFECT[decision.effect] if decision else Outcome.ERROR


def _cut_by_rule(evidence: Evidence) -> Outcome | None:
    """The session was open, and a rule kept its packets from passing."""
    decision = deciding(evidence)
    if decision is None or not decision.in_session or evidence.observation.stage is Stage.DONE:
        return None
    return Outcome.THROTTLED if decision.effect is Effect.THROTTLE else Outcome.TAMPERED


def _refused_by_nobody_between(evidence: Evidence) -> Outcome | None:
    """No connection, no rule: the destination said RST, a router had no way to go on, or the tool missed something."""
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


def _not_offered(evidence: Evidence) -> Outcome | None:
    """The server lacks what the client needs, so the client gave up by itself."""
    return OUTCOME_OF_MISSING.get(evidence.observation.missing)


def _reply(evidence: Evidence) -> Outcome | None:
    """The server's last words, by the table of replies."""
    seen = evidence.observation
    return None if seen.stage is Stage.DONE else outcome_of_reply(seen)


def _bounced(evidence: Evidence) -> Outcome | None:
    """A relay took the message, and the next server refused it for good: its words are the outcome."""
    tries = failed_tries(evidence.hops)
    if evidence.observation.stage is not Stage.DONE or not tries:
        return None
    seen = tries[-1].observation
    if seen.smtp_code not in PERMANENT or seen.stage in GREETING:
        return None
    return Outcome.DNS_FAILURE if seen.stage is Stage.RESOLVE else outcome_of_reply(seen)


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
    _probed,
    _name_unknown,
    _ruled_out,
    _refused_by_nobody_between,
    _other_server,
    _arrived,
    _cut_by_rule,
    _not_offered,
    _tls,
    _reply,
    _bounced,
    _accepted,
    _cut_off,
    _unexplained,
)

OUTCOME_OF_EFFECT = {
    Effect.DROP: Outcome.DROPPED,
    Effect.REJECT_ICMP: Outcome.REJECTED_ICMP,
    Effect.REJECT_RESET: Outcome.REJECTED_RESET,
    Effect.THROTTLE: Outcome.THROTTLED,
}

OUTCOME_OF_MISSING: dict[str | None, Outcome] = {"STARTTLS": Outcome.TLS_FAILED, "AUTH": Outcome.AUTH_FAILED}

ERRNOS_OF_EFFECT = {
    Effect.DROP: frozenset({"ETIMEDOUT"}),
    Effect.REJECT_ICMP: UNREACHABLE_ERRNOS | {"ECONNREFUSED"},
    Effect.REJECT_RESET: frozenset({"ECONNREFUSED"}),
    Effect.THROTTLE: UNREACHABLE_ERRNOS | {"ETIMEDOUT", "ECONNREFUSED"},
}
"""What the client must have seen if the rule did what the trace says (DOMAIN: what a client sees)."""


@dataclass(frozen=True)
class Reply:
    """One row of the table of SMTP replies. A field that is None fits everything."""

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


PERMANENT = range(500, 600)
GREETING = (Stage.BANNER, Stage.EHLO)
"""A relay that is refused here tries again later: another server of the domain may take the message."""

ENVELOPE = (Stage.MAIL, Stage.RCPT, Stage.DATA)

NO_RELAY = r"relay\w* (access )?(is )?(denied|not|prohibited)|\b(unable to|no|not|\w+n't) (\w+ ){0,3}relay|rcpthosts"
"""As Postfix, Exim, Exchange and qmail say it. Not: "blocked, use your provider's relay"."""

NO_LOGIN = r"authentication (is )?required|requires authentication|(must|please) authenticate|not logged in"
"""Not: "unauthenticated mail", which is about SPF and DKIM."""

TOO_MUCH = r"\brate\b|\btoo (many|much|fast)\b|\blimit|throttl"

REPLIES: tuple[Reply, ...] = (
    Reply(Outcome.TLS_REQUIRED, (530,), words=r"\b(starttls|tls|encrypt)"),  # RFC 3207 4
    Reply(Outcome.TLS_REQUIRED, (538,)),  # RFC 4954 6
    Reply(Outcome.AUTH_REQUIRED, (530,)),  # RFC 4954 6
    Reply(Outcome.AUTH_FAILED, (534, 535)),  # RFC 4954 6
    Reply(Outcome.AUTH_REQUIRED, (550, 553, 554), words=NO_LOGIN, stages=ENVELOPE),
    Reply(Outcome.RELAY_DENIED, (550, 551, 553, 554), words=NO_RELAY, stages=ENVELOPE),  # RFC 3463 5.7.1
    Reply(Outcome.RELAY_DENIED, (454,), enhanced="4[.]7[.]1", stages=ENVELOPE),
    Reply(Outcome.THROTTLED, (421, 450, 451), words=TOO_MUCH),  # RFC 3463 4.7.x; 452 counts the recipients of a message
    Reply(Outcome.TEMPFAIL, range(400, 500)),
    Reply(Outcome.REJECTED, PERMANENT),
)


def outcome_of_reply(seen: Observation) -> Outcome | None:
    """What the server's last words mean; None where it gave none, or none that refuses anything."""
    return next((reply.outcome for reply in REPLIES if reply.fits(seen)), None)


def failed_tries(hops: Iterable[Hop]) -> list[Hop]:
    """The tries in which a relay could not hand the message on."""
    return [hop for hop in hops if hop.observation.stage is not Stage.DONE]


def deciding(evidence: Evidence) -> Decision | None:
    """The decision on the address that was dialled last; an earlier address has decisions of its own."""
    address = evidence.observation.address
    family = None if address is None else "ip6" if ":" in address else "ip"
    fitting = [found for found in evidence.decisions if family is None or found.blame.family in (family, "inet")]
    return fitting[-1] if fitting else None


def disagreement(evidence: Evidence) -> str | None:
    """Where the client and the kernel do not say the same, in words; None where they agree."""
    seen, decision = evidence.observation, deciding(evidence)
    if evidence.error or evidence.arrival or seen.stage is Stage.RESOLVE:
        return None
    if seen.stage is Stage.CONNECT:
        if decision is None:
            if seen.errno == "ETIMEDOUT":
                return "the client timed out, and the kernel saw no rule that dropped its packets"
            return None
        if seen.errno not in ERRNOS_OF_EFFECT[decision.effect]:
            return f"the client saw {seen.errno}, and the kernel did {decision.effect} at {decision.blame.node}"
        return None
    if decision is not None and not decision.in_session and decision.effect is not Effect.THROTTLE:
        # A limit may refuse a SYN and let its retransmission pass; a session that was cut is an outcome of its own.
        return f"the client came as far as {seen.stage}, and the kernel did {decision.effect} at {decision.blame.node}"
    return None


def got_through(evidence: Evidence) -> bool:
    """Whether the packets reached the destination, be it closed: what a control has to show."""
    reached = evidence.observation.stage not in (Stage.RESOLVE, Stage.CONNECT)
    return not evidence.error and (reached or classify(evidence) is Outcome.CLOSED)


def blamed(evidence: Evidence, outcome: Outcome) -> Blame | None:
    """The rule that decided: on the client's own way, or for a deferred message on the relay's."""
    if MEANINGS[outcome].blocked or outcome is Outcome.TAMPERED:
        decision = deciding(evidence)
        return decision.blame if decision else None
    tries = failed_tries(evidence.hops)
    if outcome is Outcome.DEFERRED and tries and tries[-1].observation.stage is Stage.CONNECT:
        return next((found.blame for hop in reversed(tries) for found in reversed(hop.decisions)), None)
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
    if by is not None and expected is not None and expected in DECIDED_BY_RULES and (blame is None or blame.node != by):
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
    found = f"without the policy the path does not get through either ({control.outcome})"
    return f"{found}: blocked by the policy is not proven"
