"""The nodes and links of a mirror: the router, the internet outside, and hosts with one interface each."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network
from typing import Any

from port25lab.model.addresses import IPAddress, IPNetwork, IpVersion
from port25lab.model.plan import InterfacePlan, LinkPlan, NodePlan, Route
from port25lab.model.snapshot import Snapshot
from port25lab.scenario.mirror_addresses import VERSIONS, Addresses, overlap
from port25lab.scenario.router_facts import Named, RouterFacts, own_address, translated, translated_source

ROUTER, INTERNET = "router", "internet"

USUAL = {
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.all.route_localnet": "0",
    "net.netfilter.nf_conntrack_tcp_loose": "1",
    "net.netfilter.nf_conntrack_tcp_be_liberal": "0",
}
"""Settings of a router that decide about packets, and their values in a lab. ``ip_forward`` tells a host from a router,
and ``rp_filter`` of an interface is copied beside these."""


class MirrorNetwork:
    """Collects nodes and links until ``_finish`` makes the router and the internet."""

    def __init__(self, snapshot: Snapshot, facts: RouterFacts, inside: dict[str, IPNetwork | None], host: bool) -> None:
        self._snapshot, self._facts, self._given, self._host = snapshot, facts, inside, host
        self._addresses = Addresses(facts, inside)
        self._used = self._addresses.used
        self._nodes: dict[str, NodePlan] = {}
        self._ports: dict[str, list[InterfacePlan]] = {ROUTER: [], INTERNET: []}
        self._routes: dict[str, list[Route]] = {ROUTER: [], INTERNET: []}
        self._links: list[LinkPlan] = []
        self._own: dict[str, list[IPAddress]] = {}
        self._notes: list[str] = []
        self._left_out: list[Named] = []
        known = {one.name for one in snapshot.sets}
        self._unknown_sets = {
            name for ruleset in facts.all_rulesets() for name in ruleset.set_names() if name not in known
        }
        self._made_up: set[str] = set()
        self._outside_net: dict[IpVersion, IPNetwork] = {}
        self._gateways: dict[IpVersion, IPAddress] = {}

    def _connect_outside(self) -> None:
        port = self._facts.interface(self._facts.outside)
        ours: dict[str, Any] = {}
        theirs: dict[str, Any] = {}
        for version in VERSIONS:
            own = own_address(port, version)
            spare = self._addresses.spare(version)
            if own is None:
                address = translated_source(self._facts, version) or spare[2]
                own = ip_interface(f"{address}/{spare.prefixlen if address == spare[2] else address.max_prefixlen}")
            gateway = self._gateway(version) or next((one for one in own.network.hosts() if one != own.ip), None)
            if gateway is None or gateway not in own.network:
                gateway = gateway or spare[1]
                self._routes[ROUTER].append(Route(to=ip_network(gateway), via=None, interface=port.name))
            key = "ip" if version == 4 else "ip6"
            ours[key], theirs[key] = own, ip_interface(f"{gateway}/{gateway.max_prefixlen}")
            self._used |= {own.ip, gateway}
            self._outside_net[version], self._gateways[version] = own.network, gateway
            self._own.setdefault(ROUTER, []).append(own.ip)
            self._routes[ROUTER].append(Route(to=everything(version), via=gateway))
            self._routes[INTERNET].append(Route(to=ip_network(own.ip), via=None, interface="router0"))
        self._ports[ROUTER].append(InterfacePlan(name=port.name, **ours))
        self._ports[INTERNET].append(InterfacePlan(name="router0", **theirs))
        self._links.append(LinkPlan(node1=ROUTER, interface1=port.name, node2=INTERNET, interface2="router0"))

    def _route_translated(self) -> None:
        """Let the internet send to the router what it has translated, where no address of its own says so."""
        own = {address.version: address for address in self._own[ROUTER]}
        known = {route.to for route in self._routes[INTERNET]}
        for network in translated(self._facts):
            inside = any(overlap(network, one.network) for port in self._ports[ROUTER] for one in _addresses(port))
            if network not in known and network.prefixlen and not inside:
                known.add(network)
                self._routes[INTERNET].append(Route(to=network, via=own[network.version]))

    def _gateway(self, version: IpVersion) -> IPAddress | None:
        return next(
            (
                route.via
                for route in self._snapshot.routes
                if not route.to.prefixlen and route.to.version == version and route.via is not None
                if not route.via.is_link_local
            ),
            None,
        )

    def _server(
        self,
        name: str,
        pairs: dict[IpVersion, tuple[IPAddress, IPAddress]],
        services: tuple[dict[str, Any], ...],
    ) -> None:
        """A server outside, on a link of its own. ``pairs``: its address and the internet's, by IP version."""
        number = len(self._ports[INTERNET])
        end = f"server{number}"
        own = {version: address for version, (address, _) in pairs.items()}
        self._host_at(name, own, {version: there for version, (_, there) in pairs.items()}, services)
        ports = {field_of(version): alone(there) for version, (_, there) in pairs.items()}
        self._ports[INTERNET].append(InterfacePlan(name=end, **ports))
        self._links.append(LinkPlan(node1=INTERNET, interface1=end, node2=name, interface2="eth0"))
        for version, address in own.items():
            self._routes[INTERNET].append(Route(to=ip_network(address), via=None, interface=end))
            if address in self._outside_net[version]:  # the router would look for it on its own link
                self._routes[ROUTER].append(Route(to=ip_network(address), via=self._gateways[version]))

    def _host_at(
        self,
        name: str,
        own: dict[IpVersion, IPAddress],
        gateways: dict[IpVersion, IPAddress],
        services: tuple[dict[str, Any], ...],
    ) -> None:
        """A node with one interface. It asks a DNS server of its own: the router's rules do not matter there."""
        routes = []
        for version, gateway in gateways.items():
            routes.append(Route(to=ip_network(gateway), via=None, interface="eth0"))
            routes.append(Route(to=everything(version), via=gateway))
        asks = services if any(service["kind"] == "dns" for service in services) else (*services, {"kind": "dns"})
        self._nodes[name] = NodePlan(
            name=name,
            interfaces=(InterfacePlan(name="eth0", **{field_of(version): alone(one) for version, one in own.items()}),),
            routes=tuple(routes),
            services=asks,
            names=(f"{name}.example",),
            public=tuple(own.values()),
            resolvers=tuple(own.values())[:1],
        )

    def _finish(self) -> None:
        """The router and the internet, when all their interfaces are known."""
        dns = self._nodes["dns"].public
        forwarded = self._publish_forwarded()
        self._route_translated()
        services = ({"kind": "mx", "domains": ["router.example"]},) if self._host else ()
        self._nodes[ROUTER] = NodePlan(
            name=ROUTER,
            interfaces=tuple(self._ports[ROUTER]),
            forward=True,
            routes=tuple(self._routes[ROUTER]),
            services=services,
            names=("router.example",),
            public=tuple(own for own in self._own[ROUTER] if own not in forwarded),
            resolvers=dns[:1],
            sysctls=self._sysctls(),
        )
        self._nodes[INTERNET] = NodePlan(
            name=INTERNET,
            interfaces=tuple(self._ports[INTERNET]),
            forward=True,
            routes=tuple(self._routes[INTERNET]),
            resolvers=dns[:1],
        )

    def _sysctls(self) -> dict[str, str]:
        """The router's settings that decide about packets, where they are not those of every node of a lab."""
        said = self._snapshot.sysctls
        filters = (f"net.ipv4.conf.{port.name.replace('.', '/')}.rp_filter" for port in self._ports[ROUTER])
        usual = USUAL | dict.fromkeys(filters, "0")
        found = {name: said[name] for name, value in usual.items() if said.get(name, value) != value}
        if found:
            self._notes.append(
                f"set as on the router: {', '.join(f'{name} = {value}' for name, value in found.items())}"
            )
        return found

    def _publish_forwarded(self) -> set[IPAddress]:
        """Let names of servers behind a forwarded port lead to the router. Returns the addresses that do."""
        found: set[IPAddress] = set()
        for named in self._facts.sources if not self._host else ():
            target = named.network.network_address
            node = next((node for node in self._nodes.values() if target in node.public), None)
            own = [address for address in self._own[ROUTER] if address.version == target.version]
            if named.forwarded and node is not None and own and own[0] not in found:
                others = tuple(address for address in node.public if address.version != target.version)
                self._nodes[node.name] = node.model_copy(update={"public": (own[0], *others)})
                found.add(own[0])
        return found


def _addresses(port: InterfacePlan) -> Iterator[IPv4Interface | IPv6Interface]:
    yield from (own for own in (port.ip, port.ip6) if own is not None)


def version_of(address: IPAddress) -> IpVersion:
    """The IP version of an address."""
    return 4 if address.version == 4 else 6


def field_of(version: IpVersion) -> str:
    """The field of an interface plan that has its address of this IP version."""
    return "ip" if version == 4 else "ip6"


def alone(address: IPAddress) -> IPv4Interface | IPv6Interface:
    """An address with a network of its own."""
    return ip_interface(f"{address}/{address.max_prefixlen}")


def everything(version: IpVersion) -> IPNetwork:
    """The network of the default route."""
    return ip_network("0.0.0.0/0" if version == 4 else "::/0")
