"""CONTRIBUTING.md: its examples apply to the package as it is, and do what the page says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "CONTRIBUTING.md"
CONTENT = ("src", "topologies", "policies", "scenarios")

# All that the examples add, asked of a package that has them.
QUESTIONS = """
import json
from port25lab.attempt import packet_builders
from port25lab.mail.clients import CLIENTS
from port25lab.mail.middleboxes.fake_servers import FAKE_SERVERS
from port25lab.model.client_kinds import CLIENT_KINDS
from port25lab.model.evidence import Observation, Stage
from port25lab.model.outcome import OUTCOME_INFO, Outcome
from port25lab.model.packet_kinds import PACKET_KINDS
from port25lab.model.service_kinds import SERVICE_KINDS
from port25lab.scenario.policy import load_policy
from port25lab.scenario.questions import load_questions
from port25lab.verdict import replies

spec = packet_builders.PacketSpec(4, "198.51.100.249", "192.0.2.25", 20001, 25, 7, 1)
full = Observation(stage=Stage.RCPT, smtp_code=552, enhanced_code="5.2.2", reply="5.2.2 Mailbox full", seconds=0)
meaning = replies.of_reply(full)
print(json.dumps({
    "policy": [file.family for file in load_policy("op25b-net").rules_files],
    "scenario": len(load_questions("op25b-net")),
    "topology": len(load_questions("student-hall")),
    "client": [type(CLIENTS["net-smtp"]).__name__, CLIENT_KINDS["net-smtp"].program],
    "middlebox": [FAKE_SERVERS["mute"].__name__, list(SERVICE_KINDS["mute"].required)],
    "outcome": [meaning.outcome, OUTCOME_INFO[Outcome.MAILBOX_FULL].text, list(OUTCOME_INFO) == list(Outcome)],
    "packet": [packet_builders.BUILDERS[PACKET_KINDS["syn-rst"].build](spec)[0][33], len(PACKET_KINDS)],
}))
"""

ANSWERS = {
    "policy": ["ip", "ip6"],
    "scenario": 4,
    "topology": 4,
    "client": ["NetSmtp", "perl"],
    "middlebox": ["mute", ["port"]],
    "outcome": ["mailbox-full", "the recipient's mailbox is full", True],
    "packet": [0x02 | 0x04, 17],
}


def new_files(guide: str) -> dict[str, str]:
    """Path and text of each file that an example adds."""
    blocks = re.findall(r"`((?:src|topologies|policies|scenarios)/[^`\s]+)`:\n\n```\w*\n(.*?)```", guide, re.DOTALL)
    return dict(blocks)


def changes(guide: str) -> list[tuple[str, str, str]]:
    """Path, old lines and new lines of each change to a file."""
    found = []
    for path, body in re.findall(r"```diff\n--- (\S+)\n(.*?)```", guide, re.DOTALL):
        lines = body.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        found.append((path, old, "".join(line[1:] for line in lines if line[0] in " +")))
    return found


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and its content to which all examples have been applied."""
    if not GUIDE.exists():
        pytest.skip("not a checkout")
    folder, guide = tmp_path_factory.mktemp("changed"), GUIDE.read_text(encoding="utf-8")
    for name in CONTENT:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in new_files(guide).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    for path, old, new in changes(guide):
        before = (folder / path).read_text(encoding="utf-8")
        assert before.count(old) == 1, f"{path} has {before.count(old)} times, not once: {old}"
        (folder / path).write_text(before.replace(old, new), encoding="utf-8")
    return folder


def python(folder: Path, *argv: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, *argv], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_example_adds_what_it_says(changed: Path) -> None:
    answers: dict[str, Any] = json.loads(python(changed, "-c", QUESTIONS))
    assert answers == ANSWERS


def test_the_code_of_the_examples_is_in_the_style_of_the_house(changed: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", changed)
    python(changed, "-m", "ruff", "check", "--no-cache", "src", "topologies")
    python(changed, "-m", "ruff", "format", "--no-cache", "--check", "src", "topologies")


def test_the_table_of_folders_is_that_of_the_package_and_of_the_contract() -> None:
    rows = re.findall(r"(?m)^\| (\d) \| `([\w.]+)/?` \|", GUIDE.read_text(encoding="utf-8"))
    layers: dict[str, set[str]] = {}
    for number, name in rows:
        layers.setdefault(number, set()).add(name.removesuffix(".py"))
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [flow] = [contract["layers"] for contract in contracts if contract["id"] == "flow"]
    assert [layers[number] for number in sorted(layers)] == [set(layer.split(" | ")) for layer in flow]
    package = {path.stem for path in (ROOT / "src/port25lab").iterdir() if path.suffix in ("", ".py")}
    assert package - {"__init__", "__main__", "__pycache__"} == {name.removesuffix(".py") for _, name in rows}
