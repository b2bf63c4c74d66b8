"""What a machine lacks for a rule that was refused."""

from __future__ import annotations

import pytest

from port25lab.network.lacking import Kind, lacking

NOT_THERE = "line 2: RULE_APPEND failed (No such file or directory): rule in chain FORWARD"
NOT_LOADED = "Couldn't load match `geoip':No such file or directory"


def _found(line: str, words: str, *, programs: set[str], kernel: set[str]) -> str | None:
    def runs(argv: list[str]) -> int:
        return 0 if argv[2] in programs else 2

    def has(kind: Kind, name: str) -> bool:
        return name in kernel

    return lacking(line, words, "ip", runs, has)


@pytest.mark.parametrize(
    ("line", "words", "lacks"),
    [
        ("-A FORWARD -p tcp -m geoip --src-cc DE -j DROP", NOT_LOADED, "this machine's iptables has no match geoip"),
        ("-A FORWARD -m ipvs --ipvs -j DROP", NOT_THERE, "this machine's kernel has no match ipvs"),
        ("-A FORWARD -j LED --led-trigger-id x", NOT_THERE, "this machine's kernel has no target LED"),
        ("-A FORWARD -j TARPIT", "Chain 'TARPIT' does not exist", "this machine's iptables has no target TARPIT"),
    ],
)
def test_what_is_lacking(line: str, words: str, lacks: str) -> None:
    assert _found(line, words, programs={"ipvs"}, kernel={"DROP"}) == lacks


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-A FORWARD -m nosuch -j DROP", "Couldn't load match `nosuch':No such file or directory"),
        ("-A FORWARD -j NOSUCH", "Chain 'NOSUCH' does not exist"),
        ("-A FORWARD -m owner --uid-owner 0 -j DROP", "line 2: RULE_APPEND failed (Invalid argument)"),
        ('-A FORWARD -m comment --comment "-m geoip" -j NOSUCH', "Chain 'NOSUCH' does not exist"),
    ],
)
def test_a_mistake_is_not_taken_for_something_lacking(line: str, words: str) -> None:
    assert _found(line, words, programs={"owner", "comment"}, kernel={"DROP", "nosuch", "NOSUCH", "comment"}) is None
