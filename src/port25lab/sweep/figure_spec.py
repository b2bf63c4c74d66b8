"""A figure as the file of a sweep asks for it: what is counted in each job, and over which parameter it is drawn."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from port25lab.errors import nearest
from port25lab.model.outcome import Outcome
from port25lab.scenario.document import Strict, shown, wrong


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _outcomes(value: Any) -> tuple[str, ...]:
    for place, one in enumerate(found := _listed(value)):
        if one not in list(Outcome):
            wrong(f"no outcome {shown(one)}", nearest(str(one), list(Outcome)), *([place] if len(found) > 1 else []))
    return tuple(map(str, found))


class Measure(Strict):
    """What is measured in a job."""

    measure: Literal["count", "share", "distinct"]
    """Attempts with one of the outcomes; their share of all attempts; or how many values of ``of`` they have."""
    outcome: Annotated[tuple[str, ...], BeforeValidator(_outcomes)] = ("delivered",)
    of: str | None = None
    where: dict[str, str | int] = Field(default_factory=dict)
    """Only attempts with these values in their columns."""

    @model_validator(mode="after")
    def _of_what(self) -> Measure:
        if (self.measure == "distinct") != (self.of is not None):
            wrong("`of` belongs to `distinct`", "{measure: distinct, of: from}")
        return self


class Figure(Strict):
    """One figure."""

    name: str
    """Of its file."""
    title: str
    x: str
    """A parameter."""
    y: Measure
    lines: str | None = None
    """A parameter: a line for each of its values."""
    x_label: str | None = Field(None, alias="x-label")
    y_label: str | None = Field(None, alias="y-label")

    @model_validator(mode="after")
    def _file_name(self) -> Figure:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.name):
            wrong(f"{self.name!r} is no name of a file", "letters, digits, _ and -", "name")
        return self
