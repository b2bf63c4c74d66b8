"""What looks wrong in a user's policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.scenario import catalogue
from port25lab.scenario.policy_warnings import warnings
from port25lab.scenario.questions import load_questions

SCENARIO = """\
title: T
topology: hotel
variants: {mine: {isp-edge: ./mine}}
paths: [{from: guest-1, to: company}]
"""


def said(folder: Path, **rules: str) -> list[str]:
    own = folder / "mine"
    own.mkdir()
    (own / "policy.yaml").write_text("title: Mine\n")
    for name, text in rules.items():
        (own / f"rules.{name}").write_text(f"*filter\n{text}COMMIT\n")
    (folder / "s.yaml").write_text(SCENARIO)
    found = warnings(load_questions(str(folder / "s.yaml")))
    return [str(one).removeprefix(f"{own}").removeprefix("/") for one in found]


PLAIN = "-A FORWARD -p tcp --dport 25 -j DROP\n"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"v4": PLAIN}, [": there is no rules.v6: all IPv6 passes"]),
        ({"v4": PLAIN, "v6": PLAIN}, []),
        (
            {"v4": "-A FORWARD -i eth9 -j DROP\n", "v6": PLAIN},
            ["rules.v4:2: isp-edge has no interface eth9; it has core0, access0"],
        ),
        (
            {"v4": "-A FORWARD -s 203.0.113.0/24 -j DROP\n-A FORWARD -d 192.0.2.0/24 -i core+ -j DROP\n", "v6": PLAIN},
            ["rules.v4:2: nothing in hotel has an address in 203.0.113.0/24"],
        ),
        (
            {"v4": f":DEAD - [0:0]\n{PLAIN}-A DEAD -j DROP\n", "v6": PLAIN},
            ["rules.v4:4: no rule leads to the chain DEAD: its rules do nothing"],
        ),
    ],
)
def test_what_looks_wrong_is_said_with_its_line(tmp_path: Path, rules: dict[str, str], expected: list[str]) -> None:
    assert said(tmp_path, **rules) == expected


def test_the_catalogue_has_no_warnings() -> None:
    questions = [one for name in catalogue.all_names("scenarios") for one in load_questions(name)]
    assert warnings(questions) == []
