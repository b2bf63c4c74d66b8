"""Dates and times of the day."""

from __future__ import annotations

import calendar
import time

from port25lab.rules.values import Context, Read, RefusedError, bounded


def date(text: str, _: Context) -> Read:
    """``YYYY[-MM[-DD[Thh[:mm[:ss]]]]]``, in UTC. The first and the last that the kernel knows are not printed."""
    day, _t, clock = text.partition("T")
    parts = [
        int(bounded(part.lstrip("0") or "0", 0, 9999)) for part in [*day.split("-"), *filter(None, clock.split(":"))]
    ]
    parts += [[1970, 1, 1, 0, 0, 0][place] for place in range(len(parts), 6)]
    seconds = calendar.timegm((*parts, 0, 0, 0))
    shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return Read(seconds, "" if seconds == 0 else shown)


def clock_time(text: str, _: Context) -> Read:
    """``hh:mm[:ss]``, in seconds of the day."""
    parts = [
        bounded(part.lstrip("0") or "0", 0, limit) for part, limit in zip(text.split(":"), (23, 59, 59), strict=False)
    ]
    if len(parts) < 2 or text.count(":") > 2:
        raise RefusedError(f'invalid time "{text}" specified, should be hh:mm[:ss] format and within the boundaries')
    hour, minute, second = (*parts, 0)[:3]
    return Read(hour * 3600 + minute * 60 + second, f"{hour:02d}:{minute:02d}:{second:02d}")


WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def weekdays(text: str, _: Context) -> Read:
    """Days of the week by name or number, Monday first."""
    found = set()
    for part in text.split(","):
        if part.isdigit() and 1 <= int(part) <= 7:
            found.add(int(part) - 1)
            continue
        hits = [place for place, name in enumerate(WEEKDAYS) if name[:2] == part[:2]]
        if not hits:
            raise RefusedError(f"{part} is not a valid day specifier")
        found.update(hits)
    return Read(frozenset(found), ",".join(WEEKDAYS[place] for place in sorted(found)))


def monthdays(text: str, _: Context) -> Read:
    """Days of the month."""
    found = sorted({bounded(part, 0, 31) for part in text.split(",")})
    return Read(frozenset(found), ",".join(map(str, found)))
