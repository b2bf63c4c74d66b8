"""The log of a lab's services."""

from __future__ import annotations

from port25lab.mail.services import journal
from port25lab.mail.services.journal import Journal


def test_lines_that_are_known_are_not_told_again() -> None:
    log = Journal()
    log.note("mx", "smtp", "one")
    lines, written = log.since(0)
    assert ([line.text for line in lines], written) == (["one"], 1)
    log.note("dns", "dns", "two")
    log.note("mx", "smtp", "three")
    assert [line.text for line in log.since(written)[0]] == ["two", "three"]
    assert [line.text for line in log.since(0, ["mx"])[0]] == ["one", "three"]
    assert log.since(3) == ([], 3)


def test_old_lines_are_forgotten_and_still_count() -> None:
    log = Journal()
    for number in range(journal.KEPT + 2):
        log.note("mx", "smtp", str(number))
    lines, written = log.since(0)
    assert (lines[0].text, len(lines), written) == ("2", journal.KEPT, journal.KEPT + 2)
    assert [line.text for line in log.since(journal.KEPT + 1)[0]] == [str(journal.KEPT + 1)]
