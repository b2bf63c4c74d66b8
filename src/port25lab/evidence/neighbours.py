"""Whose neighbour was asked for in vain, and which attempts waited for it.

A node that has no link-layer address of its next hop asks for it: by neighbour discovery for IPv6, by ARP for IPv4.
Packets wait until the answer comes. Where a rule drops the request or the answer, they never go on, and no rule has met
them: the dropped request belongs to every attempt whose packet waits for this neighbour.

In: the plan, and the packets of an attempt where they were captured. Out: each ``Resolution`` that it may wait for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from port25lab.evidence.connections import Connections
from port25lab.evidence.neighbour_packets import Asked, known_bytes
from port25lab.model.addresses import IPAddress, IPInterface
from port25lab.model.evidence import PacketSeen
from port25lab.model.plan import Plan

TRIES = 3
"""Requests that Linux sends for a neighbour before it gives up (mcast_solicit)."""

_ANSWERS = ("SYN-ACK", "RST")

_MOST_HOPS = 64


class Resolution(NamedTuple):
    """A node asks for the link-layer address of a neighbour."""

    asker: str
    asks_from: frozenset[str]
    """The addresses that it may ask from."""
    address: IPAddress
    owner: str
    """The node that has the address."""

    @property
    def keys(self) -> Iterator[Asked]:
        """By what its packets are found, at both ends."""
        address = known_bytes(self.address.packed)
        return (Asked(node, asker, address) for node in (self.asker, self.owner) for asker in self.asks_from)


class Neighbours:
    """Who resolves whom in a lab, by the plan's links and routes."""

    def __init__(self, plan: Plan, ruled: Iterable[str], link_local: Mapping[tuple[str, str], IPv6Address]) -> None:
        """``ruled``: the nodes with rules. ``link_local``: the link-local address of each interface, by node and name.

        An IPv6 router asks from its link-local address for the next hop of a packet that it forwards.
        """
        self._plan = plan
        nodes = frozenset(ruled)
        self._beside: dict[str, list[tuple[IPInterface, dict[IPAddress, str]]]] = {}
        """For each node its addresses, each with the owners of all addresses on the same segment."""
        self._asks_from: dict[str, frozenset[str]] = {}
        self._resolved: set[tuple[str, IPInterface]] = set()
        """Nodes with those of their addresses whose neighbours are resolved."""
        for segment in plan.segments():
            owners = {own.ip: node for (node, _), addresses in segment.items() for own in addresses}
            resolved = not nodes.isdisjoint(node for node, _ in segment)
            for end, addresses in segment.items():
                self._beside.setdefault(end[0], []).extend((own, owners) for own in addresses)
                if resolved:
                    self._resolved |= {(end[0], own) for own in addresses}
                    sources = {*(str(own.ip) for own in plan.nodes[end[0]].addresses), str(link_local[end])}
                    self._asks_from[end[0]] = self._asks_from.get(end[0], frozenset()) | sources

    def count(self, node: str) -> int:
        """How many neighbours a node may ask for."""
        return sum(resolution is not None for resolution in self._all_of(node))

    def waited_for(
        self,
        client: str,
        targets: Collection[str],
        packets: Sequence[PacketSeen],
        connections: Connections,
        diverting: Collection[str] = (),
    ) -> list[Resolution]:
        """The resolutions that an attempt's packets may wait for at the places where they were seen last.

        Args:
            client: The node that made the attempt.
            targets: The addresses that it dialled, or may have dialled.
            packets: Those that opened or refused its connections, where they were captured first and last.
            connections: Its connections.
            diverting: Nodes that sent it elsewhere, so that the packet's destination does not tell the next hop. A
                router may always do so with what is for itself: the network's own rules forward ports.
        """
        last = {
            (packet.kind, packet.sequence): packet
            for packet in packets
            if packet.kind in ("SYN", *_ANSWERS) and not packet.leaving
        }
        dialled = {packet.destination for packet in packets if packet.kind == "SYN" and packet.node == client}
        found = [self._next_hop(client, address) for address in targets if address not in dialled]
        answered = any(packet.kind in _ANSWERS for packet in packets)
        for packet in last.values():
            arrived = self._has(packet.node, packet.destination)
            if packet.kind == "SYN" and answered:
                continue
            if packet.kind == "SYN" and (packet.node in diverting or (arrived and self._forwards(packet.node))):
                found += self._all_of(packet.node)
            elif packet.kind == "SYN" and arrived:
                found.append(self._next_hop(packet.node, packet.source))
            elif packet.node != client:
                ends = (end for node, end in connections.ends if node == packet.node)
                source = packet.source, packet.source_port
                inside = [end[2] for end in ends if end[:2] == source and packet.kind in _ANSWERS]
                found += [self._next_hop(packet.node, address) for address in (packet.destination, *inside)]
        versions = {ip_address(address).version for address in targets}
        return list(dict.fromkeys(one for one in found if one is not None and one.address.version in versions))

    def there_and_back(self, source: str, target: str) -> list[Resolution]:
        """All resolutions that a packet from a node to an address and its answer need, by the routes alone."""
        owner, version = self._plan.owner(target), ip_address(target).version
        own = next((str(own.ip) for own in self._plan.nodes[source].addresses if own.version == version), None)
        back = self._on_the_way(owner, own) if owner is not None and own is not None else []
        return [*self._on_the_way(source, target), *back]

    def _on_the_way(self, source: str, target: str) -> list[Resolution]:
        found: list[Resolution] = []
        node = source
        for _ in range(_MOST_HOPS):
            via = self._gateway(node, ip_address(target))
            if via is None:
                break
            resolution = self._resolution(node, via)
            found += [] if resolution is None else [resolution]
            owner = next((owners[via] for _, owners in self._beside[node] if via in owners), None)
            if owner is None:
                break
            node = owner
        return found

    def _has(self, node: str, address: str) -> bool:
        return any(str(own.ip) == address for own in self._plan.nodes[node].addresses)

    def _forwards(self, node: str) -> bool:
        return self._plan.nodes[node].forward

    def _all_of(self, node: str) -> list[Resolution | None]:
        addresses = {ip for _, owners in self._beside.get(node, ()) for ip, owner in owners.items() if owner != node}
        return [self._resolution(node, address) for address in sorted(addresses, key=str)]

    def _next_hop(self, node: str, address: str) -> Resolution | None:
        """The resolution that a node needs to send a packet to an address; None where it needs none."""
        via = self._gateway(node, ip_address(address))
        return None if via is None else self._resolution(node, via)

    def _gateway(self, node: str, address: IPAddress) -> IPAddress | None:
        """The address of the next hop, by the node's longest route; None: it has none, or the address is its own."""
        plan = self._plan.nodes[node]
        if any(own.ip == address for own in plan.addresses):
            return None
        ways: list[tuple[int, IPAddress | None]] = [
            (own.network.prefixlen, address) for own in plan.addresses if address in own.network
        ]
        ways += [(route.to.prefixlen, route.via) for route in plan.routes if address in route.to]
        return max(ways, key=lambda way: way[0])[1] if ways else None

    def _resolution(self, node: str, via: IPAddress) -> Resolution | None:
        for own, owners in self._beside.get(node, ()):
            if via in own.network and via in owners and (node, own) in self._resolved:
                return Resolution(node, self._asks_from[node], via, owners[via])
        return None
