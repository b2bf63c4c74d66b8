"""What the catalogue holds, for `port25lab list`: name and one line for each thing, broken ones included."""

from __future__ import annotations

from collections.abc import Callable

from port25lab.errors import InputError
from port25lab.scenario import catalogue
from port25lab.scenario.catalogue import Kind
from port25lab.scenario.policy import load_policy
from port25lab.scenario.scenario_file import title_of
from port25lab.scenario.topology import describe

_LINES: dict[Kind, Callable[[str], str]] = {
    "topologies": describe,
    "policies": lambda name: load_policy(name).title,
    "scenarios": title_of,
}


def describe_all() -> dict[Kind, list[tuple[str, str]]]:
    """Name and line, by kind, in the catalogue's order. What cannot be read has its error for a line."""
    return {
        kind: [(name, _line(kind, name)) for name in catalogue.all_names(kind)] for kind in catalogue.CATALOGUE_KINDS
    }


def _line(kind: Kind, name: str) -> str:
    try:
        return _LINES[kind](name)
    except InputError as error:
        return str(error)
