"""A scenario's paths under policies of the user's: ``run conformance/op25b --policy isp-edge=./mine``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from port25lab.errors import InputError
from port25lab.model.outcome import AnyOf, Expected, Should
from port25lab.model.question import Question
from port25lab.scenario.checks import config_of, without_place

VARIANT = "own"

_EXPECTED: Mapping[Should | None, Expected | None] = {Should.BLOCKED: AnyOf.BLOCKED, Should.ALLOWED: AnyOf.PASSES}
"""What a correct policy does is what is expected of the user's."""


def read_own(options: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Nodes and their policies from ``NODE=POLICY``. Several of one node are loaded in their order."""
    found: dict[str, tuple[str, ...]] = {}
    for option in options:
        node, separator, policy = option.partition("=")
        if not (node and separator and policy):
            raise InputError(f"--policy {option!r}", allowed="NODE=POLICY, such as isp-edge=./mine")
        found[node] = (*found.get(node, ()), policy)
    return found


def under_own_policies(questions: Iterable[Question], stacks: Mapping[str, tuple[str, ...]]) -> list[Question]:
    """Each path of the questions once, under these policies. Raises InputError as for a scenario file."""
    found: dict[tuple[str, str], Question] = {}
    for question in questions:
        if (question.scenario, question.bare_id) not in found:
            found[question.scenario, question.bare_id] = replace(
                question,
                variant=VARIANT,
                config=config_of(question.config.plan, stacks, without_place),
                expected=_EXPECTED.get(question.should),
                by=None,
                how=None,
                expected_from=None,
            )
    return list(found.values())
