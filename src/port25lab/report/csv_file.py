"""Verdicts as a table for pandas, R or a spreadsheet: a row for each attempt, one value in each column (RFC 4180)."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from port25lab.model.verdict import Report
from port25lab.report import files
from port25lab.report.json_file import document
from port25lab.report.text import visible

COLUMNS = (
    "path", "scenario", "variant", "name", "ref", "topology", "from", "to", "port", "ip_version", "security", "auth",
    "client", "packet", "policies", "attempt", "repeat", "expected", "should", "outcome", "mechanism", "ok", "told",
    "reason", "retried", "blame_node", "blame_family", "blame_table", "blame_chain", "blame_rule_number", "blame_rule",
    "blame_file", "blame_line", "stage", "errno", "smtp_code", "enhanced_code", "reply", "seconds", "address",
    "control_outcome", "control_through", "answered_by", "route",
)  # fmt: skip
"""Times are in seconds. Several values in one cell are separated by blanks, policies as NODE=POLICY."""


def write_csv(report: Report, path: Path) -> None:
    """Write the file in one step."""
    files.write(path, table(report).encode("utf-8", "backslashreplace"))


def table(report: Report) -> str:
    """The whole table, with a line of names."""
    data = document(report)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for verdict, row in zip(report.verdicts, data["verdicts"], strict=True):
        topology = data["topologies"][row["topology"]]["name"]
        writer.writerow(cells(row, topology, told=verdict.told))
    return text.getvalue()


def cells(row: dict[str, Any], topology: str, *, told: bool) -> dict[str, Any]:
    """The cells of one attempt by column, as they are written.

    ``row``: the verdict as ``json_file`` has it. ``topology``: its name. ``told``: whether port25lab could tell.
    """
    return {key: _cell(value) for key, value in _row(row, topology, told=told).items()}


def _row(row: dict[str, Any], topology: str, *, told: bool) -> dict[str, Any]:
    blame, control, seen = row["blame"] or {}, row["control"] or {}, row["observation"]
    policies = " ".join(f"{node}={name}" for node, names in row["policies"].items() for name in names)
    own = {key: row[key] for key in COLUMNS if key in row and not isinstance(row[key], dict | list)}
    own |= {f"blame_{key}": blame.get(key) for key in _of("blame_")}
    own |= {f"control_{key}": control.get(key) for key in _of("control_")}
    own |= {key: seen.get(key) for key in COLUMNS if key in seen}
    return own | {"topology": topology, "policies": policies, "told": told, "route": " ".join(row["route"])}


def _of(prefix: str) -> list[str]:
    return [column.removeprefix(prefix) for column in COLUMNS if column.startswith(prefix)]


def _cell(value: Any) -> Any:
    """A value as pandas reads it back: nothing for None, true and false in lower case, text on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    return visible(str(value)) if isinstance(value, str) else value
