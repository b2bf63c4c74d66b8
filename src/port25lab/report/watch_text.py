"""What ``watch`` says: the answers at first, and then those that changed. In: verdicts by id. Out: lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from port25lab.model.verdict import Verdict
from port25lab.report import explain
from port25lab.report.text import visible


def first(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """How many answers there are, and each that is not as expected."""
    bad = [verdict for verdict in verdicts if not verdict.ok]
    yield f"{len(verdicts)} paths, {len(bad)} not as expected; waiting for changes"
    yield from (f"  {visible(verdict.id)}: {explain.mismatch(verdict)}" for verdict in bad)


def changes(
    before: Mapping[str, Verdict], now: Mapping[str, Verdict], since: Mapping[str, str], clock: str, seconds: float
) -> Iterator[str]:
    """What changed since the last answers.

    ``since``: from when on each of those before was so. ``clock``: the time of day. ``seconds``: that the new took.
    """
    changed = [
        (name, f"{before[name].outcome.value} since {since[name]}" if name in before else "new", verdict)
        for name, verdict in now.items()
        if differs(before.get(name), verdict)
    ]
    gone = [name for name in before if name not in now]
    yield f"{clock} {len(now)} paths, {len(changed) + len(gone)} changed, {seconds:.2f} s"
    for name, old, verdict in changed:
        yield f"  {visible(name)}: {old} -> {explain.mismatch(verdict)}"
    yield from (f"  {visible(name)}: no longer asked" for name in gone)


def differs(before: Verdict | None, now: Verdict) -> bool:
    """Whether a reader would notice a difference. ``before``: None where the path was not asked."""
    return before is None or _told(before) != _told(now)


def _told(verdict: Verdict) -> tuple[object, ...]:
    """What a reader would notice: the outcome, whether it is as expected, and the rule that decided."""
    blame = verdict.blame
    rule = None if blame is None else (blame.node, blame.family, blame.table, blame.chain, blame.rule)
    return verdict.outcome, verdict.ok, rule
