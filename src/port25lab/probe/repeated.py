"""Probes of the same host, one after the other: what stays, and what changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from port25lab.probe.document import Probed

_Seen = tuple[str, str]
"""Mechanisms, and the place, as words."""


def changes(before: Probed | None, now: Probed) -> Iterator[str]:
    """What is otherwise than the time before, a line for each port and IP version; nothing at first."""
    old, new = _by_path(before) if before else {}, _by_path(now)
    for path, seen in new.items():
        if path in old and old[path] != seen:
            yield f"{_path(*path)}: {_words(old[path])} -> {_words(seen)}"


def summary(probes: Sequence[Probed]) -> Iterator[str]:
    """For each port and IP version: what it was all the time, or how often it was what."""
    rounds = [_by_path(probed) for probed in probes]
    first, last = probes[0].probed, probes[-1].probed
    yield f"{probes[0].view.target}: {len(probes)} probes from {first} to {last}"
    for path in dict.fromkeys(path for one in rounds for path in one):
        seen = Counter(one[path] for one in rounds if path in one)
        if len(seen) == 1:
            yield f"  {_path(*path)}: constant, {_words(next(iter(seen)))}"
        else:
            parts = ", ".join(f"{_words(what)} {count} times" for what, count in seen.most_common())
            yield f"  {_path(*path)}: changing, {parts}"


def _by_path(probed: Probed) -> dict[tuple[int, int], _Seen]:
    return {
        (one.port, one.ip_version): (" or ".join(sorted(one.candidates)), one.place or "") for one in probed.findings
    }


def _path(port: int, version: int) -> str:
    return f"port {port} over IPv{version}"


def _words(seen: _Seen) -> str:
    mechanism, place = seen
    return f"{mechanism} ({place})" if place else mechanism
