"""What the words of a refusing server are about."""

from __future__ import annotations

import pytest

from port25lab.probe.causes import Cause, cause_of, one_line

WORDS = (
    ("5.7.1", "Client host rejected: cannot find your hostname, [192.0.2.7]", Cause.NO_PTR),
    ("4.7.1", "Client host rejected: cannot find your reverse\nhostname", Cause.NO_PTR),
    ("5.7.25", "whatever it says", Cause.NO_PTR),
    (None, "IP address has no reverse\nDNS", Cause.NO_PTR),
    ("5.7.23", "SPF validation failed", Cause.SPF),
    ("5.7.1", "192.0.2.7 is not permitted to send from example.net", Cause.SPF),
    ("5.7.1", "Sender address rejected: not owned by user alice", Cause.SENDER),
    ("5.7.60", "Client does not have permissions to send as this sender", Cause.SENDER),
    ("5.7.1", "Client host [192.0.2.7] blocked using dnsbl.example", Cause.LISTED),
    ("4.7.0", "Too many connections from your IP", Cause.RATE),
    ("5.7.1", "Relay access denied", Cause.RELAY),
    ("5.7.8", "Authentication credentials invalid", Cause.LOGIN),
    ("4.7.1", "Greylisted, come back later", Cause.GREYLISTED),
    ("5.1.1", "User unknown", None),
    (None, None, None),
)


@pytest.mark.parametrize(("enhanced", "text", "cause"), WORDS)
def test_words_are_sorted_by_what_they_are_about(enhanced: str | None, text: str | None, cause: Cause | None) -> None:
    assert cause_of(enhanced, text) is cause


@pytest.mark.parametrize(
    ("code", "text", "line"),
    [
        (550, "5.7.25 the first\n5.7.25 and the second", "5.7.25 the first and the second"),
        (554, "554 5.7.1 nested\n554-5.7.1 twice", "5.7.1 nested twice"),
        (550, "no status\nat all", "no status at all"),
        (550, "5.7.1 one\n5.7.25 another", "5.7.1 one 5.7.25 another"),
        (None, None, ""),
    ],
)
def test_a_reply_on_one_line_has_each_code_once(code: int | None, text: str | None, line: str) -> None:
    assert one_line(code, text) == line
