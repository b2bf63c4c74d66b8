"""A question: one path in one variant of a scenario, by one client and over one IP version, and the lab it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome, Should
from port25lab.model.path import PathSpec
from port25lab.model.plan import Plan


@dataclass(frozen=True)
class LabConfig:
    """What a lab is made of. Equal ones share a lab."""

    plan: Plan
    """The topology as it was checked: the lab is built from this plan, and the topology's file is not run again."""
    policies: tuple[tuple[str, tuple[Path, ...]], ...] = ()
    """Folders by node, stacked in this order. Nodes without any are left out."""

    def __post_init__(self) -> None:
        if not self.plan.file.is_absolute():  # the same lab, however the user wrote the path of its topology
            object.__setattr__(self, "plan", self.plan.model_copy(update={"file": self.plan.file.absolute()}))

    def __hash__(self) -> int:
        return hash((self.plan.file, self.policies))  # a plan has no hash

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
        """Names in place of folders."""
        return {node: tuple(folder.name for folder in folders) for node, folders in self.policies}


@dataclass(frozen=True)
class Question:
    """One path in one variant of a scenario, by one client and over one IP version: what one verdict answers."""

    scenario: str
    """A name of the catalogue, or the path that the user gave: `port25lab run` takes it again."""
    variant: str
    id: str
    name: str | None
    ref: str | None
    path: PathSpec
    expected: Outcome | None
    """None: whatever comes is fine."""
    by: str | None
    """The node whose rule should decide; None: any."""
    config: LabConfig
    sequential: bool
    """Its scenario's paths depend on one another, and are tried one by one."""
    how: Mechanism | None = None
    """What should be at work; None: whatever it is."""
    repeat: int = 1
    """How often the path is tried in all; which of these attempts is meant, ``path.attempt`` says."""
    expected_from: int | None = None
    """The attempt at which the expectation turns; None: it is the same for all."""
    should: Should | None = None
    """What a correct policy does with the path."""
    matrix: bool = False
    """The scenario asks for a table of its paths by its variants."""
