"""A confusion matrix as text."""

from __future__ import annotations

from confusion import confusion


def test_what_was_said_stands_beside_what_is_true() -> None:
    pairs = [("tarpit", "tarpit")] * 10 + [("tarpit", "none"), ("none", "none")]
    assert confusion(pairs, ["none", "syn-drop", "tarpit"]) == (
        "   truth   1   2\n1  none    1   .\n2  tarpit  1  10\n\n11 of 12 right\ntarpit was taken for none: 1\n"
    )


def test_names_that_the_order_lacks_come_last() -> None:
    assert confusion([("b", "b"), ("a", "a"), ("z", "z")], ["z"]).split("\n")[1:4] == [
        "1  z      1  .  .",
        "2  a      .  1  .",
        "3  b      .  .  1",
    ]


def test_no_case_is_said_to_be_none() -> None:
    assert confusion([]) == "no case was classified\n"
