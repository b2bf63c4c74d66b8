"""What rules and a snapshot say of a router: its interfaces, which of them is outside, its networks, who is named.

In: a ``Snapshot``. Out: ``RouterFacts``, with a reason in words for each thing that was inferred. Pure.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import ip_address, ip_network, summarize_address_range

from port25lab.model.addresses import IPAddress, IPInterface, IPNetwork
from port25lab.model.snapshot import Snapshot, SnapshotInterface
from port25lab.rules import BUILTIN_CHAINS, Family, Packet, Place, Rule, Ruleset, Source, decode, stack, walk
from port25lab.scenario.mail_rules import (
    MAIL_PORTS,
    chains_of_mail,
    fits,
    interface_of,
    mail_ports,
    names_mail,
    networks,
    reached,
)
from port25lab.scenario.router_outside import VIRTUAL_NAMES, is_private, outside_interface, snat_address

FORWARDING = "net.ipv4.ip_forward"

RuleKey = tuple[str, str, int]
"""Table, chain and number of a rule."""

VERSION: Mapping[Family, int] = {"ip": 4, "ip6": 6}


@dataclass(frozen=True)
class Named:
    """Hosts that a mail rule names by network or set."""

    name: str
    network: IPNetwork
    rule: Rule
    source: bool
    """The rule names them as senders; otherwise as destinations."""
    forwarded: bool = False
    """The rule sends connections from outside there (port forwarding)."""
    about_mail: bool = True
    """False: the rule is about all of TCP, such as a list of banned hosts."""


@dataclass(frozen=True)
class RouterFacts:
    """What is known of the router."""

    rulesets: Mapping[Family, Ruleset]
    interfaces: tuple[SnapshotInterface, ...]
    outside: str
    outside_why: str
    inside: tuple[str, ...]
    translates: frozenset[int]
    """IP versions whose sources are translated on the way out."""
    sources: tuple[Named, ...]
    destinations: tuple[Named, ...]
    forwards: bool = True
    """False: it is a host: it forwards nothing, by its sysctl or by its rules."""
    more: tuple[Ruleset, ...] = ()
    """Other rules of the same router, with which it has to be comparable."""

    def interface(self, name: str) -> SnapshotInterface:
        """An interface by its name."""
        return next(port for port in self.interfaces if port.name == name)

    def rules(self) -> Iterator[Rule]:
        """All rules of both families."""
        for ruleset in self.all_rulesets():
            yield from ruleset.rules()

    @cached_property
    def for_router_alone(self) -> frozenset[tuple[Place, RuleKey]]:
        """The rules that packets for the router itself alone can meet, each by its line and its address."""
        return frozenset(
            (rule.place, rule.key)
            for ruleset in self.all_rulesets()
            for table in ruleset.tables.values()
            if "INPUT" in table.chains
            for others in (reached(ruleset, table.name, [n for n in BUILTIN_CHAINS[table.name] if n != "INPUT"]),)
            for rule in table.rules()
            if rule.chain not in others
        )

    def own_rules(self) -> Iterator[Rule]:
        """The rules of both families, without those of other versions."""
        for ruleset in self.rulesets.values():
            yield from ruleset.rules()

    def all_rulesets(self) -> tuple[Ruleset, ...]:
        """Those of both families, and of other versions."""
        return *self.rulesets.values(), *self.more


def read_router(snapshot: Snapshot, outside: str | None = None, inside: Iterable[str] = ()) -> RouterFacts:
    """Read the rules, and infer the router's shape.

    ``outside``: the interface that the user names as outside. ``inside``: those that the user names as inside. Raises
    InputError with the line where iptables would refuse the rules.
    """
    rulesets = {family: _ruleset(snapshot, family) for family in VERSION if _parts(snapshot, family)}
    rules = [rule for ruleset in rulesets.values() for rule in ruleset.rules()]
    named = list(dict.fromkeys([outside] * bool(outside) + [*inside]))
    ports = _interfaces(snapshot, rules, [name for name in named if name])
    chosen, why = (outside, "named by --outside") if outside else outside_interface(ports, snapshot, rules, set(inside))
    others = tuple(port.name for port in ports if port.name != chosen and _leads_inside(port, snapshot, rules))
    translates = frozenset(
        VERSION[family]
        for family, ruleset in rulesets.items()
        if any(rule.target and rule.target.name in ("MASQUERADE", "SNAT") for rule in ruleset.rules())
    )
    sets = {one.name: one.members for one in snapshot.sets}
    found = [one for family, ruleset in rulesets.items() for one in _named(family, ruleset, sets, chosen)]
    return RouterFacts(
        rulesets=rulesets,
        interfaces=ports,
        outside=chosen,
        outside_why=why,
        inside=others,
        translates=translates,
        sources=_once(one for one in found if one.source),
        destinations=_once(one for one in found if not one.source),
        forwards=_forwards(snapshot, rulesets),
    )


def _forwards(snapshot: Snapshot, rulesets: Mapping[Family, Ruleset]) -> bool:
    """Whether it is a router: nothing says that it forwards no packets, and some new connection may pass its rules."""
    if (said := snapshot.sysctls.get(FORWARDING)) is not None:
        return said != "0"
    ruleset = rulesets.get("ip") or rulesets.get("ip6")
    if ruleset is None or len([port for port in snapshot.interfaces if port.name != "lo"]) > 1:
        return True
    if any(rule.table == "nat" and rule.target is not None for rule in ruleset.rules()):
        return True
    return any(walk(ruleset, syn, "forward").passes is not False for syn in _new_connections(ruleset.family))


def _new_connections(family: Family) -> Iterator[Packet]:
    for port in (*MAIL_PORTS, None):
        yield Packet(family, None, None, destination_port=port, in_interface=None, out_interface=None)


def _leads_inside(port: SnapshotInterface, snapshot: Snapshot, rules: Iterable[Rule]) -> bool:
    """Whether hosts are behind an interface: bridge ports, and what has no address and is in no rule, carry others."""
    if port.master is not None:
        return False
    if port.name not in {known.name for known in snapshot.interfaces} or any(
        not address.is_link_local for address in port.addresses
    ):
        return True
    return any(
        option is not None and option.value != "+" and fits(str(option.value), port.name)
        for rule in rules
        for option in (rule.header.option("in-interface"), rule.header.option("out-interface"))
    )


def together(new: RouterFacts, old: RouterFacts) -> RouterFacts:
    """One shape for two versions of a router's rules: what either of them names."""
    interfaces = {port.name: port for port in (*old.interfaces, *new.interfaces)}
    order = dict.fromkeys(port.name for port in (*new.interfaces, *old.interfaces))
    return replace(
        new,
        interfaces=tuple(interfaces[name] for name in order),
        inside=tuple(name for name in dict.fromkeys((*new.inside, *old.inside)) if name != new.outside),
        translates=new.translates | old.translates,
        sources=_once((*new.sources, *old.sources)),
        destinations=_once((*new.destinations, *old.destinations)),
        forwards=new.forwards or old.forwards,
        more=tuple(old.rulesets.values()),
    )


