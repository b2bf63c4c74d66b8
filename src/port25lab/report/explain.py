"""A verdict in words. In: a verdict. Out: plain text, harmless to a terminal, a log and an XML file.

Servers may be hostile, so all text from outside goes through ``visible``.
"""

from __future__ import annotations

from collections.abc import Iterable

from port25lab.model.evidence import Ended, Hop, IcmpError
from port25lab.model.mechanism import MECHANISM_INFO, Mechanism
from port25lab.model.outcome import OUTCOME_INFO, Outcome, meets
from port25lab.model.verdict import Control, ReasonKind, Verdict
from port25lab.report.describe import (
    arrival_words,
    attempt_words,
    chance_words,
    client_saw,
    client_words,
    hop_words,
    icmp_words,
    lab_name,
    packets_words,
    path_words,
    policies_words,
    repeat_command,
    rules,
    saw_something,
)
from port25lab.report.text import PLAIN, Glyphs, shortened, visible
from port25lab.verdict.views import failed_tries

LONGEST_REASON = 2000
"""Characters of a reason, which may quote a program's output."""


def explain(verdict: Verdict, repeat: str | None = None) -> str:
    """All that is known of one verdict, as indented plain text: for a failing test, a JUnit failure, a log.

    ``repeat``: the command that repeats it, where that is not ``port25lab run``.
    """
    known = dict(facts(verdict)) | ({"repeat": visible(repeat)} if repeat else {})
    rows = [(key, line) for key, text in known.items() for key, line in _hanging(key, text)]
    return "\n".join([title(verdict), *(f"  {key:<9} {line}" for key, line in rows)])


def title(verdict: Verdict) -> str:
    """The verdict in one line: ``S3 in residential/op25b: expected dropped, found delivered``."""
    name = visible(verdict.question.ref or verdict.question.name or "path")
    which = ", ".join(part for part in (name, attempt_words(verdict)) if part)
    return f"{which} in {lab_name(verdict)}: {mismatch(verdict)}"


def sentence(verdict: Verdict) -> str:
    """The verdict as a sentence: ``mail from pc to mx:25 was dropped by isp-edge: -A FORWARD … (rules.v4:3)``."""
    path, blame = verdict.question.path, verdict.judgement.blame
    found = f"mail from {path.source} to {path.to}:{path.port} was {verdict.outcome.value}"
    if blame is None:
        return visible(f"{found}, and no rule decided")
    place = f" ({blame.file}:{blame.line})" if blame.file else ""
    return visible(f"{found} by {blame.node}: {blame.rule}{place}")


def mismatch(verdict: Verdict) -> str:
    """What was expected beside what was found, in one short line."""
    found, question = verdict.outcome.value, verdict.question
    if verdict.outcome is Outcome.ERROR:
        return "error, port25lab could not tell"
    if question.expected is None:
        return f"{found}, nothing expected"
    if not meets(verdict.outcome, question.expected):
        differ = f"; attempts differ: {chance_words(verdict.chance)}" if verdict.chance else ""
        return f"expected {question.expected.value}, found {found}{differ}"
    if verdict.ok:
        return f"{found}, as expected"
    if wrong_node(verdict):
        return visible(f"{found}, expected at {question.by}")
    if how := missed_mechanism(verdict):
        return f"{found} by {verdict.mechanism.value}, expected by {how.value}"
    return f"{found} as expected, but not proven"


def wrong_node(verdict: Verdict) -> bool:
    """Whether the path ended as expected, but a rule on another node than the expected one decided."""
    return meets(verdict.outcome, verdict.question.expected) and ReasonKind.NODE in _kinds(verdict)


def missed_mechanism(verdict: Verdict) -> Mechanism | None:
    """The expected mechanism, where the path ended as expected but another mechanism is at work."""
    missed = meets(verdict.outcome, verdict.question.expected) and ReasonKind.MECHANISM in _kinds(verdict)
    return verdict.question.how if missed else None


def _kinds(verdict: Verdict) -> set[ReasonKind]:
    return {reason.kind for reason in verdict.judgement.reasons}


