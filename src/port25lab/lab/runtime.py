"""A running lab: network, policies and services in one sandbox, and the attempts that are made in it."""

from __future__ import annotations

import asyncio
import time
from asyncio.sslproto import SSLProtocol
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from port25lab.attempt.admission import Admission
from port25lab.attempt.attempts import Attempts
from port25lab.attempt.starvation import Starvation
from port25lab.errors import LabError
from port25lab.evidence.capture import Capture
from port25lab.evidence.counters import read_counters
from port25lab.evidence.early_drops import EarlyDrops
from port25lab.evidence.loaded_rules import join_rules
from port25lab.evidence.neighbours import Neighbours
from port25lab.evidence.observer import Observer
from port25lab.evidence.rule_trace import Tracer
from port25lab.kernel.neighbour_tables import NeighbourTables
from port25lab.lab.quiet_rules import QuietRules
from port25lab.lab.reloading import Reloading
from port25lab.mail.services.journal import Journal
from port25lab.mail.services.start import Services
from port25lab.model.client_kinds import ATTEMPTS_AT_ONCE
from port25lab.model.counters import NodeCounters
from port25lab.model.evidence import CaptureSummary, Evidence, Observation, Stage
from port25lab.model.path import PathSpec
from port25lab.model.plan import Plan
from port25lab.model.policy import Policy
from port25lab.model.ways import EVERY_NODE, ends_of, ways_of
from port25lab.network import firewall
from port25lab.network import host as host_module
from port25lab.network.builder import SOURCE_PORTS, LabNet, LabNode
from port25lab.network.host import LabHost

CA_FILE = Path("/run/port25lab/ca.pem")

TLS_BUFFER = 1 << 15
"""Bytes of the buffer of each end of a TLS connection. asyncio's own 256 KiB would be 100 MB for 200 attempts."""


