"""Where NAT leads: addresses and ports."""

from __future__ import annotations

from typing import NamedTuple

from port25lab.rules.addresses import address_text
from port25lab.rules.kinds.packet import AddressRange, address_range
from port25lab.rules.services import port_number
from port25lab.rules.values import U16, Context, Range, Read, RefusedError, number


class NatRange(NamedTuple):
    """Where NAT leads: addresses, ports, or both. None: left as it is."""

    addresses: AddressRange | None
    ports: Range | None
    base: int | None = None
    """First port of a range that is shifted as a whole."""


def nat_ports(text: str) -> tuple[Range, int | None]:
    """``PORT[-PORT[/BASE]]``."""
    try:
        low, rest = number(text)
    except RefusedError:
        low, rest = port_number(text, None), ""
    if low > U16:
        raise RefusedError(f"Port `{text}' not valid")
    if not rest:
        return Range(low, low), None
    if rest[0] != "-":
        raise RefusedError(
            "Invalid port:port syntax - use dash" if rest[0] == ":" else f"Garbage after port value: `{rest}'"
        )
    high, rest = number(rest[1:])
    if not low <= high <= U16:
        raise RefusedError(f"Port range `{text}' funky")
    if rest and rest[0] != "/":
        raise RefusedError(f"Garbage after port range: `{rest}'")
    base = port_number(rest[1:], None) if rest else None
    if base == 0:
        raise RefusedError(f"Port `{rest[1:]}' not valid")
    return Range(low, high), base


def _port_text(ports: Range, base: int | None) -> str:
    shown = f"{ports.low}" if ports.low == ports.high else f"{ports.low}-{ports.high}"
    return shown if base is None else f"{shown}/{base}"


def _with_ports(context: Context) -> None:
    if context.number not in (6, 17, 132, 33, 1):
        raise RefusedError("Need TCP, UDP, SCTP or DCCP with port specification")


def unshifted_ports(text: str, context: Context) -> Read:
    """The ports of REDIRECT."""
    if "/" in text:
        raise RefusedError("Shifted portmap ranges not supported with this kernel")
    return to_ports(text, context)


def to_ports(text: str, context: Context) -> Read:
    """The ports of MASQUERADE."""
    _with_ports(context)
    ports, base = nat_ports(text)
    return Read(NatRange(None, ports, base), _port_text(ports, base))


def nat_range(text: str, context: Context) -> Read:
    """The addresses and ports of SNAT and DNAT: ``ADDR[-ADDR][:PORT[-PORT]]``, IPv6 in brackets if a port follows."""
    addresses, port_text = text, ""
    if "[" in text:
        addresses, bracket, tail = text.partition("[")[2].partition("]")
        if not bracket or context.family == "ip":
            raise RefusedError("Invalid address format")
        port_text = tail.partition(":")[2]
    elif text.count(":") == 1:
        addresses, _, port_text = text.partition(":")
    if port_text:
        _with_ports(context)
    ports, base = nat_ports(port_text) if port_text else (None, None)
    found = address_range(addresses, context).value if addresses else None
    return Read(NatRange(found, ports, base), nat_text(found, ports, base, context))


def nat_text(found: AddressRange | None, ports: Range | None, base: int | None, context: Context) -> str:
    """How iptables prints where NAT leads."""
    shown = ""
    if found is not None:
        shown = address_text(found.low, found.version)
        if found.high != found.low:
            shown += "-" + address_text(found.high, found.version)
        if ports is not None and context.family == "ip6":
            shown = f"[{shown}]"
    return shown if ports is None else f"{shown}:{_port_text(ports, base)}"
