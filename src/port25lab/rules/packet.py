"""One packet as rules see it. None stands for what is not known; a rule that asks for it has two answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from port25lab.rules.kinds.packet import TCP_FLAGS
from port25lab.rules.model import Family

Address = IPv4Address | IPv6Address
SYN = TCP_FLAGS["SYN"]
ACK = TCP_FLAGS["ACK"]
RST = TCP_FLAGS["RST"]

NO_INTERFACE = ""
"""A packet that comes from the machine itself, or whose way is not settled yet."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet, and what the kernel knows of it. ``None``: not known."""

    family: Family
    source: Address | None
    destination: Address | None
    protocol: int | None = 6
    source_port: int | None = None
    destination_port: int | None = None
    in_interface: str | None = NO_INTERFACE
    out_interface: str | None = NO_INTERFACE
    tcp_flags: int | None = SYN
    """Bits FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32."""
    tcp_options: frozenset[int] | None = None
    """Numbers of the TCP options that it has."""
    mss: int | None = None
    icmp: tuple[int, int] | None = None
    """Type and code."""
    fragment_offset: int = 0
    """In bytes; another than 0 is no first fragment, and has no ports."""
    ttl: int | None = None
    """Or the hop limit."""
    tos: int | None = 0
    """The whole byte: DSCP and ECN."""
    length: int | None = None
    """Of the IP packet; for IPv6 with its header."""
    payload: bytes | None = None
    """All that follows the IP header."""
    state: str | None = "NEW"
    """Of its connection: NEW, ESTABLISHED, RELATED, INVALID or UNTRACKED."""
    status: frozenset[str] | None = frozenset({"NONE"})
    """``EXPECTED``, ``SEEN_REPLY``, ``ASSURED``, ``CONFIRMED``, ``SNAT``, ``DNAT``."""
    direction: str | None = "ORIGINAL"
    """ORIGINAL or REPLY."""
    mark: int | None = 0
    connmark: int | None = 0
    mac_source: str | None = None
    bridge_in: str | None = NO_INTERFACE
    bridge_out: str | None = NO_INTERFACE
    user: int | None = None
    group: int | None = None
    packet_type: str | None = "unicast"
    source_type: str | None = None
    """UNICAST, LOCAL, BROADCAST, MULTICAST …"""
    destination_type: str | None = None


Sets = Callable[[str, tuple[str, ...], Packet], bool | None]
"""Whether a packet is in a set: the set's name, which ends are looked up, the packet. None: not known."""


def sets_of(members: Mapping[str, Iterable[Any]]) -> Sets:
    """Membership in sets of networks or addresses; a set that is not named is not known.

    Only sets that are asked about one end (``src`` or ``dst``) can be answered so.
    """
    known = {name: tuple(networks) for name, networks in members.items()}

    def look_up(name: str, ends: tuple[str, ...], packet: Packet) -> bool | None:
        networks = known.get(name)
        address = packet.source if ends == ("src",) else packet.destination if ends == ("dst",) else None
        if networks is None or address is None:
            return None
        return any(
            address in network if hasattr(network, "__contains__") else address == network for network in networks
        )

    return look_up


def no_sets(name: str, ends: tuple[str, ...], packet: Packet) -> bool | None:
    """Nothing is known of any set."""
    return None
