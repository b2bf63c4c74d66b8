"""A probe as data: what was seen, what follows from it, and what is said of it. ``--json`` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from port25lab.machine.versions import own_version
from port25lab.probe.case import Diagnosis
from port25lab.probe.classify import classify, diagnose
from port25lab.probe.client_view import ClientView
from port25lab.probe.counted import blocked, counted
from port25lab.probe.statement import Statement, statements
from port25lab.probe.ways_out import WayOut, ways_out

SMTP_PORT = 25


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Probed(_Model):
    """One probe of one host."""

    probed: str
    """When, in UTC (RFC 3339)."""
    working: bool
    """Whether port 25 works; without 25 among the ports, whether every one does."""
    view: ClientView
    findings: tuple[Diagnosis, ...]
    says: tuple[Statement, ...]
    ways_out: tuple[WayOut, ...]


class Tool(_Model):
    """What made the file."""

    name: str = "port25lab"
    version: str


class OneProbe(Probed):
    """The file for one host that was probed once."""

    schema_version: Literal[1] = 1
    tool: Tool


class ManyProbes(_Model):
    """The file for several hosts, or for one that was probed repeatedly."""

    schema_version: Literal[1] = 1
    tool: Tool
    probes: tuple[Probed, ...]


def probed(view: ClientView, when: str) -> Probed:
    """What follows from a view. ``when``: the time of the probe."""
    nameless = classify(view, SMTP_PORT, 4) if view.unresolved is not None else None
    diagnoses = diagnose(view) if nameless is None else [nameless]
    return Probed(
        probed=when,
        working=view.unresolved is None and not any(map(blocked, counted(view, diagnoses))),
        view=view,
        findings=tuple(diagnoses),
        says=tuple(statements(view, diagnoses, when)),
        ways_out=tuple(ways_out(view, diagnoses)),
    )


def document(probes: Sequence[Probed], *, many: bool) -> OneProbe | ManyProbes:
    """The file. ``many``: whether several hosts, or several times, were asked for."""
    tool = Tool(version=own_version())
    if many:
        return ManyProbes(tool=tool, probes=tuple(probes))
    (only,) = probes
    return OneProbe(tool=tool, **{name: getattr(only, name) for name in Probed.model_fields})


def schema() -> dict[str, Any]:
    """JSON Schema of the file."""
    found = TypeAdapter(OneProbe | ManyProbes).json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "port25lab probe", **found}
