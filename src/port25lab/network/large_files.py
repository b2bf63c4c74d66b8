"""Rules files that are too large for one transaction of an ordinary user, cut into parts.

``iptables-restore`` sends all rules in one message, and the kernel limits that message to ``net.core.wmem_max`` where
the sender is not root on the host: at about 1,000 rules. Root on a router has no such limit. The parts give the same
ruleset: tables and chains come first, then rules, in order. Lines that are not in a part are empty there, so that
iptables names the right line.
"""

from __future__ import annotations

from collections.abc import Iterator

TOO_LONG = b"Message too long"
"""What iptables says of a message over the limit."""

PART_LINES = 400
"""Rules in one part: a rule with ten matches takes 2 kB, and the default limit is 208 kB, twice."""


def parts(content: bytes) -> Iterator[bytes]:
    """Cut a file into parts, to be loaded in order, the second and later ones with ``--noflush``.

    A chain that is declared between rules is emptied at that line; such a file is not cut, and comes back whole.
    """
    lines = content.split(b"\n")
    if not _declares_first(lines):
        yield content
        return
    yield _kept(lines, {number for number, line in enumerate(lines) if _frame(line) or _declares(line)})
    rules = [number for number, line in enumerate(lines) if _is_rule(line)]
    frame = {number for number, line in enumerate(lines) if _frame(line)}
    for start in range(0, len(rules), PART_LINES):
        part = rules[start : start + PART_LINES]
        yield _kept(lines, _around(lines, frame, part) | set(part))


def _declares_first(lines: list[bytes]) -> bool:
    """Whether each table comes once, with its chains before its rules."""
    tables: set[bytes] = set()
    in_rules = False
    for line in lines:
        if line.startswith(b"*"):
            name = line.split()[0]
            if name in tables:
                return False
            tables.add(name)
            in_rules = False
        elif _declares(line) and in_rules:
            return False
        in_rules = in_rules or _is_rule(line)
    return True


def _frame(line: bytes) -> bool:
    return line.startswith(b"*") or line == b"COMMIT"


def _declares(line: bytes) -> bool:
    return line.startswith(b":") or line.split()[:1] in ([b"-N"], [b"--new-chain"])


def _is_rule(line: bytes) -> bool:
    return bool(line) and not line.startswith(b"#") and not _frame(line) and not _declares(line)


def _around(lines: list[bytes], frame: set[int], part: list[int]) -> set[int]:
    """The lines ``*TABLE`` and ``COMMIT`` of the tables that the rules are in."""
    kept: set[int] = set()
    start = 0
    for number in sorted(frame):
        if lines[number] != b"COMMIT":
            start = number
        elif any(start < rule < number for rule in part):
            kept |= {start, number}
    return kept


def _kept(lines: list[bytes], numbers: set[int]) -> bytes:
    return b"\n".join(line if number in numbers else b"" for number, line in enumerate(lines))
