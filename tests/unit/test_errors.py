"""Errors say where, what and what is allowed, in one line; each kind has its exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.errors import InputError, LabError, MachineError, OutputError, Port25labError, nearest


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InputError("no such port"), "no such port"),
        (InputError("no such port", allowed="1 to 65535"), "no such port; 1 to 65535"),
        (InputError("no such port", file="my.yaml"), "my.yaml: no such port"),
        (InputError("no such port", file=Path("my.yaml"), line=3), "my.yaml:3: no such port"),
        (
            InputError("port 0", allowed="1 to 65535", file="my.yaml", line=3, column=9),
            "my.yaml:3:9: port 0; 1 to 65535",
        ),
        (OutputError("r.json", OSError(28, "No space left")), "r.json: cannot be written: No space left"),
        (MachineError("ipset is missing", "apt-get install ipset"), "ipset is missing; apt-get install ipset"),
    ],
)
def test_an_error_says_where_what_and_what_helps(error: Port25labError, text: str) -> None:
    assert str(error) == text


def test_each_kind_of_error_has_its_exit_code() -> None:
    assert InputError("x").exit_code == 2
    assert MachineError("x", "y").exit_code == 3
    assert OutputError("x", OSError(28, "No space left on device")).exit_code == 4
    assert LabError("x").exit_code == 1


def test_a_misspelt_name_gets_the_likeliest_one_and_all_others() -> None:
    assert nearest("op25", ["ip25b", "op25b", "none"]) == "did you mean 'op25b'? known: ip25b, none, op25b"


def test_a_name_like_no_other_gets_the_known_ones_alone() -> None:
    assert nearest("zzz", ["op25b", "aws"]) == "known: aws, op25b"
    assert nearest("zzz", []) == "known: none"
