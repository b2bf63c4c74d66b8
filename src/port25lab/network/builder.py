"""The network of a lab: Mininet's API, with the network built by netlink.

Stock Mininet starts a shell on a pty for each node (13 ms) and runs `ip` for each link and address (10 ms). Here a
node is a network namespace held by a file descriptor, its shell starts at its first ``cmd``, and all links and
addresses go to the kernel in netlink batches. No link is deleted: the kernel removes a sandbox's namespaces.

Neighbours are resolved by ARP and neighbour discovery where rules can matter: on the links of nodes that have a policy.
Elsewhere both ends of a link have permanent entries. Linux keeps the neighbours of all namespaces in two tables of 1024
entries, one for each IP version (``gc_thresh3``, which root alone can raise): twenty labs side by side would fill them,
and packets get lost. Permanent entries do not count; ``machine.capacity`` admits labs by the others.
"""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import IPv4Interface, IPv6Address
from pathlib import Path
from typing import Any

from mininet.link import Intf, Link
from mininet.net import Mininet
from mininet.node import Node
from mininet.topo import Topo

from port25lab.errors import LabError
from port25lab.kernel import confinement, ipv6, namespaces, netlink
from port25lab.kernel.network_settings import NetworkSettings
from port25lab.model.addresses import IPInterface
from port25lab.model.plan import Conditions, InterfacePlan, NodePlan, Plan

LOOPBACK_INDEX = 1

SOURCE_PORTS = range(20000, 50000)
"""The source ports of attempts, each used once in a lab. Below the ephemeral range, which other connections use."""

EVERY_NODE = {
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/router_solicitations": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/ip_local_port_range": "50000 60999",
    "net/ipv4/tcp_syn_retries": "1",
    "net/ipv4/tcp_syn_linear_timeouts": "0",
    "net/ipv4/tcp_rto_max_ms": "1000",
}
"""Settings of every node. A SYN is sent twice, as by the engine's own clients, and the attempt ends 1 s after the
second one (2 s after it on kernels before 6.15, which always double the wait)."""

ROUTERS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
}
"""Settings of nodes that forward."""

SENDS_ERRORS = {
    "net/ipv4/icmp_ratelimit": "0",
    "net/ipv4/icmp_msgs_per_sec": "100000",
    "net/ipv4/icmp_msgs_burst": "100000",
    "net/ipv6/icmp/ratelimit": "0",
}
"""Settings of nodes that forward or resolve neighbours. Linux limits the ICMP errors of each namespace, and in a burst
of attempts a REJECT would look like a DROP; so would an unreachable neighbour, of which a host tells itself by ICMP."""

RESOLVES = {"net/ipv6/conf/default/addr_gen_mode": "0"}
"""Settings of nodes that resolve neighbours: their link-local addresses come from their MAC addresses."""


RETRANSMIT_MILLISECONDS = 250
"""Time between two requests for a neighbour. After three without an answer the packet that waits is given up, and its
sender gets an error: before the client's second SYN at 1 s, and before it gives up. The default of 1 s is too long."""

QUEUE_PACKETS = 100_000

TC_SECONDS = 30.0

KEEP_MILLISECONDS = 3_600_000
"""A resolved neighbour is not asked again in a lab's lifetime, so that no verdict depends on how long a lab is up."""


class PlanTopo(Topo):  # type: ignore[misc]
    """A plan as a Mininet ``Topo``."""

    def build(self, plan: Plan) -> None:
        for node in plan.nodes.values():
            self.addHost(node.name, plan=node)
        addresses = {(node.name, port.name): port.ip for node in plan.nodes.values() for port in node.interfaces}
        for link in plan.links:
            self.addLink(
                link.node1,
                link.node2,
                intfName1=link.interface1,
                intfName2=link.interface2,
                params1={"ip": addresses[link.node1, link.interface1]},
                params2={"ip": addresses[link.node2, link.interface2]},
            )


