"""How a line is cut into words."""

from __future__ import annotations

import pytest

from port25lab.rules.words import split


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-A FORWARD -j DROP", ["-A", "FORWARD", "-j", "DROP"]),
        ("  -A\t\tFORWARD  ", ["-A", "FORWARD"]),
        ("", []),
        ('--comment "a b"', ["--comment", "a b"]),
        ('--comment ""', ["--comment", ""]),
        (r'--comment "a \"b\" \\ c\d"', ["--comment", 'a "b" \\ cd']),
        (r"--comment a\ b", ["--comment", "a\\", "b"]),
        ('"a"b', ["a", "b"]),
        ('a"b c"', ["ab c"]),
        ('--comment "a b', ["--comment", "a b\n"]),
        ("-j DROP\r", ["-j", "DROP\r"]),
        ("--comment a\u00a0b", ["--comment", "a\u00a0b"]),
        ("'a b'", ["'a", "b'"]),
    ],
)
def test_words_are_cut_as_iptables_restore_cuts_them(line: str, words: list[str]) -> None:
    assert split(line) == words
