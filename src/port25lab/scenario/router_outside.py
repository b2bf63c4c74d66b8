"""Which interface of a router is the one outside, and by what that is told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from port25lab.model.addresses import IPAddress
from port25lab.model.plan import NOT_PUBLISHED
from port25lab.model.snapshot import Snapshot, SnapshotInterface
from port25lab.rules import Place, Rule
from port25lab.scenario.mail_rules import blocks, fits, interface_of

_OUTSIDE_NAMES = re.compile(r"(ppp|pppoe|wan|wwan|wlp|dsl|ext|inet|internet|uplink|public|world|red)", re.IGNORECASE)

_LAST_IPV4 = 2**32 - 1

_MOST_COUNTED = 9
"""Rules that translate there, as many as count."""

VIRTUAL_NAMES = re.compile(r"(docker|br-[0-9a-f]{12}$|virbr|lxc|lxd|veth|vnet|cni|flannel|podman|tun|tap|wg)")
"""Interfaces behind which machines or tunnels of the router itself are."""

_FIRST_NAMES = ("eth0", "ens3", "enp0s3", "enp1s0", "ens18")


def outside_interface(
    ports: Iterable[SnapshotInterface], snapshot: Snapshot, rules: Iterable[Rule], inside: set[str]
) -> tuple[str, str]:
    """The interface towards the internet, and why."""
    default = {route.interface for route in snapshot.routes if not route.to.prefixlen}
    rules = list(rules)
    translating = [rule for rule in rules if rule.target is not None and rule.target.name in ("MASQUERADE", "SNAT")]
    best, most, why = "", -1000, ""
    for port in ports:
        if port.name in inside or port.master is not None:
            continue
        score, reasons = 0, list[str]()
        if port.name in default:
            score, reasons = score + 100, [*reasons, "the default route leads there"]
        there = [rule for rule in translating if fits(interface_of(rule, "out-interface") or "", port.name)]
        public = next((rule for rule in there if _is_public(snat_address(rule))), None)
        if there:
            score += 50 + 15 * (public is not None) + min(len(there), _MOST_COUNTED)
            reasons.append(f"{(public or there[0]).place} translates there")
        if _OUTSIDE_NAMES.match(port.name):
            score, reasons = score + 20, [*reasons, "its name"]
        if any(not is_private(address.ip) for address in port.addresses if not address.is_link_local):
            score, reasons = score + 10, [*reasons, "its public address"]
        outwards, inwards = _told_by_rules(port.name, rules)
        if outwards is not None:
            reasons = reasons if score >= 20 else [*reasons, f"{outwards} takes it for outside"]
            score += 5
        if inwards is not None or VIRTUAL_NAMES.match(port.name):
            score -= 7
        if port.name in _FIRST_NAMES:
            score += 1
        if score > most:
            best, most, why = port.name, score, ", ".join(reasons) or "nothing says otherwise"
    return best, why


def snat_address(rule: Rule) -> IPAddress | None:
    """The first address to which a rule translates senders; None: it does not, or to the interface's own."""
    to = rule.target.option("to-source") if rule.target is not None else None
    if to is None or to.value.addresses is None:
        return None
    low: int = to.value.addresses.low
    return IPv6Address(low) if low > _LAST_IPV4 else IPv4Address(low)


def _is_public(address: IPAddress | None) -> bool:
    return address is not None and not is_private(address)


def _told_by_rules(name: str, rules: Iterable[Rule]) -> tuple[Place | None, Place | None]:
    """Rules that take an interface for the one outside, and for one inside: one of each kind, or None.

    Outside is where private sources are dropped, and where all destinations may be; inside is where a rule accepts
    private sources alone, or drops all others.
    """
    outwards: Place | None = None
    inwards: Place | None = None
    for rule in rules:
        into, onwards = interface_of(rule, "in-interface"), interface_of(rule, "out-interface")
        source = rule.header.option("source")
        if into is not None and fits(into, name) and source is not None and rule.chain != "INPUT":
            if all(is_private(network.network_address) for network in source.values):
                if blocks(rule) is source.negated:
                    inwards = inwards or rule.place
                elif blocks(rule) and rule.header.option("destination") is None and not rule.matches:
                    outwards = outwards or rule.place
        elif (
            onwards is not None
            and fits(onwards, name)
            and into is not None
            and not blocks(rule)
            and rule.table == "filter"
            and rule.header.option("destination") is None
            and not any(rule.uses(module) for module in ("conntrack", "state", "set"))
        ):
            outwards = outwards or rule.place
    return outwards, inwards


def is_private(address: IPAddress) -> bool:
    """Whether an address belongs to no host of the internet: RFC 1918, RFC 6598 (CGN), RFC 4193, link-local."""
    return address.is_link_local or any(address in block for block in NOT_PUBLISHED if block.version == address.version)
