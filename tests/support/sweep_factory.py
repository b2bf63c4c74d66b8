"""A sweep's folder with results that were made without labs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from port25lab.report.csv_file import COLUMNS
from port25lab.sweep.jobs import Jobs
from port25lab.sweep.store import Store, begin, open_store
from port25lab.sweep.work import stable_digest

SPEC = """\
title: "Worlds: a title with a colon"
authors: [A Researcher]
license: CC-BY-4.0
seed: 7
parameters:
  share: {from: 0, to: 1, step: 0.5}
  policy: [none, [op25b, op25b-in]]
  strict: [false, true]
topology: {name: hotel, guests: 2}
policies: [{nodes: hotel-gw, policy: $policy, share: $share}]
paths: [{from: guest-1, to: "mx:example.net", hold: $strict}]
figures:
  - {name: arrived, title: Arrived, x: share, lines: policy, y: {measure: count}}
  - {name: part, title: Part, x: share, y: {measure: share, where: {ip_version: 4}}}
  - {name: sources, title: Sources, x: share, y: {measure: distinct, of: from}}
"""


def row(**cells: Any) -> list[Any]:
    """A row of the table: a delivered attempt, but for these cells."""
    usual = {
        "path": "sweep/sweep/p/ipv4", "from": "guest-1", "to": "mx:example.net", "port": 25, "ip_version": 4,
        "outcome": "delivered", "mechanism": "none", "ok": "", "told": "true", "seconds": 0.25,
    }  # fmt: skip
    return [(usual | cells).get(column) for column in COLUMNS]


def made(folder: Path, text: str = SPEC) -> Store:
    """The folder of a sweep whose last job has no result and whose last but one was set aside.

    In each other job two guests send over both IP versions; over IPv4, all is dropped where ``share`` is 1.
    """
    file = folder / "sweep-of-a-test.yaml"
    file.write_text(text)
    store, spec = open_store(folder / "out", file, parts=False)
    jobs = Jobs(spec)
    begin(store, spec, jobs, [])
    for job in list(jobs)[:-2]:
        rows = [
            row(
                **{"from": source, "ip_version": version, "reply": 'a "quoted", reply'},
                outcome="dropped" if version == 4 and job.parameters["share"] == 1 else "delivered",
            )
            for source in ("guest-1", "guest-2")
            for version in (4, 6)
        ]
        head = {"seconds": 0.5, "digest": stable_digest(rows), "rows": rows}
        store.keep(
            job, head, [{"path": f"p{number}"} for number in range(len(rows))], {"environment": {}, "inputs": {}}
        )
    store.set_aside(jobs.job(jobs.count - 2), "the worker\nended", 2)
    return store
