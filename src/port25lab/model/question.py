"""A question: one path in one variant of a scenario, with one client and over one IP version, and the lab for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Expected, Should
from port25lab.model.path import PathSpec
from port25lab.model.plan import Plan
from port25lab.model.policy import Policy


@dataclass(frozen=True)
class LabConfig:
    """A topology with its parameters and policies. Questions with equal configurations share a lab."""

    plan: Plan
    """The topology as it was checked: the lab is built from this plan, and the topology's file is not run again."""
    policies: tuple[tuple[str, tuple[Path | Policy, ...]], ...] = ()
    """Each node that has policies, in the order in which they are loaded: their folders, or policies without one."""
    alone: PathSpec | None = None
    """The only path that is asked in this lab, where rules remember what was asked before."""

    def __post_init__(self) -> None:
        if not self.plan.file.is_absolute():  # the same lab, however the user wrote the path of its topology
            object.__setattr__(self, "plan", self.plan.model_copy(update={"file": self.plan.file.absolute()}))

    def __hash__(self) -> int:
        return hash((self.plan.file, self.policies, self.alone))  # a plan has no hash

    @property
    def topology(self) -> Path:
        """The topology's file, absolute."""
        return self.plan.file

    @property
    def parameters(self) -> tuple[tuple[str, int | bool | str], ...]:
        """The topology's parameters, sorted by name."""
        return tuple(sorted(self.plan.parameters.items()))

    @property
    def policy_names(self) -> dict[str, tuple[str, ...]]:
        """The names of the policies, by node."""
        return {node: tuple(policy.name for policy in stack) for node, stack in self.policies}


@dataclass(frozen=True)
class Question:
    """One path in one variant of a scenario, with one client and over one IP version. One verdict answers it."""

    scenario: str
    """A name of the catalogue, or the file's path as the user wrote it: an argument of `port25lab run`."""
    variant: str
    bare_id: str
    """The path's id within its scenario and variant: ``S3-home-server-to-mx:example.net-25/ipv4``."""
    name: str | None
    ref: str | None
    path: PathSpec
    expected: Expected | None
    """None: any outcome is fine."""
    by: str | None
    """The node whose rule should decide; None: any."""
    config: LabConfig
    sequential: bool
    """Whether the scenario's attempts depend on one another, so that they are made one by one."""
    how: Mechanism | None = None
    """The mechanism that should be at work; None: any."""
    repeat: int = 1
    """How often the path is tried in all; ``path.attempt`` is the number of this attempt."""
    expected_from: int | None = None
    """The first attempt with the expectation after the turn; None: all attempts have the same expectation."""
    should: Should | None = None
    """What a correct policy does with the path."""
    matrix: bool = False
    """Whether the scenario asks for a table of its paths by its variants."""
    bad_auth: bool = False
    """Whether the server has no user with this name and password."""
    place: str | None = None
    """The scenario's name in the catalogue or in its project, whatever the working directory; None: ``scenario``."""

    file: Path | None = None
    """The scenario's file; None: the question was asked in Python, or by `check`."""
    line: int | None = None
    """The line in which the path begins there."""

    @property
    def stable_scenario(self) -> str:
        """The scenario's name in ids and results, whatever the working directory."""
        return self.place or self.scenario

    @property
    def id(self) -> str:
        """The path's id: ``port25lab run -k ID`` repeats it."""
        return f"{self.stable_scenario}/{self.variant}/{self.bare_id}"
