"""Labs that stay up, as text."""

from __future__ import annotations

import pytest

from port25lab.report.live_text import LabRow, lab_lines, span


def test_no_lab_is_a_sentence() -> None:
    assert lab_lines([]) == ["no lab is up"]


def test_each_lab_has_a_line_under_the_heading() -> None:
    rows = [
        LabRow("hotel", "hotel", "isp-edge: op25b", 61.0, None, 42),
        LabRow("b", "-", "-", None, None, None),
    ]
    assert lab_lines(rows) == [
        "NAME   TOPOLOGY  POLICIES         UP         ENDS     KEEPER",
        "hotel  hotel     isp-edge: op25b  1 min 1 s  at down  42",
        "b      -         -                starting   at down  -",
    ]


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (-3, "0 s"), (61, "1 min 1 s"), (3900, "1 h 5 min")])
def test_a_time_has_at_most_two_units(seconds: float, words: str) -> None:
    assert span(seconds) == words