def facts(verdict: Verdict, glyphs: Glyphs = PLAIN) -> list[tuple[str, str]]:
    """Key and text of each fact, in reading order. A text of several lines contains newlines."""
    question, evidence, judgement = verdict.question, verdict.evidence, verdict.judgement
    lines = [
        ("path", "\n".join(filter(None, (path_words(verdict, glyphs), visible(question.name or ""))))),
        ("policy", policies_words(question.config.policy_names) or "none"),
        ("expected", _expected(verdict)),
        ("found", f"{verdict.outcome.value}: {OUTCOME_INFO[verdict.outcome].text}"),
        ("how", mechanism_words(verdict)),
        ("attempts", f"differ: {chance_words(verdict.chance)}" if verdict.chance else ""),
        ("client", client_words(evidence.observation) if saw_something(verdict) and not question.path.packet else ""),
        ("packet", arrival_words(evidence.arrival) if evidence.arrival else ""),
        ("icmp", "\n".join(icmp_words(error) for error in _distinct(evidence.icmp))),
        ("relay", _tries(evidence.hops, glyphs)),
        ("rule", rules(verdict) if saw_something(verdict) else ""),
        ("ended", _ended(evidence.ended)),
        ("differ", visible(judgement.disagreement or "")),
        ("control", _control(judgement.control)),
        ("retried", visible(f"alone in a new lab, because {evidence.retried}") if evidence.retried else ""),
        ("why", shortened(visible(_other_reasons(verdict)), LONGEST_REASON)),
        ("packets", packets_words(evidence.packets)),
        ("altered", visible(evidence.divergence or "")),
        ("pcap", visible(verdict.pcap or "")),
        ("repeat", repeat_command(verdict)),
    ]
    return [(key, text) for key, text in lines if text]


def mechanism_words(verdict: Verdict) -> str:
    """The mechanism, and the node that answered in the server's place: ``tarpit: … (isp-edge answers)``."""
    mechanism, answered_by = verdict.mechanism, verdict.evidence.answered_by
    if verdict.outcome is Outcome.ERROR or (mechanism is Mechanism.NONE and verdict.question.how in (None, mechanism)):
        return ""
    server = f" ({answered_by} answers)" if verdict.outcome is Outcome.INTERCEPTED and answered_by else ""
    return visible(f"{mechanism.value}: {MECHANISM_INFO[mechanism].text}{server}")


def _expected(verdict: Verdict) -> str:
    question = verdict.question
    if question.expected is None:
        return ""
    by = f", by {visible(question.by)}" if question.by else ""
    by += f", how: {question.how.value}" if question.how else ""
    if question.expected_from is None:
        return question.expected.value + by
    turned = question.path.attempt >= question.expected_from
    when = f"from attempt {question.expected_from} on" if turned else f"before attempt {question.expected_from}"
    return f"{question.expected.value}{by}, {when}"


def _ended(ended: Ended | None) -> str:
    if ended is None:
        return ""
    kind = "ICMP error" if ended.packet.kind == "ICMP" else ended.packet.kind
    did = "left" if ended.packet.leaving else "came to"
    return visible(f"the {kind} {did} {ended.packet.at} and was seen nowhere after that: {_WHY_ENDED[ended.how]}")


_WHY_ENDED = {
    "no-route": "no route for it, or for the answer to it, from there",
    "no-answer": "nothing answers there",
}


def _control(control: Control | None) -> str:
    if control is None:
        return ""
    passed = "gets through" if control.through else "does not get through either"
    return f"without the policy the same path {passed} ({control.outcome.value})"


def _distinct(errors: Iterable[IcmpError]) -> list[IcmpError]:
    return list({icmp_words(error): error for error in errors}.values())


def _tries(hops: Iterable[Hop], glyphs: Glyphs) -> str:
    """Why each relay failed. Of tries that failed in the same way, the last is printed."""
    alike: dict[object, list[Hop]] = {}
    for hop in failed_tries(hops):
        alike.setdefault((hop.node, hop.to, hop.observation.address, client_saw(hop.observation)), []).append(hop)
    return "\n".join(
        hop_words(tries[-1], glyphs) + (f" ({len(tries)} tries)" if len(tries) > 1 else "") for tries in alike.values()
    )


def _other_reasons(verdict: Verdict) -> str:
    """The reasons that are in no other line: ``differ`` has a disagreement, and the title has the expected outcome."""
    printed = {ReasonKind.DISAGREEMENT} | ({ReasonKind.OUTCOME} if verdict.outcome is not Outcome.ERROR else set())
    return "; ".join(reason.text for reason in verdict.judgement.reasons if reason.kind not in printed)


def _hanging(key: str, text: str) -> list[tuple[str, str]]:
    return [(key if number == 0 else "", line) for number, line in enumerate(text.split("\n"))]
