"""The values of one parameter: a list, a range, or draws from a distribution.

All are read by number, so that a sweep of any size keeps none of them. A draw is made from a SHA-256 digest: it is the
same on every machine, with every version of Python, and whichever jobs ran before.
"""

from __future__ import annotations

import hashlib
import math
from statistics import NormalDist
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, PlainValidator, Tag, model_validator

from port25lab.scenario.document import Strict, shown, wrong

Scalar = bool | int | float | str

Value = Scalar | tuple[Scalar, ...]
"""A list is a stack of policies, several clients, or several IP versions."""

MOST_DRAWS = 100_000

DIGITS = 12
"""Significant digits of computed numbers: mathematical libraries differ in the last ones."""


def chance(*words: object) -> float:
    """A number from 0 up to 1 that depends on nothing but the words."""
    digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)


def number(value: float) -> float:
    """A computed number without the digits that may differ between machines."""
    return float(f"{value:.{DIGITS}g}")


def _value(value: Any) -> Value:
    items = value if isinstance(value, list | tuple) else [value]
    for place, item in enumerate(items):
        if not isinstance(item, Scalar):
            keys = (place,) if isinstance(value, list) else ()
            wrong(f"a value is {shown(item)}", "text, a number, true, false, or a list of them", *keys)
        if isinstance(item, float) and not math.isfinite(item):
            wrong(f"a value is {item}", "a finite number")
    found: Value = tuple(value) if isinstance(value, list) else value
    return found


class Listed(Strict):
    """Values that are written down."""

    values: tuple[Annotated[Value, PlainValidator(_value)], ...] = Field(min_length=1)

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(self.values)

    def value(self, index: int) -> Value:
        """The value with this number, from 0."""
        return self.values[index]

    def draw(self, u: float) -> Value:
        """The value for a number ``u`` from 0 up to 1: all are equally likely."""
        return self.values[int(u * len(self.values))]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for place, value in enumerate(self.values):
            if any(type(value) is type(one) and value == one for one in self.values[:place]):
                wrong(
                    f"{shown(value)} is twice in the list", "each value once, and `replicates` for repetitions", place
                )
        return self


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return wrong(f"{shown(value)} is no number", "a number")
    return value


Real = Annotated[float, BeforeValidator(_real)]


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        return wrong(f"{shown(value)} is no number of values", "a whole number from 1")
    return value


Count = Annotated[int, BeforeValidator(_whole)]


class Range(Strict):
    """Numbers with equal distances: by their distance (`step`), or by how many there are (`count`), both ends in."""

    first: Real = Field(alias="from")
    last: Real = Field(alias="to")
    step: Real | None = None
    count: Count | None = None

    @model_validator(mode="after")
    def _has_numbers(self) -> Self:
        if (self.step is None) == (self.count is None):
            wrong("a range has either `step` or `count`", "{from: 0, to: 1, step: 0.25}, or {from: 0, to: 1, count: 5}")
        if self.last < self.first:
            wrong(f"the range ends at {self.last:g}, before {self.first:g}", "from the smaller to the larger", "to")
        if self.step is not None and self.step <= 0:
            wrong(f"step is {self.step:g}", "a number above 0", "step")
        return self

    @property
    def size(self) -> int:
        """How many values there are."""
        if self.step is None:
            return self.count or 1
        return int((self.last - self.first) / self.step + 1e-9) + 1

    def value(self, index: int) -> Value:
        """The value with this number, from 0. Whole where start and distance are."""
        steps = self.size - 1
        distance = self.step if self.step is not None else (self.last - self.first) / max(1, steps)
        value = number(self.first + index * distance)
        whole = all(float(one).is_integer() for one in (self.first, distance))
        return int(value) if whole else value

    def draw(self, u: float) -> Value:
        """The value for a number ``u`` from 0 up to 1: all are equally likely."""
        return self.value(int(u * self.size))


