"""A server of the user's in one Python file: ``services: [{kind: ./slow.py:handle, port: 25}]``.

The file is read and parsed here, and its code is not run: that happens in the lab, in a program of the node.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from port25lab.errors import InputError, nearest
from port25lab.model.service_kinds import OWN_KIND
from port25lab.scenario.packet_file import is_packet_file, parsed_file

DEFAULT_NAME = "handle"

_LONGEST = 150_000


def with_own_files(services: Iterable[Any], relative_to: Path) -> list[Any]:
    """The services, those whose kind is a Python file with its text. Raises InputError with the file and the line.

    ``relative_to``: the file that names them: beside it the Python file is looked for.
    """
    return [_read(service, relative_to) if _is_own(service) else service for service in services]


def _is_own(service: Any) -> bool:
    return isinstance(service, Mapping) and isinstance(service.get("kind"), str) and is_packet_file(service["kind"])


def _read(service: Mapping[str, Any], relative_to: Path) -> dict[str, Any]:
    file, name, text, tree = parsed_file(service["kind"], relative_to, DEFAULT_NAME)
    found = {node.name: node for node in tree.body if isinstance(node, ast.AsyncFunctionDef | ast.ClassDef)}
    if name not in found:
        what = f"no coroutine or class {name!r}"
        raise InputError(
            what, allowed=f"async def {name}(reader, writer, service):, or {nearest(name, found)}", file=file
        )
    if len(text) > _LONGEST:
        raise InputError("the file is too large", allowed=f"at most {_LONGEST} characters", file=file)
    folders = [str(file.absolute().parent)]
    program = {"file": str(file), "name": name, "text": text, "folders": folders}
    return {**service, "kind": OWN_KIND, "program": program}
