"""What ``watch`` says."""

from __future__ import annotations

from evidence_factory import verdict
from port25lab.model.outcome import Outcome
from port25lab.report import watch_text

DELIVERED = verdict(Outcome.DELIVERED, blame=None)
DROPPED = verdict(Outcome.DROPPED)


def test_a_change_says_what_was_and_since_when() -> None:
    before = {"a": DELIVERED, "b": DELIVERED, "gone": DELIVERED}
    now = {"a": DROPPED, "b": DELIVERED, "c": DELIVERED}
    lines = list(watch_text.changes(before, now, dict.fromkeys(before, "10:00:00"), "10:05:00", 0.25))
    assert lines[0] == "10:05:00 3 paths, 3 changed, 0.25 s"
    assert lines[1].startswith("  a: delivered since 10:00:00 -> ")
    assert lines[2].startswith("  c: new -> ")
    assert lines[3:] == ["  gone: no longer asked"]


def test_another_rule_is_a_difference_and_the_same_answer_is_none() -> None:
    assert watch_text.differs(DROPPED, verdict(Outcome.DROPPED, blame=None))
    assert not watch_text.differs(DROPPED, verdict(Outcome.DROPPED))
    assert watch_text.differs(None, DROPPED)