def made_up(set_name: str, family: Family) -> IPNetwork:
    """The only member of a set whose members are not known: always the same for the same name."""
    number = 1 + zlib.crc32(set_name.encode()) % 0xFFF0
    return ip_network(f"198.19.{number >> 8}.{number & 0xFF}" if family == "ip" else f"2001:db8:f000::{number:x}")


def from_outside(facts: RouterFacts, named: Named) -> bool:
    """Whether a rule names senders outside: it is about what comes from there, or for the router alone."""
    if named.forwarded or not named.source:
        return False
    address = named.network.network_address
    for name in facts.inside:
        if any(address in own.network for own in facts.interface(name).addresses if own.version == address.version):
            return False
    pattern = interface_of(named.rule, "in-interface")
    if pattern is not None:
        return fits(pattern, facts.outside) and not any(fits(pattern, name) for name in facts.inside)
    return (named.rule.place, named.rule.key) in facts.for_router_alone


def no_names(_name: str, version: int) -> tuple[int, ...]:
    """Any address for a host name: this machine's DNS is not asked about a router's rules."""
    return (1,) if version else ()


def _parts(snapshot: Snapshot, family: Family) -> list[Source]:
    parts = [part for part in snapshot.rules if part.family == family]
    return [Source(decode(part.content), str(part.file), noflush=number > 0) for number, part in enumerate(parts)]


def _ruleset(snapshot: Snapshot, family: Family) -> Ruleset:
    return stack(_parts(snapshot, family), family, resolver=no_names)


def _interfaces(snapshot: Snapshot, rules: Iterable[Rule], named: Iterable[str]) -> tuple[SnapshotInterface, ...]:
    """The snapshot's interfaces; and those that rules or the user name, where there are none of that name."""
    found = {port.name: port for port in snapshot.interfaces if port.name != "lo"}
    patterns = [*named]
    for rule in rules:
        for option in ("in-interface", "out-interface"):
            one = rule.header.option(option)
            if one is not None and one.value not in ("lo", "+"):
                patterns.append(str(one.value))
    exact = [pattern for pattern in patterns if not pattern.endswith("+")]
    for pattern in dict.fromkeys(patterns):
        known = any(fits(pattern, name) for name in (*found, *(one for one in exact if one != pattern)))
        if not known and not (snapshot.interfaces and pattern not in named):
            name = f"{pattern[:-1]}0" if pattern.endswith("+") else pattern
            found[name] = SnapshotInterface(name=name)
    virtual = all(VIRTUAL_NAMES.match(name) for name in found)
    for spare in ("eth0", "eth1"):
        if (len(found) < 2 or (virtual and not snapshot.interfaces and spare == "eth0")) and spare not in found:
            found[spare] = SnapshotInterface(name=spare)
    return tuple(found.values())


