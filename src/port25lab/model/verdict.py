"""The verdict: a question, the evidence of one attempt to answer it, and the judgement; and a report of many."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from port25lab.model.evidence import Blame, Evidence, Observation
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.model.question import Question


class Control(BaseModel):
    """The same path in the same topology without the policy: what makes `blocked` a statement about the policy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outcome: Outcome
    through: bool
    """True where the destination answered."""


class Chance(BaseModel):
    """How the attempts of one path ended where a rule decides by chance: the next may end in another way."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outcomes: dict[Outcome, int]
    """How many attempts had each outcome; two outcomes or more."""
    rules: tuple[Blame, ...]
    """The rules that decided by chance."""

    @property
    def attempts(self) -> int:
        """How many attempts there were."""
        return sum(self.outcomes.values())


class ReasonKind(StrEnum):
    """What is wrong with an attempt that is not ok."""

    TOOL_FAILED = "tool-failed"
    DISAGREEMENT = "disagreement"
    """The client and the kernel do not say the same."""
    UNEXPLAINED = "unexplained"
    """The evidence fits no outcome."""
    NO_CONTROL = "no-control"
    """Blocked, and no control got through."""
    OUTCOME = "outcome"
    """Another outcome than the expected one."""
    NODE = "node"
    """A rule on another node than the expected one decided."""
    MECHANISM = "mechanism"
    """Another mechanism than the expected one is at work."""


UNPROVEN = frozenset({ReasonKind.TOOL_FAILED, ReasonKind.DISAGREEMENT, ReasonKind.UNEXPLAINED, ReasonKind.NO_CONTROL})
"""Reasons of the tool: port25lab could not tell what becomes of the path."""


class Reason(NamedTuple):
    """One reason why an attempt is not ok."""

    kind: ReasonKind
    text: str
    """The reason in words."""


@dataclass(frozen=True)
class Judgement:
    """What the evidence of one attempt proves, and every reason why that is not as it should be."""

    outcome: Outcome
    mechanism: Mechanism
    """What is at work on the path."""
    blame: Blame | None = None
    """The rule that decided."""
    control: Control | None = None
    reasons: tuple[Reason, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the attempt is as expected, and proven."""
        return not self.reasons

    @property
    def told(self) -> bool:
        """Whether port25lab could tell what becomes of the path, as expected or not."""
        return not any(reason.kind in UNPROVEN for reason in self.reasons)

    @property
    def reason(self) -> str | None:
        """All reasons in one line; None where the attempt is ok."""
        return "; ".join(reason.text for reason in self.reasons) or None

    @property
    def disagreement(self) -> str | None:
        """What the client and the kernel say, where they do not say the same."""
        return next((reason.text for reason in self.reasons if reason.kind is ReasonKind.DISAGREEMENT), None)


@dataclass(frozen=True)
class Verdict:
    """One attempt, judged."""

    question: Question
    evidence: Evidence
    judgement: Judgement
    pcap: str | None = None
    """Name of the lab's capture file, in the folder of `--pcap`."""
    chance: Chance | None = None
    """Of a repeated path whose attempts ended in different ways, since a rule decides by chance."""

    @property
    def id(self) -> str:
        """The path's id: ``port25lab run -k ID`` repeats it."""
        return self.question.id

    @property
    def outcome(self) -> Outcome:
        """What became of the attempt."""
        return self.judgement.outcome

    @property
    def mechanism(self) -> Mechanism:
        """What is at work on the path."""
        return self.judgement.mechanism

    @property
    def blame(self) -> Blame | None:
        """The rule that decided."""
        return self.judgement.blame

    @property
    def ok(self) -> bool:
        """Whether the attempt is as expected, and proven."""
        return self.judgement.ok

    @property
    def told(self) -> bool:
        """Whether port25lab could tell what becomes of the path, as expected or not."""
        return self.judgement.told

    @property
    def observation(self) -> Observation:
        """What the client saw."""
        return self.evidence.observation


class InputFile(NamedTuple):
    """A file that a run read."""

    path: str
    """Its absolute path."""
    name: str
    """Its place in the catalogue or in the user's project, whatever the working directory."""
    sha256: str
    text: str | None = None
    """Of rules."""


@dataclass(frozen=True)
class Report:
    """A whole run, as written by ``--json``."""

    tool: dict[str, str]
    environment: dict[str, Any]
    verdicts: list[Verdict]
    inputs: tuple[InputFile, ...] = ()
