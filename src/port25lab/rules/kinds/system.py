"""Kinds of values that name something of the machine: users, address sets, queues, zones, log levels."""

from __future__ import annotations

from typing import NamedTuple

from port25lab.rules.values import U16, U32, Context, Range, Read, RefusedError, bounded, masked, number

LOG_LEVELS = {"emerg": 0, "alert": 1, "crit": 2, "error": 3, "warning": 4, "notice": 5, "info": 6, "debug": 7}


def log_level(text: str, _: Context) -> Read:
    """A level of syslog by number or name; the start of a name is enough."""
    for name, value in {**LOG_LEVELS, "panic": 0}.items():
        if text and not text.isdigit() and name.startswith(text.lower()):
            return Read(value, str(value))
    value = bounded(text, 0, 7)
    return Read(value, str(value))


class SetTest(NamedTuple):
    """A named address set, and which ends of the packet are looked up in it."""

    name: str
    ends: tuple[str, ...]


def match_set(text: str, _: Context) -> Read:
    """``NAME src|dst[,…]``."""
    name, _space, ends_text = text.rpartition(" ")
    ends = tuple(ends_text.split(","))
    if not set(ends) <= {"src", "dst"}:
        raise RefusedError(f'You must spefify (the comma separated list of) "src" or "dst": {ends_text!r}')
    if len(name) > 31:
        raise RefusedError(f"setname `{name}' too long, max 31 characters.")
    return Read(SetTest(name, ends), f"{name} {','.join(ends)}")


def queues(text: str, _: Context) -> Read:
    """The queues among which packets are spread."""
    first, colon, last = text.partition(":")
    low = bounded(first, 0, U16) if first else 0
    high = bounded(last, 0, U16) if last else U16
    if not colon:
        raise RefusedError(f'Bad range "{text}"')
    if low >= high:
        raise RefusedError(f"{low} should be less than {high}")
    if high - low >= U16:
        raise RefusedError("RULE_APPEND failed (Invalid argument)")
    return Read(Range(low, high), f"{low}:{high}")


def traffic_class(text: str, _: Context) -> Read:
    """``MAJOR:MINOR`` in hexadecimal."""
    major, colon, minor = text.partition(":")
    try:
        value = (int(major, 16) << 16) + int(minor, 16)
    except ValueError:
        raise RefusedError(f'Bad class value "{text}"') from None
    if not colon or value > U32:
        raise RefusedError(f'Bad class value "{text}"')
    return Read(value, f"{value >> 16:04x}:{value & U16:04x}")


def id_range(text: str, _: Context) -> Read:
    """A user or group by number, or a range of them. Names are looked up by the two kinds below."""
    low, rest = number(text)
    high = low
    if rest[:1] in ("-", ":"):
        high, rest = number(rest[1:])
    if rest or high >= U32:
        raise RefusedError(f'owner: Bad value for option: "{text}"')
    return Read(Range(low, high), str(low) if low == high else f"{low}-{high}")


def user(text: str, context: Context) -> Read:
    """A user by name, number or range of numbers."""
    import pwd

    try:
        found = pwd.getpwnam(text).pw_uid
    except KeyError:
        return id_range(text, context)
    return Read(Range(found, found), str(found))


def group(text: str, context: Context) -> Read:
    """A group by name, number or range of numbers."""
    import grp

    try:
        found = grp.getgrnam(text).gr_gid
    except KeyError:
        return id_range(text, context)
    return Read(Range(found, found), str(found))


def number_or_name(text: str, _: Context) -> Read:
    """``VALUE[/MASK]``, or a name that only the machine can look up."""
    try:
        value = masked(text)
    except RefusedError:
        return Read(text, text)
    return Read(value, f"0x{value.value:x}" if value.mask == U32 else f"0x{value.value:x}/0x{value.mask:x}")


def seconds_or_forever(text: str, _: Context) -> Read:
    """The delay of a LED: milliseconds, or ``inf``."""
    if text == "inf":
        return Read(None, "inf")
    value = bounded(text, 0, U32)
    return Read(value, str(value))


def zone(text: str, _: Context) -> Read:
    """A zone of connection tracking: a number, or the packet's mark."""
    if text.lower() == "mark":
        return Read("mark", "mark")
    value = bounded(text, 0, U16)
    return Read(value, str(value))
