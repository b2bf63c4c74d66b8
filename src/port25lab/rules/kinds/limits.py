"""Rates and other measures of how much."""

from __future__ import annotations

from typing import NamedTuple

from port25lab.rules.values import U32, Context, Kind, Range, Read, RefusedError, bounded, number

UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}

_SHORT = {"day": 86400, "hour": 3600, "min": 60, "sec": 1}


class Rate(NamedTuple):
    """So many in so many seconds. ``unit`` is the unit that was written, ``shown`` the one that is printed."""

    period: int
    """Time between two, in the unit of the kernel's module."""
    unit: int
    shown: int


def rate(scale: int) -> Kind:
    """``N/UNIT``: a limit is kept as a period, and so may be printed with another unit."""

    def read(text: str, _: Context) -> Read:
        count_text, slash, unit_text = text.partition("/")
        unit = 1
        if slash:
            units = [seconds for name, seconds in UNITS.items() if unit_text and name.startswith(unit_text.lower())]
            if not units:
                raise RefusedError(f'bad rate "{text}"')
            unit = units[0]
        digits = count_text.strip()
        end = 0
        while end < len(digits) and digits[end].isdigit():
            end += 1
        count = int(digits[:end] or "0")
        if not count or scale * unit // count == 0:
            raise RefusedError(f'Rate too fast "{text}"' if count else f'bad rate "{text}"')
        return rate_shown(scale * unit // count, unit, scale)

    return read


def rate_shown(period: int, unit: int, scale: int) -> Read:
    """The unit that iptables picks to print a period."""
    shown = list(_SHORT.items())
    pick = 0
    for candidate in range(1, len(shown)):
        whole = scale * shown[candidate][1]
        if period > whole or whole // period < whole % period:
            break
        pick = candidate
    name, seconds = shown[pick]
    return Read(Rate(period, unit, seconds), f"{scale * seconds // period}/{name}")


def first_only(text: str, _: Context) -> Read:
    """``FROM[:TO]`` of 64-bit numbers; an end that is missing is not printed."""
    first, colon, last = text.partition(":")
    low = bounded(first, 0, (1 << 64) - 1) if first else 0
    high = bounded(last, 0, (1 << 64) - 1) if last else (1 << 64) - 1
    if low > high:
        raise RefusedError(f"{low} should be less than {high}")
    shown = f"{low}:{high}" if colon and last and high and high < (1 << 64) - 1 else f"{low}"
    return Read(Range(low, high), shown)


def limit_bytes_or_packets(text: str, context: Context) -> Read:
    """A rate of hashlimit: ``N/UNIT`` in packets, or ``N[k|m]b/s`` in bytes (kept as the kernel's cost of a byte)."""
    head, found, _ = text.partition("b/s")
    if not found:
        return rate(1_000_000)(text, context)
    count, rest = number(head)
    octets = count * {"m": 1 << 20, "k": 1 << 10}.get(rest[-1:].lower(), 1)
    cost = U32 // ((octets >> 4) + 1)
    if not count or not cost:
        raise RefusedError(f'Rate too high "{text}"')
    return Read(cost, text)


def bits_per_second(text: str, _: Context) -> Read:
    """A rate of an estimator: bytes, or bits with a unit."""
    end = 0
    while end < len(text) and (text[end].isdigit() or text[end] == "."):
        end += 1
    units = {"bit": 1, "kibit": 1024, "kbit": 1e3, "mibit": 1 << 20, "mbit": 1e6, "gibit": 1 << 30, "gbit": 1e9,
             "tibit": 1 << 40, "tbit": 1e12, "bps": 8, "kibps": 8192, "kbps": 8e3, "mibps": 8 << 20, "mbps": 8e6,
             "gibps": 8 << 30, "gbps": 8e9, "tibps": 8 << 40, "tbps": 8e12}  # fmt: skip
    unit = text[end:].lower()
    if not end or (unit and unit not in units):
        raise RefusedError(f"rateest: bad rate value `{text}'")
    octets = int(float(text[:end]) * (units[unit] if unit else 1) / 8)
    bits = octets * 8
    if bits >= 1e9:
        return Read(octets, f"{bits / 1e6:.0f}Mbit")
    return Read(octets, f"{bits / 1e3:.0f}Kbit" if bits >= 1e6 else f"{bits}bit")


def probability(text: str, _: Context) -> Read:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise RefusedError(f'statistic: bad value for option "--probability", or out of range (0-1): {text!r}')
    return Read(value, text)


def interval(text: str, _: Context) -> Read:
    """A time with a unit, printed as the estimator keeps it."""
    end = 0
    while end < len(text) and (text[end].isdigit() or text[end] == "."):
        end += 1
    units = {
        "": 1,
        "us": 1,
        "usec": 1,
        "usecs": 1,
        "ms": 1e3,
        "msec": 1e3,
        "msecs": 1e3,
        "s": 1e6,
        "sec": 1e6,
        "secs": 1e6,
    }
    if not end or text[end:].lower() not in units:
        raise RefusedError(f"RATEEST: bad time `{text}'")
    micro = int(float(text[:end]) * units[text[end:].lower()])
    if micro >= 1e6:
        return Read(micro, f"{micro / 1e6:.1f}s")
    return Read(micro, f"{micro / 1e3:.1f}ms" if micro >= 1e3 else f"{micro}us")
