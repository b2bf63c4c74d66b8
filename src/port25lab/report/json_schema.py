"""JSON Schema of results: what ``--json`` of ``run`` and ``check`` writes. Keys may be added to any object."""

from __future__ import annotations

from typing import Any

from port25lab.model.evidence import Evidence
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import AnyOf, Outcome, Should
from port25lab.report.json_file import SCHEMA_VERSION

_TEXT: dict[str, Any] = {"type": "string"}
_NUMBER: dict[str, Any] = {"type": "integer"}
_FLAG: dict[str, Any] = {"type": "boolean"}
_NAMES: dict[str, Any] = {"type": "array", "items": _TEXT}
_END: dict[str, Any] = {"type": "object", "properties": {"node": _TEXT, "interface": _TEXT}}


def _one_of(names: type[Any], *more: type[Any]) -> dict[str, Any]:
    return {"enum": [member.value for kind in (names, *more) for member in kind]}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema}


def _defined(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


_COUNTS = {"type": "object", "propertyNames": _one_of(Outcome), "additionalProperties": _NUMBER}

_EXPECTED = _one_of(Outcome, AnyOf)

_VERDICT = _object(
    dict.fromkeys(("scenario", "variant", "path", "from", "to", "client"), _TEXT)
    | dict.fromkeys(("name", "ref", "auth", "recipient", "sender", "packet", "spoof", "expected_by"), _or_null(_TEXT))
    | dict.fromkeys(("answered_by", "disagreement", "reason", "retried", "divergence", "pcap"), _or_null(_TEXT))
    | dict.fromkeys(("port", "size", "attempt", "repeat", "topology"), _NUMBER)
    | dict.fromkeys(("bad_auth", "matrix", "told"), _FLAG)
    | {
        "ip_version": {"enum": [4, 6, None]},
        "security": {"enum": ["none", "starttls", "implicit"]},
        "policies": {"type": "object", "additionalProperties": _NAMES},
        "outcome": _one_of(Outcome),
        "mechanism": _one_of(Mechanism),
        "expected": _or_null(_EXPECTED),
        "expected_how": _or_null(_one_of(Mechanism)),
        "expected_from": _or_null(_NUMBER),
        "ok": {**_or_null(_FLAG), "description": "null: nothing was expected, and what happened is known"},
        "blame": _or_null(_defined("Blame")),
        "observation": _defined("Observation"),
        "decisions": _list_of(_defined("Decision")),
        "diverted": _list_of(_defined("Decision")),
        "icmp": _list_of(_defined("IcmpError")),
        "hops": _list_of(_defined("Hop")),
        "arrival": _or_null(_defined("Arrival")),
        "ended": _or_null(_defined("Ended")),
        "should": _or_null(_one_of(Should)),
        "chance": {
            **_or_null(_object({"outcomes": _COUNTS, "rules": _list_of(_defined("Blame"))})),
            "description": "how many attempts had each outcome, where they differ since a rule decides by chance",
        },
        "control": _or_null(_object({"outcome": _one_of(Outcome), "through": _FLAG})),
        "packets": _list_of(_defined("PacketSeen")),
        "route": {**_NAMES, "description": "nodes from the client to the server, as routes lead, without rules"},
    }
)

_TOPOLOGY = _object(
    {
        "name": _TEXT,
        "file": _TEXT,
        "parameters": {"type": "object"},
        "nodes": _list_of(
            _object(
                {
                    "name": _TEXT,
                    "names": _NAMES,
                    "forward": _FLAG,
                    "interfaces": _list_of(_object({"name": _TEXT, "ip": _or_null(_TEXT), "ip6": _or_null(_TEXT)})),
                    "services": _NAMES,
                    "policies": _NAMES,
                }
            )
        ),
        "links": _list_of({**_list_of(_END), "minItems": 2, "maxItems": 2}),
    }
)


_INPUT = _object({"file": _TEXT, "sha256": {**_TEXT, "pattern": "^[0-9a-f]{64}$"}, "text": _or_null(_TEXT)})


def schema() -> dict[str, Any]:
    """The schema (JSON Schema 2020-12)."""
    definitions = Evidence.model_json_schema(mode="serialization")["$defs"]
    for definition in definitions.values():
        definition.pop("additionalProperties", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Results of port25lab",
        **_object(
            {
                "schema_version": {"const": SCHEMA_VERSION},
                "tool": _object({"name": {"const": "port25lab"}, "version": _TEXT}),
                "environment": {"type": "object"},
                "inputs": _list_of(_INPUT),
                "topologies": _list_of(_TOPOLOGY),
                "verdicts": _list_of(_VERDICT),
            }
        ),
        "$defs": definitions,
    }
