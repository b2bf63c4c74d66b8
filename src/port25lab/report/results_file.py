"""Results that were written before, read and checked: another tool's file, or half of one, is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from port25lab.errors import InputError
from port25lab.model.outcome import Outcome
from port25lab.report.json_file import SCHEMA_VERSION
from port25lab.scenario.document import read_bytes

LARGEST_BYTES = 400_000_000

_ALLOWED = "what --json of run, check or pytest writes"

_OWN = "results of this version of port25lab"

_FIELDS: dict[str, set[str]] = {
    "inputs": {"file", "sha256"},
    "topologies": {"name", "nodes", "links", "parameters"},
    "verdicts": {
        "scenario", "path", "variant", "from", "to", "port", "ip_version", "policies", "outcome", "mechanism", "ok",
        "told", "route", "topology", "blame", "packets", "observation",
    },
}  # fmt: skip
"""What the entries of each list must have."""

_NEEDED = ("tool", "environment", "inputs", "topologies", "verdicts")


def read(file: Path) -> dict[str, Any]:
    """The results in a file; ``-`` is standard input. Raises InputError."""
    content = read_bytes(file, LARGEST_BYTES, sys.stdin.buffer if str(file) == "-" else None)
    try:
        data = json.loads(content)
    except UnicodeDecodeError:
        raise InputError("not UTF-8", allowed=_ALLOWED, file=file) from None
    except json.JSONDecodeError as error:
        where: dict[str, Any] = {"line": error.lineno, "column": error.colno}
        raise InputError(f"not JSON, or cut off: {error.msg}", allowed=_ALLOWED, file=file, **where) from None
    except RecursionError:
        raise InputError("nested too deeply", allowed=_ALLOWED, file=file) from None
    if not isinstance(data, dict) or not isinstance(data.get("tool"), dict) or data["tool"].get("name") != "port25lab":
        raise InputError("these are no results of port25lab", allowed=_ALLOWED, file=file)
    if data.get("schema_version") != SCHEMA_VERSION:
        what = f"results of schema version {data.get('schema_version')!r}"
        raise InputError(what, allowed=f"version {SCHEMA_VERSION}", file=file)
    missing = [key for key in _NEEDED if key not in data]
    if missing:
        raise InputError(f"results without {missing[0]!r}", allowed=_OWN, file=file)
    if not isinstance(data["environment"], dict):
        raise InputError("results whose 'environment' is no object", allowed=_OWN, file=file)
    for key, fields in _FIELDS.items():
        for number, one in enumerate(data[key] if isinstance(data[key], list) else [None]):
            lacking = fields if not isinstance(one, dict) else fields - one.keys()
            if lacking:
                what = f"entry {number + 1} of {key!r} has no {min(lacking)!r}"
                raise InputError(what, allowed=_OWN, file=file)
    if any(one["outcome"] not in list(Outcome) for one in data["verdicts"]):
        raise InputError("an outcome that this version of port25lab does not know", allowed=_OWN, file=file)
    return data
