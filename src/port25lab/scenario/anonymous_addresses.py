"""Public addresses mapped into the ranges for documentation (RFC 5737, RFC 3849, RFC 2544).

The map is one to one and keeps which network contains which: a rule matches after it what it matched before. Networks
keep their lengths and hosts their last bits as far as there is room; where there is not, the largest networks become
smaller. What is private or special stays, and so do networks that contain such addresses.

``learn`` all addresses of a text, ``settle``, then ask.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from port25lab.model.addresses import IPAddress

IpVersion = Literal[4, 6]

_STAYS = {
    4: (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "224.0.0.0/3",
    ),
    6: ("::/3", "4000::/2", "8000::/1", "2002::/16"),
}
_ROOM = {4: ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15"), 6: ("2001:db8::/32",)}
_BITS = {4: 32, 6: 128}
_UNIT = {4: 24, 6: 64}
"""Length of the networks that stay together: a host is in one of that length."""
_CARRIERS = ((112, 0x2002, 80), (32, 0x64FF9B << 64, 0), (32, 0xFFFF, 0))
"""IPv6 addresses that carry one of IPv4: 6to4 (RFC 3056), NAT64 (RFC 6052), mapped ones (RFC 4291). How far to shift to
see that it is one, what is then seen, and how far the IPv4 address is shifted.
"""

_Ranges = tuple[tuple[int, int], ...]
"""First and last address of each."""


def _ranges(texts: Iterable[str]) -> _Ranges:
    networks = [ipaddress.ip_network(text) for text in texts]
    return tuple((int(network[0]), int(network[-1])) for network in networks)


_STAY_RANGES = {version: _ranges(texts) for version, texts in _STAYS.items()}
_ROOM_RANGES = {version: _ranges(texts) for version, texts in _ROOM.items()}


class NoRoomError(Exception):
    """The documentation ranges are too small for the addresses of a text."""


@dataclass
class _Node:
    """A network that the text names, or that hosts of it are in."""

    value: int
    length: int
    rigid: bool = False
    """Whether its size has to stay: a range of addresses lies in it."""
    children: list[_Node] = field(default_factory=list)
    order: int = 0
    size: int = 0
    base: int = 0


class _Family:
    """The map of one IP version."""

    def __init__(self, version: IpVersion) -> None:
        self._version, self._bits, self._unit = version, _BITS[version], _UNIT[version]
        self._nodes: dict[tuple[int, int], _Node] = {}

    def maps(self, value: int, length: int) -> bool:
        """Whether a network is replaced: it is neither special nor contains what is."""
        last = value | ((1 << (self._bits - length)) - 1)
        return all(last < start or value > end for start, end in _STAY_RANGES[self._version])

    def learn(self, value: int, length: int, *, rigid: bool = False) -> None:
        value = self._cut(value, length)
        if not self.maps(value, length):
            return
        if length > self._unit:
            self.learn(value, self._unit)
        node = self._nodes.setdefault((value, length), _Node(value, length, order=len(self._nodes)))
        node.rigid |= rigid

    def settle(self) -> None:
        tops = self._tree()
        if self._fits(tops, self._bits):  # as small as can be
            next(most for most in range(self._shortest(), self._bits + 1) if self._fits(tops, most))
            return
        raise NoRoomError("has more public addresses than the documentation ranges have")

    def _fits(self, tops: list[_Node], most: int) -> bool:
        """Give each network its size and place, none larger than of this length. Returns whether there is room."""
        for node in tops:
            self._measure(node, most)
        return self._place(tops)

    def address(self, value: int) -> int:
        """What a learned address becomes."""
        if not self.maps(value, self._bits):
            return value
        node = self._nodes[value, self._bits]
        return node.base

    def network(self, value: int, length: int) -> tuple[int, int]:
        """What a learned network becomes, with its length."""
        if not self.maps(self._cut(value, length), length):
            return value, length
        node = self._nodes[self._cut(value, length), length]
        return node.base, self._bits - (node.size.bit_length() - 1)

    def _cut(self, value: int, length: int) -> int:
        return value >> (self._bits - length) << (self._bits - length)

    def _shortest(self) -> int:
        return self._bits - max(end - start + 1 for start, end in _ROOM_RANGES[self._version]).bit_length() + 1

    def _tree(self) -> list[_Node]:
        """The networks that no other contains; each has those that it contains as children."""
        tops: list[_Node] = []
        path: list[_Node] = []
        for node in sorted(self._nodes.values(), key=lambda node: (node.value, node.length)):
            while path and self._cut(node.value, path[-1].length) != path[-1].value:
                path.pop()
            (path[-1].children if path else tops).append(node)
            path.append(node)
        return sorted(tops, key=lambda node: node.order)

    def _measure(self, node: _Node, most: int) -> None:
        """Find the number of addresses that a network gets if none but rigid ones is larger than of this length."""
        own = 1 << (self._bits - node.length)
        for child in node.children:
            self._measure(child, most)
        needed = sum(child.size for child in node.children)
        if any(child.size == needed for child in node.children):
            needed *= 2  # a network stays larger than the one that it contains
        size = 1 << (max(needed, 1) - 1).bit_length()
        node.size = own if node.rigid or own <= size else max(size, min(own, 1 << (self._bits - most)))

    def _place(self, tops: list[_Node]) -> bool:
        """Give each network its place. Returns whether there is room for all."""
        free = [[start, end + 1] for start, end in _ROOM_RANGES[self._version]]
        for node in sorted(tops, key=lambda node: (-node.size, node.order)):
            for gap in free:  # sizes fall and are powers of two, so each place is aligned
                if gap[1] - gap[0] >= node.size and gap[0] % node.size == 0:
                    self._settle_at(node, gap[0])
                    gap[0] += node.size
                    break
            else:
                return False
        return True

    def _settle_at(self, node: _Node, base: int) -> None:
        node.base = base
        if node.size == 1 << (self._bits - node.length):  # all that is in it keeps its place
            for child in node.children:
                child.size = 1 << (self._bits - child.length)
                self._settle_at(child, base + child.value - node.value)
            return
        for child in sorted(node.children, key=lambda child: (-child.size, child.value)):
            self._settle_at(child, base)
            base += child.size


class AddressMap:
    """The map of both IP versions."""

    def __init__(self) -> None:
        self._families: dict[int, _Family] = {4: _Family(4), 6: _Family(6)}
        self._mac: Callable[[str], str] = str

    def learn(self, first: IPAddress, length: int | None, last: IPAddress | None) -> None:
        """Take note of an address: alone, in a network of this length, or as the first of a range."""
        family, bits = self._families[first.version], first.max_prefixlen
        family.learn(int(first), bits)
        if carried := _carried(first):
            self._families[4].learn(carried[0], 32)
        if length is not None:
            family.learn(int(first), length)
        if last is not None:
            family.learn(int(last), bits)
            common = bits - (int(first) ^ int(last)).bit_length()
            family.learn(int(first), common, rigid=True)

    def settle(self, mac: Callable[[str], str]) -> None:
        """Make the map. ``mac`` replaces a MAC address, also where an address was made of it. Raises NoRoomError."""
        self._mac = mac
        for family in self._families.values():
            family.settle()

    def length(self, address: IPAddress, length: int) -> int:
        """The length that a network gets."""
        return self._families[address.version].network(int(address), length)[1]

    def address(self, address: IPAddress, length: int | None = None) -> IPAddress:
        """What an address becomes; one of a network of this length may be the network's own."""
        value = int(address)
        if carried := _carried(address):
            old, shift = carried
            return ipaddress.IPv6Address(value ^ (old << shift) ^ (self._families[4].address(old) << shift))
        if address.version == 4:
            return ipaddress.IPv4Address(self._new(address, length))
        new = self._new(address, length)
        return ipaddress.IPv6Address(new if length not in (None, 128, 64) else self._without_mac(new, value))

    def _new(self, address: IPAddress, length: int | None) -> int:
        family, value = self._families[address.version], int(address)
        if length is not None and value & ((1 << (address.max_prefixlen - length)) - 1) == 0:
            return family.network(value, length)[0]
        return family.address(value)

    def _without_mac(self, new: int, old: int) -> int:
        """An interface identifier that was made of a MAC address (RFC 4291, appendix A) is made of the new one."""
        identifier = (old & ((1 << 64) - 1)).to_bytes(8, "big")
        if identifier[3:5] != b"\xff\xfe" or new & ((1 << 64) - 1) != old & ((1 << 64) - 1):
            return new
        octets = bytes([identifier[0] ^ 2, *identifier[1:3], *identifier[5:]])
        made = bytes.fromhex(self._mac(":".join(f"{octet:02x}" for octet in octets)).replace(":", ""))
        fresh = bytes([made[0] ^ 2, *made[1:3], 0xFF, 0xFE, *made[3:]])
        return new >> 64 << 64 | int.from_bytes(fresh, "big")


def _carried(address: IPAddress) -> tuple[int, int] | None:
    """The IPv4 address in one of IPv6, and how far it is shifted."""
    if address.version == 6:
        for seen_at, sign, shift in _CARRIERS:
            if int(address) >> seen_at == sign and (int(address) >> shift) & 0xFFFFFFFF:
                return (int(address) >> shift) & 0xFFFFFFFF, shift
    return None