class LabRuntime:
    """Create it, ``start`` it, then make attempts. Nothing stops it but the end of its process."""

    def __init__(
        self,
        plan: Plan,
        policies: Mapping[str, Sequence[Policy]],
        early: Sequence[PathSpec] = (),
        pcap: BinaryIO | None = None,
    ) -> None:
        """``policies``: all that each node loads, in order; the network's own rules (NAT) come first.

        ``early``: hand-made packets that continue sessions from before the policies. The network's own rules are loaded
        before these sessions are opened. ``pcap``: a file that gets all packets.
        """
        policy_services = {
            node: [service for policy in stack for service in policy.services] for node, stack in policies.items()
        }
        self._plan, self._policies = plan.with_services(policy_services), dict(policies)
        self._early = early
        self._tracer = Tracer()
        self._turns = asyncio.Semaphore(ATTEMPTS_AT_ONCE)
        self._quiet = QuietRules(self._plan.sets)
        self._capture = Capture(pcap, f"port25lab, topology {plan.name}")
        self._middlebox_nodes = [node for node, services in policy_services.items() if services]
        self._nodes: dict[str, LabNode] = {}
        self._hosts: dict[str, LabHost] = {}
        self._attempts: Attempts | None = None
        self._journal: Journal | None = None
        self._reloading: Reloading | None = None

    async def start(self) -> dict[str, float]:
        """Build everything, and return when the last service answers. Returns seconds by phase.

        Raises LabError, and InputError for a rule that iptables refuses.
        """
        clock = _Clock()
        SSLProtocol.max_size = TLS_BUFFER
        resolving = [name for name, stack in self._policies.items() if any(policy.sees_neighbours for policy in stack)]
        net = LabNet(self._plan, resolving)
        net.build()
        self._nodes = {node.name: node for node in net.hosts}
        is_large = len(net.hosts) > EVERY_NODE
        if not is_large:
            self._capture.open(net.hosts, passing_on=self._middlebox_nodes, ruled=self._policies)
        neighbours = Neighbours(self._plan, resolving, net.link_local())
        clock.phase("network")
        host_module.prepare_etc()
        host_module.publish_names(self._plan)
        traced: set[str] = set()
        steers = False
        for name, stack in self._policies.items():
            at_once = _of_network(stack) if self._early else stack
            if len(_of_network(stack)) == len(stack) and self._quiet.load(net[name], stack):
                continue
            traced.add(name)
            firewall.load(net[name], at_once, self._plan.sets)
            rules = join_rules(net[name], at_once, self._plan.sets)
            steers = steers or rules.steers or bool(self._early)
            sessions = bool(self._early) or rules.acts_in_sessions or any(policy.watch == "session" for policy in stack)
            self._tracer.watch(net[name], rules, sessions=sessions, neighbours=neighbours.count(name))
        net.forget_neighbours()
        if is_large:
            # Rules that send packets elsewhere may send them to any node.
            way = None if steers else ways_of(self._plan, traced)
            self._capture.open(net.hosts, passing_on=self._middlebox_nodes, ruled=self._policies, ways=way)
        asyncio.get_running_loop().add_reader(self._tracer, self._tracer.drain)
        clock.phase("policies")
        ports = iter(SOURCE_PORTS)
        early_drops = EarlyDrops(self._tracer, self._capture, {name: net[name] for name in traced})
        self._hosts = {node.name: LabHost(node, ports, early_drops) for node in net.hosts}
        services = Services(self._plan, self._hosts)
        self._journal = services.journal
        await services.start(CA_FILE)
        clock.phase("services")
        await services.ready()
        clock.phase("ready")
        await self._capture.start()
        clock.phase("capture")
        observer = Observer(
            self._tracer,
            self._capture,
            services.answered_by,
            neighbours,
            NeighbourTables() if resolving else None,
            {node.name: node for node in net.hosts},
        )
        admission = Admission(self._tracer)
        starvation = Starvation(self._tracer.refill_seconds())
        self._attempts = Attempts(self._plan, self._hosts, services, observer, admission, starvation, CA_FILE)
        if self._early:
            for path in self._early:
                await self._reach(path)
            await self._attempts.open_early(self._early)
            for name in traced:
                stack = self._policies[name]
                firewall.load(net[name], stack, self._plan.sets, loaded=len(_of_network(stack)))
                self._tracer.update_rules(name, join_rules(net[name], stack, self._plan.sets))
            net.forget_neighbours()
            clock.phase("late policies")
        early_drops.arm()
        self._reloading = Reloading(
            net,
            self._plan.sets,
            self._tracer,
            early_drops,
            starvation,
            resolving=resolving,
            seen_everywhere=not is_large or steers,
        )
        return clock.seconds

    def reload(self, node: str, stack: Sequence[Policy], *, sessions_open: bool) -> None:
        """Replace all policies of a node. ``sessions_open``: as ``Reloading.replace`` has it.

        Raises InputError where that is not possible; it then has those of before.
        """
        if self._reloading is None:
            raise LabError("the lab has not been started")
        self._reloading.replace(node, self._policies.get(node, ()), stack, sessions_open=sessions_open)
        self._policies[node] = stack

    def counters(self) -> dict[str, NodeCounters]:
        """What each node has counted."""
        return {name: read_counters(node, ruled=name in self._policies) for name, node in self._nodes.items()}

    def journal(self) -> Journal:
        """What the services did."""
        if self._journal is None:
            raise LabError("the lab has not been started")
        return self._journal

    def end_capture(self) -> CaptureSummary:
        """Complete the capture file."""
        return self._capture.finish()

    def close(self) -> None:
        """Release what would make the end of the process slow. Nothing else of the lab can be used after."""
        self._capture.close()

    async def attempt(
        self, path: PathSpec, label: str = "", before_mail: Callable[[], Awaitable[None]] | None = None
    ) -> Evidence:
        """Try one path. The parameters are those of ``Attempts.make``."""
        if self._attempts is None:
            raise LabError("the lab has not been started")
        async with self._turns:
            try:
                await self._reach(path)
            except (LabError, OSError) as error:
                return Evidence(observation=Observation(stage=Stage.RESOLVE), error=str(error))
            return await self._attempts.make(path, label, before_mail)

    async def _reach(self, path: PathSpec) -> None:
        """Observe the nodes that an attempt may pass, and that were not needed before."""
        client = self._nodes[path.source]
        rules = self._quiet.made_known(client)
        if rules is not None:  # what they do to the node's own packets has to be known
            self._tracer.watch(client, rules)
        await self._capture.reach(ends_of(self._plan, path))

    def host(self, name: str) -> LabHost:
        """A node, to run programs in."""
        if name not in self._hosts:
            raise LabError(f"no node {name!r} in this lab")
        return self._hosts[name]


def _of_network(stack: Sequence[Policy]) -> list[Policy]:
    """The policies that belong to the network itself. They come first in a stack."""
    return [policy for policy in stack if policy.origin == "network"]


class _Clock:
    """Seconds that each phase of a start takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def phase(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now
