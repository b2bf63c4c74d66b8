"""A verdict in words. In: a verdict. Out: plain text that a terminal, a log and an XML file can carry unharmed.

Replies come from servers that may be hostile, so all text from outside goes through ``visible``.
"""

from __future__ import annotations

from collections.abc import Iterable

from port25lab.model.evidence import Hop, IcmpError
from port25lab.model.mechanism import MECHANISM_INFO as MECHANISMS
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import DECIDED_BY_RULES, OUTCOME_INFO, Outcome
from port25lab.model.verdict import Control, Verdict
from port25lab.report.describe import (
    arrival_words,
    attempt_words,
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
"""The same for why the tool failed, which may quote what a program said."""


def explain(verdict: Verdict, repeat: str | None = None) -> str:
    """All that is known of one verdict, as indented plain text: for a failing test, a JUnit failure, a log.

    ``repeat``: the command that repeats it, where that is not ``port25lab run``.
    """
    known = dict(facts(verdict)) | ({"repeat": visible(repeat)} if repeat else {})
    rows = [(key, line) for key, text in known.items() for key, line in _hanging(key, text)]
    return "\n".join([title(verdict), *(f"  {key:<9} {line}" for key, line in rows)])


def title(verdict: Verdict) -> str:
    """The verdict in one line: ``S3 in residential/op25b: expected dropped, found delivered``."""
    which = ", ".join(part for part in (visible(verdict.ref or verdict.name or "path"), attempt_words(verdict)) if part)
    return f"{which} in {lab_name(verdict)}: {mismatch(verdict)}"


def mismatch(verdict: Verdict) -> str:
    """What was expected beside what was found, in one short line."""
    found = verdict.outcome.value
    if verdict.outcome is Outcome.ERROR:
        return "error, port25lab could not tell"
    if verdict.expected is None:
        return f"{found}, nothing expected"
    if verdict.expected is not verdict.outcome:
        return f"expected {verdict.expected.value}, found {found}"
    if verdict.ok:
        return f"{found}, as expected"
    if wrong_node(verdict):
        return visible(f"{found}, expected at {verdict.expected_by}")
    if how := missed_mechanism(verdict):
        return f"{found} by {verdict.mechanism.value}, expected by {how.value}"
    return f"{found} as expected, but not proven"


def wrong_node(verdict: Verdict) -> bool:
    """True where the path ended as expected, and another node than the expected one is to blame for it."""
    blamed = verdict.blame.node if verdict.blame else None
    right = verdict.outcome is verdict.expected and verdict.outcome in DECIDED_BY_RULES
    return right and verdict.expected_by not in (None, blamed)


def missed_mechanism(verdict: Verdict) -> Mechanism | None:
    """The mechanism that was expected, where the path ended as expected and another one is at work."""
    met = verdict.outcome is not verdict.expected or verdict.expected_how is verdict.mechanism
    return None if met else verdict.expected_how


def facts(verdict: Verdict, glyphs: Glyphs = PLAIN) -> list[tuple[str, str]]:
    """Key and text of each thing worth saying, in reading order; a text of many lines has newlines."""
    lines = [
        ("path", "\n".join(filter(None, (path_words(verdict, glyphs), visible(verdict.name or ""))))),
        ("policy", policies_words(verdict.policies) or "none"),
        ("expected", _expected(verdict)),
        ("found", f"{verdict.outcome.value}: {OUTCOME_INFO[verdict.outcome].text}"),
        ("how", mechanism_words(verdict)),
        ("client", client_words(verdict.observation) if saw_something(verdict) and not verdict.packet else ""),
        ("packet", arrival_words(verdict.arrival) if verdict.arrival else ""),
        ("icmp", "\n".join(icmp_words(error) for error in _distinct(verdict.icmp))),
        ("relay", _tries(verdict.hops, glyphs)),
        ("rule", rules(verdict) if saw_something(verdict) else ""),
        ("differ", visible(verdict.disagreement or "")),
        ("control", _control(verdict.control)),
        ("why", shortened(visible(_untold(verdict)), LONGEST_REASON)),
        ("packets", packets_words(verdict.packets)),
        ("altered", visible(verdict.divergence or "")),
        ("pcap", visible(verdict.pcap or "")),
        ("repeat", repeat_command(verdict)),
    ]
    return [(key, text) for key, text in lines if text]


def mechanism_words(verdict: Verdict) -> str:
    """What is at work, and at which node where another one answered: ``tarpit: … (isp-edge answers)``."""
    mechanism = verdict.mechanism
    if verdict.outcome is Outcome.ERROR or (mechanism is Mechanism.NONE and verdict.expected_how in (None, mechanism)):
        return ""
    who = f" ({verdict.answered_by} answers)" if verdict.outcome is Outcome.INTERCEPTED and verdict.answered_by else ""
    return visible(f"{mechanism.value}: {MECHANISMS[mechanism].text}{who}")


def _expected(verdict: Verdict) -> str:
    if verdict.expected is None:
        return ""
    by = f", by {visible(verdict.expected_by)}" if verdict.expected_by else ""
    by += f", how: {verdict.expected_how.value}" if verdict.expected_how else ""
    if verdict.expected_from is None:
        return verdict.expected.value + by
    turned = verdict.attempt >= verdict.expected_from
    when = f"from attempt {verdict.expected_from} on" if turned else f"before attempt {verdict.expected_from}"
    return f"{verdict.expected.value}{by}, {when}"


def _control(control: Control | None) -> str:
    if control is None:
        return ""
    passed = "gets through" if control.through else "does not get through either"
    return f"without the policy the same path {passed} ({control.outcome.value})"


def _distinct(errors: Iterable[IcmpError]) -> list[IcmpError]:
    return list({icmp_words(error): error for error in errors}.values())


def _tries(hops: Iterable[Hop], glyphs: Glyphs) -> str:
    """What each relay met, its last try for all that failed alike."""
    alike: dict[object, list[Hop]] = {}
    for hop in failed_tries(hops):
        alike.setdefault((hop.node, hop.to, hop.observation.address, client_saw(hop.observation)), []).append(hop)
    return "\n".join(
        hop_words(tries[-1], glyphs) + (f" ({len(tries)} tries)" if len(tries) > 1 else "") for tries in alike.values()
    )


def _untold(verdict: Verdict) -> str:
    """The reason, without those of its parts that stand elsewhere in the text."""
    told = {verdict.disagreement, mismatch(verdict)}
    return "; ".join(part for part in (verdict.reason or "").split("; ") if part not in told)


def _hanging(key: str, text: str) -> list[tuple[str, str]]:
    return [(key if number == 0 else "", line) for number, line in enumerate(text.split("\n"))]