class Distribution(Strict):
    """Random numbers. In a grid, ``draws`` says how many; in samples, each sample draws one."""

    distribution: Literal["uniform", "integers", "normal", "lognormal", "exponential"]
    first: Real | None = Field(None, alias="from")
    last: Real | None = Field(None, alias="to")
    mean: Real | None = None
    sd: Real | None = None
    draws: Count | None = None

    @model_validator(mode="after")
    def _has_its_keys(self) -> Self:
        required, optional = _KEYS[self.distribution]
        written = {self._alias(name) for name in self.model_fields_set} - {"distribution", "draws"}
        for key in required:
            if key not in written:
                wrong(f"{self.distribution} without {key!r}", f"keys: {', '.join(required + optional)}", "distribution")
        for key in sorted(written - {*required, *optional}):
            wrong(f"{self.distribution} with {key!r}", f"keys: {', '.join(required + optional)}", key, at_key=True)
        if self.first is not None and self.last is not None and self.last < self.first:
            wrong(f"it ends at {self.last:g}, before {self.first:g}", "from the smaller to the larger", "to")
        if self.distribution == "integers" and any(not float(one).is_integer() for one in self._ends):
            wrong("integers between numbers that are not whole", "whole numbers", "from")
        if (self.draws or 0) > MOST_DRAWS:
            wrong(f"{self.draws} draws in a grid", f"at most {MOST_DRAWS}, or combine: {{samples: …}}", "draws")
        if self.sd is not None and self.sd < 0:
            wrong(f"sd is {self.sd:g}", "a number from 0", "sd")
        if self.distribution in ("exponential", "lognormal") and (self.mean or 0) <= 0:
            wrong(f"mean is {self.mean:g}", "a number above 0", "mean")
        return self

    @property
    def _ends(self) -> tuple[float, float]:
        return self.first or 0.0, self.last or 0.0

    @classmethod
    def _alias(cls, name: str) -> str:
        return cls.model_fields[name].alias or name

    def draw(self, u: float) -> Value:
        """The value for a number ``u`` from 0 up to 1, by the inverse of the distribution function."""
        first, last = self._ends
        mean, sd = self.mean or 0.0, self.sd or 0.0
        if self.distribution == "integers":
            return int(first) + int(u * (int(last) - int(first) + 1))
        if self.distribution == "uniform":
            return number(first + u * (last - first))
        if self.distribution == "exponential":
            value = -mean * math.log1p(-u)
        elif sd == 0:
            value = mean
        elif self.distribution == "normal":
            value = NormalDist(mean, sd).inv_cdf(max(u, 2**-54))
        else:  # mean and sd are those of the values, not of their logarithms
            spread = math.log1p((sd / mean) ** 2)
            value = math.exp(NormalDist(math.log(mean) - spread / 2, math.sqrt(spread)).inv_cdf(max(u, 2**-54)))
        if self.first is not None:
            value = max(value, self.first)
        if self.last is not None:
            value = min(value, self.last)
        return number(value)


_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "uniform": (("from", "to"), ()),
    "integers": (("from", "to"), ()),
    "normal": (("mean", "sd"), ("from", "to")),
    "lognormal": (("mean", "sd"), ("from", "to")),
    "exponential": (("mean",), ("from", "to")),
}
"""Of each distribution, the keys that it needs and those that it may have. Where it may have `from` and `to`, values
beyond them become these."""


def _as_listed(value: Any) -> Any:
    if isinstance(value, list):
        return {"values": value}
    allowed = "a list, {from: 0, to: 1, step: 0.25}, or {distribution: uniform, from: 0, to: 1}"
    return wrong(f"a parameter is {shown(value)}", allowed)


def _form(value: Any) -> str:
    if not isinstance(value, dict):
        return "list"
    return "distribution" if "distribution" in value else "range"


Values = Annotated[
    Annotated[Listed, BeforeValidator(_as_listed), Tag("list")]
    | Annotated[Range, Tag("range")]
    | Annotated[Distribution, Tag("distribution")],
    Discriminator(_form),
]
"""A parameter as it is written: a list, a range or a distribution."""
