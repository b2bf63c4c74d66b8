"""One job, run in a lab: its parameters in, its result out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any, Self

from port25lab.engine import provenance
from port25lab.engine.engine import Engine
from port25lab.engine.progress import Quiet
from port25lab.errors import InputError, LabError
from port25lab.machine.versions import describe_environment, own_version
from port25lab.model.verdict import Report, Verdict
from port25lab.report.csv_file import COLUMNS, cells
from port25lab.report.json_file import document
from port25lab.sweep.jobs import SweepJob, digest
from port25lab.sweep.shape import questions
from port25lab.sweep.spec import Spec

STABLE = (
    "from", "to", "port", "ip_version", "security", "auth", "client", "packet", "attempt", "outcome", "mechanism",
    "told", "blame_node", "blame_family", "blame_table", "blame_chain", "blame_rule_number", "stage", "smtp_code",
    "enhanced_code",
)  # fmt: skip
"""Columns that a second run of the same job has again. The others may differ: times, ports, and what follows them."""

_PLACES = [COLUMNS.index(column) for column in STABLE]


class JobError(Exception):
    """A job has no result. ``again``: whether a second try may have one."""

    def __init__(self, reason: str, *, again: bool) -> None:
        self.reason, self.again = reason, again
        super().__init__(reason)


@dataclass(frozen=True)
class Result:
    """What a job found."""

    head: dict[str, Any]
    """The seconds that it took, the digest of what a second run finds again, and its rows of the table."""
    verdicts: list[dict[str, Any]]
    """As the JSON of `run` has them."""
    origin: dict[str, Any]
    """The machine and the files that it was made with."""


class Work:
    """Runs jobs of one sweep, one after another. A context manager: leaving it ends its labs."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._engine = Engine(Quiet(), jobs=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all labs."""
        self._engine.close()

    def run(self, job: SweepJob) -> Result:
        """Run a job. Raises JobError, and MachineError where this machine can run no lab."""
        began = perf_counter()
        try:
            asked = questions(self._spec, job)
            verdicts = self._engine.verdicts(asked) if asked else []
        except InputError as error:
            raise JobError(str(error), again=False) from None
        except LabError as error:
            raise JobError(str(error), again=True) from None
        self._engine.forget_other_answers(question.config for question in asked[:1])
        for verdict in verdicts:
            if not verdict.told:
                raise JobError(f"{verdict.id}: {verdict.judgement.reason}", again=True)
        inputs = provenance.inputs(asked)
        report = Report({"name": "port25lab", "version": own_version()}, self._environment, verdicts, inputs)
        flat = document(report)["verdicts"]
        rows = [_row(verdict, row) for verdict, row in zip(verdicts, flat, strict=True)]
        seconds = round(perf_counter() - began, 3)
        head = {"seconds": seconds, "digest": stable_digest(rows), "rows": rows}
        files = {one.name: one.sha256 for one in inputs}
        return Result(head, flat, {"tool": report.tool, "environment": self._environment, "inputs": files})

    @cached_property
    def _environment(self) -> dict[str, Any]:
        # Data that is published names no machine, and equal machines have the same origin.
        return {name: value for name, value in describe_environment().items() if name != "host"}


def _row(verdict: Verdict, flat: Mapping[str, Any]) -> list[Any]:
    """The cells of a verdict, in the order of ``COLUMNS``; None: an empty one."""
    found = cells(dict(flat), verdict.question.config.topology.stem, told=verdict.told)
    return [found.get(column) for column in COLUMNS]


def stable_digest(rows: Sequence[Sequence[Any]]) -> str:
    """The digest of what a second run has again."""
    return digest(sorted([str(row[place]) for place in _PLACES] for row in rows))
