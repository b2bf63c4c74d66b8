"""The table of outcomes: complete, in the order of the design, and clear about what is blocked."""

from __future__ import annotations

import pytest
from rich.style import Style

from port25lab.model.outcome import OUTCOME_INFO, Outcome

DESIGN = (
    "delivered deferred dropped rejected-icmp rejected-reset closed unreachable intercepted tampered throttled "
    "auth-required auth-failed relay-denied tls-required tls-failed tempfail rejected dns-failure error"
)


OF_PROBES = {Outcome.REACHED}
"""Of raw packets, which carry no mail: beside the design's list."""


def test_the_outcomes_are_those_of_the_design() -> None:
    assert " ".join(outcome for outcome in Outcome if outcome not in OF_PROBES) == DESIGN


def test_every_outcome_has_a_meaning_in_the_same_order() -> None:
    assert list(OUTCOME_INFO) == list(Outcome)


def test_what_a_rule_decides_before_the_session_counts_as_blocked() -> None:
    blocked = {outcome for outcome, meaning in OUTCOME_INFO.items() if meaning.blocked}
    assert blocked == {Outcome.DROPPED, Outcome.REJECTED_ICMP, Outcome.REJECTED_RESET, Outcome.THROTTLED}


@pytest.mark.parametrize("outcome", Outcome)
def test_a_meaning_is_words_a_source_and_a_style(outcome: Outcome) -> None:
    meaning = OUTCOME_INFO[outcome]
    assert meaning.text.isascii()
    assert Style.parse(meaning.style)
    assert bool(meaning.source) is (outcome is not Outcome.ERROR)
    assert "RFC" in meaning.source or outcome in OF_PROBES | {Outcome.ERROR}
