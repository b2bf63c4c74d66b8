"""The file of a sweep: parameters, how they are combined, and the scenario in which ``$NAME`` stands for one of them.

A scenario's own parts are checked when a parameter has its value (``shape``): before that, ``$policy`` may be anything.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from port25lab.errors import nearest
from port25lab.scenario.document import Document, Key, Strict, read_yaml, shown, validated, wrong
from port25lab.sweep.figure_spec import Figure
from port25lab.sweep.parameters import Count, Distribution, Values

SAMPLE, REPLICATE = "sample", "replicate"
"""Parameters that a sweep has by itself: the number of a sample, and of a repetition; both count from 1."""

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

_NAMES = "letters, digits and _, a letter first"


class Samples(Strict):
    """Parameters drawn at random, each sample with its own values."""

    samples: Count
    for_each: tuple[str, ...] = Field((), alias="for-each")
    """Parameters that are not drawn: the samples are repeated for each combination of their values."""


def _combination(value: Any) -> Any:
    if value == "grid":
        return None
    if not isinstance(value, dict | Samples):
        wrong(f"combine is {shown(value)}", "grid, or {samples: 100, for-each: [NAME]}")
    return value


def _seed(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return wrong(f"seed is {shown(value)}", "a whole number from 0")
    return value


class SweepFile(Strict):
    """A sweep as it is written."""

    title: Annotated[str, Field(min_length=1)]
    description: str = ""
    authors: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    license: Annotated[str, Field(min_length=1)] | None = None
    """Of the data: an SPDX identifier, such as CC-BY-4.0."""
    seed: Annotated[int, BeforeValidator(_seed)] | None = None
    parameters: dict[str, Values] = Field(min_length=1)
    combine: Annotated[Samples | None, BeforeValidator(_combination)] = None
    """None: all combinations, a grid."""
    replicates: Count = 1
    topology: Any
    policies: list[Any] = Field(default_factory=list)
    attempts: Any = "concurrent"
    paths: list[Any] = Field(min_length=1)
    links: list[Any] = Field(default_factory=list)
    """Delay and loss, as in a scenario."""
    figures: tuple[Figure, ...] = ()

    @model_validator(mode="after")
    def _names(self) -> SweepFile:
        for name in self.parameters:
            if not NAME.fullmatch(name):
                wrong(f"{name!r} is no name of a parameter", _NAMES, "parameters", name, at_key=True)
            if name in (SAMPLE, REPLICATE):
                wrong(
                    f"every sweep has the parameter {name!r} already", "another name", "parameters", name, at_key=True
                )
        for place, name in enumerate(self.combine.for_each if self.combine else ()):
            if name not in self.parameters:
                wrong(f"no parameter {name!r}", nearest(name, self.parameters), "combine", "for-each", place)
        for place, figure in enumerate(self.figures):
            for key, wanted in (("x", figure.x), ("lines", figure.lines)):
                if wanted is not None and wanted not in self.parameters and wanted not in self.own_names:
                    wrong(f"no parameter {wanted!r}", nearest(wanted, self.parameters), "figures", place, key)
        for name, values in self.parameters.items():
            if self.in_grid(name) and isinstance(values, Distribution) and values.draws is None:
                allowed = "draws: how many, or combine: {samples: …}"
                wrong(f"the distribution of {name!r} in a grid, without `draws`", allowed, "parameters", name)
            if not self.in_grid(name) and isinstance(values, Distribution) and values.draws is not None:
                wrong("`draws` where each sample draws once", "no `draws`", "parameters", name, "draws", at_key=True)
        return self

    def in_grid(self, name: str) -> bool:
        """Whether all values of this parameter are used, rather than one draw in each sample."""
        return self.combine is None or name in self.combine.for_each

    @property
    def shape(self) -> dict[str, Any]:
        """The scenario: all that ``$NAME`` may stand in."""
        links = {"links": self.links} if self.links else {}
        return {"topology": self.topology, **links} | {
            name: getattr(self, name) for name in ("policies", "attempts", "paths")
        }

    @property
    def own_names(self) -> tuple[str, ...]:
        """Names of the parameters that the sweep has by itself."""
        return (SAMPLE, REPLICATE) if self.combine else (REPLICATE,)


@dataclass(frozen=True)
class Spec:
    """A sweep's file, read and checked, with a seed."""

    document: Document
    content: SweepFile
    seed: int
    seed_made: bool
    """Whether the seed was made here, because the file has none."""

    @property
    def file(self) -> Path:
        """The file."""
        return self.document.file

    @property
    def name(self) -> str:
        """What the sweep is called in ids of paths, wherever its file lies."""
        return self.file.stem


def _uses_chance(content: SweepFile) -> bool:
    drawn = any(isinstance(values, Distribution) for values in content.parameters.values())
    shares = any(isinstance(entry, dict) and entry.keys() & {"share", "shares"} for entry in _entries(content))
    return bool(drawn or shares or content.combine)


def _entries(content: SweepFile) -> list[Any]:
    return [*content.policies, *content.paths]


def read_spec(file: Path, seed: int | None = None) -> Spec:
    """Read a sweep's file. Raises InputError for the first thing that is wrong in it.

    ``seed``: what to use where the file has none; None: one is made.
    """
    document = read_yaml(file)
    content = validated(document, SweepFile)
    for keys, name in references(content.shape):
        if name not in content.parameters and name not in content.own_names:
            raise document.error(
                f"no parameter {name!r}", nearest(name, [*content.parameters, *content.own_names]), *keys
            )
    used = {name for _, name in references(content.shape)}
    for name in content.parameters:
        if name not in used:
            what = f"the parameter {name!r} is used nowhere"
            raise document.error(
                what, f"${name} as a value of topology, policies or paths", "parameters", name, at_key=True
            )
    if content.seed is not None:
        return Spec(document, content, content.seed, seed_made=False)
    if not _uses_chance(content):
        return Spec(document, content, 0, seed_made=False)
    return Spec(document, content, secrets.randbelow(1 << 32) if seed is None else seed, seed_made=True)


def references(value: Any, keys: tuple[Key, ...] = ()) -> Iterator[tuple[tuple[Key, ...], str]]:
    """All places of a value where ``$NAME`` stands, and the names."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from references(item, (*keys, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from references(item, (*keys, place))
    elif isinstance(value, str) and value.startswith("$"):
        yield keys, value[1:]
