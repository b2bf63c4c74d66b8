"""The messages between the engine, the fork server and a lab: one model for each.

All messages are JSON objects. Between the engine and a lab there is one a line, and every answer bears the number of
its request:

    {"number": 2, "request": {"call": "attempt", "path": …}}   →   {"number": 2, "answer": {"kind": "attempted", …}}

Before that, on the same socket, a new sandbox says whether it is ready: ``SandboxEntered`` or ``SandboxFailed``. The
fork server speaks over a socket of its own, one packet a message.
"""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from port25lab.errors import InputError, LabError, LackingError, NewLabNeededError
from port25lab.model.counters import NodeCounters
from port25lab.model.evidence import CaptureSummary, Evidence
from port25lab.model.log_line import LogLine
from port25lab.model.path import PathSpec
from port25lab.model.plan import Plan
from port25lab.model.policy import Policy

_M = TypeVar("_M")


class Message(BaseModel):
    """A message. Both ends have the same version of this program, so fields that are not known are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def encoded(self) -> bytes:
        """The message as bytes, without a line end."""
        try:
            return self.model_dump_json(round_trip=True).encode()
        except PydanticSerializationError:  # a lone surrogate, from bytes that are no UTF-8: an escape in JSON
            return json.dumps(self.model_dump(mode="json", round_trip=True)).encode()

    def as_line(self) -> bytes:
        """The message as one line."""
        return self.encoded() + b"\n"

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """The message in these bytes. Raises ValueError where there is no such message."""
        try:
            return cls.model_validate_json(data)
        except ValidationError:  # pydantic's JSON parser is twice as fast as ``json``, and refuses lone surrogates
            return cls.model_validate(json.loads(data))


# From the engine to a lab.


class Start(Message):
    """Build the network, load the policies, start the services."""

    call: Literal["start"] = "start"
    plan: Plan
    policies: dict[str, list[Policy]]
    """By node, in order; the network's own first."""
    early: list[PathSpec] = []
    """Hand-made packets that continue sessions from before the policies."""


class Attempt(Message):
    """Try one path."""

    call: Literal["attempt"] = "attempt"
    path: PathSpec
    label: str = ""
    """What a capture file says at the first packet."""


class OpenSession(Message):
    """Try a path, but wait in the open session before MAIL."""

    call: Literal["open-session"] = "open-session"
    path: PathSpec


class GoOn(Message):
    """Let a session that waits go on."""

    call: Literal["go-on"] = "go-on"
    session: int


class RunProgram(Message):
    """Run a program in a node."""

    call: Literal["run"] = "run"
    node: str
    argv: list[str]
    stdin: str = ""
    seconds: float
    """The program is killed after this time."""


class Enter(Message):
    """Give a node's network namespace a name inside the lab."""

    call: Literal["enter"] = "enter"
    node: str


class Reload(Message):
    """Replace the policies of a node."""

    call: Literal["reload"] = "reload"
    node: str
    policies: list[Policy]
    """All that the node has from now on, in order; the network's own first."""


class ReadCounters(Message):
    """Say what the interfaces and rules have counted."""

    call: Literal["counters"] = "counters"


class ReadLog(Message):
    """Say what the services did."""

    call: Literal["log"] = "log"
    since: int = 0
    """How many lines of the log are known already."""
    nodes: list[str] = []
    """Of these alone; none: of all."""


class EndCapture(Message):
    """Complete the capture file."""

    call: Literal["end-capture"] = "end-capture"


Request = Annotated[
    Start | Attempt | OpenSession | GoOn | RunProgram | Enter | Reload | ReadCounters | ReadLog | EndCapture,
    Field(discriminator="call"),
]


class NumberedRequest(Message):
    """A request on the wire."""

    number: int
    request: Request


# From a lab to the engine.


class Started(Message):
    """The lab is up."""

    kind: Literal["started"] = "started"
    phases: dict[str, float]
    """Seconds that each phase of the start took."""
    seconds: float


class Attempted(Message):
    """An attempt is over."""

    kind: Literal["attempted"] = "attempted"
    evidence: Evidence


class SessionWaits(Message):
    """A session is open, and waits before MAIL."""

    kind: Literal["session-waits"] = "session-waits"
    session: int
    """Its number, for ``GoOn``."""


class Counted(Message):
    """What was counted, by node."""

    kind: Literal["counted"] = "counted"
    nodes: dict[str, NodeCounters]


class Logged(Message):
    """What the services did."""

    kind: Literal["logged"] = "logged"
    lines: list[LogLine]
    written: int
    """How many lines the log has had so far."""


class ProgramDone(Message):
    """A program has ended, or was killed when its time was over."""

    kind: Literal["program-done"] = "program-done"
    returncode: int
    stdout: str
    stderr: str
    timed_out: bool


