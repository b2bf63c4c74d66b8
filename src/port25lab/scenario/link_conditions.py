"""Delay and loss on links, as a scenario, a sweep or a topology file says them.

Each direction of a link has the delay, and loses its share of the packets. The kernel's netem makes both (tc-netem(8)).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from port25lab.errors import InputError, nearest
from port25lab.model.plan import Conditions, Plan
from port25lab.scenario.document import Key, Strict, listed, shown, wrong

MOST_SECONDS = 60.0

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}

_OF_MININET = ("bw", "max_queue_size", "speedup", "use_hfsc", "use_tbf", "latency_ms", "enable_ecn", "enable_red")
"""Parameters of Mininet's ``TCLink`` that a lab does not have, so that it does not leave them out silently."""


def seconds_of(value: Any) -> float | None:
    """The seconds of ``20ms``, ``0.5s`` or a number; None: it is no time from 0 to 60 s."""
    if isinstance(value, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(us|ms|s)", value.strip())
        value = float(found[1]) * _UNITS[found[2]] if found else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_SECONDS:
        return None
    return float(value)


def share_of(value: Any) -> float | None:
    """The share of ``1%``, ``0.5 %`` or a number; None: it is none from 0 to 1."""
    if isinstance(value, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", value.strip())
        value = float(found[1]) / 100 if found else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)


def _time(value: Any) -> float:
    seconds = seconds_of(value)
    return wrong(f"a time is {shown(value)}", "20ms, 0.5s, or seconds from 0 to 60") if seconds is None else seconds


def _share(value: Any) -> float:
    share = share_of(value)
    return wrong(f"a loss is {shown(value)}", "1%, or a share from 0 to 1") if share is None else share


_WRITTEN = WithJsonSchema({"type": ["string", "number"]})

Time = Annotated[float, BeforeValidator(_time), _WRITTEN]

Share = Annotated[float, BeforeValidator(_share), _WRITTEN]


class LinkEntry(Strict):
    """What the links of some nodes do to packets."""

    nodes: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        BeforeValidator(listed),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    ] = Field(min_length=1, description="All links of these nodes: names, or patterns with * and ?.")
    delay: Time = Field(0.0, description="Of each packet, in each direction.", examples=["20ms"])
    jitter: Time = Field(0.0, description="How much the delay varies, up and down.", examples=["2ms"])
    loss: Share = Field(0.0, description="The share of packets that is lost, in each direction.", examples=["1%"])

    @model_validator(mode="after")
    def _jitter_of_a_delay(self) -> Self:
        if self.jitter > self.delay:
            wrong("`jitter` is longer than `delay`", "at most the delay", "jitter")
        return self


def conditioned(plan: Plan, entries: Sequence[LinkEntry], error_at: Callable[..., InputError]) -> Plan:
    """The plan with these conditions on its links. Where several entries mean a link, the last one counts.

    ``error_at``: makes errors about what the user wrote. Raises InputError for a node that is not there.
    """
    links = list(plan.links)
    for number, entry in enumerate(entries):
        meant = set(matching(entry.nodes, plan, error_at, "links", number, "nodes"))
        conditions = Conditions(delay=entry.delay, jitter=entry.jitter, loss=entry.loss)
        links = [
            link if meant.isdisjoint((link.node1, link.node2)) else link.model_copy(update={"conditions": conditions})
            for link in links
        ]
    return plan.model_copy(update={"links": tuple(links)})


def matching(patterns: Sequence[str], plan: Plan, error_at: Callable[..., InputError], *keys: Key) -> list[str]:
    """The nodes that one of the patterns matches, in the topology's order.

    ``error_at``, ``keys``: make the error about a pattern that matches none. Raises InputError.
    """
    for pattern in patterns:
        if not any(fnmatchcase(node, pattern) for node in plan.nodes):
            raise error_at(f"no node {pattern!r} in {plan.name}", nearest(pattern, plan.nodes), *keys)
    return [node for node in plan.nodes if any(fnmatchcase(node, pattern) for pattern in patterns)]


def of_mininet(info: Mapping[str, Any], where: str, file: Path) -> Conditions:
    """The conditions of a link in a topology file, as Mininet's ``TCLink`` takes them: its loss is in percent.

    Raises InputError for a value that is none, and for what a lab does not have.
    """
    for name in _OF_MININET:
        if info.get(name) is not None:
            raise InputError(f"{where}: {name} is not there", allowed="delay, jitter and loss", file=file)
    delay, jitter = (seconds_of(info.get(name) or 0) for name in ("delay", "jitter"))
    percent = info.get("loss") or 0
    loss = share_of(percent / 100 if isinstance(percent, int | float) else percent)
    if delay is None or jitter is None or loss is None or jitter > delay:
        written = ", ".join(f"{name} {info[name]!r}" for name in ("delay", "jitter", "loss") if info.get(name))
        allowed = "delay='20ms', jitter='2ms' (at most the delay), loss=1 (percent)"
        raise InputError(f"{where}: {written}", allowed=allowed, file=file)
    return Conditions(delay=delay, jitter=jitter, loss=loss)
