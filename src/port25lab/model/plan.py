"""A topology as plain data. A lab is built from it; it crosses to the lab's process as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_network,
)
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from port25lab.model.addresses import IPAddress, IPInterface
from port25lab.model.path import MX_PREFIX

InterfaceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,15}$")]
"""Linux limits an interface name to 15 bytes (IFNAMSIZ - 1)."""

SysctlName = Annotated[str, Field(pattern=r"^net\.[A-Za-z0-9_./-]+$")]
"""A setting of a network namespace as sysctl(8) writes it: a slash stands for a dot in the name of an interface."""

NOT_PUBLISHED = tuple(
    ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10")
)
"""Address blocks that public DNS should not carry: RFC 1918, RFC 6598, RFC 4193, link-local."""


Segment = dict[tuple[str, str], tuple[IPInterface, ...]]
"""Interfaces that are joined by links and bridges, by node and name, with their addresses. Ports of a bridge are left
out: the bridge has the addresses."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InterfacePlan(_Frozen):
    """One interface of a node, with at most one address of each family."""

    name: InterfaceName
    ip: IPv4Interface | None = None
    ip6: IPv6Interface | None = None


class BridgePlan(_Frozen):
    """A kernel bridge inside a node: a home router's LAN ports are one."""

    ports: tuple[InterfaceName, ...]
    ip: IPv4Interface | None = None
    ip6: IPv6Interface | None = None


class Route(_Frozen):
    """A static route. Without ``via``: straight to ``interface``; without that, a blackhole."""

    to: IPv4Network | IPv6Network
    via: IPv4Address | IPv6Address | None
    interface: InterfaceName | None = None


class NodePlan(_Frozen):
    """One node. The plan's links say what it is connected to."""

    name: str
    interfaces: tuple[InterfacePlan, ...] = ()
    bridges: dict[InterfaceName, BridgePlan] = {}
    forward: bool = False
    routes: tuple[Route, ...] = ()
    services: tuple[dict[str, Any], ...] = ()
    names: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    """More names that DNS has for the node's addresses. Its servers do not know them, and neither do certificates."""
    public: tuple[IPv4Address | IPv6Address, ...] = ()
    resolvers: tuple[IPv4Address | IPv6Address, ...] = ()
    policies: tuple[str, ...] = ()
    sysctls: dict[SysctlName, str] = {}
    """Settings of the node's kernel, such as ``net.ipv4.conf.all.rp_filter``. They are set after all else."""

    @property
    def hostname(self) -> str:
        """The node's name in its EHLO and in its greeting."""
        return self.names[0] if self.names else f"{self.name}.port25lab.example"

    @property
    def addresses(self) -> tuple[IPInterface, ...]:
        """All addresses of the node's interfaces and bridges."""
        ports: Iterable[InterfacePlan | BridgePlan] = (*self.interfaces, *self.bridges.values())
        return tuple(address for port in ports for address in (port.ip, port.ip6) if address is not None)

    @property
    def published(self) -> tuple[IPAddress, ...]:
        """The addresses that DNS gives for the node's names."""
        if self.public:
            return self.public
        own = tuple(address.ip for address in self.addresses)
        return tuple(ip for ip in own if not any(ip in block for block in NOT_PUBLISHED)) or own

    def without_ipv6(self) -> NodePlan:
        """The same node on a kernel without IPv6."""
        bare = {"ip6": None}
        return self.model_copy(
            update={
                "interfaces": tuple(port.model_copy(update=bare) for port in self.interfaces),
                "bridges": {name: bridge.model_copy(update=bare) for name, bridge in self.bridges.items()},
                "routes": tuple(route for route in self.routes if route.to.version == 4),
                "public": tuple(address for address in self.public if address.version == 4),
                "resolvers": tuple(address for address in self.resolvers if address.version == 4),
            }
        )

    @property
    def users(self) -> dict[str, str]:
        """The users that can authenticate at one of the node's services, with their passwords."""
        return {user: password for service in self.services for user, password in service.get("users", {}).items()}

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains for which the node's services accept mail."""
        return tuple(domain for service in self.services for domain in service.get("domains", ()))


class Conditions(_Frozen):
    """What a link does to packets, in each direction."""

    delay: float = 0.0
    """Seconds."""
    jitter: float = 0.0
    """Seconds by which the delay varies, up and down."""
    loss: float = 0.0
    """The share of packets that is lost, from 0 to 1."""

    def __bool__(self) -> bool:
        return bool(self.delay or self.loss)


class LinkPlan(_Frozen):
    """A cable between two interfaces."""

    node1: str
    interface1: InterfaceName
    node2: str
    interface2: InterfaceName
    conditions: Conditions = Conditions()


