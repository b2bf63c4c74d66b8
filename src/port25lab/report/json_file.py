"""The result schema as a JSON file: each verdict in one flat object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from port25lab.model.verdict import Report, Verdict
from port25lab.report import files
from port25lab.report.topology_data import Topologies

SCHEMA_VERSION = 1


def write_json(report: Report, path: Path, more: Mapping[str, Any] | None = None) -> None:
    """Write a report in one step. A lone surrogate from a reply that was not UTF-8 is written as its JSON escape.

    ``more``: what a command has beside verdicts, by key.
    """
    data = document(report) | dict(more or {})
    text = json.dumps(data, indent=2, ensure_ascii=False, default=str)
    files.write(path, (text + "\n").encode("utf-8", "backslashreplace"))


def document(report: Report) -> dict[str, Any]:
    """A report as the schema has it."""
    names = {one.path: one.name for one in report.inputs}
    digests = {one.name: one.sha256 for one in report.inputs}
    topologies = Topologies(report.verdicts)
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": report.tool,
        "environment": report.environment,
        "inputs": [{"file": one.name, "sha256": one.sha256, "text": one.text} for one in report.inputs],
        "topologies": topologies.as_data(names),
        "verdicts": [
            with_digest(flat(verdict, names), digests) | topologies.of(verdict) for verdict in report.verdicts
        ],
    }


def with_digest(flattened: dict[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """The same verdict with the digest of the file that decided."""
    blame = flattened["blame"]
    return flattened if blame is None else flattened | {"blame": blame | {"sha256": digests.get(blame["file"])}}


def flat(verdict: Verdict, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A verdict as one object of the schema. The keys are a contract: keys are added, none is renamed or dropped.

    ``names``: what files are called in results, by absolute path.
    """
    flattened = _flat(verdict)
    return _renamed(flattened, names) if names else flattened


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """The same data with other names of files: those of rules."""
    if isinstance(value, dict):
        return {
            key: names.get(str(Path(item).absolute()), item) if key == "file" and item else _renamed(item, names)
            for key, item in value.items()
        }
    return [_renamed(item, names) for item in value] if isinstance(value, list | tuple) else value


def ok_of(verdict: Verdict) -> bool | None:
    """Whether the path is as expected; None: nothing was expected of it, and port25lab could tell what it does."""
    return None if verdict.question.expected is None and verdict.told else verdict.ok


def _flat(verdict: Verdict) -> dict[str, Any]:
    question, path, judgement = verdict.question, verdict.question.path, verdict.judgement
    evidence = verdict.evidence.model_dump()
    return {
        "scenario": question.stable_scenario,
        "variant": question.variant,
        "path": question.id,
        "name": question.name,
        "ref": question.ref,
        "from": path.source,
        "to": path.to,
        "port": path.port,
        "ip_version": path.ip_version,
        "security": path.security,
        "auth": path.auth.user if path.auth else None,
        "bad_auth": question.bad_auth,
        "client": path.client,
        "recipient": path.recipient,
        "sender": path.sender,
        "size": path.size,
        "packet": path.packet,
        "spoof": path.spoof,
        "policies": question.config.policy_names,
        "outcome": judgement.outcome,
        "mechanism": judgement.mechanism,
        "expected": question.expected,
        "expected_by": question.by,
        "expected_how": question.how,
        "expected_from": question.expected_from,
        "attempt": path.attempt,
        "repeat": question.repeat,
        "chance": verdict.chance and verdict.chance.model_dump(),
        "ok": ok_of(verdict),
        "told": verdict.told,
        "blame": judgement.blame and judgement.blame.model_dump(),
        "observation": evidence["observation"],
        "decisions": evidence["decisions"],
        "diverted": evidence["diverted"],
        "icmp": evidence["icmp"],
        "answered_by": evidence["answered_by"],
        "hops": evidence["hops"],
        "arrival": evidence["arrival"],
        "ended": evidence["ended"],
        "should": question.should,
        "matrix": question.matrix,
        "control": judgement.control and judgement.control.model_dump(),
        "disagreement": judgement.disagreement,
        "reason": judgement.reason,
        "retried": evidence["retried"],
        "packets": evidence["packets"],
        "divergence": evidence["divergence"],
        "pcap": verdict.pcap,
    }