class Entered(Message):
    """A node's namespace has a name."""

    kind: Literal["entered"] = "entered"
    network: str
    """File that stands for the network namespace, as ``nsenter --net=`` takes it, inside the lab."""
    etc: str
    """Folder of the node's own /etc files, inside the lab."""


class Reloaded(Message):
    """The node has its new rules."""

    kind: Literal["reloaded"] = "reloaded"


class CaptureEnded(Message):
    """The capture file is complete."""

    kind: Literal["capture-ended"] = "capture-ended"
    capture: CaptureSummary


class Failure(Message):
    """A request failed."""

    kind: Literal["failure"] = "failure"
    error: Literal["input", "lacking", "new-lab", "lab"]
    """The user's input was wrong, this machine lacks what it takes, it needs another lab, or the lab failed."""
    text: str
    allowed: str = ""
    """Only of wrong input, as is the place in a file."""
    file: Path | None = None
    line: int | None = None
    column: int | None = None

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """The message for an error. Errors other than LabError and InputError bring their traceback."""
        if isinstance(error, InputError):
            file = Path(error.file) if error.file else None
            place: dict[str, Any] = {"file": file, "line": error.line, "column": error.column}
            kind: Literal["input", "lacking", "new-lab"] = next(
                (name for name, error_class in _SPECIAL.items() if isinstance(error, error_class)), "input"
            )
            return cls(error=kind, text=error.what, allowed=error.allowed, **place)
        if isinstance(error, LabError):
            return cls(error="lab", text=str(error))
        trace = "".join(traceback.format_exception(error))
        return cls(error="lab", text=f"port25lab failed inside the lab:\n{trace}")

    def exception(self) -> InputError | LabError:
        """The error to raise on the engine's side."""
        if self.error != "lab":
            wrong = InputError if self.error == "input" else _SPECIAL[self.error]
            return wrong(self.text, allowed=self.allowed, file=self.file, line=self.line, column=self.column)
        return LabError(self.text)


_SPECIAL: dict[Literal["lacking", "new-lab"], type[InputError]] = {
    "lacking": LackingError,
    "new-lab": NewLabNeededError,
}
"""Kinds of InputError that are told apart."""

Answer = Annotated[
    Started | Attempted | SessionWaits | Counted | Logged | ProgramDone | Entered | Reloaded | CaptureEnded | Failure,
    Field(discriminator="kind"),
]


class NumberedAnswer(Message):
    """An answer on the wire."""

    number: int
    answer: Answer


# From a sandbox to the engine, before it is a lab.


class SandboxEntered(Message):
    """The namespaces are made."""

    pid: int
    """Process id of the sandbox's PID 1, seen from outside."""


class SandboxFailed(Message):
    """The sandbox could not be made, or ended before it was a lab."""

    failed: str
    errno: int | None = None


# Between the engine and the fork server.


class ForkServerReady(Message):
    """The fork server has imported the engine and can make sandboxes."""

    descriptors: int
    """Open files that a lab may have."""


class ForkServerProblem(Message):
    """The fork server cannot make sandboxes on this machine."""

    problem: str
    remedy: str


class OpenSandbox(Message):
    """Make a sandbox. Its control socket comes with the message, and perhaps a capture file (SCM_RIGHTS)."""

    keep: list[Path]
    """Folders below /tmp or /run that stay visible in it."""
    imports: list[str]
    """Modules that it will need beside the engine's."""


_FROM_FORK_SERVER: TypeAdapter[ForkServerReady | ForkServerProblem] = TypeAdapter(ForkServerReady | ForkServerProblem)

_FROM_SANDBOX: TypeAdapter[SandboxEntered | SandboxFailed] = TypeAdapter(SandboxEntered | SandboxFailed)

_FROM_LAB: TypeAdapter[NumberedAnswer | SandboxFailed] = TypeAdapter(
    # Evidence is large, so it is not validated against the other model as well.
    Annotated[NumberedAnswer | SandboxFailed, Field(union_mode="left_to_right")]
)


def from_fork_server(data: bytes) -> ForkServerReady | ForkServerProblem:
    """The first message of the fork server."""
    return _read(_FROM_FORK_SERVER, data)


def from_sandbox(data: bytes) -> SandboxEntered | SandboxFailed:
    """The first line of a new sandbox."""
    return _read(_FROM_SANDBOX, data)


def from_lab(data: bytes) -> NumberedAnswer | SandboxFailed:
    """A later line of a lab's process, which can still fail while it becomes a lab."""
    return _read(_FROM_LAB, data)


def _read(messages: TypeAdapter[_M], data: bytes) -> _M:
    """One of several messages, read as in ``decoded``."""
    try:
        return messages.validate_json(data)
    except ValidationError:
        return messages.validate_python(json.loads(data))
