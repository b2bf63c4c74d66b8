"""The catalogue: where topologies, policies and scenarios lie.

In: a name of the catalogue or a path of the user's. Out: a path that exists.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from port25lab.errors import InputError, nearest

Kind = Literal["topologies", "policies", "scenarios"]

CATALOGUE_KINDS: tuple[Kind, ...] = ("topologies", "policies", "scenarios")


_PROJECT_MARKS = (".git", "pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg")


@dataclass(frozen=True)
class _ContentType:
    """How one kind of content is stored, and what messages call it."""

    word: str
    form: str
    suffixes: tuple[str, ...]
    is_present: Callable[[Path], bool]
    """Whether there is a file or a folder of this form at a path."""


_CONTENT_TYPES: dict[Kind, _ContentType] = {
    "topologies": _ContentType("topology", "a Python file", (".py",), Path.is_file),
    "policies": _ContentType("policy", "a folder", (), Path.is_dir),
    "scenarios": _ContentType("scenario", "a YAML file", (".yaml", ".yml"), Path.is_file),
}


def root() -> Path:
    """The folder that holds the three content folders: inside the package in a wheel, the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "content"
    return installed if installed.is_dir() else package.parent.parent


def project_of(path: Path) -> Path | None:
    """The nearest folder above a path that looks like the top of a project; None: there is none."""
    folders = path.resolve().parents
    return next((folder for folder in folders if any((folder / mark).exists() for mark in _PROJECT_MARKS)), None)


def stable_name(path: Path) -> str:
    """What a file is called in results, whatever the working directory: its place in the catalogue or its project.

    A file outside of both has its absolute path.
    """
    absolute = path.resolve()
    top = next(
        (top for top in (root(), project_of(absolute)) if top is not None and absolute.is_relative_to(top)), None
    )
    return (absolute if top is None else absolute.relative_to(top)).as_posix()


def scenario_name(file: Path) -> str:
    """What a scenario is called in results: its name in the catalogue, or its ``stable_name``."""
    folder = root() / "scenarios"
    absolute = file.resolve()
    inside = absolute.is_relative_to(folder.resolve())
    return absolute.relative_to(folder.resolve()).with_suffix("").as_posix() if inside else stable_name(file)


def names(kind: Kind) -> list[str]:
    """The catalogue's names of one kind, sorted; of scenarios, those that `port25lab run` runs when none is named."""
    folder = root() / kind
    if kind == "policies":
        return sorted(path.name for path in folder.glob("[!._]*") if path.is_dir())
    if kind == "topologies":
        # A file without `topos` is a helper of its siblings.
        return sorted(path.stem for path in folder.glob("[!._]*.py") if re.search(r"(?m)^topos\b", _text(path)))
    return sorted(path.stem for path in folder.glob("[!._]*.yaml"))


def find(kind: Kind, name_or_path: str, relative_to: Path | None = None) -> Path:
    """The path of a topology, policy or scenario. A path of the user's wins over a name of the catalogue.

    ``kind``: which of them. ``name_or_path``: what the user wrote. ``relative_to``: the file in which the user wrote
    it; None on the command line and in Python. In a file, a path is looked for beside that file first, and a bare name
    nowhere else, so that a scenario means the same wherever it is run from. Raises InputError where there is none.
    """
    content = _CONTENT_TYPES[kind]
    looks_like_path = (
        "/" in name_or_path or name_or_path in (".", "..") or name_or_path.endswith(content.suffixes or "/")
    )
    places = [] if relative_to is None else [relative_to.parent / name_or_path]
    if relative_to is None or looks_like_path:
        places.append(Path(name_or_path))
    for place in places if name_or_path else []:
        if _is(content.is_present, place):
            return place
    known = all_names(kind)
    if name_or_path in known:
        return root() / kind / f"{name_or_path}{''.join(content.suffixes[:1])}"
    if any(_is(Path.exists, place) for place in places if name_or_path):
        inside = [path for place in places if _is(Path.is_dir, place) for path in sorted(place.glob("*.y*ml"))]
        hint = f", such as {inside[0]}" if inside and kind == "scenarios" else ""
        raise InputError(f"{name_or_path!r} is no {content.word}", allowed=f"{content.form}{hint}")
    tried = f" in {', '.join(dict.fromkeys(str(place.absolute().parent) for place in places))}" * looks_like_path
    likely = nearest(Path(name_or_path).stem if looks_like_path else name_or_path, known)
    raise InputError(f"no {content.word} {name_or_path!r}{tried}", allowed=f"{likely}, or the path of {content.form}")


def _is(test: Callable[[Path], bool], place: Path) -> bool:
    """Whether something is at a path. A name that is too long is the name of nothing."""
    try:
        return test(place)
    except (OSError, ValueError):
        return False


def is_there(kind: Kind, name_or_path: str) -> bool:
    """Whether the catalogue has this name, or a file or folder of this form is at this path."""
    return name_or_path in all_names(kind) or _is(_CONTENT_TYPES[kind].is_present, Path(name_or_path))


def all_names(kind: Kind) -> list[str]:
    """``names``, and the scenarios in subfolders, which run only when they are named: ``conformance/op25b``."""
    if kind != "scenarios":
        return names(kind)
    folder = root() / kind
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("[!._]*.yaml"))


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")
