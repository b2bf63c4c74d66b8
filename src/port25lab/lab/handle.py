"""A lab, from the engine's side: start it in a sandbox, make attempts in it, end it.

What crosses to the sandbox and back is JSON, one object a line; see ``inside``.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from port25lab.errors import InputError, LabError
from port25lab.kernel import confinement, ipv6
from port25lab.kernel.own_python import program
from port25lab.lab.sandboxes import Sandbox, Sandboxes
from port25lab.model.evidence import Evidence
from port25lab.model.packet_kinds import PACKET_KINDS
from port25lab.model.path import PathSpec
from port25lab.model.plan import Plan
from port25lab.model.policy import Policy
from port25lab.scenario.policy import load_policy

PROBES = "port25lab.attempt.packet_sender"
"""What probes need, imported once for all labs: scapy takes a quarter of a second."""

END_SECONDS = 2.0
"""How long a sandbox may take to be gone after its lifeline was cut."""


@dataclass(frozen=True)
class Entrance:
    """The way into a node from outside, with root's capabilities until ``confine``."""

    command: tuple[str, ...]
    """To put before a command of one's own."""
    etc: str
    """Where the node's /etc files lie."""
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
        """Start a lab and wait until its services answer. ``policies``: those under test, by node.

        ``expected``: paths that will be tried. Any other path may be tried as well, but for probes that continue a
        session from before the policies: those are ``early``, and have to be known.
        ``pcap``: a file that gets all packets; it is complete after ``end_capture``.
        On a kernel without IPv6 the lab is built for IPv4 alone.
        Raises LabError; InputError where a policy is refused by iptables.
        """
        self.plan = plan if ipv6.works() else plan.without_ipv6()
        self._sandboxes = sandboxes
        probes = [path for path in expected if path.packet is not None]
        self.early = [path for path in probes if PACKET_KINDS[str(path.packet)].early]
        self._sandbox: Sandbox = sandboxes.open(imports=[PROBES] if probes else [], pcap=pcap)
        self._control = self._sandbox.control
        self._lines = self._sandbox.control.makefile("rb")
        self._numbers = itertools.count(1)
        self._closing = threading.Lock()
        try:
            early = [path.model_dump(mode="json") for path in self.early]
            answer = self._call({"call": "start", **_start(self.plan, policies), "early": early})
        except BaseException:
            self.close()
            raise
        self.phases: dict[str, float] = answer["phases"]
        self.seconds: float = answer["seconds"]

    @property
    def pid(self) -> int:
        """Process id of the lab's PID 1, as seen from outside: what `nsenter` wants."""
        return self._sandbox.pid

    def attempt(self, path: PathSpec) -> Evidence:
        """Try one path."""
        return Evidence.model_validate(self._call({"call": "attempt", "path": path.model_dump(mode="json")}))

    def attempts(
        self, paths: Iterable[PathSpec], labels: Mapping[PathSpec, str] | None = None
    ) -> Iterator[tuple[PathSpec, Evidence]]:
        """Try paths side by side, and yield each as it is done. ``labels``: what a capture file says of each."""
        waiting = {}
        for path in paths:
            label = (labels or {}).get(path, "")
            waiting[self._send({"call": "attempt", "path": path.model_dump(mode="json"), "label": label})] = path
        while waiting:
            answer = self._receive()
            yield waiting.pop(answer["id"]), Evidence.model_validate(_result(answer))

    def run(self, node: str, argv: Sequence[str], *, stdin: str = "", seconds: float = 30.0) -> dict[str, Any]:
        """Run a program in a node: its ``returncode``, ``stdout``, ``stderr`` and whether it ``timed_out``."""
        request = {"call": "run", "node": node, "argv": list(argv), "stdin": stdin, "seconds": seconds}
        answer: dict[str, Any] = self._call(request)
        return answer

    def end_capture(self) -> dict[str, Any]:
        """Complete the capture file: ``packets`` in it, packets ``lost`` by node, and the ``problem``, if any."""
        answer: dict[str, Any] = self._call({"call": "end_capture"})
        return answer

    def enter(self, node: str) -> Entrance:
        """Give a node's namespace a name inside the lab, and tell how a program of the user's gets there."""
        answer = self._call({"call": "enter", "node": node})
        nsenter = program("nsenter")
        into = [nsenter, f"--target={self._sandbox.pid}", "--mount", "--pid", "--ipc", "--uts"]
        if self._sandboxes.user_namespace:
            into += ["--user", "--preserve-credentials"]
        command = (*self._sandboxes.sudo, *into, nsenter, f"--net={answer['network']}")
        return Entrance(command, answer["etc"])

    def close(self) -> None:
        """Cut the lifeline, and wait until the lab's process is gone. May be called from another thread."""
        with self._closing:
            try:
                self._control.shutdown(socket.SHUT_WR)
                self._control.settimeout(END_SECONDS)
                while self._control.recv(1 << 16):
                    pass
            except OSError:
                pass  # it was gone already, or does not go: the sandboxes's end takes it along
            with contextlib.suppress(OSError):
                self._control.shutdown(socket.SHUT_RDWR)  # whoever still reads sees the end, and lets go of the lines
            self._lines.close()
            self._control.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, request: dict[str, Any]) -> Any:
        self._send(request)
        return _result(self._receive())

    def _send(self, request: dict[str, Any]) -> int:
        number = next(self._numbers)
        try:
            self._control.sendall(json.dumps({"id": number, **request}).encode() + b"\n")
        except OSError as error:
            raise LabError(f"the lab is gone: {error}") from error
        return number

    def _receive(self) -> dict[str, Any]:
        try:
            line = self._lines.readline()
        except (OSError, ValueError) as error:
            raise LabError(f"the lab is gone: {error}") from error
        if not line:
            raise LabError("the lab's process ended")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise LabError(answer["failed"])
        return answer


def _start(plan: Plan, policies: Mapping[str, Sequence[Policy]]) -> dict[str, Any]:
    stacks: dict[str, list[Policy]] = {
        node.name: [load_policy(name, plan.file, "network") for name in node.policies]
        for node in plan.nodes.values()
        if node.policies
    }
    for name, stack in policies.items():
        stacks.setdefault(name, []).extend(stack)
    if not ipv6.works():
        stacks = {name: [policy.without_ipv6() for policy in stack] for name, stack in stacks.items()}
    return {
        "plan": plan.model_dump(mode="json"),
        "policies": {name: [policy.model_dump(mode="json") for policy in stack] for name, stack in stacks.items()},
    }


def _result(answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error is None:
        return answer["result"]
    if error["kind"] == "input":
        raise InputError(
            error["text"],
            allowed=error["allowed"],
            file=Path(error["file"]) if error["file"] else None,
            line=error["line"],
            column=error["column"],
        )
    raise LabError(error["text"])
