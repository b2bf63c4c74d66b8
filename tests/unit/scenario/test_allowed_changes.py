"""The file of changes that are wanted."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from evidence_factory import verdict
from port25lab.errors import InputError
from port25lab.scenario.allowed_changes import Change, read, reason_for

TEXT = """\
allow:
  - {from: pc, port: 25, reason: ticket 4711, expires: 2030-01-01}
"""


def test_a_change_is_wanted_until_the_permission_expires(tmp_path: Path) -> None:
    (tmp_path / "allow.yaml").write_text(TEXT)
    allowed = read(tmp_path / "allow.yaml")
    change = Change(None, verdict(source="pc", to="mx:example.net", port=25))
    assert reason_for(change, allowed, date(2029, 12, 31)) == "ticket 4711"
    assert reason_for(change, allowed, date(2030, 1, 2)) is None
    other = Change(None, verdict(source="router", to="mx:example.net", port=25))
    assert reason_for(other, allowed, date(2029, 12, 31)) is None


@pytest.mark.parametrize("text", ["allow: [{port: 25, expires: 2030-01-01}]", "allow: [{port: 25, reason: x}]", "x: 1"])
def test_a_reason_and_an_end_are_needed(tmp_path: Path, text: str) -> None:
    (tmp_path / "allow.yaml").write_text(text)
    with pytest.raises(InputError):
        read(tmp_path / "allow.yaml")
