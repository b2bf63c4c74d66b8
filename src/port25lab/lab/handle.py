"""A lab, from the engine's side: start it in a sandbox, make attempts in it, end it.

What the two sides say to each other is in ``protocol``.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Self, TypeVar

from port25lab.errors import LabError
from port25lab.kernel import confinement, ipv6
from port25lab.kernel.own_python import program
from port25lab.lab import protocol
from port25lab.lab.sandboxes import Sandbox, Sandboxes
from port25lab.model.counters import NodeCounters
from port25lab.model.evidence import CaptureSummary, Evidence
from port25lab.model.packet_kinds import kind_of
from port25lab.model.path import PathSpec
from port25lab.model.plan import Plan
from port25lab.model.policy import Policy
from port25lab.scenario.policy import load_policy

PACKET_SENDER = "port25lab.attempt.packet_sender"
"""What hand-made packets need, imported once for all labs: scapy takes a quarter of a second."""

END_SECONDS = 2.0
"""How long a sandbox may take to end after its control socket was closed."""

_A = TypeVar(
    "_A",
    protocol.Started,
    protocol.Attempted,
    protocol.Counted,
    protocol.Logged,
    protocol.ProgramDone,
    protocol.Entered,
    protocol.Reloaded,
    protocol.CaptureEnded,
)


@dataclass(frozen=True)
class Entrance:
    """The way into a node from outside, with root's capabilities until ``confine``."""

    command: tuple[str, ...]
    """To put before a command of one's own."""
    etc: str
    """Where the node's /etc files lie."""
    network: str
    """The file that stands for its network namespace, inside the lab."""
    confine: tuple[str, ...] = (sys.executable, "-I", "-S", confinement.__file__)
    """To put before a program of the user's: it gets the limits of all programs in nodes."""


