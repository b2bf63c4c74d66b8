"""A lab that stays up, from a command's side: ask in it, change its rules, end it.

The keeper makes attempts. The judgement is made here: it is a function of evidence alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TypeVar

from port25lab.engine import needs, provenance
from port25lab.errors import InputError, LabError, nearest
from port25lab.lab import live_messages as messages
from port25lab.lab import protocol, registry
from port25lab.lab.handle import Entrance
from port25lab.machine.versions import describe_environment
from port25lab.model.counters import NodeCounters
from port25lab.model.log_line import LogLine
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Expected
from port25lab.model.path import DEFAULT_CLIENT, PathSpec
from port25lab.model.policy import Policy
from port25lab.model.question import LabConfig, Question
from port25lab.model.verdict import Report, Verdict
from port25lab.scenario.policy import load_policy
from port25lab.scenario.questions import question_about
from port25lab.verdict.judge import judge

QUICK_SECONDS = 2.0
"""How long a keeper may take to say what it keeps; one that is still starting its lab does not answer."""

END_SECONDS = 10.0
"""How long a keeper may take to end."""

_A = TypeVar(
    "_A",
    messages.Described,
    messages.Tried,
    messages.Way,
    messages.Replaced,
    messages.Ended,
    protocol.Counted,
    protocol.Logged,
)


class LiveLab:
    """A connection to a lab that stays up. A context manager; leaving it leaves the lab up."""

    def __init__(self, name: str | None = None) -> None:
        """``name``: None for the only lab that is up. Raises InputError where there is none, or several."""
        self.name, self._socket = registry.connect(name)
        self._lines = self._socket.makefile("rb")

    def describe(self) -> messages.Described:
        """What the lab is. Raises LabError where it has ended."""
        return self._call(messages.Describe(), messages.Described)

    def config(self) -> LabConfig:
        """The lab as questions name it, with the policies that it has now."""
        contents = self.describe().contents
        return LabConfig(contents.plan, tuple((node, tuple(stack)) for node, stack in contents.policies.items()))

    def ask(
        self,
        path: PathSpec,
        expected: Expected | None = None,
        by: str | None = None,
        how: Mechanism | None = None,
    ) -> Verdict:
        """Try a path now. Raises InputError as for a scenario file, LabError where the lab has ended."""
        return self.answer(question_about(path, self.config(), expected, by, how))

    def answer(self, question: Question) -> Verdict:
        """Try a question's path now. The lab has to be that of the question."""
        needs.require_ipv6([question])
        tried = self._call(messages.Try(path=question.path), messages.Tried)
        return _judged(question, tried)

    def open_session(self, path: PathSpec) -> HeldSession | Verdict:
        """Try a path, but let its session wait before MAIL, so that rules can be replaced meanwhile.

        Returns the verdict where the session did not come so far. Raises InputError and LabError as ``ask``.
        """
        if path.client != DEFAULT_CLIENT:
            raise InputError(f"a session of {path.client} cannot wait", allowed=f"the client {DEFAULT_CLIENT}")
        question = question_about(path, self.config())
        needs.require_ipv6([question])
        answer = self._answer_to(messages.Hold(path=question.path))
        if isinstance(answer, protocol.SessionWaits):
            return HeldSession(self, question, answer.session)
        return _judged(question, self._expected(answer, messages.Tried))

    def go_on(self, question: Question, session: int) -> Verdict:
        """Let a session go on that waits. Returns the verdict under the policies that the lab has now."""
        request = messages.GoOn(session=session, path=question.path)
        tried = self._call(request, messages.Tried)
        return _judged(question_about(question.path, self.config()), tried)

    def counters(self) -> dict[str, NodeCounters]:
        """What the interfaces and rules of each node have counted."""
        return self._call(messages.Count(), protocol.Counted).nodes

    def log(self, since: int = 0, nodes: Sequence[str] = ()) -> tuple[list[LogLine], int]:
        """What the services did, and how many lines were written so far.

        ``since``: how many are known. ``nodes``: of these alone; none: of all.
        """
        found = self._call(messages.Log(since=since, nodes=list(nodes)), protocol.Logged)
        return found.lines, found.written

    def enter(self, node: str) -> Entrance:
        """How a program gets into a node. Raises InputError where there is no such node."""
        self.require_node(node)
        way = self._call(messages.EnterNode(node=node), messages.Way)
        return Entrance(tuple(way.command), way.etc, way.network, tuple(way.confine))

    def require_node(self, node: str) -> None:
        """Raise InputError where the lab has no such node."""
        nodes = self.describe().contents.plan.nodes
        if node not in nodes:
            raise InputError(f"no node {node!r} in the lab {self.name!r}", allowed=nearest(node, nodes))

    def reload(self, node: str, policies: Sequence[Policy | str]) -> float:
        """Replace the policies under test of a node. Returns the seconds that it took.

        ``policies``: names or folders count as well. Raises InputError for rules that iptables refuses: the node then
        has its rules of before.
        """
        self.require_node(node)
        loaded = [load_policy(one) if isinstance(one, str) else one for one in policies]
        return self._call(messages.Replace(node=node, policies=loaded), messages.Replaced).seconds

    def end(self) -> None:
        """End the lab. Returns when nothing of it is left."""
        self._socket.settimeout(END_SECONDS)
        self._call(messages.End(), messages.Ended)
        try:
            while self._lines.read1(1 << 12):
                pass
        except TimeoutError:
            raise LabError(f"the lab {self.name!r} has not ended within {END_SECONDS:.0f} s") from None
        except OSError:
            pass

    def close(self) -> None:
        """End the connection. The lab stays up."""
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, request: messages.Request, answer: type[_A]) -> _A:
        return self._expected(self._answer_to(request), answer)

    def _expected(self, found: messages.Answer, answer: type[_A]) -> _A:
        if not isinstance(found, answer):
            raise LabError(f"the lab {self.name!r} gave the wrong answer: {found.kind}")
        return found

    def _answer_to(self, request: messages.Request) -> messages.Answer:
        """The answer. Raises what it says where the request was refused, and LabError where the lab is gone."""
        try:
            self._socket.sendall(request.as_line())
            line = self._lines.readline()
        except TimeoutError:
            raise LabError(f"the lab {self.name!r} does not answer") from None
        except OSError as error:
            raise LabError(f"the lab {self.name!r} is gone: {error.strerror or error}") from None
        if not line:
            raise LabError(f"the lab {self.name!r} has ended")
        found = messages.ANSWER.validate_json(line)
        if isinstance(found, messages.Refused):
            raise found.exception()
        return found

    def limit(self, seconds: float) -> None:
        """Wait no longer than this for an answer."""
        self._socket.settimeout(seconds)


