"""Probes of one host, again and again."""

from __future__ import annotations

from client_view_factory import reset, session, silent, trace, view
from port25lab.probe.client_view import Answer
from port25lab.probe.document import probed
from port25lab.probe.repeated import changes, summary

OTHERS = (trace(25, 2), trace(587, 5, Answer.ACCEPTED))
BLOCKED = probed(view(silent(), session(587), traces=OTHERS), "10:00")
OPEN = probed(view(session(), session(587), traces=(trace(25, 5, Answer.ACCEPTED), OTHERS[1])), "10:05")


def test_a_change_is_told_at_once() -> None:
    assert list(changes(None, BLOCKED)) == list(changes(BLOCKED, BLOCKED)) == []
    (line,) = changes(BLOCKED, OPEN)
    assert line == "port 25 over IPv4: syn-drop (access-network) -> none"


def test_the_end_tells_constant_from_changing() -> None:
    lines = list(summary([BLOCKED, OPEN, BLOCKED]))
    assert lines == [
        "mx.example.net: 3 probes from 10:00 to 10:00",
        "  port 25 over IPv4: changing, syn-drop (access-network) 2 times, none 1 times",
        "  port 587 over IPv4: constant, none",
    ]


def test_a_port_that_refuses_all_the_time_is_constant() -> None:
    one = probed(view(session(), reset(587, ttl=59)), "10:00")
    assert list(summary([one, one]))[2].startswith("  port 587 over IPv4: constant, ")
