"""Whether a sweep's results are what they were, and whether a second run finds the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from port25lab.report.csv_file import COLUMNS
from port25lab.sweep import dataset, tables
from port25lab.sweep.jobs import Jobs, SweepJob
from port25lab.sweep.parameters import chance
from port25lab.sweep.store import Store
from port25lab.sweep.work import STABLE, JobError, Work, stable_digest


@dataclass
class Verified:
    """What was found."""

    results: int = 0
    """Results whose digest is right."""
    repeated: int = 0
    """Jobs that were run again, and found the same."""
    problems: list[str] = field(default_factory=list)
    """Everything that is not as it was, one line each."""


def verify(store: Store, sample: int, progress: Callable[[str], object]) -> Verified:
    """Check every digest, and run a sample of jobs again with the same seed.

    ``sample``: how many jobs. ``progress``: is told which job is run. Raises InputError for a result that is no JSON,
    and MachineError where this machine can run no lab.
    """
    found, done = Verified(), []
    spec = store.spec()
    for head in tables.heads(store, Jobs(spec)):
        if head.result is None:
            continue
        if head.result["job"] != head.job.id or stable_digest(head.result["rows"]) != head.result["digest"]:
            found.problems.append(f"{store.result(head.job.id)}: not what was written")
            continue
        found.results += 1
        done.append((chance("verify", head.job.id), head.job))
        if len(done) > 2 * sample + 1000:
            done = sorted(done, key=lambda one: one[0])[:sample]
    folder = store.folder / dataset.DATASET
    if (folder / dataset.SUMS).exists():
        found.problems += [f"{folder / name}: not what SHA256SUMS says" for name in dataset.changed_files(folder)]
    chosen = [job for _, job in sorted(done, key=lambda one: one[0])[:sample]]
    if chosen:
        with Work(spec) as work:
            for job in chosen:
                progress(job.id)
                _repeat(store, work, job, found)
    return found


def _repeat(store: Store, work: Work, job: SweepJob, found: Verified) -> None:
    try:
        again = work.run(job).head
    except JobError as error:
        found.problems.append(f"job {job.id}: {error.reason}")
        return
    [before] = tables.heads(store, [job])
    if before.result is not None and again["digest"] == before.result["digest"]:
        found.repeated += 1
        return
    rows = before.result["rows"] if before.result else []
    differences = [
        f"{column} was {old[COLUMNS.index(column)]}, is {new[COLUMNS.index(column)]}"
        for old, new in zip(rows, again["rows"], strict=False)
        for column in STABLE
        if old[COLUMNS.index(column)] != new[COLUMNS.index(column)]
    ]
    more = f"; and {len(differences) - 1} more" if len(differences) > 1 else ""
    what = differences[0] if differences else f"{len(rows)} attempts were {len(again['rows'])}"
    found.problems.append(f"job {job.id}: {what}{more}")
