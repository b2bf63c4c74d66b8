"""The jobs of a sweep, each made from its number when it is needed: a sweep of any size keeps none of them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from port25lab.sweep.parameters import Distribution, Listed, Range, Value, chance
from port25lab.sweep.spec import REPLICATE, SAMPLE, Spec, references

ID_DIGITS = 16
"""Hexadecimal digits of a job's id: among a million jobs, two are equal with a probability of 3 in 10^8."""

Parameters = Mapping[str, Value]


@dataclass(frozen=True)
class SweepJob:
    """One lab of a sweep."""

    number: int
    """Its place in the sweep, from 0."""
    id: str
    parameters: Parameters


def canonical(value: Any) -> str:
    """The only JSON text of a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, in hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


class Jobs:
    """All jobs of a sweep, by number."""

    def __init__(self, spec: Spec) -> None:
        self._spec, self._content = spec, spec.content
        in_topology = {name for _, name in references(self._content.topology)}
        # The last axis changes fastest: jobs with the same topology follow one another, and share its control.
        names = sorted(self._content.parameters, key=lambda name: name not in in_topology)
        self._axes = {name: self._axis(name) for name in names if self._content.in_grid(name)}
        self._drawn = [name for name in names if not self._content.in_grid(name)]
        self._shape = digest({"shape": self._content.shape, "seed": spec.seed})

    @cached_property
    def count(self) -> int:
        """How many jobs there are."""
        samples = self._content.combine.samples if self._content.combine else 1
        return math.prod(axis.size for axis in self._axes.values()) * samples * self._content.replicates

    def __iter__(self) -> Iterator[SweepJob]:
        return map(self.job, range(self.count))

    def job(self, number: int) -> SweepJob:
        """The job with this number, from 0."""
        parameters = self._parameters(number)
        return SweepJob(number, digest({"shape": self._shape, "parameters": parameters})[:ID_DIGITS], parameters)

    def probes(self) -> Iterator[SweepJob]:
        """Jobs that together have each value of each listed parameter, and both ends of each range: for checks.

        All other parameters have their last value: the first one of a share is often 0, and then nothing is asked.
        """
        ends = {name: [0, *([axis.size - 1] if axis.size > 1 else [])] for name, axis in self._axes.items()}
        ends |= {name: list(range(axis.size)) for name, axis in self._axes.items() if isinstance(axis, Listed)}
        places = [{}, *({name: place} for name, some in ends.items() for place in some[:MOST_PROBES])]
        yield from map(self.job, dict.fromkeys(map(self._number, places)))

    def _axis(self, name: str) -> Listed | Range:
        values = self._content.parameters[name]
        if not isinstance(values, Distribution):
            return values
        drawn = [values.draw(chance(self._spec.seed, name, draw)) for draw in range(values.draws or 1)]
        return Listed.model_construct(values=tuple(dict.fromkeys(drawn)))

    def _number(self, places: Mapping[str, int]) -> int:
        number = 0
        for name, axis in self._axes.items():
            number = number * axis.size + places.get(name, axis.size - 1)
        return number * (self._content.combine.samples if self._content.combine else 1) * self._content.replicates

    def _parameters(self, number: int) -> Parameters:
        rest, replicate = divmod(number, self._content.replicates)
        own: dict[str, Value] = {}
        if self._content.combine is not None:
            rest, sample = divmod(rest, self._content.combine.samples)
            own[SAMPLE] = sample + 1
            # The same draws for each combination of the others: what differs then is due to these.
            for name in self._drawn:
                own[name] = self._content.parameters[name].draw(chance(self._spec.seed, name, sample))
        own[REPLICATE] = replicate + 1
        for name, axis in reversed(self._axes.items()):
            rest, place = divmod(rest, axis.size)
            own[name] = axis.value(place)
        order = [*self._content.parameters, SAMPLE, REPLICATE]
        return {name: own[name] for name in order if name in own}


MOST_PROBES = 60
"""Values of one parameter that are checked before a sweep starts."""
