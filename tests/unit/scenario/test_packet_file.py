"""Python files of the user's that make packets, read without being run."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.errors import InputError
from port25lab.scenario.packet_file import load_packet
from port25lab.scenario.questions import load_questions

RUNS = "raise SystemExit('this file was run')\n"

SCENARIO = """\
title: Odd packets
topology: residential_isp
variants: {{open: {{}}}}
paths:
  - {{from: pc, to: "mx:example.net", ip: 4, packet: "{packet}", expect: reached}}
"""


def test_the_function_is_found_beside_the_scenario_and_nothing_is_run(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(f"{RUNS}def packets(p): ...\ndef other(p, more=1): ...\n")
    scenario = tmp_path / "odd.yaml"
    scenario.write_text(SCENARIO.format(packet="./odd.py:other"))
    [question] = load_questions(str(scenario))
    function = question.path.made_by
    assert function is not None
    assert (function.name, function.text[:5], question.path.packet) == ("other", RUNS[:5], "odd.py:other")
    assert load_packet("odd.py", scenario).name == "packets"


@pytest.mark.parametrize(
    ("text", "name", "said", "line"),
    [
        ("def packets(p:\n", "", "not Python", 1),
        ("x = 1\0\n", "", "not Python", None),
        ("def packet(p): ...\n", "", "no function 'packets'; did you mean 'packet'", None),
        ("\ndef packets(): ...\n", "", "cannot be called with one argument", 2),
        ("def packets(p, q): ...\n", "", "cannot be called with one argument", 1),
        ("def packets(p, *, q): ...\n", "", "cannot be called with one argument", 1),
        ("async def packets(p): ...\n", "", "cannot be called with one argument", 1),
    ],
)
def test_what_is_no_such_function_is_bad_input_with_file_and_line(
    tmp_path: Path, text: str, name: str, said: str, line: int | None
) -> None:
    file = tmp_path / "odd.py"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_packet(f"odd.py{name}", tmp_path / "s.yaml")
    assert said in str(caught.value)
    assert caught.value.file == file
    assert line is None or caught.value.line == line


def test_a_file_that_is_not_there_is_said_where_the_scenario_names_it(tmp_path: Path) -> None:
    scenario = tmp_path / "odd.yaml"
    scenario.write_text(SCENARIO.format(packet="./none.py:f"))
    with pytest.raises(InputError, match=r"odd.yaml:5:\d+: no file 'none.py'"):
        load_questions(str(scenario))
