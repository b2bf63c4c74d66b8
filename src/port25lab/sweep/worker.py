"""A process that runs jobs of a sweep, and the sweep's handle to it.

In: one line of JSON for each job. Out: one line for each job, after its result is on the disk. So a worker that dies
loses no result that was reported, and what it was doing is known. It ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import IO, Any

from port25lab.errors import MachineError, OutputError, Port25labError
from port25lab.kernel import namespaces, own_python
from port25lab.sweep.jobs import Jobs, SweepJob
from port25lab.sweep.store import Store
from port25lab.sweep.work import JobError, Work

DONE, FAILED, FATAL = "done", "failed", "fatal"
"""What a worker says of a job: its result is written; it has none; or no job can be done any more."""


def main() -> None:
    """Run jobs until standard input ends. The argument is the sweep's folder."""
    namespaces.die_with_parent(signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a topology's file prints is no answer
    own_python.prefer_own_distutils()
    store = Store(Path(sys.argv[1]))
    try:
        spec = store.spec()
        jobs = Jobs(spec)
        with Work(spec) as work:
            for line in sys.stdin.buffer:
                answers.write(json.dumps(_done(work, store, jobs.job(int(line)))).encode() + b"\n")
    except Port25labError as error:
        answers.write(json.dumps(_fatal(error)).encode() + b"\n")


def _done(work: Work, store: Store, job: SweepJob) -> dict[str, Any]:
    try:
        result = work.run(job)
        store.keep(job, result.head, result.verdicts, result.origin)
    except JobError as error:
        return {"what": FAILED, "reason": error.reason, "again": error.again}
    except (MachineError, OutputError) as error:
        return _fatal(error)
    return {"what": DONE, "attempts": len(result.verdicts)}


def _fatal(error: Port25labError) -> dict[str, Any]:
    return {"what": FATAL, "reason": str(error), "code": error.exit_code}


END_SECONDS = 10.0
"""How long a worker may take to end its labs and itself."""


class FatalError(Port25labError):
    """No job can be done any more: the machine lacks something, or the disk is full."""

    def __init__(self, reason: str, code: int) -> None:
        self.exit_code = code
        super().__init__(reason)


class Worker:
    """A worker process, from the sweep's side."""

    def __init__(self, store: Store) -> None:
        start = "import sys; from port25lab.sweep.worker import main; main()"
        # -P: no modules of the working directory. A session of its own: Ctrl-C is for the sweep, which then ends this.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", start, str(store.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.job: SweepJob | None = None
        """What it runs now."""
        self.jobs = 0
        """How many jobs it was given."""
        self.since = monotonic()
        """When it was given its job."""

    @property
    def answers(self) -> IO[bytes]:
        """Readable when there is an answer, or when the process has ended."""
        assert self._process.stdout is not None
        return self._process.stdout

    def begin(self, job: SweepJob) -> None:
        """Give it a job."""
        self.job, self.since = job, monotonic()
        self.jobs += 1
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has died, as the end of its answers will show
            self._process.stdin.write(b"%d\n" % job.number)
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any] | None:
        """What became of its job; None: the process has ended. Raises FatalError."""
        line = self.answers.readline()
        if not line.endswith(b"\n"):
            return None
        found: dict[str, Any] = json.loads(line)
        if found["what"] == FATAL:
            raise FatalError(found["reason"], found["code"])
        return found

    def end(self, *, kill: bool = False) -> str:
        """End the process and its labs. Returns how it ended."""
        assert self._process.stdin is not None
        if kill:
            self._process.kill()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self.answers.close()
        return f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