@dataclass(frozen=True)
class HeldSession:
    """A session that waits before MAIL."""

    lab: LiveLab
    question: Question
    number: int

    def go_on(self) -> Verdict:
        """Send the message now. Returns the verdict under the policies that the lab has now."""
        return self.lab.go_on(self.question, self.number)


def _judged(question: Question, tried: messages.Tried) -> Verdict:
    found = judge(tried.evidence, question.expected, question.by, tried.control, question.how)
    return Verdict(question, tried.evidence, found)


def up() -> list[tuple[str, messages.Described | None]]:
    """All labs of this user that are up, with what they are; None of one that is still starting."""
    found: list[tuple[str, messages.Described | None]] = []
    for name in registry.names():
        try:
            with LiveLab(name) as lab:
                lab.limit(QUICK_SECONDS)
                found.append((name, lab.describe()))
        except InputError:  # it ended meanwhile
            continue
        except LabError:
            if name in registry.names():
                found.append((name, None))
    return found


def report(verdicts: list[Verdict], started: float) -> Report:
    """Verdicts from a running lab as a report. ``started``: when the first was asked for, in seconds since 1970."""
    environment = describe_environment(verdict.question.path.client for verdict in verdicts) | {
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - started, 3),
        "labs": 0,
        "jobs": 1,
    }
    return provenance.traced(provenance.report_of(verdicts, environment))
