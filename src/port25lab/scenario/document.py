"""YAML files, read with the line and column of each value, so that errors can say ``FILE:LINE:COLUMN``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.comments import TaggedScalar
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from port25lab.errors import InputError, nearest
from port25lab.scenario.yaml_events import LARGEST_BYTES, NotPlainError, require_plain


def read_bytes(file: Path, most: int, stream: BinaryIO | None = None) -> bytes:
    """A file of the user's. Raises InputError where it cannot be read, or has more bytes than ``most``.

    ``stream``: what is read in its place, and stays open, such as standard input.
    """
    try:
        with nullcontext(stream) if stream is not None else file.open("rb") as opened:
            content = opened.read(most + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=file) from None
    if len(content) > most:
        raise InputError("the file is too large", allowed=f"at most {most // 1_000_000} MB", file=file)
    return content


def read_text(file: Path) -> str:
    """The text of a file of the user's. Raises InputError where it cannot be read, is too large, or is not UTF-8."""
    content = read_bytes(file, LARGEST_BYTES)
    try:
        return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        what = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise InputError(what, allowed="text in UTF-8", file=file, line=line, column=column) from None


Key = str | int


@dataclass(frozen=True)
class Document:
    """A YAML file: its data, and the line and column of each key and value."""

    file: Path
    data: Any
    _places: dict[tuple[Key, ...], tuple[int, int]]
    _key_places: dict[tuple[Key, ...], tuple[int, int]]
    dates: bool = False
    """Whether dates are allowed: as text, ``2030-01-31``."""

    def error(self, what: str, allowed: str, *keys: Key, at_key: bool = False) -> InputError:
        """An InputError at the value under ``keys``; at its key where ``at_key`` is true.

        ``what`` is wrong, and ``allowed`` says what may stand there instead.
        """
        written = self.written(keys)
        line, column = (self._key_places if at_key else self._places).get(written, self._places[written])
        return InputError(what, allowed=allowed, file=self.file, line=line, column=column)

    def line(self, *keys: Key) -> int:
        """The line of the value under ``keys``, counted from 1."""
        return self._places[self.written(keys)][0]

    def written(self, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        """Those of the keys that are in the file: a short form has fewer levels than the model that it stands for."""
        written: tuple[Key, ...] = ()
        for key in keys:
            written = (*written, key) if (*written, key) in self._places else written
        return written


@dataclass(frozen=True)
class DerivedDocument(Document):
    """Data that was made from a YAML file: a value's place is that of what it was made from."""

    origins: Mapping[tuple[Key, ...], tuple[Key, ...]] = field(default_factory=dict)
    """The keys in the file, by the keys in the data. Of keys that are not here, those above them count."""

    def written(self, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        """The keys in the file of a value in the data."""
        above = next((keys[:end] for end in range(len(keys), 0, -1) if keys[:end] in self.origins), ())
        return super().written((*self.origins[above], *keys[len(above) :]) if above else keys)


def derived(document: Document, data: Any, origins: Mapping[tuple[Key, ...], tuple[Key, ...]]) -> Document:
    """Data made from a document, with errors that name the places in its file. ``origins``: see the class."""
    return DerivedDocument(document.file, data, document._places, document._key_places, document.dates, origins)


def read_yaml(file: Path, *, dates: bool = False) -> Document:
    """Read one YAML 1.2 document. ``dates``: whether it may have dates.

    Raises InputError: bad YAML, a key twice, tags, keys that are not text.
    """
    text = read_text(file)
    try:
        require_plain(text, dates=dates)
        loaded = YAML().load(text)
    except NotPlainError as error:
        raise InputError(error.what, allowed=error.allowed, file=file, line=error.line, column=error.column) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = str(error.problem or error.context).split(" with value", 1)[0]
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise InputError(f"not YAML: {what}", file=file, line=line, column=column) from None
    except ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1
        what = f"the character U+{ord(text[error.position]):04X} cannot stand in YAML"
        raise InputError(what, allowed="printable text", file=file, line=line, column=column) from None
    except (YAMLError, ValueError) as error:  # ValueError: a date such as 2020-13-01
        raise InputError(f"not YAML: {str(error).strip().splitlines()[0]}", file=file) from None
    places: dict[tuple[Key, ...], tuple[int, int]] = {(): (1, 1)}
    key_places: dict[tuple[Key, ...], tuple[int, int]] = {}
    document = Document(file, None, places, key_places, dates)
    return Document(file, _plain(document, loaded, ()), places, key_places)


def _plain(document: Document, node: Any, keys: tuple[Key, ...]) -> Any:
    """Python's own types in place of ruamel's. Adds the places of all values to the document."""
    if isinstance(node, Mapping):
        return {_with_place(document, node, key, keys): _plain(document, node[key], (*keys, key)) for key in node}
    if isinstance(node, list):
        for number in range(len(node)):
            line, column = node.lc.item(number)  # type: ignore[attr-defined]
            document._places[*keys, number] = line + 1, column + 1
        return [_plain(document, item, (*keys, number)) for number, item in enumerate(node)]
    if document.dates and isinstance(node, date) and not isinstance(node, datetime):
        return node.isoformat()
    if isinstance(node, TaggedScalar) or (node is not None and not isinstance(node, str | bool | int | float)):
        raise document.error("a YAML tag or type of its own", "text, numbers, true, false, lists and mappings", *keys)
    for plain in (bool, str, int, float):
        if isinstance(node, plain):
            return plain(node)
    return None


def _with_place(document: Document, node: Any, key: Any, keys: tuple[Key, ...]) -> str:
    """The key. Adds its place and that of its value to the document; what a merge (``<<``) adds has no place."""
    places = node.lc.data.get(key) if node.lc.data else None
    if places is not None:
        document._key_places[*keys, key] = places[0] + 1, places[1] + 1
        # For an empty value, ruamel gives the place of what comes next.
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
    def _only_known_keys(cls, value: Any) -> Any:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        if isinstance(value, dict):
            for key in value:
                if key not in known:
                    wrong(f"unknown key {key!r}", nearest(key, known), key, at_key=True)
        return value


def wrong(what: str, allowed: str, *keys: Key, at_key: bool = False) -> NoReturn:
    """For validators of ``Strict`` models: refuse the value under ``keys`` of the value that is validated.

    ``what`` is wrong, and ``allowed`` says what may stand there; ``at_key``: the error is about the key itself.
    """
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
        raise _input_error(document, invalid.errors(include_url=False)[0]) from None


def _required(model: type[Strict]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items() if field.is_required()]


def _input_error(document: Document, details: ErrorDetails) -> InputError:
    """An error of pydantic's as an error with a place in the file."""
    keys, value, kind, context = details["loc"], details["input"], details["type"], details.get("ctx", {})
    if kind == "wrong":
        return document.error(context["what"], context["allowed"], *keys, *context["keys"], at_key=context["at_key"])
    if kind == "missing":
        return document.error(f"the key {keys[-1]!r} is missing", "it cannot be left out", *keys[:-1])
    name = next((key for key in reversed(document.written(keys)) if isinstance(key, str)), "the file")
    what = f"{name} is {shown(value)}"
    if kind in ("enum", "literal_error"):
        choices = re.findall(r"'([^']*)'", context["expected"])
        return document.error(what, nearest(str(value), choices), *keys)
    return document.error(what, _ALLOWED.get(kind, details["msg"]), *keys)


_ALLOWED = {
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "dict_type": "a mapping, KEY: VALUE",
    "model_type": "a mapping, KEY: VALUE",
    "list_type": "a list",
    "tuple_type": "a list",
    "too_short": "one entry at least",
}
"""What pydantic's kinds of errors allow, in the words of YAML."""


def listed(value: Any) -> Any:
    """A list, where a file may have one value or several."""
    return value if isinstance(value, list | tuple) else [value]


def shown(value: Any) -> str:
    """A value in the words of YAML: ``true``, ``a list``, ``a mapping without entries``."""
    for kind, words in ((dict, "a mapping"), (list, "a list"), (type(None), "empty")):
        if isinstance(value, kind):
            return words if value or value is None else f"{words} without entries"
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
