"""The result schema as a JSON file: each verdict in one flat object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from port25lab.model.verdict import Report, Verdict
from port25lab.report import files

SCHEMA_VERSION = 1


def write_json(report: Report, path: Path, more: Mapping[str, Any] | None = None) -> None:
    """Write a report in one step. A lone surrogate from a reply that was not UTF-8 is written as its JSON escape.

    ``more``: what a command has beside verdicts, by key.
    """
    data = {
        "schema_version": SCHEMA_VERSION,
        "tool": report.tool,
        "environment": report.environment,
        "verdicts": [flat(verdict) for verdict in report.verdicts],
        **(more or {}),
    }
    text = json.dumps(data, indent=2, ensure_ascii=False, default=str)
    files.write(path, (text + "\n").encode("utf-8", "backslashreplace"))


def flat(verdict: Verdict) -> dict[str, Any]:
    """A verdict as one object of the schema. The keys are a contract: keys are added, none is renamed or dropped."""
    question, path, judgement = verdict.question, verdict.question.path, verdict.judgement
    evidence = verdict.evidence.model_dump()
    return {
        "scenario": question.scenario,
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
        "ok": judgement.ok,
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