class LabNode(Node):  # type: ignore[misc]
    """A Mininet node that is a network namespace alone, until its shell is needed."""

    def __init__(self, name: str, **params: Any) -> None:
        self.plan: NodePlan = params.get("plan") or NodePlan(name=name)
        network: int | None = params.pop("network", None)
        self.network = namespaces.new_network() if network is None else network
        self.home: int = params.pop("home")
        self._number: int = params.pop("number")
        self._indexes: dict[str, int] = {}
        self._bridged = {port: name for name, bridge in self.plan.bridges.items() for port in bridge.ports}
        super().__init__(name, **params)

    def index(self, interface: str) -> int:
        """The kernel's index of an interface. Assigned here, in the order of the first calls."""
        return self._indexes.setdefault(interface, LOOPBACK_INDEX + 1 + len(self._indexes))

    def interface_indexes(self) -> dict[str, int]:
        """The index of each interface that the plan gives the node. The kernel takes milliseconds to list them."""
        names = (*(port.name for port in self.plan.interfaces), *self.plan.bridges)
        return {"lo": LOOPBACK_INDEX} | {name: self.index(name) for name in names}

    def mac(self, interface: str) -> bytes:
        """The MAC address of an interface, locally administered (IEEE 802, bit 0x02)."""
        return b"\x02\0" + self._number.to_bytes(2) + self.index(interface).to_bytes(2)

    def behind(self, port: str) -> str:
        """The interface that has the addresses: the port itself, or the bridge whose port it is."""
        return self._bridged.get(port, port)

    def run_inside(self, call: Callable[[], Any]) -> Any:
        """Make a call with the thread in this node's network namespace; returns its result."""
        with namespaces.inside(self.network, self.home):
            return call()

    @classmethod
    def setup(cls) -> None:
        """Do nothing: Mininet looks for the programs mnexec and ifconfig, which such a node does not use."""

    def startShell(self, mnopts: str | None = None) -> None:
        """Do nothing: Mininet calls this when it makes the node. The shell starts when it is needed."""

    def _ensure_shell(self) -> None:
        """Start the shell that ``cmd`` and ``sendCmd`` use, in the node's namespace, where none has been started."""
        if not self.shell:
            self.run_inside(lambda: Node.startShell(self))

    def cmd(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command in the node's shell, and return its output. For users of Mininet's API; the engine has none."""
        self._ensure_shell()
        return super().cmd(*args, **kwargs)

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:
        self._ensure_shell()
        super().sendCmd(*args, **kwargs)

    def popen(self, *args: Any, **kwargs: Any) -> Any:
        """A process in the node, as ``subprocess.Popen``: it inherits the namespace."""
        words = args[0] if len(args) == 1 and not isinstance(args[0], str) else args
        argv = shlex.split(args[0]) if len(args) == 1 and isinstance(args[0], str) else list(map(str, words))
        return self.run_inside(lambda: self._popen(argv, **kwargs))

    def _popen(self, cmd: Any, **params: Any) -> Any:
        """Mininet starts every process by this, its shell included. Each gets the limits of programs in nodes.

        Mininet puts ``mnexec`` and its flags before the shell, to give it a session and a namespace. PyPI's Mininet
        has no such program, and none is needed.
        """
        if cmd[0] == "mnexec":
            cmd, params = cmd[2:], params | {"start_new_session": True}
        return super()._popen(cmd, preexec_fn=self._prepare, **params)

    def _prepare(self) -> None:
        """Called in the new process, before the program starts."""
        confinement.drop_capabilities(confinement.PROGRAM)

    def terminate(self) -> None:
        if self.shell:
            super().terminate()


class LabIntf(Intf):  # type: ignore[misc]
    """An interface that ``LabNet`` configures together with its node."""

    def config(self, ip: IPv4Interface | None = None, **_: Any) -> dict[str, Any]:
        if ip is not None:
            self.ip, self.prefixLen = str(ip.ip), ip.network.prefixlen
        return {}

    def updateIP(self) -> str | None:
        """The address. Mininet's own method asks `ifconfig`, which Debian does not install."""
        return self.ip


class LabLink(Link):  # type: ignore[misc]
    """A link that ``LabNet`` makes together with all others."""

    @classmethod
    def makeIntfPair(cls, *_: Any, **__: Any) -> None:
        """Do nothing: ``LabNet.build`` makes all pairs at once."""


class LabNet(Mininet):  # type: ignore[misc]
    """A ``Mininet`` that is built by netlink batches. It has no controller and no switches."""

    def __init__(self, plan: Plan, ruled: Iterable[str] = (), node_class: type[LabNode] = LabNode) -> None:
        """``ruled``: the nodes that will have rules. Their neighbours are resolved, and they by their neighbours."""
        self.plan = plan
        self._resolving = {end for segment in plan.resolving(ruled) for end in segment}
        self.home = namespaces.current_network()
        self._numbers = itertools.count(1)
        Mininet.inited = True  # otherwise it checks for root and raises limits; a sandbox needs neither
        super().__init__(topo=PlanTopo(plan), host=node_class, link=LabLink, intf=LabIntf, controller=None, build=False)

    def addHost(self, name: str, cls: type | None = None, **params: Any) -> LabNode:
        node: LabNode = super().addHost(name, cls=cls, home=self.home, number=next(self._numbers), **params)
        return node

    def addLink(self, node1: Any, node2: Any, *args: Any, **params: Any) -> Any:
        # Otherwise Mininet makes up a MAC address for each end.
        return super().addLink(node1, node2, *args, addr1=None, addr2=None, **params)

    def build(self) -> None:
        """Make everything. Raises LabError with the request that the kernel refused and its error text."""
        try:
            self.buildFromTopo(self.topo)
            self._prepare_nodes()
            self._make_links()
            neighbours = self._neighbours()
            for node in self.hosts:
                self._configure(node, neighbours[node.name])
            for node in self.hosts:
                self._settle(node)
            self._condition_links()
        except OSError as error:
            raise LabError(f"network of {self.plan.name}: {error.strerror or error}") from error
        self.built = True

    def _prepare_nodes(self) -> None:
        every_node = EVERY_NODE | (
            ipv6.ALLOW if any(node.run_inside(ipv6.starts_disabled) for node in self.hosts[:1]) else {}
        )
        resolving = {name for name, _ in self._resolving}
        with NetworkSettings() as written:
            for node in self.hosts:
                resolves = node.name in resolving
                settings = every_node | (ROUTERS if node.plan.forward else {}) | (RESOLVES if resolves else {})
                settings |= SENDS_ERRORS if node.plan.forward or resolves else {}
                written.begin()
                with namespaces.inside(node.network, self.home):
                    for name, value in settings.items():
                        written.write(name, value)

    def _make_links(self) -> None:
        requests = []
        for link in self.links:
            one, two = link.intf1, link.intf2
            request = netlink.veth(
                one.name,
                one.node.index(one.name),
                one.node.network,
                two.name,
                two.node.index(two.name),
                two.node.network,
                (one.node.mac(one.name), two.node.mac(two.name)),
            )
            requests.append((f"link {one.node.name}/{one.name} to {two.node.name}/{two.name}", request))
        with netlink.Rtnetlink() as kernel:
            kernel.send(requests)

    def link_local(self) -> dict[tuple[str, str], IPv6Address]:
        """The link-local address that the kernel gives each interface, by node and name (RFC 4291 appendix A)."""
        found = {}
        for node in self.hosts:
            for name in (*(port.name for port in node.plan.interfaces), *node.plan.bridges):
                mac = node.mac(name)
                identifier = bytes([mac[0] ^ 0x02]) + mac[1:3] + b"\xff\xfe" + mac[3:]
                found[node.name, name] = IPv6Address(b"\xfe\x80" + bytes(6) + identifier)
        return found

    def forget_neighbours(self) -> None:
        """Delete what nodes have learned of their neighbours: rules that were loaded now act as on a booted router."""
        for name in {name for name, _ in self._resolving}:
            node = self[name]
            with namespaces.inside(node.network, self.home), netlink.Rtnetlink() as kernel:
                kernel.forget_neighbours()

    def _neighbours(self) -> dict[str, list[tuple[str, bytes]]]:
        """For each node the requests that set its permanent neighbours: the other ends of its links without rules."""
        known: dict[tuple[str, str], tuple[IPInterface, ...]] = {
            (node.name, name): tuple(own for own in (port.ip, port.ip6) if own is not None)
            for node in self.hosts
            for name, port in (*((port.name, port) for port in node.plan.interfaces), *node.plan.bridges.items())
        }
        found: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
        for link in self.links:
            for here, there in ((link.intf1, link.intf2), (link.intf2, link.intf1)):
                own, other = here.node.behind(here.name), there.node.behind(there.name)
                if (here.node.name, own) in self._resolving:
                    continue
                for address in known[there.node.name, other]:
                    request = netlink.neighbour(here.node.index(own), address.ip, there.node.mac(other))
                    found[here.node.name].append((f"neighbour {address.ip} on {own}", request))
        return found

    def _configure(self, node: LabNode, neighbours: Iterable[tuple[str, bytes]]) -> None:
        requests = [("lo", netlink.up(LOOPBACK_INDEX))]
        for port in node.plan.interfaces:
            # Without this, virtual links carry packets of 64 KiB, which rules on lengths do not expect.
            requests.append((f"{port.name} segments", netlink.one_segment(node.index(port.name))))
            requests.append((f"{port.name} up", netlink.up(node.index(port.name))))
        for name, bridge in node.plan.bridges.items():
            requests.append((f"bridge {name}", netlink.bridge(name, node.index(name), node.mac(name))))
            requests += [(f"port {port}", netlink.enslave(node.index(port), node.index(name))) for port in bridge.ports]
        ports = [
            *node.plan.interfaces,
            *(InterfacePlan(name=n, ip=b.ip, ip6=b.ip6) for n, b in node.plan.bridges.items()),
        ]
        for port in ports:
            for own in (port.ip, port.ip6):
                if own is not None:
                    if (node.name, port.name) in self._resolving:
                        timing = netlink.resolution(
                            node.index(port.name), own.version, RETRANSMIT_MILLISECONDS, KEEP_MILLISECONDS
                        )
                        requests.append((f"resolution on {port.name}", timing))
                    requests.append((f"address {own} on {port.name}", netlink.address(node.index(port.name), own)))
        requests += neighbours
        for route in node.plan.routes:
            interface = None if route.interface is None else node.index(route.interface)
            request = netlink.route(route.to, route.via, interface)
            requests.append((f"route {route.to} via {route.via or route.interface}", request))
        with namespaces.inside(node.network, self.home), netlink.Rtnetlink() as kernel:
            kernel.send([(f"node {node.name}: {what}", request) for what, request in requests])
            _set_as_told(node.plan)

    def _settle(self, node: LabNode) -> None:
        """Make the kernel notice that the links are up: packets that are sent before that get lost."""
        names = [*(port.name for port in node.plan.interfaces), *node.plan.bridges]
        with namespaces.inside(node.network, self.home), netlink.Rtnetlink() as kernel:
            kernel.send([(f"state of {node.name}/{name}", netlink.settle(node.index(name))) for name in names])

    def _condition_links(self) -> None:
        """Give each end of a link its delay and loss: netem acts on what leaves an interface (tc-netem(8))."""
        commands: dict[str, str] = defaultdict(str)
        for link in self.plan.links:
            if link.conditions:
                words = netem_words(link.conditions)
                for node, interface in ((link.node1, link.interface1), (link.node2, link.interface2)):
                    commands[node] += f"qdisc add dev {interface} root netem {words}\n"
        for node, lines in commands.items():
            done = self[node].run_inside(partial(_run_tc, lines))
            if done.returncode:
                raise LabError(f"delay and loss on links of {node}: {done.stderr.strip()}")

    def configHosts(self) -> None:
        """Do nothing: ``build`` configures the hosts."""

    def start(self) -> None:
        if not self.built:
            self.build()

    def stop(self) -> None:
        """End the shells and close the namespaces, which the kernel then removes with all that is in them."""
        for node in self.hosts:
            node.terminate()
            os.close(node.network)


def netem_words(conditions: Conditions) -> str:
    """Delay and loss as tc(8) takes them. The queue has room for what is on its way, so that it loses nothing more."""
    words = [f"limit {QUEUE_PACKETS}"]
    if conditions.delay:
        jitter = f" {conditions.jitter * 1e6:.0f}us" if conditions.jitter else ""
        words.append(f"delay {conditions.delay * 1e6:.0f}us{jitter}")
    if conditions.loss:
        words.append(f"loss {conditions.loss * 100:.6g}%")
    return " ".join(words)


def _run_tc(lines: str) -> subprocess.CompletedProcess[str]:
    argv = ["tc", "-batch", "-"]
    return subprocess.run(argv, input=lines, capture_output=True, text=True, timeout=TC_SECONDS, check=False)


def _set_as_told(plan: NodePlan) -> None:
    """Make the settings that the plan has for its node. Raises LabError where this kernel has no such setting."""
    dots_for_slashes = str.maketrans("./", "/.")
    for name, value in plan.sysctls.items():
        path = name.translate(dots_for_slashes)
        if not Path(f"/proc/sys/{path}").exists():
            raise LabError(f"node {plan.name}: this kernel has no setting {name}")
        try:
            NetworkSettings().write(path, value)
        except OSError as error:
            raise LabError(f"node {plan.name}: {name} = {value}: {error.strerror}") from error
