"""A question: one path in one variant of a scenario, by one client and over one IP version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome, Should
from port25lab.model.path import PathSpec


@dataclass(frozen=True)
class LabConfig:
    """What a lab is made of. Equal ones share a lab."""

    topology: Path
    parameters: tuple[tuple[str, Any], ...] = ()
    policies: tuple[tuple[str, tuple[Path, ...]], ...] = ()
    """Folders by node, stacked in this order. Nodes without any are left out."""

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
    bare_id: str
    """The path's id within its scenario and variant: ``S3-home-server-to-mx:example.net-25/ipv4``."""
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
    bad_auth: bool = False
    """The path's credentials are wrong: no user of the server has this name with this password."""

    @property
    def id(self) -> str:
        """The path's id: ``port25lab run -k ID`` repeats it."""
        return f"{self.scenario}/{self.variant}/{self.bare_id}"
