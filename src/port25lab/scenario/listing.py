"""What the catalogue holds, for ``port25lab list``: each name with one line, broken files included.

A title comes from the first lines of a YAML file, or from the docstring of a topology's class: no file is read as a
whole, checked or run. Where that does not yield a title, the file is loaded as a run would load it, and the line is its
title or the error.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import DocumentStartEvent, MappingStartEvent, ScalarEvent, StreamStartEvent
from ruamel.yaml.nodes import ScalarNode

from port25lab.errors import InputError
from port25lab.scenario import catalogue
from port25lab.scenario.catalogue import Kind


def describe_all() -> dict[Kind, list[tuple[str, str]]]:
    """Name and line of each thing, by kind, in the catalogue's order. Of a broken file, the line is its error."""
    return {
        kind: [(name, _line(kind, name)) for name in catalogue.all_names(kind)] for kind in catalogue.CATALOGUE_KINDS
    }


def _line(kind: Kind, name: str) -> str:
    quick_title, loaded_title = _TITLES[kind]
    try:
        return quick_title(catalogue.find(kind, name)) or loaded_title(name)
    except InputError as error:
        return str(error)


def _title_of_topology(file: Path) -> str | None:
    """The first line of the class's docstring. None where only a run of the file tells which class that is."""
    try:
        module = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    topos = [node.value for node in module.body if isinstance(node, ast.Assign) and _names(node) == ["topos"]]
    if len(topos) != 1 or _names(module).count("topos") != 1 or not isinstance(topos[0], ast.Dict):
        return None
    classes_by_key = {
        key.value: value.id
        for key, value in zip(topos[0].keys, topos[0].values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(value, ast.Name)
    }
    if len(classes_by_key) != len(topos[0].keys):
        return None
    chosen = classes_by_key.get(file.stem) or next(iter(classes_by_key.values()), None)
    classes = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == chosen]
    docstring = ast.get_docstring(classes[0]) if len(classes) == 1 else None
    return docstring.split("\n", 1)[0] if docstring else None


def _names(node: ast.AST) -> list[str]:
    """The names that code uses as variables; of an assignment, its targets alone."""
    nodes = node.targets if isinstance(node, ast.Assign) else [node]
    return [name.id for each in nodes for name in ast.walk(each) if isinstance(name, ast.Name)]


def _title_of_yaml(file: Path) -> str | None:
    """The text under the key ``title``. None where it is not among the first keys, is no text, or the YAML is bad."""
    yaml = YAML(typ="safe", pure=True)
    with contextlib.suppress(OSError, UnicodeDecodeError, YAMLError, RecursionError):
        for key, value in _first_scalars(yaml.parse(file.read_text(encoding="utf-8"))):
            if key.value == "title":
                tag = yaml.resolver.resolve(ScalarNode, value.value, value.implicit)
                return value.value if str(tag) == "tag:yaml.org,2002:str" else None
    return None


def _first_scalars(events: Iterator[Any]) -> Iterator[tuple[ScalarEvent, ScalarEvent]]:
    """The keys of the outer mapping with their values, up to the first that is not a plain pair of scalars."""
    opening = next((event for event in events if not isinstance(event, StreamStartEvent | DocumentStartEvent)), None)
    if not isinstance(opening, MappingStartEvent) or opening.tag:
        return
    for key, value in zip(events, events, strict=False):
        for scalar in (key, value):
            if not isinstance(scalar, ScalarEvent) or scalar.anchor or scalar.tag:
                return
        yield key, value


# These load whole files by pydantic models, which takes a tenth of a second to import: only where it is necessary.


def _loaded_topology(name: str) -> str:
    from port25lab.scenario.topology import describe

    return describe(name)


def _loaded_policy(name: str) -> str:
    from port25lab.scenario.policy import load_policy

    return load_policy(name).title


def _loaded_scenario(name: str) -> str:
    from port25lab.scenario.scenario_file import title_of

    return title_of(name)


_TITLES: dict[Kind, tuple[Callable[[Path], str | None], Callable[[str], str]]] = {
    "topologies": (_title_of_topology, _loaded_topology),
    "policies": (lambda folder: _title_of_yaml(folder / "policy.yaml"), _loaded_policy),
    "scenarios": (_title_of_yaml, _loaded_scenario),
}
"""The quick way to the title of a file, and the one by loading what has that name."""
