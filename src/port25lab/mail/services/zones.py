"""The lab's DNS data, built from a plan, and authoritative answers. Pure: no sockets here.

Every name of a node has the node's published addresses, every domain has an MX that points to its node, every published
address a PTR. A zone is a name's last two labels (``example.net``); the names above are in the root zone.
"""

from __future__ import annotations

from collections import defaultdict
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset

from port25lab.model.addresses import IPAddress, IPNetwork
from port25lab.model.plan import NodePlan, Plan
from port25lab.model.service_kinds import SERVICE_KINDS, Role

TTL = 60

LISTED = "127.0.0.2"
"""The answer of a blocklist for an address that it lists (RFC 5782 section 2.1)."""

REVERSE = ("in-addr.arpa.", "ip6.arpa.")

_IN = dns.rdataclass.IN

_NOT_ANSWERED = frozenset({dns.rdatatype.AXFR, dns.rdatatype.IXFR})


class Zones:
    """All zones of a lab."""

    def __init__(self, plan: Plan) -> None:
        self._records: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
        """By name and kind: values as a zone file has them. Few of them are ever asked for, and parsed then."""
        self._parsed: dict[tuple[str, str], dns.rdataset.Rdataset] = {}
        self._names: set[str] = set()
        self._apexes: set[str] = set()
        self._servers = [node.hostname for node in plan.nodes.values() if _serves_dns(node)]
        for apex in (".", *REVERSE):
            self._add_zone(apex)
        self._blocklists: dict[dns.name.Name, tuple[IPNetwork, ...]] = {}
        mail: dict[str, int] = defaultdict(int)
        for node in plan.nodes.values():
            self._add_node(node)
            for service in node.services:
                for zone, members in service.get("blocklists", {}).items():
                    self._add_zone(_key(zone))
                    self._blocklists[dns.name.from_text(zone)] = plan.sets[members]
            for domain in dict.fromkeys(map(str.lower, node.domains)):
                # A domain with several nodes prefers them in the plan's order.
                mail[domain] += 10
                self.add(domain, "MX", f"{mail[domain]} {node.hostname}.")

    def add(self, name: str, kind: str, value: str) -> None:
        """Add one record, and the zone that it belongs to; ``value`` as a zone file has it."""
        owner = _key(name)
        if not any(_is_below(owner, apex) for apex in REVERSE):
            self._add_zone(".".join(owner.split(".")[-3:]))
        self._put(owner, kind, value)

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """The authoritative answer to a query with one question of class IN."""
        answer = dns.message.make_response(query, our_payload=1232)
        asked = query.question[0]
        if asked.rdtype in _NOT_ANSWERED:
            answer.set_rcode(dns.rcode.REFUSED)
            return answer
        answer.flags |= dns.flags.AA
        self._look_up_in_blocklists(asked.name)
        name = _key(asked.name.to_text())
        kinds = self._records.get(name, {})
        kind = dns.rdatatype.to_text(asked.rdtype)
        wanted = list(kinds) if asked.rdtype == dns.rdatatype.ANY else [kind] if kind in kinds else []
        answer.answer = [self._rrset(asked.name, name, kind) for kind in wanted]
        if not wanted:
            # An existing name without such a record has its rcode NOERROR (RFC 2308 section 2.2).
            answer.set_rcode(dns.rcode.NOERROR if name in self._names else dns.rcode.NXDOMAIN)
            apex = self._apex(name)
            answer.authority = [self._rrset(dns.name.from_text(apex), apex, "SOA")]
        return answer

    def _look_up_in_blocklists(self, name: dns.name.Name) -> None:
        """Add the records of a listed address (RFC 5782 section 2.1) when it is asked for: a set may be very large."""
        for zone, networks in self._blocklists.items():
            address = _address_in(name, zone)
            if address is not None and any(address in network for network in networks):
                self._put(_key(name.to_text()), "A", LISTED)
                self._put(_key(name.to_text()), "TXT", '"dynamic address space"')

    def _add_node(self, node: NodePlan) -> None:
        names = node.names or ((node.hostname,) if node.services else ())
        for name in (*names, *node.aliases):
            for address in node.published:
                self.add(name, "AAAA" if address.version == 6 else "A", str(address))
        for address in node.published if names else ():
            self.add(address.reverse_pointer, "PTR", f"{node.hostname}.")

    def _rrset(self, owner: dns.name.Name, name: str, kind: str) -> dns.rrset.RRset:
        """The records of one kind. ``owner``: the name as it was asked for."""
        rdataset = self._parsed.get((name, kind))
        if rdataset is None:
            rdtype = dns.rdatatype.from_text(kind)
            rdataset = self._parsed[name, kind] = dns.rdataset.Rdataset(_IN, rdtype, ttl=TTL)
            for value in self._records[name][kind]:
                rdataset.add(dns.rdata.from_text(_IN, rdtype, value))
        return dns.rrset.from_rdata_list(owner, TTL, list(rdataset))

    def _add_zone(self, apex: str) -> None:
        if apex in self._apexes:
            return
        self._apexes.add(apex)
        primary = self._servers[0] if self._servers else "localhost"
        self._put(apex, "SOA", f"{primary}. hostmaster.{primary}. 1 3600 600 86400 {TTL}")
        for server in self._servers:
            self._put(apex, "NS", f"{server}.")

    def _put(self, owner: str, kind: str, value: str) -> None:
        values = self._records[owner][kind]
        if value not in values:
            values[value] = None
            self._parsed.pop((owner, kind), None)
        # A name exists when one below it does (RFC 8020).
        while owner not in self._names:
            self._names.add(owner)
            owner = _parent(owner)

    def _apex(self, name: str) -> str:
        while name not in self._apexes:
            name = _parent(name)
        return name


def _key(name: str) -> str:
    """A name as the records have it: absolute, in small letters."""
    return name.lower().rstrip(".") + "."


def _parent(name: str) -> str:
    return name.partition(".")[2] or "."


def _is_below(name: str, apex: str) -> bool:
    return name == apex or name.endswith(f".{apex}")


def _address_in(name: dns.name.Name, zone: dns.name.Name) -> IPAddress | None:
    """The address in a blocklist query: ``25.2.0.192.dnsbl.example``; of IPv6, 32 hexadecimal digits likewise."""
    if not name.is_subdomain(zone):
        return None
    parts = name.relativize(zone).to_text().split(".")[::-1]
    text = ".".join(parts) if len(parts) == 4 else ":".join("".join(parts[at : at + 4]) for at in range(0, 32, 4))
    try:
        return ip_address(text)
    except ValueError:
        return None


def _serves_dns(node: NodePlan) -> bool:
    return any(SERVICE_KINDS[service["kind"]].role is Role.AUTHORITY for service in node.services)
