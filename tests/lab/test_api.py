"""The example of docs/api.md, run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from port25lab import load_questions

MANUAL = Path(__file__).parents[2] / "docs/api.md"


def test_the_example_of_the_manual_prints_a_line_for_each_question() -> None:
    (example,) = re.findall(r"(?s)```python\n(.*?)```", MANUAL.read_text(encoding="utf-8"))
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    expected = [question for question in load_questions("hotel") if question.ref == "S5"]
    assert [line.split()[:2] for line in lines] == [[question.id, str(question.expected)] for question in expected]
    assert any("isp-edge: -A " in line for line in lines)
    assert any(line.endswith("no rule") for line in lines)
