"""The result schema as a JSON file: written in one step, read back strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from port25lab.errors import InputError
from port25lab.model.verdict import SCHEMA_VERSION, Report
from port25lab.report import files


def write_json(report: Report, path: Path) -> None:
    """Write a report. A lone surrogate, left over from a reply that was no UTF-8, is written as its JSON escape."""
    text = json.dumps(report.model_dump(by_alias=True), indent=2, ensure_ascii=False, default=str)
    files.write(path, (text + "\n").encode("utf-8", "backslashreplace"))


def read_json(path: Path) -> Report:
    """Read a report back. InputError where it is no report, or one of another schema version."""
    data = _load(path)
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version is None:
        raise InputError("not a port25lab report: no schema_version", allowed="a file that `--json` wrote", file=path)
    if version != SCHEMA_VERSION:
        raise InputError(f"schema_version {version!r}", allowed=f"this port25lab reads {SCHEMA_VERSION}", file=path)
    try:
        return Report.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"not a port25lab report: {place}: {first['msg']}", file=path) from None


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=path) from error
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg}", file=path, line=error.lineno, column=error.colno) from None
    except UnicodeDecodeError:
        raise InputError("not JSON: not UTF-8 text", file=path) from None
