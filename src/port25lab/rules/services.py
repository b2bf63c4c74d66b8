"""Ports and protocols, by number and name."""

from __future__ import annotations

import socket
from functools import lru_cache
from pathlib import Path

from port25lab.rules.values import U8, U16, Context, Range, Read, RefusedError, bounded


@lru_cache(maxsize=4096)
def port_number(name: str, protocol: str | None) -> int:
    """A port or the name of a service."""
    try:
        return bounded(name, 0, U16)
    except RefusedError:
        try:
            return socket.getservbyname(name, protocol) if protocol else socket.getservbyname(name)
        except (OSError, UnicodeError):
            raise RefusedError(f"invalid port/service `{name}' specified") from None


def port(text: str, context: Context) -> Read:
    """One port."""
    value = port_number(text, context.protocol)
    return Read(value, str(value))


def _port_span(text: str, context: Context) -> Range:
    first, colon, last = text.partition(":")
    low = port_number(first, context.protocol) if first else 0
    top = (port_number(last, context.protocol) if last else U16) if colon else low
    return Range(low, top)


def strict_ports(text: str, context: Context) -> Read:
    """A port, or a range of them the right way round."""
    found = ports(text, context)
    if found.value.low > found.value.high:
        raise RefusedError("invalid portrange (min > max)")
    return found


def ports(text: str, context: Context) -> Read:
    """A port, or a range of them. One that is turned round never matches."""
    found = _port_span(text, context)
    return Read(found, f"{found.low}" if found.low == found.high else f"{found.low}:{found.high}")


def port_list(text: str, context: Context) -> Read:
    """Up to 15 ports; a range counts as two."""
    spans, words, used = [], [], 0
    for part in text.split(","):
        first, colon, last = part.partition(":")
        low = port_number(first, context.protocol)
        top = port_number(last, context.protocol) if colon else low
        if colon and low >= top:
            raise RefusedError("invalid portrange specified")
        used += 2 if colon else 1
        spans.append(Range(low, top))
        words.append(f"{low}:{top}" if colon else str(low))
    if used > 15:
        raise RefusedError("too many ports specified")
    return Read(tuple(spans), ",".join(words))


PROTOCOLS = {
    "tcp": 6, "sctp": 132, "udp": 17, "udplite": 136, "icmp": 1, "ipv6-icmp": 58, "icmpv6": 58, "esp": 50, "ah": 51,
    "mobility-header": 135, "ipv6-mh": 135, "mh": 135, "all": 0,
}  # fmt: skip
"""The protocols that iptables knows by itself; of several names for one the first is canonical."""

_NAMES: dict[int, str] = {}
for _name, _number in PROTOCOLS.items():
    _NAMES.setdefault(_number, _name)


@lru_cache(maxsize=1)
def _protocols_file() -> dict[int, str]:
    """The machine's own names, as ``getprotobynumber`` would find them: Python does not offer that function."""
    names: dict[int, str] = {}
    try:
        lines = Path("/etc/protocols").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return names
    for line in lines:
        words = line.split("#")[0].split()
        if len(words) > 1 and words[1].isdigit():
            names.setdefault(int(words[1]), words[0])
    return names


def protocol_number(text: str) -> int:
    """A protocol by number or name. The name is in lower case."""
    try:
        return bounded(text, 0, U8)
    except RefusedError:
        if text in PROTOCOLS:
            return PROTOCOLS[text]
        try:
            return socket.getprotobyname(text)
        except (OSError, UnicodeError):
            raise RefusedError(f'unknown protocol "{text}" specified') from None


def protocol_name(value: int) -> str | None:
    """The name that iptables prints for a protocol; None if it prints the number.

    1.8.9 has the machine's own names too; 1.8.11 prints the numbers of those. A form is no difference to ``join``.
    """
    return _NAMES.get(value) or _protocols_file().get(value)


def protocol(text: str, _: Context) -> Read:
    """A protocol as a module's option has it: printed as a number."""
    value = protocol_number(text.lower())
    return Read(value, str(value))
