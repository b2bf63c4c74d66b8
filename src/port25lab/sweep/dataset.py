"""A sweep's results as a data set that others can load, cite and repeat: tables, and files that describe them.

datapackage.json          columns, types, units (Frictionless Table Schema)
ro-crate-metadata.json    what was run on which files with which result (RO-Crate, Process Run Crate)
environment.json          machines, kernels, versions, seed
inputs/                   the files that the labs read: policies, topologies, and the sweep's own
CITATION.cff, README.md, SHA256SUMS
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from port25lab.errors import OutputError
from port25lab.report.sweep_readme import citation, readme
from port25lab.sweep import columns, tables
from port25lab.sweep.jobs import Jobs
from port25lab.sweep.spec import Spec
from port25lab.sweep.store import INPUTS, SPEC, Store, write

DATASET = "dataset"
"""The folder of the data set in that of the sweep."""

PACKAGE, CRATE, SUMS = "datapackage.json", "ro-crate-metadata.json", "SHA256SUMS"

_TABLES = {
    tables.RESULTS: "a row for each attempt: one path over one IP version with one client in one job",
    tables.JOBS: "a row for each job: parameters, and whether it has a result",
}

_FORMATS = {
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".yaml": "application/yaml",
    ".py": "text/x-python",
}

NO_LICENCE = "No licence is stated: ask the authors."


@dataclass(frozen=True)
class DataSet:
    """A data set that was written."""

    folder: Path
    contents: tables.Contents


def write_dataset(store: Store, *, parquet: bool = False) -> DataSet:
    """Write the data set of a sweep. Raises InputError for a damaged result, and OutputError.

    ``parquet``: also results.parquet, which needs pyarrow.
    """
    folder, spec, about = store.folder / DATASET, store.spec(), store.about()
    jobs = Jobs(spec)
    contents = tables.write_tables(store, jobs, folder)
    tables.write_verdicts(store, jobs, folder)
    if parquet:
        tables.write_parquet(folder, spec)
    else:
        (folder / tables.PARQUET).unlink(missing_ok=True)  # it would be that of older results
    _copy_inputs(store, folder)
    environment = {
        "tool": about["tool"],
        "git": about["git"],
        "seed": spec.seed,
        "origins": {name: _origin(store, name) for name in contents.origins},
    }
    write(folder / "environment.json", _pretty(environment))
    write(folder / "CITATION.cff", citation(spec.content, about).encode())
    described = [(one.name, one.type, one.description) for one in columns.of_parameters(spec)]
    text = readme(spec.content, about, contents, described)
    write(folder / "README.md", text.encode())
    write(folder / PACKAGE, _pretty(_package(spec, about, contents)))
    write(folder / CRATE, _pretty(_crate(spec, about, folder)))
    sums = [f"{_sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in _files(folder)]
    write(folder / SUMS, "".join(sums).encode())
    return DataSet(folder, contents)


def changed_files(folder: Path) -> list[str]:
    """The files of a data set that are not what SHA256SUMS says, or are missing. Raises OutputError."""
    found = []
    for line in (folder / SUMS).read_text(encoding="utf-8").splitlines():
        sha256, _, name = line.partition("  ")
        file = folder / name
        if not file.is_file() or _sha256(file) != sha256:
            found.append(name)
    return found


def _copy_inputs(store: Store, folder: Path) -> None:
    """The input files and the sweep's own file, as they were when the sweep began."""
    target = folder / INPUTS
    try:
        if target.exists():
            shutil.rmtree(target)
        if (store.folder / INPUTS).exists():
            shutil.copytree(store.folder / INPUTS, target)
        target.mkdir(exist_ok=True)
        shutil.copyfile(store.folder / SPEC, target / SPEC)
    except OSError as error:
        raise OutputError(target, error) from error


def _origin(store: Store, name: str) -> Any:
    return json.loads((store.folder / "origins" / f"{name}.json").read_bytes())


