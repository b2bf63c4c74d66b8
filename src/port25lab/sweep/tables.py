"""The tables of a sweep, made from its results in the order of its jobs, in a memory that does not grow with them.

results.csv        a row for each attempt
jobs.csv           a row for each job
results.jsonl.gz   a line for each attempt: all evidence, as in the JSON of `run`
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from port25lab.errors import InputError, OutputError
from port25lab.report.text import visible
from port25lab.sweep import columns
from port25lab.sweep.jobs import Jobs, SweepJob
from port25lab.sweep.spec import Spec
from port25lab.sweep.store import Store, write_by

RESULTS, JOBS, VERDICTS, PARQUET = "results.csv", "jobs.csv", "results.jsonl.gz", "results.parquet"

LEVEL = 1
"""Of gzip: evidence repeats itself so much that higher levels take time and save little."""


@dataclass(frozen=True)
class Contents:
    """What the tables of a sweep have."""

    jobs: int
    done: int
    set_aside: int
    attempts: int
    digest: str
    """SHA-256 of the ids and digests of all results: equal where two sweeps found the same."""
    origins: tuple[str, ...]
    """Of the results."""


@dataclass(frozen=True)
class Head:
    """A job's result without its verdicts."""

    job: SweepJob
    result: dict[str, Any] | None
    """None: the job has none."""


def heads(store: Store, jobs: Iterable[SweepJob]) -> Iterator[Head]:
    """The first lines of all results, in the order of the jobs. Raises InputError where one cannot be read."""
    for job in jobs:
        file = store.result(job.id)
        try:
            with file.open("rb") as opened:
                yield Head(job, json.loads(opened.readline()))
        except FileNotFoundError:
            yield Head(job, None)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot be read: {error}", allowed="the result of a job", file=file) from None


def write_tables(store: Store, jobs: Jobs, folder: Path) -> Contents:
    """Write results.csv and jobs.csv into a folder. Raises InputError for a damaged result, and OutputError."""
    spec = store.spec()
    found: list[Contents] = []

    def fill(results: IO[bytes]) -> None:
        write_by(folder / JOBS, lambda table: found.append(_fill(store, jobs, results, table, spec)))

    write_by(folder / RESULTS, fill)
    return found[0]


def _fill(store: Store, jobs: Jobs, results: IO[bytes], table: IO[bytes], spec: Spec) -> Contents:
    of_attempts, of_jobs = _writer(results), _writer(table)
    of_attempts.writerow([column.name for column in columns.of_results(spec)])
    of_jobs.writerow([column.name for column in columns.of_jobs(spec)])
    total = hashlib.sha256()
    done = set_aside = attempts = 0
    origins: dict[str, None] = {}
    for head in heads(store, jobs):
        cells, result = columns.cells_of(head.job), head.result
        if result is None:
            reason = _reason(store, head.job)
            set_aside += reason is not None
            state = columns.MISSING if reason is None else columns.SET_ASIDE
            of_jobs.writerow([*cells, state, None, None, None, None, reason])
            continue
        rows = result["rows"]
        of_attempts.writerows([*cells, *row] for row in rows)
        kept = [len(rows), result["seconds"], result["digest"], result["origin"], None]
        of_jobs.writerow([*cells, columns.DONE, *kept])
        total.update(f"{head.job.id} {result['digest']}\n".encode())
        origins[result["origin"]] = None
        done, attempts = done + 1, attempts + len(rows)
    for writer in (of_attempts, of_jobs):
        writer.flush()
    return Contents(jobs.count, done, set_aside, attempts, total.hexdigest(), tuple(sorted(origins)))


class _writer:  # noqa: N801
    """Rows of CSV (RFC 4180) into a binary file. A lone surrogate is written as its escape."""

    def __init__(self, file: IO[bytes]) -> None:
        self._text = io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="", write_through=False)
        rows = csv.writer(self._text, lineterminator="\r\n")
        self.writerow, self.writerows = rows.writerow, rows.writerows

    def flush(self) -> None:
        """Leave the file open for its owner."""
        self._text.flush()
        self._text.detach()


def _reason(store: Store, job: SweepJob) -> str | None:
    try:
        return visible(str(json.loads(store.failure(job.id).read_bytes())["reason"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot be read: {error}", file=store.failure(job.id)) from None


def write_verdicts(store: Store, jobs: Jobs, folder: Path) -> None:
    """Write results.jsonl.gz, byte for byte the same for the same results. Raises OutputError."""

    def fill(opened: IO[bytes]) -> None:
        with gzip.GzipFile("", "wb", LEVEL, opened, mtime=0) as packed:
            for job in jobs:
                file = store.result(job.id)
                if file.exists():
                    with file.open("rb") as result:
                        result.readline()
                        packed.writelines(result)

    write_by(folder / VERDICTS, fill)


def write_parquet(folder: Path, spec: Spec) -> None:
    """Write results.parquet from results.csv. Raises InputError where pyarrow is not installed, and OutputError."""
    try:
        import pyarrow as arrow
        from pyarrow import csv as arrow_csv
        from pyarrow import parquet
    except ImportError:
        allowed = "pip install 'port25lab[parquet]'"
        raise InputError("Parquet needs pyarrow, which is not installed", allowed=allowed) from None
    kinds = {
        columns.INTEGER: arrow.int64(),
        columns.NUMBER: arrow.float64(),
        columns.BOOLEAN: arrow.bool_(),
        columns.STRING: arrow.string(),
    }
    types = {column.name: kinds[column.type] for column in columns.of_results(spec)}
    options = arrow_csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
    try:
        with arrow_csv.open_csv(folder / RESULTS, convert_options=options) as batches:

            def fill(opened: IO[bytes]) -> None:
                with parquet.ParquetWriter(opened, batches.schema) as writer:
                    for batch in batches:
                        writer.write_batch(batch)

            write_by(folder / PARQUET, fill)
    except arrow.ArrowException as error:
        raise OutputError(folder / PARQUET, OSError(str(error))) from error