class Lab:
    """A running lab. A context manager; leaving it ends the lab and everything in it."""

    def __init__(
        self,
        sandboxes: Sandboxes,
        plan: Plan,
        policies: Mapping[str, Sequence[Policy]],
        expected: Iterable[PathSpec] = (),
        pcap: BinaryIO | None = None,
    ) -> None:
        """Start a lab and wait until its services answer.

        ``sandboxes``: where its sandbox comes from. ``plan``: its topology. ``policies``: those under test, by node.
        ``expected``: paths that will be tried. Other paths may be tried as well, but hand-made packets that continue a
        session from before the policies must be among these: their sessions are opened now.
        ``pcap``: a file that gets all packets; it is complete after ``end_capture``.
        On a kernel without IPv6 the lab is built for IPv4 alone.
        Raises LabError; InputError where iptables refuses a policy.
        """
        self.plan = plan if ipv6.works() else plan.without_ipv6()
        self._sandboxes = sandboxes
        by_hand = [path for path in expected if path.packet is not None]
        self.early = [path for path in by_hand if kind_of(str(path.packet)).early]
        self._sandbox: Sandbox = sandboxes.open(imports=[PACKET_SENDER] if by_hand else [], pcap=pcap)
        self._control = self._sandbox.control
        self._lines = self._sandbox.control.makefile("rb")
        self._numbers = itertools.count(1)
        self._closing = threading.Lock()
        try:
            started = self._call(start_request(self.plan, policies, self.early), protocol.Started)
        except BaseException:
            self.close()
            raise
        self.phases, self.seconds = started.phases, started.seconds

    @property
    def pid(self) -> int:
        """Process id of the lab's PID 1, as seen from outside: what `nsenter` wants."""
        return self._sandbox.pid

    def fileno(self) -> int:
        """The control socket's descriptor: it hangs up when the lab has ended."""
        return self._control.fileno()

    def attempt(self, path: PathSpec) -> Evidence:
        """Try one path."""
        return self._call(protocol.Attempt(path=path), protocol.Attempted).evidence

    def attempts(
        self, paths: Iterable[PathSpec], labels: Mapping[PathSpec, str] | None = None
    ) -> Iterator[tuple[PathSpec, Evidence]]:
        """Try paths side by side, and yield each when it is done.

        ``labels``: what a capture file says at the first packet of each path.
        """
        waiting = {}
        for path in paths:
            waiting[self._send(protocol.Attempt(path=path, label=(labels or {}).get(path, "")))] = path
        while waiting:
            numbered = self._receive()
            yield waiting.pop(numbered.number), _expected(numbered.answer, protocol.Attempted).evidence

    def run(self, node: str, argv: Sequence[str], *, stdin: str = "", seconds: float = 30.0) -> protocol.ProgramDone:
        """Run a program in a node.

        ``argv``: the program and its arguments; no shell reads them. ``seconds``: how long it may take before it is
        killed. Raises LabError where there is no such node or no such program.
        """
        request = protocol.RunProgram(node=node, argv=list(argv), stdin=stdin, seconds=seconds)
        return self._call(request, protocol.ProgramDone)

    def open_session(self, path: PathSpec) -> int | Evidence:
        """Try a path, but let its session wait before MAIL.

        Returns the number of the session that waits; the evidence where it did not come so far.
        """
        self._send(protocol.OpenSession(path=path))
        answer = self._receive().answer
        if isinstance(answer, protocol.SessionWaits):
            return answer.session
        return _expected(answer, protocol.Attempted).evidence

    def go_on(self, session: int) -> Evidence:
        """Let a session go on that waits, and return its evidence when it is over."""
        return self._call(protocol.GoOn(session=session), protocol.Attempted).evidence

    def counters(self) -> dict[str, NodeCounters]:
        """What the interfaces and rules of each node have counted."""
        return self._call(protocol.ReadCounters(), protocol.Counted).nodes

    def log(self, since: int = 0, nodes: Sequence[str] = ()) -> protocol.Logged:
        """What the services did. ``since``: how many lines are known. ``nodes``: of these alone; none: of all."""
        return self._call(protocol.ReadLog(since=since, nodes=list(nodes)), protocol.Logged)

    def reload(self, node: str, policies: Sequence[Policy]) -> None:
        """Replace the policies under test of a node, between attempts.

        Raises InputError for what cannot be replaced in a running lab, and where iptables refuses a rule: the node then
        has its rules of before.
        """
        stack = start_request(self.plan, {node: policies}).policies[node]
        self._call(protocol.Reload(node=node, policies=stack), protocol.Reloaded)

    def end_capture(self) -> CaptureSummary:
        """Complete the capture file. Returns what is in it, and what is missing."""
        return self._call(protocol.EndCapture(), protocol.CaptureEnded).capture

    def enter(self, node: str) -> Entrance:
        """Give a node's namespace a name inside the lab. Returns how a program of the user's gets there."""
        entered = self._call(protocol.Enter(node=node), protocol.Entered)
        nsenter = program("nsenter")
        into = [nsenter, f"--target={self._sandbox.pid}", "--mount", "--pid", "--ipc", "--uts"]
        if self._sandboxes.user_namespace:
            into += ["--user", "--preserve-credentials"]
        command = (*self._sandboxes.sudo, *into, nsenter, f"--net={entered.network}")
        return Entrance(command, entered.etc, network=entered.network)

    def close(self) -> None:
        """Close the control socket, and wait until the lab's process has ended. Any thread may call this."""
        with self._closing:
            try:
                self._control.shutdown(socket.SHUT_WR)
                self._control.settimeout(END_SECONDS)
                while self._control.recv(1 << 16):
                    pass
            except OSError:
                pass  # it has ended already; or it does not end, and will with the fork server
            with contextlib.suppress(OSError):
                self._control.shutdown(socket.SHUT_RDWR)  # unblocks a reader in another thread
            self._lines.close()
            self._control.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, request: protocol.Request, answer: type[_A]) -> _A:
        self._send(request)
        return _expected(self._receive().answer, answer)

    def _send(self, request: protocol.Request) -> int:
        number = next(self._numbers)
        try:
            self._control.sendall(protocol.NumberedRequest(number=number, request=request).as_line())
        except OSError as error:
            raise LabError(f"the lab is gone: {error}") from error
        return number

    def _receive(self) -> protocol.NumberedAnswer:
        try:
            line = self._lines.readline()
        except (OSError, ValueError) as error:
            raise LabError(f"the lab is gone: {error}") from error
        if not line:
            raise LabError("the lab's process ended")
        message = protocol.from_lab(line)
        if isinstance(message, protocol.SandboxFailed):
            raise LabError(message.failed)
        return message


def start_request(
    plan: Plan, policies: Mapping[str, Sequence[Policy]], early: Sequence[PathSpec] = ()
) -> protocol.Start:
    """The request that starts a lab: each node's policies, the network's own before those under test.

    ``policies``: those under test, by node. ``early``: hand-made packets that continue older sessions.
    """
    stacks: dict[str, list[Policy]] = {
        node.name: [load_policy(name, plan.file, "network") for name in node.policies]
        for node in plan.nodes.values()
        if node.policies
    }
    for name, stack in policies.items():
        stacks.setdefault(name, []).extend(stack)
    if not ipv6.works():
        stacks = {name: [policy.without_ipv6() for policy in stack] for name, stack in stacks.items()}
    return protocol.Start(plan=plan, policies=stacks, early=list(early))


def _expected(answer: protocol.Answer, expected: type[_A]) -> _A:
    """The answer. Raises the error that it is, where the request failed."""
    if isinstance(answer, protocol.Failure):
        raise answer.exception()
    if not isinstance(answer, expected):
        raise LabError(f"the lab gave the wrong answer: {answer.kind} in place of {expected.__name__}")
    return answer
