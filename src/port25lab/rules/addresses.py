"""Addresses, networks and interfaces."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import lru_cache
from typing import NamedTuple

from port25lab.rules.model import Family
from port25lab.rules.values import Context, Read, RefusedError, bounded


class MaskedAddress(NamedTuple):
    """An address under a mask with gaps, such as ``10.0.12.0/255.0.255.0``."""

    version: int
    address: int
    mask: int

    def __contains__(self, address: object) -> bool:
        return int(address) & self.mask == self.address  # type: ignore[call-overload,no-any-return]


Network = ipaddress.IPv4Network | ipaddress.IPv6Network | MaskedAddress


Resolve = Callable[[str, int], Iterable[int]]
"""Addresses of a host name for IP version 4 or 6, in order; none if it has none."""


def look_up(name: str, version: int) -> Iterable[int]:
    """Ask the machine's own resolver, as iptables does."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        found = socket.getaddrinfo(name, None, family, socket.SOCK_RAW)
    except (OSError, UnicodeError):
        return ()
    return dict.fromkeys(int(ipaddress.ip_address(entry[4][0])) for entry in found)


resolve: ContextVar[Resolve] = ContextVar("resolve", default=look_up)
"""How host names are looked up at the moment. A lab's names are not the machine's."""


class NotNumericError(RefusedError):
    """A host name where numbers do without a resolver."""


def network(text: str, family: Family, full: bool = False) -> tuple[Read, ...]:
    """An address, with a mask or without: several where a host name has several.

    ``full`` prints the length of a single address too, as ``-s`` does.
    """
    try:
        return (numeric_network(text, family, full),)
    except NotNumericError:
        name, mask, version, bits = _parts(text, family)
        return tuple(_network(address & mask, mask, version, bits, full) for address in _addresses(name, version))


@lru_cache(maxsize=65536)
def numeric_network(text: str, family: Family, full: bool = False) -> Read:
    """As ``network``, without host names: those raise NotNumericError."""
    name, mask, version, bits = _parts(text, family)
    address = _numeric(name, version) if mask else 0
    return _network(address & mask, mask, version, bits, full)


def _parts(text: str, family: Family) -> tuple[str, int, int, int]:
    """Name, mask, IP version and its number of bits."""
    version, bits = (4, 32) if family == "ip" else (6, 128)
    name, slash, mask_text = text.rpartition("/")
    if not slash:
        name, mask_text = text, str(bits)
    return name, _mask(mask_text, version, bits), version, bits


def _mask(text: str, version: int, bits: int) -> int:
    everything = (1 << bits) - 1
    try:
        length = bounded(text, 0, bits)
    except RefusedError:
        try:
            return int(ipaddress.IPv4Address(text) if version == 4 else ipaddress.IPv6Address(text))
        except ValueError:
            raise RefusedError(f"invalid mask `{text}' specified") from None
    return everything ^ (everything >> length)


def _numeric(name: str, version: int) -> int:
    try:
        return int(ipaddress.IPv6Address(name)) if version == 6 else _dotted(name)
    except ValueError:
        raise NotNumericError(f"host/network `{name}' not found") from None


def _addresses(name: str, version: int) -> list[int]:
    try:
        return [_numeric(name, version)]
    except NotNumericError:
        found = list(resolve.get()(name, version))
        if not found:
            raise
        return found


def _dotted(name: str) -> int:
    """IPv4 as iptables reads it: missing bytes at the end are 0, so ``10.1`` is 10.1.0.0."""
    parts = name.split(".")
    if not 1 <= len(parts) <= 4:
        raise ValueError(name)
    values = [bounded(part, 0, 255) for part in parts]
    return int.from_bytes(bytes([*values, *[0] * (4 - len(values))]), "big")


def _network(address: int, mask: int, version: int, bits: int, full: bool) -> Read:
    length = mask.bit_count()
    everything = (1 << bits) - 1
    if mask != everything ^ (everything >> length):
        shown = (ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address)(mask)
        value: Network = MaskedAddress(version, address, mask)
        return Read(value, f"{address_text(address, version)}/{shown}")
    value = (ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network)((address, length))
    text = address_text(address, version)
    return Read(value, text if length == bits and not full else f"{text}/{length}")


def address_text(address: int, version: int) -> str:
    """An address as ``inet_ntop`` prints it."""
    packed = address.to_bytes(4 if version == 4 else 16, "big")
    return socket.inet_ntop(socket.AF_INET if version == 4 else socket.AF_INET6, packed)


def host(text: str, context: Context) -> Read:
    """One address, by number or name."""
    version = 4 if context.family == "ip" else 6
    address = _addresses(text, version)[0]
    return Read(
        ipaddress.ip_address(address.to_bytes(4 if version == 4 else 16, "big")), address_text(address, version)
    )


def host_mask(text: str, context: Context) -> Read:
    """One network as a module's option has it: bits behind the mask are printed, a full length is not."""
    value = network(text, context.family)[0]
    name, slash, _ = text.rpartition("/")
    if not slash or "/" not in value.text:
        return value
    version = 4 if context.family == "ip" else 6
    address = address_text(_addresses(name, version)[0], version)
    return Read(value.value, f"{address}/{value.text.rpartition('/')[2]}")


def network_length(text: str, context: Context) -> Read:
    """One network, always printed with its length."""
    return network(text, context.family, True)[0]


def prefix_length(text: str, context: Context) -> Read:
    """A number of leading bits."""
    value = bounded(text, 0, 32 if context.family == "ip" else 128)
    return Read(value, str(value))


def interface(text: str, _: Context) -> Read:
    """A name of an interface; with ``+`` at its end any name that starts so."""
    if len(text) > 15:
        raise RefusedError(f"interface name `{text}' must be shorter than IFNAMSIZ (15)")
    return Read(text, text)


def interface_matches(pattern: str, name: str) -> bool:
    """Whether an interface's name fits a pattern."""
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


def mac(text: str, _: Context) -> Read:
    """An Ethernet address."""
    parts = text.split(":")
    try:
        octets = [int(part, 16) for part in parts]
    except ValueError:
        octets = []
    if len(octets) != 6 or max(octets) > 255:
        raise RefusedError(f"Invalid MAC address specified: {text!r}")
    shown = ":".join(f"{octet:02x}" for octet in octets)
    return Read(shown, shown)
