"""The folder of a sweep.

Each file is written whole (beside, fsync, rename): a kill or a full disk at any moment leaves no half of one, and a
result that is there is a job that is done.

    sweep.json            what the sweep is: its file, its seed, its digest
    sweep.yaml            the file itself
    jobs.jsonl            all jobs: number, id, parameters
    results/ab/ID.jsonl   of each job that is done (ab: the first digits of its id): one line with its parameters and
                          rows of the table, then a line for each verdict
    failed/ID.json        of each job that was set aside: why
    inputs/               the files that the labs read, as they were when the sweep began
    origins/DIGEST.json   the machine and the files that a result was made with, each combination once
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from port25lab.errors import InputError, OutputError
from port25lab.machine.versions import git_state, own_version
from port25lab.model.verdict import InputFile
from port25lab.sweep.jobs import Jobs, SweepJob, canonical, digest
from port25lab.sweep.spec import Spec, read_spec

FORMAT = 1
"""The format of the folder."""

ABOUT, SPEC, JOBS, INPUTS = "sweep.json", "sweep.yaml", "jobs.jsonl", "inputs"


@dataclass(frozen=True)
class Store:
    """The folder of a sweep."""

    folder: Path

    def result(self, job: str) -> Path:
        """The file of a job that is done."""
        return self.folder / "results" / job[:2] / f"{job}.jsonl"

    def failure(self, job: str) -> Path:
        """The file of a job that was set aside."""
        return self.folder / "failed" / f"{job}.json"

    def about(self) -> dict[str, Any]:
        """What the sweep is. Raises InputError where the folder has none, or one of another format."""
        file = self.folder / ABOUT
        try:
            about = json.loads(file.read_bytes())
        except FileNotFoundError:
            raise InputError("no sweep in this folder", allowed="what --out named", file=self.folder) from None
        except (OSError, ValueError) as error:
            raise InputError(f"cannot be read: {error}", allowed="the file of a sweep", file=file) from None
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise InputError("the folder has another format", allowed=f"format {FORMAT}", file=file)
        return about

    def spec(self) -> Spec:
        """The sweep's file as it was when the sweep began, with its seed. Raises InputError."""
        about = self.about()
        with suppress(InputError):  # the first file, because paths in it are relative to it
            spec = read_spec(Path(about["file"]), about["seed"])
            if identity(spec) == about["digest"]:
                return spec
        return read_spec(self.folder / SPEC, about["seed"])

    def keep(self, job: SweepJob, result: Mapping[str, Any], verdicts: list[Any], origin: dict[str, Any]) -> None:
        """Write the result of a job. Raises OutputError; the file of an earlier failure is then still there."""
        name = digest(origin)
        if not (made := self.folder / "origins" / f"{name}.json").exists():
            write(made, as_json(origin))
        head = {"job": job.id, "parameters": dict(job.parameters), "origin": name, **result}
        lines = [head, *({"job": job.id, **one} for one in verdicts)]
        write(self.result(job.id), b"".join(map(as_json, lines)))
        self.failure(job.id).unlink(missing_ok=True)

    def begun(self, key: str) -> Path:
        """The mark of a try that a worker of a cluster has begun. It goes when the try's end is known."""
        return self.folder / "begun" / key

    def set_aside(self, job: SweepJob, reason: str, tries: int) -> None:
        """Write why a job is not done. Raises OutputError."""
        failed = {"job": job.id, "parameters": dict(job.parameters), "reason": reason, "tries": tries}
        write(self.failure(job.id), as_json(failed))

    def failures(self) -> list[Path]:
        """The files of all jobs that were set aside, sorted."""
        return sorted((self.folder / "failed").glob("*.json"))


