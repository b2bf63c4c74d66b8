"""Times as users write them: ``90s``, ``20m``, ``2h``, ``1h30m``."""

from __future__ import annotations

import re

from port25lab.errors import InputError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(option: str, text: str) -> float:
    """The seconds that a time stands for. ``option``: who asks, for the error. Raises InputError."""
    parts = re.fullmatch(r"(?:\d+[smhd])+", text)
    total = sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", text)) if parts else 0
    if total == 0:
        raise InputError(f"{option} {text!r}", allowed="a time such as 90s, 20m, 2h or 1h30m")
    return float(total)
