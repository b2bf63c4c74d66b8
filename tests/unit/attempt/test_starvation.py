"""Which attempts prove nothing because their lab got too little processor time."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from evidence_factory import decision, delivered, dropped, ended, hop, replied
from port25lab.attempt import starvation
from port25lab.attempt.starvation import Starvation, clock_may_have_decided
from port25lab.model.evidence import Arrival, Evidence, Stage

SILENT = ended(Stage.MAIL, reply="no reply within 5 s", timed_out=True)


@pytest.mark.parametrize(
    ("evidence", "may"),
    [
        (delivered(), False),
        (dropped(), False),
        (SILENT, True),
        (ended(Stage.CONNECT, "ETIMEDOUT"), True),
        (ended(Stage.CONNECT, "ECONNREFUSED"), False),
        (ended(Stage.RESOLVE, reply="Temporary failure in name resolution"), True),
        (replied(Stage.RCPT, 550), False),
        (ended(Stage.DONE, hops=[hop(errno="ETIMEDOUT")]), True),
        (ended(Stage.DONE, hops=[hop(errno="ETIMEDOUT", decisions=[decision()])]), False),
        (ended(Stage.DONE, hops=[hop(Stage.RCPT, smtp_code=450)]), False),
        (ended(Stage.CONNECT, arrival=Arrival(packet="syn")), True),
        (ended(Stage.CONNECT, arrival=Arrival(packet="syn", reached="mx")), False),
    ],
)
def test_a_clock_may_have_decided_where_nothing_else_did(evidence: Evidence, may: bool) -> None:
    assert clock_may_have_decided(evidence) is may


@pytest.fixture
def starve(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    total = [0.0]
    monkeypatch.setattr(starvation, "starved_seconds", lambda: total[0])
    return total


def test_a_starved_attempt_is_doubted_only_where_a_clock_may_have_decided(starve: list[float]) -> None:
    watch = Starvation(None)
    begun = watch.begin()
    assert watch.doubt(SILENT, begun, 1) is None
    starve[0] = 2.0
    assert watch.doubt(delivered(), begun, 1) is None
    doubt = watch.doubt(SILENT, begun, 1)
    assert doubt is not None
    assert "2.0 s" in doubt


def test_a_long_attempt_bears_more_starvation(starve: list[float]) -> None:
    watch = Starvation(None)
    begun = replace(watch.begin(), clock=time.monotonic() - 6.0)
    starve[0] = 1.4
    assert watch.doubt(SILENT, begun, 1) is None
    starve[0] = 1.6
    assert watch.doubt(SILENT, begun, 1) is not None


def test_repeated_attempts_are_doubted_where_a_limit_refilled_meanwhile(starve: list[float]) -> None:
    watch = Starvation(4.0)
    watch.begin()
    starve[0] = 0.9
    begun = watch.begin()
    assert watch.doubt(delivered(), begun, 2) is None
    starve[0] = 1.1
    assert watch.doubt(delivered(), begun, 1) is None  # the first attempt is what the limit lets pass
    doubt = watch.doubt(delivered(), begun, 2)
    assert doubt is not None
    assert "every 4 s" in doubt