def _named(family: Family, ruleset: Ruleset, sets: Mapping[str, tuple[str, ...]], outside: str) -> Iterator[Named]:
    of_mail = chains_of_mail(ruleset)
    for rule in ruleset.rules():
        if not mail_ports(rule):
            continue
        if (target := _forwarded_to(rule, VERSION[family])) is not None:
            pattern = interface_of(rule, "in-interface")
            forwarded = pattern is None or fits(pattern, outside)
            inside = forwarded or is_private(target.network_address)
            yield Named(_name(target), target, rule, source=inside, forwarded=forwarded)
        about_mail = names_mail(rule) or (rule.table, rule.chain) in of_mail
        for option, source in (("source", True), ("destination", False)):
            for network in networks(rule, option):
                if about_mail or (source and rule.table == "filter"):
                    yield Named(_name(network), network, rule, source, about_mail=about_mail)
        for match in rule.matches:
            for one in match.options:
                if match.module == "iprange" and about_mail:
                    first = ip_network(_address(one.value.low, VERSION[family]))
                    yield Named(_name(first), first, rule, source=one.name == "src-range")
                if match.module == "set" and one.name == "match-set" and about_mail:
                    known = sets.get(one.value.name)
                    member = _member(known, VERSION[family]) if known is not None else made_up(one.value.name, family)
                    if member is not None:
                        yield Named(one.value.name, member, rule, one.value.ends[0] == "src")


def _forwarded_to(rule: Rule, version: int) -> IPNetwork | None:
    """The host to which a rule forwards a port for mail."""
    to = rule.target.option("to-destination") if rule.target is not None and names_mail(rule) else None
    if to is None or to.value.addresses is None:
        return None
    return ip_network(_address(to.value.addresses.low, version))


def _name(network: IPNetwork) -> str:
    single = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if single else str(network)


def _member(members: Iterable[str], version: int) -> IPNetwork | None:
    """The first member of a set that is an address or network of this IP version."""
    for member in members:
        try:
            network = ip_network(re.split(r"[ ,]", member, maxsplit=1)[0], strict=False)
        except ValueError:
            continue
        if network.version == version:
            return network
    return None


def _once(named: Iterable[Named]) -> tuple[Named, ...]:
    """Each group by the first rule that names it; by a rule that forwards a port to it, where there is one."""
    found: dict[tuple[str, int], Named] = {}
    for one in named:
        key = (one.name, one.network.version)
        if key not in found or (one.forwarded and not found[key].forwarded):
            found[key] = one
    return tuple(found.values())


def unlike_first(named: Iterable[Named]) -> list[Named]:
    """The same in the order in which they deserve a host.

    What is about mail comes first; and of rules that differ in the named hosts alone, the first of each kind.
    """
    seen: Counter[object] = Counter()
    found: list[tuple[bool, int, Named]] = []
    for one in named:
        rule = one.rule
        others = tuple(option.text for option in rule.header.options if option.name not in ("source", "destination"))
        matches = tuple(match.text for match in rule.matches if match.module not in ("set", "iprange"))
        kind = (rule.table, rule.chain, others, matches, rule.target and rule.target.text, one.network.version)
        found.append((not one.about_mail, seen[kind], one))
        seen[kind] += 1
    return [one for _, _, one in sorted(found, key=lambda entry: entry[:2])]


def own_address(port: SnapshotInterface, version: int) -> IPInterface | None:
    """The first address of an interface, link-local ones left out."""
    return next(
        (address for address in port.addresses if address.version == version and not address.is_link_local), None
    )


def translated_source(facts: RouterFacts, version: int) -> IPAddress | None:
    """The address that rules give as the router's own: of SNAT, or as the destination of what comes from outside."""
    for family, ruleset in facts.rulesets.items():
        own = list(ruleset.rules()) if VERSION[family] == version else []
        translating = [(rule, address) for rule in own if (address := snat_address(rule)) is not None]
        for rule, address in translating:
            if fits(interface_of(rule, "out-interface") or "", facts.outside):
                return address
        for rule, address in translating:
            if interface_of(rule, "out-interface") is None and not is_private(address):
                return address
        for rule in own:
            pattern = interface_of(rule, "in-interface")
            if pattern is not None and fits(pattern, facts.outside) and rule.table == "nat":
                for network in networks(rule, "destination"):
                    if network.prefixlen == network.max_prefixlen:
                        return network.network_address
    return None


def translated(facts: RouterFacts) -> Iterator[IPNetwork]:
    """Networks for which the router answers although they are on none of its interfaces: of SNAT, and before DNAT."""
    for family, ruleset in ((family, one) for one in facts.all_rulesets() for family in (one.family,)):
        version = VERSION[family]
        for rule in ruleset.rules():
            if rule.table != "nat" or rule.target is None:
                continue
            to = rule.target.option("to-source") or rule.target.option("to")
            if to is not None and getattr(to.value, "addresses", None) is not None:
                pool = to.value.addresses
                yield from summarize_address_range(_address(pool.low, version), _address(pool.high, version))
            if rule.target.name in ("DNAT", "NETMAP", "REDIRECT"):
                yield from networks(rule, "destination")


def _address(number: int, version: int) -> IPAddress:
    return ip_address(number.to_bytes(4 if version == 4 else 16))
