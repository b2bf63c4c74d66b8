"""The messages between a command and the keeper of a lab that stays up: JSON, one object a line, as in ``protocol``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from port25lab.errors import InputError, LabError, MachineError
from port25lab.lab import protocol
from port25lab.lab.protocol import Failure, Message
from port25lab.model.evidence import Evidence
from port25lab.model.path import PathSpec
from port25lab.model.plan import Plan
from port25lab.model.policy import Policy


class Contents(Message):
    """What a lab is made of."""

    plan: Plan
    policies: dict[str, list[Policy]]
    """Those under test, by node."""


class Describe(Message):
    """Say what the lab is."""

    call: Literal["describe"] = "describe"


class Try(Message):
    """Try a path now, and in the lab without policies where that has not been done."""

    call: Literal["try"] = "try"
    path: PathSpec


class Hold(Message):
    """Try a path, but let its session wait before MAIL. It goes on when this connection ends, at the latest."""

    call: Literal["hold"] = "hold"
    path: PathSpec


class GoOn(Message):
    """Let a session that waits go on."""

    call: Literal["go-on"] = "go-on"
    session: int
    path: PathSpec
    """Its path, for the control."""


class Count(Message):
    """Say what the interfaces and rules have counted."""

    call: Literal["count"] = "count"


class Log(Message):
    """Say what the services did: the fields of ``protocol.ReadLog``."""

    call: Literal["log"] = "log"
    since: int
    nodes: list[str]


class EnterNode(Message):
    """Say how a program gets into a node."""

    call: Literal["enter"] = "enter"
    node: str


class Replace(Message):
    """Replace the policies under test of a node."""

    call: Literal["replace"] = "replace"
    node: str
    policies: list[Policy]


class End(Message):
    """End the lab."""

    call: Literal["end"] = "end"


Request = Annotated[Describe | Try | Hold | GoOn | Count | Log | EnterNode | Replace | End, Field(discriminator="call")]


class Described(Message):
    """A lab that is up."""

    kind: Literal["described"] = "described"
    name: str
    contents: Contents
    keeper: int
    """Process id of the keeper."""
    pid: int
    """Process id of the lab's PID 1."""
    since: float
    """Seconds since 1970."""
    ends: float | None
    """When the lab ends by itself, in seconds since 1970."""


class Tried(Message):
    """An attempt is over."""

    kind: Literal["tried"] = "tried"
    evidence: Evidence
    control: Evidence | None
    """Of the same path without policies; None where the lab has none."""


class Way(Message):
    """The way into a node: the parts of ``handle.Entrance``."""

    kind: Literal["way"] = "way"
    command: list[str]
    etc: str
    network: str
    confine: list[str]


class Replaced(Message):
    """The node has its new rules."""

    kind: Literal["replaced"] = "replaced"
    seconds: float


class Ended(Message):
    """The lab has ended, with everything in it."""

    kind: Literal["ended"] = "ended"


class Refused(Message):
    """A request failed."""

    kind: Literal["refused"] = "refused"
    failure: Failure | None = None
    machine: tuple[str, str] | None = None
    """What this machine lacks, and the remedy; None where it lacks nothing."""

    @classmethod
    def of(cls, error: Exception) -> Refused:
        """The message for an error."""
        if isinstance(error, MachineError):
            return cls(machine=(error.what, error.remedy))
        return cls(failure=Failure.of(error))

    def exception(self) -> InputError | LabError | MachineError:
        """The error to raise in the command."""
        if self.machine is not None:
            return MachineError(*self.machine)
        return self.failure.exception() if self.failure is not None else LabError("the lab gave no reason")


Answer = Annotated[
    Described | Tried | protocol.SessionWaits | protocol.Counted | protocol.Logged | Way | Replaced | Ended | Refused,
    Field(discriminator="kind"),
]

REQUEST: TypeAdapter[Request] = TypeAdapter(Request)

ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer)
