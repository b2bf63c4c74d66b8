"""The schema of results, held against what is written."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from evidence_factory import FULL, report, verdict
from port25lab.model.outcome import Outcome
from port25lab.report.json_file import document
from port25lab.report.json_schema import schema


def written(*verdicts: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(document(report(*verdicts)), default=str))
    return data


def test_what_is_written_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(written(FULL, verdict(), verdict(Outcome.ERROR, expected=None, ip_version=None)), schema())


@pytest.mark.parametrize("key", ["outcome", "blame", "observation", "route", "ok"])
def test_a_verdict_without_a_key_is_not(key: str) -> None:
    data = written(FULL)
    del data["verdicts"][0][key]
    with pytest.raises(jsonschema.ValidationError, match=key):
        jsonschema.validate(data, schema())


def test_an_unknown_outcome_is_not() -> None:
    data = written(FULL)
    data["verdicts"][0]["outcome"] = "maybe"
    with pytest.raises(jsonschema.ValidationError, match="maybe"):
        jsonschema.validate(data, schema())