class Plan(_Frozen):
    """A whole topology as data."""

    name: str
    file: Path
    parameters: dict[str, int | bool | str] = {}
    nodes: dict[str, NodePlan]
    links: tuple[LinkPlan, ...] = ()
    sets: dict[str, tuple[IPv4Network | IPv6Network, ...]] = {}

    @model_validator(mode="after")
    def _links_join_known_interfaces(self) -> Plan:
        for link in self.links:
            for node, interface in ((link.node1, link.interface1), (link.node2, link.interface2)):
                if node not in self.nodes or interface not in {i.name for i in self.nodes[node].interfaces}:
                    raise ValueError(f"link to {node}/{interface}, which does not exist")
        return self

    def segments(self) -> list[Segment]:
        """The links with what bridges join to them: who can be whose neighbour."""
        behind: dict[tuple[str, str], tuple[str, str]] = {}
        addresses: dict[tuple[str, str], tuple[IPInterface, ...]] = {}
        for node in self.nodes.values():
            ports: Iterable[tuple[str, InterfacePlan | BridgePlan]] = (
                *((port.name, port) for port in node.interfaces),
                *node.bridges.items(),
            )
            for name, port in ports:
                addresses[node.name, name] = tuple(own for own in (port.ip, port.ip6) if own is not None)
            for name, bridge in node.bridges.items():
                behind |= {(node.name, port): (node.name, name) for port in bridge.ports}
        of: dict[tuple[str, str], Segment] = {}
        for link in self.links:
            ends = [behind.get(end, end) for end in ((link.node1, link.interface1), (link.node2, link.interface2))]
            whole = {member: addresses[member] for end in ends for member in (*of.get(end, ()), end)}
            of |= dict.fromkeys(whole, whole)
        return list({id(segment): segment for segment in of.values()}.values())

    def resolving(self, ruled: Iterable[str]) -> list[Segment]:
        """The segments on which neighbours are really resolved: those of ``ruled``, the nodes with rules."""
        nodes = set(ruled)
        return [segment for segment in self.segments() if any(node in nodes for node, _ in segment)]

    def with_services(self, more: Mapping[str, Iterable[dict[str, Any]]]) -> Plan:
        """The same plan with more services by node, such as those of policies."""
        nodes = {
            name: node.model_copy(update={"services": (*node.services, *more.get(name, ()))})
            for name, node in self.nodes.items()
        }
        return self.model_copy(update={"nodes": nodes})

    def without_ipv6(self) -> Plan:
        """The same plan on a kernel without IPv6."""
        nodes = {name: node.without_ipv6() for name, node in self.nodes.items()}
        sets = {name: tuple(block for block in blocks if block.version == 4) for name, blocks in self.sets.items()}
        return self.model_copy(update={"nodes": nodes, "sets": sets})

    @cached_property
    def _index(self) -> _Index:
        return _Index.of(self.nodes)

    def _nodes_by(self) -> _Index:
        if self._index.nodes is not self.nodes:  # a copy with other nodes has taken it over
            self.__dict__["_index"] = _Index.of(self.nodes)
        return self._index

    def owner(self, address: str) -> str | None:
        """The node of an address: the one whose address DNS publishes, otherwise the one that has it; None: neither."""
        try:
            node = self._nodes_by().address.get(str(ip_address(address)))
        except ValueError:
            return None
        return node.name if node else None

    def dialled(self, address: str, answered_by: str | None) -> str | None:
        """The node that a client dials at an address, where several nodes publish it, or have it.

        ``answered_by``: the node that took the connection. Where the address is that node's own, no other was meant: a
        name may be published at another server's address. A router is not taken for the server of an address that
        another node publishes, since its rules may redirect connections to it.
        """
        node = self.nodes.get(answered_by or "")
        if node is not None:
            interfaces = () if node.forward else tuple(own.ip for own in node.addresses)
            if any(str(own) == address for own in (*node.public, *interfaces)):
                return node.name
        return self.owner(address)

    def server(self, to: str) -> NodePlan | None:
        """The node of a path's ``to``: a node's name, a DNS name, an address or ``mx:DOMAIN``; None: there is none."""
        found = self._nodes_by()
        return found.name.get(to) or found.address.get(to)


@dataclass(frozen=True)
class _Index:
    """Where to find a node of a plan: there may be thousands."""

    nodes: Mapping[str, NodePlan]
    name: Mapping[str, NodePlan]
    """By its name, its names in DNS, and ``mx:DOMAIN``; the first one where several have the same."""
    address: Mapping[str, NodePlan]

    @classmethod
    def of(cls, nodes: Mapping[str, NodePlan]) -> _Index:
        names: dict[str, NodePlan] = {}
        addresses: dict[str, NodePlan] = {}
        for node in nodes.values():
            domains = (f"{MX_PREFIX}{domain}" for domain in node.domains)
            for name in (node.name, *node.names, *node.aliases, *domains):
                names.setdefault(name, node)
        published = ((address, node) for node in nodes.values() for address in node.public)
        own = ((address.ip, node) for node in nodes.values() for address in node.addresses)
        for address, node in (*published, *own):
            addresses.setdefault(str(address), node)
        return cls(nodes, names, addresses)
