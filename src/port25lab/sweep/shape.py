"""One job's topology, policies and paths: the scenario of a sweep, with the job's parameters in it, as questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from port25lab.errors import InputError
from port25lab.model.plan import Plan
from port25lab.model.question import Question
from port25lab.scenario.checks import config_of, plan_for, under
from port25lab.scenario.document import Document, Key, Strict, derived, listed, shown, validated, wrong
from port25lab.scenario.link_conditions import LinkEntry, matching
from port25lab.scenario.questions import questions_of
from port25lab.scenario.scenario_file import Stack, TopologyChoice, topology_long
from port25lab.sweep.jobs import SweepJob
from port25lab.sweep.parameters import Value, chance
from port25lab.sweep.spec import Spec

VARIANT = "sweep"
"""The variant of a job's questions: a job is one lab."""

NOT_OF_SWEEPS = ("expect", "variants")
"""Keys of a path that a scenario has and a sweep does not: a sweep measures, and has one variant for each job."""


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return wrong(f"a share is {shown(value)}", "a number from 0 to 1")
    return float(value)


Share = Annotated[float, BeforeValidator(_share)]


Patterns = Annotated[tuple[str, ...], BeforeValidator(listed), Field(min_length=1)]


class Chosen(Strict):
    """Nodes by name or pattern, and the share of them that is meant."""

    nodes: Patterns
    share: Share = 1.0
    draw: int | float | str = 0
    """Which of the nodes: the same draw chooses the same ones, and a larger share those of the smaller one first."""


class PolicyEntry(Chosen):
    """Policies on nodes: one stack on a share of them, or several policies, each on a share of its own."""

    policy: Stack | None = None
    shares: dict[str, Share] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> PolicyEntry:
        if (self.policy is None) == (self.shares is None):
            wrong("an entry has either `policy` or `shares`", "{nodes: …, policy: op25b, share: 0.5}")
        if self.shares is not None and "share" in self.model_fields_set:
            wrong("`share` beside `shares`", "one of them", "share", at_key=True)
        if self.shares is not None and sum(self.shares.values()) > 1 + 1e-9:
            wrong(f"the shares are {sum(self.shares.values()):g} together", "at most 1", "shares")
        return self

    def stacks(self) -> list[tuple[tuple[str, ...], float]]:
        """Each stack with its share."""
        if self.shares is not None:
            return [((policy,), share) for policy, share in self.shares.items()]
        return [(self.policy or (), self.share)]


class _Parts(Strict):
    """What is needed to find the nodes of a job."""

    topology: Annotated[TopologyChoice, BeforeValidator(topology_long)]
    links: tuple[LinkEntry, ...] = ()
    policies: tuple[PolicyEntry, ...]
    attempts: Literal["concurrent", "sequential"]
    paths: tuple[dict[str, Any], ...]


def questions(spec: Spec, job: SweepJob) -> list[Question]:
    """What is asked in the lab of a job. Raises InputError where the job's values make no lab."""
    data = substituted(spec.content.shape, job.parameters)
    document = derived(spec.document, data, {})
    parts = validated(document, _Parts)
    plan = plan_for(parts.topology, document.error, relative_to=spec.file)
    paths: list[dict[str, Any]] = []
    origins: dict[tuple[Key, ...], tuple[Key, ...]] = {}
    for place, entry in enumerate(parts.paths):
        for path in _expanded(entry, plan, spec, document, place):
            origins["paths", len(paths)] = ("paths", place)
            paths.append(path)
    stacks: dict[str, list[str]] = {}
    for place, policies in enumerate(parts.policies):
        for node, stack in _placed(policies, plan, spec, document, place):
            for number in range(len(stack)):
                origins["variants", VARIANT, node, len(stacks.get(node, ())) + number] = ("policies", place, "policy")
            stacks.setdefault(node, []).extend(stack)
            origins["variants", VARIANT, node] = ("policies", place)
    if not paths:  # nothing is asked; what is wrong is still wrong
        config_of(plan, {node: tuple(stack) for node, stack in stacks.items()}, _at(document, origins), spec.file)
        return []
    made = {
        "title": spec.content.title,
        "topology": data["topology"],
        "links": data.get("links", []),
        "variants": {VARIANT: stacks},
        "attempts": data["attempts"],
        "paths": paths,
    }
    asked = questions_of(derived(spec.document, made, origins), str(spec.file))
    return [replace(question, place=spec.name) for question in asked]


def _at(document: Document, origins: Mapping[tuple[Key, ...], tuple[Key, ...]]) -> Callable[..., InputError]:
    return under(derived(document, None, origins).error, "variants", VARIANT)


def substituted(value: Any, parameters: Mapping[str, Value]) -> Any:
    """The same data with the values of parameters for ``$NAME``."""
    if isinstance(value, dict):
        return {key: substituted(item, parameters) for key, item in value.items()}
    if isinstance(value, list):
        return [substituted(item, parameters) for item in value]
    if isinstance(value, str) and value.startswith("$"):
        found = parameters[value[1:]]
        return list(found) if isinstance(found, tuple) else found
    return value


def _expanded(
    entry: dict[str, Any], plan: Plan, spec: Spec, document: Document, place: int
) -> Iterator[dict[str, Any]]:
    """A path from each node that ``from`` and ``share`` mean."""
    for key in NOT_OF_SWEEPS:
        if key in entry:
            raise document.error(
                f"`{key}` in a sweep", "no such key: a sweep measures", "paths", place, key, at_key=True
            )
    if "from" not in entry:
        raise document.error("the key 'from' is missing", "it cannot be left out", "paths", place)
    own: dict[str, Any] = {"nodes": entry["from"], **{key: entry[key] for key in ("share", "draw") if key in entry}}
    places: dict[tuple[Key, ...], tuple[Key, ...]] = {("chosen",): ("paths", place)}
    places["chosen", "nodes"] = ("paths", place, "from")
    moved = derived(document, {"chosen": own}, places)
    chosen = validated(moved, _ChosenAt).chosen
    rest = {key: value for key, value in entry.items() if key not in ("share", "draw")}
    nodes = matching(chosen.nodes, plan, document.error, "paths", place, "from")
    for node in _first(nodes, chosen.share, chosen.draw, spec.seed):
        yield rest | {"from": node}


class _ChosenAt(Strict):
    """A choice of nodes below a key, so that an error has a place."""

    chosen: Chosen


def _placed(
    entry: PolicyEntry, plan: Plan, spec: Spec, document: Document, place: int
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each node that gets policies from an entry, with these."""
    nodes = _ranked(matching(entry.nodes, plan, document.error, "policies", place, "nodes"), entry.draw, spec.seed)
    until, total = 0, 0.0
    for stack, share in entry.stacks():
        total += share
        begin, until = until, _part(total, len(nodes))
        yield from ((node, stack) for node in nodes[begin:until] if stack)


def _ranked(nodes: Sequence[str], draw: object, seed: int) -> list[str]:
    return sorted(nodes, key=lambda node: chance(seed, "share", draw, node))


def _first(nodes: Sequence[str], share: float, draw: object, seed: int) -> list[str]:
    """A share of the nodes, in the order in which they were given."""
    meant = set(_ranked(nodes, draw, seed)[: _part(share, len(nodes))])
    return [node for node in nodes if node in meant]


def _part(share: float, count: int) -> int:
    """How many of ``count`` a share is; a half is rounded up."""
    return min(count, int(share * count + 0.5))
