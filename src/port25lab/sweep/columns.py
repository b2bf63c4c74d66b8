"""The columns of a sweep's tables: name, type, unit and meaning, and the cells of a job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.report.csv_file import COLUMNS
from port25lab.sweep.jobs import SweepJob
from port25lab.sweep.parameters import Distribution, Listed, Range, Value, Values
from port25lab.sweep.spec import SAMPLE, Spec

PREFIX = "p_"
"""Before the name of a parameter, so that `client` is what was used and `p_client` what the sweep wanted."""

INTEGER, NUMBER, BOOLEAN, STRING = "integer", "number", "boolean", "string"
"""Types of Frictionless Table Schema."""


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    type: str
    description: str
    unit: str | None = None
    values: tuple[str, ...] = ()
    """All values that it can have; empty: any."""
    required: bool = False


def of_results(spec: Spec) -> list[Column]:
    """The columns of the table with a row for each attempt."""
    return [JOB, *of_parameters(spec), *(_ATTEMPT[name] for name in COLUMNS)]


def of_jobs(spec: Spec) -> list[Column]:
    """The columns of the table with a row for each job."""
    return [JOB, *of_parameters(spec), *_JOB_COLUMNS]


def of_parameters(spec: Spec) -> list[Column]:
    """A column for each parameter, then those that every sweep has."""
    own = [
        (name, "number of the sample" if name == SAMPLE else "number of the repetition")
        for name in spec.content.own_names
    ]
    written = [
        Column(PREFIX + name, _type(values), f"parameter {name} of the sweep", required=True)
        for name, values in spec.content.parameters.items()
    ]
    return [*written, *(Column(PREFIX + name, INTEGER, text, required=True) for name, text in own)]


def cells_of(job: SweepJob) -> list[str]:
    """The cells of a job's id and parameters."""
    return [job.id, *map(cell, job.parameters.values())]


def cell(value: Value) -> str:
    """A value as it is written in a table: a list with blanks between its items."""
    if isinstance(value, tuple):
        return " ".join(map(cell, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type(values: Values) -> str:
    if isinstance(values, Distribution):
        return INTEGER if values.distribution == "integers" else NUMBER
    if isinstance(values, Range):
        ends: Iterable[Value] = (values.value(0), values.value(values.size - 1), values.value(min(1, values.size - 1)))
        return INTEGER if all(type(one) is int for one in ends) else NUMBER
    return _common(values)


def _common(values: Listed) -> str:
    kinds = {type(value) for value in values.values}
    if kinds == {bool}:
        return BOOLEAN
    if kinds == {int}:
        return INTEGER
    return NUMBER if kinds <= {int, float} else STRING


JOB = Column("job", STRING, "id of the job: a digest of its parameters and of what is done with them", required=True)

DONE, SET_ASIDE, MISSING = "done", "set-aside", "missing"

_JOB_COLUMNS = [
    Column("state", STRING, "whether the job has a result", values=(DONE, SET_ASIDE, MISSING), required=True),
    Column("attempts", INTEGER, "how many paths were tried"),
    Column("seconds", NUMBER, "how long the job took", unit="s"),
    Column("digest", STRING, "SHA-256 of what a second run finds again"),
    Column("origin", STRING, "digest of the machine and the files that the result was made with: environment.json"),
    Column("reason", STRING, "why the job was set aside"),
]

_TRUE = {
    "ok": "whether the attempt is as expected; a sweep expects nothing",
    "told": "whether port25lab could tell what became of the attempt",
    "control_through": "whether the same path without policies got an answer of its destination",
}

_WHOLE = {
    "port": "port that was dialled",
    "ip_version": "4 or 6; empty: as the client liked",
    "attempt": "number of the attempt, from 1",
    "repeat": "how often the path was tried",
    "blame_rule_number": "number of the deciding rule in its chain",
    "blame_line": "line of the deciding rule in its file",
    "smtp_code": "reply code of the server (RFC 5321 4.2)",
}

_TEXT = {
    "path": "id of the path",
    "scenario": "file of the sweep",
    "variant": "always `sweep`: each job is one lab",
    "name": "the path in words",
    "ref": "reference of the path",
    "topology": "name of the topology",
    "from": "node that sent",
    "to": "destination as it was asked for",
    "security": "TLS: none, starttls or implicit",
    "auth": "user of SMTP AUTH",
    "client": "client program",
    "packet": "kind of packet, where one was sent in place of mail",
    "policies": "policies as NODE=POLICY, with blanks between them",
    "expected": "always empty: a sweep expects nothing",
    "should": "what a correct policy does with the path",
    "reason": "why port25lab could not tell",
    "retried": "why the path was tried once more, where it was",
    "blame_node": "node whose rule decided",
    "blame_family": "ip, ip6 or bridge",
    "blame_table": "table of the deciding rule",
    "blame_chain": "chain of the deciding rule",
    "blame_rule": "the deciding rule",
    "blame_file": "file of the deciding rule",
    "stage": "how far the client came",
    "errno": "error that the client got from its kernel",
    "enhanced_code": "enhanced status code (RFC 3463)",
    "reply": "last reply of the server",
    "address": "address that was dialled",
    "control_outcome": "outcome of the same path without policies",
    "answered_by": "node that answered, where it is not the destination",
    "route": "nodes that the packets passed, with blanks between them",
}

_ATTEMPT: Mapping[str, Column] = {
    **{name: Column(name, BOOLEAN, text) for name, text in _TRUE.items()},
    **{name: Column(name, INTEGER, text) for name, text in _WHOLE.items()},
    **{name: Column(name, STRING, text) for name, text in _TEXT.items()},
    "outcome": Column("outcome", STRING, "what became of the attempt", values=tuple(Outcome), required=True),
    "mechanism": Column("mechanism", STRING, "what caused the outcome", values=tuple(Mechanism), required=True),
    "seconds": Column("seconds", NUMBER, "how long the attempt took", unit="s"),
}


def table_schema(columns: Iterable[Column], **more: Any) -> dict[str, Any]:
    """Columns as Frictionless Table Schema. ``more``: keys of the tables."""
    return {"fields": [_field(column) for column in columns], "missingValues": [""], **more}


def _field(column: Column) -> dict[str, Any]:
    constraints: dict[str, Any] = {}
    if column.required:
        constraints["required"] = True
    if column.values:
        constraints["enum"] = list(column.values)
    return {
        "name": column.name,
        "type": column.type,
        "description": column.description,
        **({"unit": column.unit} if column.unit else {}),
        **({"trueValues": ["true"], "falseValues": ["false"]} if column.type == BOOLEAN else {}),
        **({"constraints": constraints} if constraints else {}),
    }