def as_json(value: Any) -> bytes:
    """JSON in one line. A lone surrogate from a reply that was not UTF-8 is written as its escape."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return (text + "\n").encode("utf-8", "backslashreplace")


def write(file: Path, content: bytes, *, only_new: bool = False) -> bool:
    """Write a file in one step, and make its folder. Raises OutputError.

    ``only_new``: leave a file that is there already. Returns whether this content was written.
    """
    return write_lines(file, iter([content]), only_new=only_new)


def write_lines(file: Path, lines: Iterator[bytes], *, only_new: bool = False) -> bool:
    """The same for content that comes in parts."""

    def fill(opened: IO[bytes]) -> None:
        opened.writelines(lines)

    return write_by(file, fill, only_new=only_new)


def write_by(file: Path, fill: Callable[[IO[bytes]], object], *, only_new: bool = False) -> bool:
    """The same for content that a function writes into an open file."""
    beside = file.with_name(f".port25lab-{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("xb") as opened:
                fill(opened)
                opened.flush()
                os.fsync(opened.fileno())
            if only_new:
                try:
                    os.link(beside, file)
                except FileExistsError:
                    return False
            else:
                beside.replace(file)
        finally:
            beside.unlink(missing_ok=True)
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name is on the disk as well
        finally:
            os.close(folder)
    except OSError as error:
        raise OutputError(file, error) from error
    return True


def identity(spec: Spec, *, with_seed: bool = True) -> str:
    """The digest of all that decides what a sweep does: not its title, nor how its file is laid out."""
    data = {key: spec.document.data.get(key) for key in ("parameters", "combine", "replicates")}
    seed = spec.seed if with_seed else None
    return digest(json.loads(canonical({**data, **spec.content.shape, "seed": seed})))


def open_store(folder: Path, file: Path, *, parts: bool) -> tuple[Store, Spec]:
    """The folder of the sweep that a file describes, made where there is none.

    ``parts``: whether this command runs only a part, so that a seed that is made here would differ from the others'.
    Raises InputError: the file is wrong, or the folder is not that of this sweep. Raises OutputError.
    """
    store = Store(folder)
    if not (folder / ABOUT).exists():
        if folder.exists() and (not folder.is_dir() or any(one for one in folder.iterdir() if one.name[0] != ".")):
            raise InputError("not empty, and no folder of a sweep", allowed="a new folder", file=folder)
        spec = read_spec(file)
        if parts and spec.seed_made:
            what = "no seed, and --shard runs parts of this sweep apart"
            raise InputError(what, allowed="seed: a whole number, in the file", file=spec.file)
        return store, spec
    about = store.about()
    spec = read_spec(file, about["seed"])
    if identity(spec) != about["digest"]:
        what = f"the folder of another sweep, {about['title']!r}"
        raise InputError(what, allowed="a new folder for this one, or the file as it was", file=folder)
    return store, spec


def begin(store: Store, spec: Spec, jobs: Jobs, inputs: Iterable[InputFile]) -> None:
    """Write what the sweep is and its jobs, unless they are there. Raises OutputError.

    ``inputs``: the files that the jobs read. Raises InputError where they, or port25lab, are not what they were when
    the sweep began.
    """
    files = list(inputs)
    if not (store.folder / ABOUT).exists():
        for one in files:
            write(store.folder / INPUTS / one.name.lstrip("/"), Path(one.path).read_bytes(), only_new=True)
    write(store.folder / SPEC, spec.file.read_bytes(), only_new=True)
    if not (store.folder / JOBS).exists():
        lines = (as_json({"number": job.number, "job": job.id, "parameters": job.parameters}) for job in jobs)
        write_lines(store.folder / JOBS, lines, only_new=True)
    about = {
        "format": FORMAT,
        "title": spec.content.title,
        "description": spec.content.description,
        "digest": identity(spec),
        "seed": spec.seed,
        "seed_made": spec.seed_made,
        "jobs": jobs.count,
        "file": str(spec.file.absolute()),
        "tool": {"name": "port25lab", "version": own_version()},
        "inputs": {one.name: one.sha256 for one in files},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": git_state(Path.cwd()),
    }
    # Last, because a folder with this file is complete.
    write(store.folder / ABOUT, (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode(), only_new=True)
    _require_same(store, about)


def _require_same(store: Store, now: Mapping[str, Any]) -> None:
    """Raise InputError where a sweep would go on with other files, or another version, than it began with."""
    begun, again = store.about(), "a new folder, so that no results are mixed"
    if begun["digest"] != now["digest"]:
        raise InputError("the folder of another sweep", allowed="a new folder for this one", file=store.folder)
    if begun["tool"] != now["tool"]:
        what = f"begun with port25lab {begun['tool']['version']}, and this is {now['tool']['version']}"
        raise InputError(what, allowed=again, file=store.folder)
    for name, sha256 in begun["inputs"].items():
        if now["inputs"].get(name) != sha256:
            raise InputError(f"{name} has changed since the sweep began", allowed=again, file=store.folder)


@contextmanager
def locked(store: Store, part: str) -> Iterator[None]:
    """Hold the lock of one part of a sweep. Raises InputError where another command runs it, and OutputError."""
    file = store.folder / f".lock-{part}"
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OutputError(file, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            allowed = "wait for its end, or another folder"
            raise InputError("this sweep runs already", allowed=allowed, file=store.folder) from None
        yield
    finally:
        os.close(descriptor)
