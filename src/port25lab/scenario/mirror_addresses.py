"""The addresses of a mirror: networks behind interfaces, addresses of hosts, and what is left for servers outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from itertools import chain, islice

from port25lab.model.addresses import IPAddress, IPNetwork, IpVersion
from port25lab.rules import Rule
from port25lab.scenario.mail_rules import blocks, fits, interface_of, names_mail, networks
from port25lab.scenario.router_facts import RouterFacts, from_outside

VERSIONS: tuple[IpVersion, ...] = (4, 6)

_POOLS: dict[int, tuple[str, ...]] = {
    4: ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.64.0/24", "45.76.32.0/24", "81.169.144.0/24"),
    6: ("2001:db8:25::/48", "2001:db8:26::/48", "2a01:4f8:25::/48", "2a02:2e0:25::/48"),
}
"""Where servers and links may have their addresses: the first that the router does not know, documentation first."""

_INSIDE: dict[int, tuple[str, ...]] = {
    4: ("192.168.0.0/16", "10.64.0.0/16", "172.20.0.0/16"),
    6: ("2001:db8:1000::/44", "fd25:25::/44"),
}
"""Where networks behind interfaces may be: the first that no rule names."""

MOST_INSIDE = 255
"""Networks of each pool that hosts inside may have."""

_THIS_NETWORK = ip_network("0.0.0.0/8")
"""RFC 1122 section 3.2.1.3: never on the wire as a host's address, except to ask for one."""


class Addresses:
    """Chooses addresses. What rules or interfaces of the router have is taken."""

    def __init__(self, facts: RouterFacts, given: Mapping[str, IPNetwork | None]) -> None:
        """``given``: networks of inside interfaces, as the user says."""
        self._facts, self._given = facts, given
        self._named: list[IPNetwork] = [
            network
            for rule in facts.rules()
            for option in ("source", "destination")
            for network in networks(rule, option)
        ]
        self._taken: list[IPNetwork] = [
            address.network for port in facts.interfaces for address in port.addresses if address.network.prefixlen
        ]
        self.used: set[IPAddress] = {address.ip for port in facts.interfaces for address in port.addresses}
        self._pool = {version: self._subnets(version) for version in VERSIONS}

    def _subnets(self, version: IpVersion) -> Iterator[IPNetwork]:
        """Small networks that nothing of the router's overlaps."""
        size = 30 if version == 4 else 64
        pools = [ip_network(text) for text in _POOLS[version]]
        free = [pool for pool in pools if not self._known(pool)]
        return chain.from_iterable(pool.subnets(new_prefix=size) for pool in free or pools[-1:])

    def _known(self, network: IPNetwork) -> bool:
        return any(overlap(network, other) for other in (*self._named, *self._taken) if other.prefixlen > 3)

    def take(self, address: IPAddress) -> None:
        """Let no network have this address."""
        self.used.add(address)
        self._taken.append(ip_network(address))

    def spare(self, version: IpVersion) -> IPNetwork:
        """A small network that nothing else has."""
        return next(self._pool[version])

    def free_pair(self) -> dict[IpVersion, tuple[IPAddress, IPAddress]]:
        """Two neighbouring addresses of each IP version: of a server, and of the internet's interface to it."""
        found: dict[IpVersion, tuple[IPAddress, IPAddress]] = {}
        for version in VERSIONS:
            network = self.spare(version)
            found[version] = network[1], network[2]
        return found

    def network(self, interface: str, version: IpVersion) -> IPNetwork:
        """The network behind an inside interface, where the snapshot has none. It is taken from then on."""
        network = self._network(interface, version)
        self._taken.append(network)
        return network

    def _network(self, interface: str, version: IpVersion) -> IPNetwork:
        given = self._given.get(interface)
        if given is not None and given.version == version:
            return given
        for candidate in self._candidates(interface, version):
            network = narrowed(candidate)
            if has_hosts(network) and not any(overlap(network, other) for other in self._taken):
                return network
        size = 24 if version == 4 else 64
        spare: list[IPNetwork] = []
        for pool in _INSIDE[version]:
            spare += islice(ip_network(pool).subnets(new_prefix=size), 1, MOST_INSIDE)
        free = [network for network in spare if not any(overlap(network, other) for other in self._taken)]
        return next((network for network in free if not self._known(network)), free[0])

    def _candidates(self, interface: str, version: IpVersion) -> Iterator[IPNetwork]:
        rules = [rule for rule in self._facts.rules() if rule.place.line]
        for name, side in (("in-interface", "source"), ("out-interface", "destination")):
            for rule in rules:
                pattern = interface_of(rule, name)
                if pattern is not None and fits(pattern, interface):
                    yield from (one for one in _hosts_there(rule, side) if one.version == version)
        for rule in rules:
            pattern = interface_of(rule, "out-interface")
            if rule.table == "nat" and (pattern is None or fits(pattern, self._facts.outside)):
                yield from (one for one in networks(rule, "source") if one.version == version)
        for named in self._facts.sources:
            if (
                named.network.version == version
                and named.network in networks(named.rule, "source")
                and (named.about_mail or named.network in _hosts_there(named.rule, "source"))
                and has_hosts(named.network)
                and not from_outside(self._facts, named)
            ):
                yield named.network

    def host_in(self, network: IPNetwork) -> IPAddress:
        """An address for a host in a network: the tenth where it is free."""
        if network.prefixlen == network.max_prefixlen:
            return network.network_address
        narrow = narrowed(network)
        first = list(zip(range(64), hosts(narrow), strict=False))
        free = [address for _, address in first if address not in self.used]
        tenth = [address for number, address in first if number == 9 and address not in self.used]
        return (tenth or free or [narrow.network_address])[0]


def _hosts_there(rule: Rule, side: str) -> list[IPNetwork]:
    """The networks that a rule takes for existing ones: what it drops whole does not belong there (RFC 2827)."""
    found = rule.header.option(side)
    if found is None or (blocks(rule) and not found.negated and not names_mail(rule)):
        return []
    return [network for network in networks(rule, side) if has_hosts(network)]


def has_hosts(network: IPNetwork) -> bool:
    """Whether hosts can have addresses of this network at all."""
    first = network.network_address
    special = first.is_loopback or first.is_multicast or first.is_link_local or first.is_unspecified
    return not (special or first.is_reserved or (network.version == 4 and within(network, _THIS_NETWORK)))


def hosts(network: IPNetwork) -> Iterator[IPAddress]:
    """Its addresses for hosts."""
    yield from network.hosts()


def overlap(one: IPNetwork, other: IPNetwork) -> bool:
    """Whether two networks share addresses."""
    return one.version == other.version and one.overlaps(other)


def within(inner: IPNetwork, outer: IPNetwork) -> bool:
    """Whether the first network is a part of the other, or the same."""
    return inner.version == outer.version and inner.prefixlen >= outer.prefixlen and inner.network_address in outer


def narrowed(network: IPNetwork) -> IPNetwork:
    """A network of a usual size: the first /24 (IPv4) or /64 (IPv6) of a large one, that around a small one."""
    size = 24 if network.version == 4 else 64
    if network.prefixlen > size:
        wide = network.max_prefixlen - network.prefixlen >= 2
        return network if wide else ip_network(f"{network.network_address}/{size}", strict=False)
    return ip_network(f"{network.network_address}/{size}")
