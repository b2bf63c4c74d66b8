"""The rows S1 … S15 of the article on OP25B, gathered from verdicts: outcomes without the policy, and with it.

In: verdicts whose paths carry a `ref`. Out: lines to print; a row has one line for each different answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from port25lab.model.addresses import IpVersion
from port25lab.model.evidence import Blame
from port25lab.model.outcome import Outcome
from port25lab.model.verdict import Verdict
from port25lab.report import describe, text

QUESTIONS: dict[str, str] = {
    "S1": "customer → ISP's own relay, 25",
    "S2": "customer → another provider's server, 25",
    "S3": "self-hosted server at home → recipient's MX, 25",
    "S4": "customer → company or rental server, 25",
    "S5": "hotel guest → own contracted server, 25",
    "S6": "any of S2, S4, S5 on 587 with AUTH",
    "S7": "587 without credentials, or with wrong ones",
    "S8": "any of them on 465 with AUTH",
    "S9": "self-hosted → relay service, 587 with AUTH → MX",
    "S10": "self-hosted → ISP's relay, 25 → MX",
    "S11": "cloud instance → recipient's MX, 25",
    "S12": "cloud instance → relay service, 587 with AUTH",
    "S13": "infected customer → many MXs, 25",
    "S14": "outside → self-hosted server at home, 25",
    "S15": "hosted server → recipient's MX, 25",
}

NOTES: dict[str, str] = {
    "S3": "S3: an MX listens on 25 alone, so port 587 of the recipient's MX is no way out. A relay is: S9, S10.",
    "S8": "S8: RFC 8314 recommends 465 (implicit TLS) again, before STARTTLS on 587; advice against it is older.",
}
"""What the article leaves out, by row."""

NO_POLICY = "none"
"""The catalogue's policy without rules counts as no policy."""

Answer = tuple[tuple[IpVersion | None, Outcome], ...]
"""The outcome for each IP version that was asked."""


@dataclass
class Line:
    """One answer to one row, and all verdicts with this answer."""

    ref: str
    without: Answer
    with_policy: Answer
    verdicts: list[Verdict] = field(default_factory=list)
    baseline: list[Verdict] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every verdict of the line, with and without the policy, is as expected."""
        return all(verdict.ok for verdict in (*self.verdicts, *self.baseline))

    @property
    def policies(self) -> list[str]:
        """Names of the policies under which the answer was found, a stack as ``op25b + ip25b``."""
        return list(dict.fromkeys(_policy_names(verdict) for verdict in self.verdicts if _policy_names(verdict)))

    @property
    def blames(self) -> list[Blame]:
        """The rules that decided, those that blocked a relay included."""
        return _blames(self.verdicts)

    @property
    def rules(self) -> dict[str, list[Blame]]:
        """For each of ``policies`` the rules that decided."""
        return {name: _blames(v for v in self.verdicts if _policy_names(v) == name) for name in self.policies}


def lines(verdicts: Iterable[Verdict]) -> list[Line]:
    """The rows in the article's order, and other refs after them. A path in one column leaves the other empty."""
    questions: dict[tuple[Any, ...], list[Verdict]] = {}
    for verdict in verdicts:
        if ref := verdict.question.ref:
            questions.setdefault((ref, *describe.same_question(verdict)), []).append(verdict)
    found: dict[tuple[str, object, object], Line] = {}
    for (ref, *_), asked in questions.items():
        baseline = [verdict for verdict in asked if not _policy_names(verdict)]
        for group in _by_variant(verdict for verdict in asked if _policy_names(verdict)) or [[]]:
            line = Line(ref, _without(baseline, group), _answer(group), group, baseline)
            same = found.setdefault((ref, answer_words(line.without), answer_words(line.with_policy)), line)
            if same is not line:
                _absorb(same, line)
    return sorted(found.values(), key=lambda line: _order(line.ref))


def answer_words(answer: Answer) -> str:
    """``dropped`` where all IP versions agree, else ``v4 dropped, v6 delivered``."""
    return ", ".join(f"{versions} {outcome.value}".lstrip() for versions, outcome in answer_parts(answer))


def answer_parts(answer: Answer) -> list[tuple[str, Outcome]]:
    """Each IP version with its outcome; where all versions agree, one outcome without a version."""
    outcomes = {outcome for _, outcome in answer}
    if len(outcomes) == 1:
        return [("", outcomes.pop())]
    return [(describe.versions_words([version]), outcome) for version, outcome in answer]


def _blames(verdicts: Iterable[Verdict]) -> list[Blame]:
    asked = list(verdicts)
    hops = (describe.failing_hop(verdict) for verdict in asked)
    by_relays = (decision.blame for hop in hops if hop for decision in hop.decisions[-1:])
    return list(dict.fromkeys([*(verdict.blame for verdict in asked if verdict.blame), *by_relays]))


def _by_variant(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault((verdict.question.scenario, verdict.question.variant), []).append(verdict)
    return list(groups.values())


def _without(baseline: list[Verdict], group: list[Verdict]) -> Answer:
    """The outcome without the policy: of a variant without policies, or else of the controls."""
    if baseline:
        return _answer(baseline)
    controls = ((verdict.question.path.ip_version, verdict.judgement.control) for verdict in group)
    return _sorted({version: control.outcome for version, control in controls if control})


def _answer(verdicts: list[Verdict]) -> Answer:
    return _sorted({verdict.question.path.ip_version: verdict.outcome for verdict in verdicts})


def _sorted(outcomes: Mapping[IpVersion | None, Outcome]) -> Answer:
    return tuple(sorted(outcomes.items(), key=lambda item: item[0] or 0))


def _absorb(line: Line, other: Line) -> None:
    line.verdicts += other.verdicts
    known = {id(verdict) for verdict in line.baseline}
    line.baseline += [verdict for verdict in other.baseline if id(verdict) not in known]
    line.without = line.without if len(line.without) >= len(other.without) else other.without
    line.with_policy = line.with_policy if len(line.with_policy) >= len(other.with_policy) else other.with_policy


def _policy_names(verdict: Verdict) -> str:
    stacks = verdict.question.config.policy_names.values()
    names = dict.fromkeys(name for stack in stacks for name in stack if name != NO_POLICY)
    return text.visible(" + ".join(names))


def _order(ref: str) -> tuple[int, int, str]:
    return (0, _POSITIONS[ref], "") if ref in _POSITIONS else (1, 0, ref)


_POSITIONS = {ref: position for position, ref in enumerate(QUESTIONS)}
