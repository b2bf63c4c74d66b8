"""What a YAML file may not have, found in its events, before a value is made of it: each with its line and column.

YAML allows more than a configuration file needs, and loaders differ in what they make of it: tags, other versions with
octal and sexagesimal numbers, dates, nodes that contain themselves, aliases that grow to gigabytes.
"""

from __future__ import annotations

import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    NodeEvent,
    ScalarEvent,
)

DEEPEST = 20
"""Levels of nesting: far more than a scenario has."""

MOST_NODES = 200_000
"""Values, keys, lists and mappings, each alias with all that it stands for."""

LARGEST_BYTES = 8_000_000

_SUSPECT = re.compile(r"[!%*&\[{]|\d_|\d{4}-\d|\d{16}|^ {41}", re.MULTILINE)
"""Without any of these, a text has nothing that is looked for here."""

_PLAIN = "text, numbers, true, false, lists and mappings"

_SCALARS = (
    (re.compile(r"[-+]?\d[\d_]*_[\d_]*(\.\d*)?"), "a number with underscores", "digits alone, or quotation marks"),
    (re.compile(r"[-+]?\d{16,}"), "a number that is too long", "at most 15 digits, or quotation marks"),
)
"""Plain scalars that are refused: what they look like, what they are, and what is allowed."""

_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([Tt \t].*)?")


class NotPlainError(Exception):
    """Something that a file may not have. ``line`` and ``column`` count from 1."""

    def __init__(self, what: str, allowed: str, mark: Any) -> None:
        self.what, self.allowed = what, allowed
        self.line, self.column = mark.line + 1, mark.column + 1
        super().__init__(what)


def require_plain(text: str, *, dates: bool) -> None:
    """Raise NotPlainError for the first thing that a file may not have. ``dates``: whether it may have dates.

    Raises MarkedYAMLError where the text is no YAML.
    """
    if not _SUSPECT.search(text):
        return
    sizes: dict[str, int] = {}
    """Of each anchor, how many nodes it stands for."""
    unfinished: list[tuple[str | None, int]] = []
    """The anchors of the lists and mappings that the place is in, and the number of nodes before each."""
    nodes = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, DocumentStartEvent):
            _require_version(event)
        elif isinstance(event, AliasEvent):
            if any(anchor == event.anchor for anchor, _ in unfinished):
                raise NotPlainError(f"*{event.anchor} contains itself", "an anchor from above", event.start_mark)
            nodes += sizes.get(event.anchor, 1)
        elif isinstance(event, NodeEvent):
            nodes += 1
            _require_no_tag(event)
            if isinstance(event, CollectionStartEvent):
                unfinished.append((event.anchor, nodes))
            else:
                sizes[event.anchor] = 1
        elif isinstance(event, CollectionEndEvent):
            anchor, before = unfinished.pop()
            if anchor is not None:
                sizes[anchor] = nodes - before + 1
        if len(unfinished) > DEEPEST:
            raise NotPlainError("nested too deeply", f"{DEEPEST} levels", event.start_mark)
        if nodes > MOST_NODES:
            raise NotPlainError(
                "too many values", f"at most {MOST_NODES}, with what aliases stand for", event.start_mark
            )
        if isinstance(event, ScalarEvent) and event.style is None:
            _require_usual(event, dates=dates)


def _require_version(event: Any) -> None:
    if event.tags or (event.version is not None and tuple(event.version) != (1, 2)):
        raise NotPlainError("a YAML directive", "YAML 1.2, without %YAML and %TAG", event.start_mark)


def _require_no_tag(event: Any) -> None:
    if getattr(event, "tag", None) is not None:
        raise NotPlainError("a YAML tag or type of its own", _PLAIN, event.start_mark)


def _require_usual(event: Any, *, dates: bool) -> None:
    for pattern, what, allowed in _SCALARS:
        if pattern.fullmatch(event.value):
            raise NotPlainError(what, allowed, event.start_mark)
    if not dates and _DATE.fullmatch(event.value):
        raise NotPlainError("a date", "quotation marks, if it is a text", event.start_mark)
