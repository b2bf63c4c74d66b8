"""What a target makes of a packet: marks, addresses, TTL, service class, tracking. None where that is not known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address

from port25lab.rules.conditions import NO_CONNECTION
from port25lab.rules.effects import Changes, target_effect
from port25lab.rules.kinds.nat import NatRange
from port25lab.rules.model import Target
from port25lab.rules.packet import Address, Packet


def altered(target: Target, chain: str, packet: Packet) -> Packet:
    """The packet behind a target. ``chain`` is the builtin chain that it is in: NETMAP maps either end."""
    change = _ALTER.get(target.name)
    if change is not None:
        return change(target, chain, packet)
    effect = target_effect(target)
    if effect is None:
        # An unknown target may have changed what later rules look at.
        return replace(packet, mark=None, connmark=None)
    if Changes.MARK in effect.changes:
        return replace(packet, mark=None)
    return packet


def _mark(target: Target, _: str, packet: Packet) -> Packet:
    option = target.option("set-xmark")
    number, mask = option.value if option else (0, 0)
    if option is None or (packet.mark is None and mask != 0xFFFFFFFF):
        return replace(packet, mark=None)
    return replace(packet, mark=((packet.mark or 0) & ~mask & 0xFFFFFFFF) ^ number)


def _connmark(target: Target, _: str, packet: Packet) -> Packet:
    if packet.state in NO_CONNECTION:
        return packet
    if option := target.option("set-xmark"):
        number, mask = option.value
        if packet.connmark is None and mask != 0xFFFFFFFF:
            return packet
        return replace(packet, connmark=((packet.connmark or 0) & ~mask & 0xFFFFFFFF) ^ number)
    saves = target.option("save-mark") is not None
    if target.option("left-shift-mark") or target.option("right-shift-mark"):
        return replace(packet, connmark=None) if saves else replace(packet, mark=None)
    nfmask, ctmask = (option.value if (option := target.option(name)) else 0xFFFFFFFF for name in ("nfmask", "ctmask"))
    if packet.mark is None or packet.connmark is None:
        whole = nfmask == ctmask == 0xFFFFFFFF
        if saves:
            return replace(packet, connmark=packet.mark if whole else None)
        return replace(packet, mark=packet.connmark if whole else None)
    if saves:
        return replace(packet, connmark=(packet.connmark & ~ctmask & 0xFFFFFFFF) ^ (packet.mark & nfmask))
    return replace(packet, mark=(packet.mark & ~nfmask & 0xFFFFFFFF) ^ (packet.connmark & ctmask))


def _tos(target: Target, _: str, packet: Packet) -> Packet:
    option = target.option("set-tos")
    if option is None or (packet.tos is None and option.value.mask != 0xFF):
        return packet
    return replace(packet, tos=((packet.tos or 0) & ~option.value.mask & 0xFF) ^ option.value.value)


def _dscp(target: Target, _: str, packet: Packet) -> Packet:
    option = target.option("set-dscp")
    return packet if option is None or packet.tos is None else replace(packet, tos=option.value << 2 | packet.tos & 3)


def _ttl(target: Target, _: str, packet: Packet) -> Packet:
    for option in target.options:
        if option.name.endswith("-set"):
            return replace(packet, ttl=option.value)
        if packet.ttl is not None:
            step = option.value if option.name.endswith("-inc") else -option.value
            return replace(packet, ttl=min(max(packet.ttl + step, 0), 255))
    return packet


def _untracked(target: Target, _: str, packet: Packet) -> Packet:
    if target.name == "NOTRACK" or target.option("notrack"):
        return replace(packet, state="UNTRACKED", status=frozenset())
    return packet


def _nat(target: Target, chain: str, packet: Packet) -> Packet:
    """SNAT, DNAT, REDIRECT, MASQUERADE: exact where the rule leaves no choice."""
    to_source = target.name in ("SNAT", "MASQUERADE")
    option = next((option for option in target.options if option.name.startswith("to-")), None)
    where: NatRange = option.value if option else NatRange(None, None)
    old_address, old_port = (
        (packet.source, packet.source_port) if to_source else (packet.destination, packet.destination_port)
    )
    address: Address | None
    if target.name in ("MASQUERADE", "REDIRECT"):
        address = None
    elif where.addresses is None:
        address = old_address
    else:
        single = where.addresses.low == where.addresses.high
        size = 4 if where.addresses.version == 4 else 16
        address = ip_address(where.addresses.low.to_bytes(size, "big")) if single else None
    if where.ports is None:
        # A source port may have to give way to another connection's.
        port = None if to_source else old_port
    else:
        port = where.ports.low if where.ports.low == where.ports.high else None
    translated = frozenset({"SNAT" if to_source else "DNAT"})
    status = None if packet.status is None else packet.status | translated
    if to_source:
        return replace(packet, source=address, source_port=port, status=status)
    return replace(packet, destination=address, destination_port=port, status=status)


def _netmap(target: Target, chain: str, packet: Packet) -> Packet:
    option = target.option("to")
    to_source = chain in ("POSTROUTING", "INPUT")
    old = packet.source if to_source else packet.destination
    network = option.value if option else None
    if old is None or not isinstance(network, IPv4Network | IPv6Network):
        new = None
    else:
        new = network.network_address + (int(old) & int(network.hostmask))
    return replace(packet, source=new) if to_source else replace(packet, destination=new)


_ALTER: dict[str, Callable[[Target, str, Packet], Packet]] = {
    "MARK": _mark,
    "CONNMARK": _connmark,
    "TOS": _tos,
    "DSCP": _dscp,
    "TTL": _ttl,
    "HL": _ttl,
    "CT": _untracked,
    "NOTRACK": _untracked,
    "SNAT": _nat,
    "DNAT": _nat,
    "MASQUERADE": _nat,
    "REDIRECT": _nat,
    "NETMAP": _netmap,
    "SET": lambda target, _, packet: replace(packet, mark=None) if target.option("map-mark") else packet,
}
