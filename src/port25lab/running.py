"""A lab while it runs: network, policies and services in one sandbox, and the attempts that are made in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from port25lab import labhost, netfilter
from port25lab.attempt import Attempts
from port25lab.errors import LabError
from port25lab.evidence import Evidence
from port25lab.icmp import IcmpWatch
from port25lab.labhost import LabHost
from port25lab.mailpath import MailPath
from port25lab.network import SOURCE_PORTS, LabNet
from port25lab.policy import Policy
from port25lab.services import Services
from port25lab.topology import Plan
from port25lab.trace import Tracer

CA_FILE = Path("/run/port25lab/ca.pem")


class RunningLab:
    """Build it, ``start`` it, then make attempts. It is never stopped: its process ends."""

    def __init__(self, plan: Plan, policies: Mapping[str, Sequence[Policy]]) -> None:
        """``policies``: all that each node loads, in order; the network's own rules (NAT) come first."""
        brought = {
            node: [service for policy in stack for service in policy.services] for node, stack in policies.items()
        }
        self._plan, self._policies = plan.with_services(brought), policies
        self._tracer = Tracer()
        self._hosts: dict[str, LabHost] = {}
        self._attempts: Attempts | None = None

    async def start(self) -> dict[str, float]:
        """Build everything, and return when the last service answers. Returns seconds by phase.

        Raises LabError, and InputError for a rule that iptables refuses.
        """
        clock = _Clock()
        net = LabNet(self._plan)
        net.build()
        clock.phase("network")
        for name, stack in self._policies.items():
            sessions = any(policy.watch == "session" for policy in stack)
            self._tracer.watch(net[name], netfilter.load(net[name], stack, self._plan.sets), sessions=sessions)
        for node, sock in self._tracer.sockets().items():
            asyncio.get_running_loop().add_reader(sock, self._tracer.read, node, sock)
        clock.phase("policies")
        labhost.prepare_etc()
        ports = iter(SOURCE_PORTS)
        self._hosts = {node.name: LabHost(node, ports) for node in net.hosts}
        services = Services(self._plan, self._hosts)
        await services.start(CA_FILE)
        clock.phase("services")
        await services.ready()
        clock.phase("ready")
        self._attempts = Attempts(self._plan, self._hosts, services, self._tracer, IcmpWatch(), CA_FILE)
        return clock.seconds

    async def attempt(self, path: MailPath) -> Evidence:
        """Try one path."""
        if self._attempts is None:
            raise LabError("the lab has not been started")
        return await self._attempts.make(path)

    def host(self, name: str) -> LabHost:
        """A node, to run programs in."""
        if name not in self._hosts:
            raise LabError(f"no node {name!r} in this lab")
        return self._hosts[name]


class _Clock:
    """Where the time of a start goes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def phase(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now
