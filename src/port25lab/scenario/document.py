"""YAML with places: every complaint about a file can say ``FILE:LINE:COLUMN``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.comments import TaggedScalar
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from port25lab.errors import InputError, nearest

_DEEPEST = 20
"""Levels of nesting in a YAML file: far more than any of ours has, and an end for one that contains itself."""


def read_text(file: Path) -> str:
    """The text of a file of the user's. Raises InputError where there is none."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=file) from None
    except UnicodeDecodeError as error:
        raise InputError(f"byte {error.start + 1} is not UTF-8", allowed="text in UTF-8", file=file) from None


Key = str | int


@dataclass(frozen=True)
class Document:
    """A YAML file: plain data, and where each part of it stands."""

    file: Path
    data: Any
    _places: dict[tuple[Key, ...], tuple[int, int]]
    _key_places: dict[tuple[Key, ...], tuple[int, int]]

    def error(self, what: str, allowed: str, *keys: Key, at_key: bool = False) -> InputError:
        """An InputError at the value under ``keys``, or at its key."""
        written = self.written(keys)
        line, column = (self._key_places if at_key else self._places).get(written, self._places[written])
        return InputError(what, allowed=allowed, file=self.file, line=line, column=column)

    def written(self, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        """The keys that are in the file: a short form has fewer levels than the model it stands for."""
        found: tuple[Key, ...] = ()
        for key in keys:
            found = (*found, key) if (*found, key) in self._places else found
        return found


def read_yaml(file: Path) -> Document:
    """Read one YAML 1.2 document. Raises InputError: bad YAML, a key twice, tags, keys that are not text."""
    text = read_text(file)
    try:
        loaded = YAML().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = str(error.problem or error.context).split(" with value", 1)[0]
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise InputError(f"not YAML: {what}", file=file, line=line, column=column) from None
    except RecursionError:
        raise InputError("nested too deeply", allowed=f"{_DEEPEST} levels", file=file) from None
    except (YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise InputError(f"not YAML: {str(error).strip().splitlines()[0]}", file=file) from None
    places: dict[tuple[Key, ...], tuple[int, int]] = {(): (1, 1)}
    key_places: dict[tuple[Key, ...], tuple[int, int]] = {}
    document = Document(file, None, places, key_places)
    return Document(file, _plain(document, loaded, ()), places, key_places)


def _plain(document: Document, node: Any, keys: tuple[Key, ...]) -> Any:
    """Python's own types in place of ruamel's, with the places noted on the way."""
    if len(keys) > _DEEPEST:
        raise document.error("nested too deeply", f"{_DEEPEST} levels", *keys)
    if isinstance(node, Mapping):
        return {_noted(document, node, key, keys): _plain(document, node[key], (*keys, key)) for key in node}
    if isinstance(node, list):
        for number in range(len(node)):
            line, column = node.lc.item(number)  # type: ignore[attr-defined]
            document._places[*keys, number] = line + 1, column + 1
        return [_plain(document, item, (*keys, number)) for number, item in enumerate(node)]
    if isinstance(node, TaggedScalar) or (node is not None and not isinstance(node, str | bool | int | float)):
        raise document.error("a YAML tag or type of its own", "text, numbers, true, false, lists and mappings", *keys)
    for plain in (bool, str, int, float):
        if isinstance(node, plain):
            return plain(node)
    return None


def _noted(document: Document, node: Any, key: Any, keys: tuple[Key, ...]) -> str:
    """The key, after its place and that of its value were noted. What a merge (``<<``) brings has none of its own."""
    places = node.lc.data.get(key) if node.lc.data else None
    if places is not None:
        document._key_places[*keys, key] = places[0] + 1, places[1] + 1
        # ruamel has the place of the next thing for a value that is not there.
        value = places[2:] if node[key] is not None else places[:2]
        document._places[*keys, key] = value[0] + 1, value[1] + 1
    if not isinstance(key, str):
        raise document.error(f"the key {key!r} is not text", f"text, as in '{key}':", *keys, key, at_key=True)
    return key


class Strict(BaseModel):
    """A mapping in a YAML file: unknown keys are refused, with the likeliest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, given: Any) -> Any:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        if isinstance(given, dict):
            for key in given:
                if key not in known:
                    wrong(f"unknown key {key!r}", nearest(key, known), key, at_key=True)
        return given


def wrong(what: str, allowed: str, *keys: Key, at_key: bool = False) -> NoReturn:
    """For validators of ``Strict`` models: refuse what stands under ``keys`` of the value that is validated."""
    raise PydanticCustomError(
        "wrong", "{what}; {allowed}", {"what": what, "allowed": allowed, "keys": keys, "at_key": at_key}
    )


Model = TypeVar("Model", bound=Strict)


def validated(document: Document, model: type[Model]) -> Model:
    """The document as a model. Raises InputError for the first thing that is wrong in it."""
    if document.data is None:
        raise InputError("the file is empty", allowed=f"keys: {', '.join(_required(model))}", file=document.file)
    try:
        return model.model_validate(document.data)
    except ValidationError as invalid:
        raise _complaint(document, invalid.errors(include_url=False)[0]) from None


def _required(model: type[Strict]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items() if field.is_required()]


def _complaint(document: Document, found: ErrorDetails) -> InputError:
    keys, given, kind, context = found["loc"], found["input"], found["type"], found.get("ctx", {})
    if kind == "wrong":
        return document.error(context["what"], context["allowed"], *keys, *context["keys"], at_key=context["at_key"])
    if kind == "missing":
        return document.error(f"the key {keys[-1]!r} is missing", "it cannot be left out", *keys[:-1])
    name = next((key for key in reversed(document.written(keys)) if isinstance(key, str)), "the file")
    what = f"{name} is {shown(given)}"
    if kind in ("enum", "literal_error"):
        choices = re.findall(r"'([^']*)'", context["expected"])
        return document.error(what, nearest(str(given), choices), *keys)
    return document.error(what, _ALLOWED.get(kind, found["msg"]), *keys)


_ALLOWED = {
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "dict_type": "a mapping, KEY: VALUE",
    "model_type": "a mapping, KEY: VALUE",
    "list_type": "a list",
    "tuple_type": "a list",
    "too_short": "one entry at least",
}
"""What pydantic's kinds of errors mean for somebody who writes YAML."""


def shown(given: Any) -> str:
    """A value as its author would say it: YAML's words for what YAML has words for."""
    for kind, words in ((dict, "a mapping"), (list, "a list"), (type(None), "empty")):
        if isinstance(given, kind):
            return words if given or given is None else f"{words} without entries"
    return {True: "true", False: "false"}[given] if isinstance(given, bool) else repr(given)