def _package(spec: Spec, about: Mapping[str, Any], contents: tables.Contents) -> dict[str, Any]:
    schemas = {
        tables.RESULTS: columns.table_schema(
            columns.of_results(spec),
            foreignKeys=[{"fields": "job", "reference": {"resource": "jobs", "fields": "job"}}],
        ),
        tables.JOBS: columns.table_schema(columns.of_jobs(spec), primaryKey="job"),
    }
    return {
        "profile": "tabular-data-package",
        "name": f"port25lab-sweep-{about['digest'][:12]}",
        "title": spec.content.title,
        **({"description": spec.content.description} if spec.content.description else {}),
        "created": about["started"],
        **({"licenses": [{"name": spec.content.license}]} if spec.content.license else {}),
        "contributors": [{"title": name, "role": "author"} for name in spec.content.authors],
        "sources": [{"title": f"port25lab {about['tool']['version']}, sweep {about['digest']}, seed {spec.seed}"}],
        "port25lab": {
            "sweep": about["digest"],
            "results": contents.digest,
            "seed": spec.seed,
            "figures": [figure.model_dump(mode="json", by_alias=True) for figure in spec.content.figures],
        },
        "resources": [
            {
                "profile": "tabular-data-resource",
                "name": Path(name).stem,
                "path": name,
                "description": text,
                "format": "csv",
                "mediatype": "text/csv",
                "encoding": "utf-8",
                "schema": schemas[name],
            }
            for name, text in _TABLES.items()
        ],
    }


def _crate(spec: Spec, about: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """RO-Crate 1.1 with the profile Process Run Crate."""
    files = [file for file in _files(folder) if file.name != CRATE]
    names = {file: file.relative_to(folder).as_posix() for file in files}
    read = [{"@id": name} for name in names.values() if name.startswith(f"{INPUTS}/")]
    made = [{"@id": name} for name in names.values() if not name.startswith(f"{INPUTS}/")]
    people = [{"@id": f"#author-{number}", "@type": "Person", "name": name} for number, name in _numbered(spec)]
    git = about["git"] or {}
    return {
        "@context": "https://w3id.org/ro/crate/1.1/context",
        "@graph": [
            {
                "@id": CRATE,
                "@type": "CreativeWork",
                "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
                "about": {"@id": "./"},
            },
            {
                "@id": "./",
                "@type": "Dataset",
                "name": spec.content.title,
                "description": spec.content.description or spec.content.title,
                "datePublished": about["started"][:10],
                "license": spec.content.license or NO_LICENCE,
                "author": [{"@id": one["@id"]} for one in people],
                "conformsTo": {"@id": "https://w3id.org/ro/wfrun/process/0.5"},
                "hasPart": [*read, *made],
                "mentions": {"@id": "#sweep"},
            },
            {
                "@id": "https://w3id.org/ro/wfrun/process/0.5",
                "@type": "CreativeWork",
                "name": "Process Run Crate",
                "version": "0.5",
            },
            {
                "@id": "#port25lab",
                "@type": "SoftwareApplication",
                "name": "port25lab",
                "softwareVersion": about["tool"]["version"],
                **({"identifier": git["commit"]} if git else {}),
            },
            {
                "@id": "#sweep",
                "@type": "CreateAction",
                "name": f"port25lab sweep: {spec.content.title}",
                "description": f"seed {spec.seed}, {about['jobs']} jobs",
                "startTime": about["started"],
                "instrument": {"@id": "#port25lab"},
                "object": read,
                "result": made,
                "agent": [{"@id": one["@id"]} for one in people],
            },
            *people,
            *(_file_entity(file, name) for file, name in names.items()),
        ],
    }


def _numbered(spec: Spec) -> Iterator[tuple[int, str]]:
    return iter(enumerate(spec.content.authors, 1))


def _file_entity(file: Path, name: str) -> dict[str, Any]:
    kind = _FORMATS.get(file.suffix)
    return {
        "@id": name,
        "@type": "File",
        "name": name,
        "contentSize": str(file.stat().st_size),
        "sha256": _sha256(file),
        **({"encodingFormat": kind} if kind else {}),
    }


def _files(folder: Path) -> list[Path]:
    """All files of a data set but the list of their digests, and figures, which are made from them."""
    found = (file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    return sorted(file for file in found if file.name != SUMS and "figures" not in file.relative_to(folder).parts)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _pretty(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n").encode("utf-8", "backslashreplace")
