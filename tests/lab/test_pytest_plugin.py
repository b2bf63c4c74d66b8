"""Scenario files and the `lab` fixture in somebody else's test suite, pytest run as its user runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCENARIO = """\
title: T
topology: {street}
variants: {{open: {{}}, deny: {{edge: {deny}}}}}
paths:
  - {{ref: T1, name: to the MX, from: sender, to: "mx:example.net", expect: {{open: delivered, deny: {expected}}}}}
  - {{from: sender, to: server, port: 587, security: starttls, auth: alice, ip: 4, expect: delivered}}
"""
DENY = "*filter\n-A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n"


@pytest.fixture
def suite(street: str, make_policy: Callable[..., str], tmp_path: Path) -> Callable[..., Path]:
    def make(expected: str = "dropped") -> Path:
        (tmp_path / "scenarios").mkdir(exist_ok=True)
        file = tmp_path / "scenarios" / "mail.yaml"
        file.write_text(SCENARIO.format(street=street, deny=make_policy("deny", v4=DENY, v6=DENY), expected=expected))
        (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
        return tmp_path

    return make


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment | {"COLUMNS": "160"},
    )


@pytest.mark.parametrize(
    "distribution",
    [(), ("-n", "2"), ("-n", "2", "--dist", "loadfile")],
    ids=["alone", "two workers", "two workers by scenario"],
)
def test_each_path_of_a_scenario_is_a_test(suite: Callable[..., Path], distribution: tuple[str, ...]) -> None:
    done = run_pytest(suite(), "-v", *distribution)
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout
    for variant in ("open", "deny"):
        for version in ("ipv4", "ipv6"):
            assert f"scenarios/mail.yaml::{variant}/T1-sender-to-mx:example.net-25/{version}" in done.stdout


def test_by_file_all_paths_of_a_scenario_go_to_one_worker(suite: Callable[..., Path]) -> None:
    done = run_pytest(suite(), "-v", "-n", "2", "--dist", "loadfile")
    assert len(set(re.findall(r"^\[(gw\d)\]", done.stdout, re.MULTILINE))) == 1


def test_an_unmet_expectation_is_told_in_words_and_without_a_traceback(suite: Callable[..., Path]) -> None:
    folder = suite("delivered")
    done = run_pytest(folder)
    assert done.returncode == 1
    assert "2 failed, 4 passed" in done.stdout
    for line in (
        "T1 in scenarios/mail.yaml/deny: expected delivered, found dropped",
        "  path      sender -> MX of example.net:25, IPv6",
        "            to the MX",
        "  policy    deny on edge",
        "  expected  delivered",
        "  found     dropped: ",
        "  client    connect to 2001:db8:25::25: ETIMEDOUT (Connection timed out)",
        "  rule      -A FORWARD -p tcp --dport 25 -j DROP",
        "            edge deny FORWARD #1 (",
        "  control   without the policy the same path gets through (delivered)",
        "  repeat    port25lab run ",
    ):
        assert line in done.stdout.replace(f"{folder}/", "")
    _without_traceback(done.stdout)


def _without_traceback(text: str) -> None:
    assert "Traceback" not in text
    assert "pytest_plugin.py" not in text
    assert "src/port25lab" not in text
    assert "port25lab/run.py" not in text


def test_the_command_to_repeat_repeats_just_that_path(suite: Callable[..., Path]) -> None:
    folder = suite("delivered")
    done = run_pytest(folder, "-k", "deny and ipv6 and T1")
    command = re.search(r"repeat    (port25lab run .*)", done.stdout)
    assert command is not None
    repeated = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m {command[1]}"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert repeated.returncode == 1
    assert "1 path in 2 labs" in repeated.stdout


def test_paths_are_chosen_as_tests_are(suite: Callable[..., Path]) -> None:
    assert "1 passed, 5 deselected" in run_pytest(suite(), "-k", "587 and deny").stdout
    one = "scenarios/mail.yaml::open/T1-sender-to-mx:example.net-25/ipv6"
    assert "1 passed" in run_pytest(suite(), one).stdout


def test_a_scenario_with_a_mistake_is_a_collection_error_with_its_place(suite: Callable[..., Path]) -> None:
    folder = suite()
    file = folder / "scenarios" / "mail.yaml"
    file.write_text(file.read_text().replace("from: sender", "from: sendr", 1))
    done = run_pytest(folder)
    assert done.returncode == 2
    assert "scenarios/mail.yaml:5:" in done.stdout
    assert "no node 'sendr'; a node of street: did you mean 'sender'?" in done.stdout
    _without_traceback(done.stdout)


@pytest.mark.parametrize(
    ("rule", "exit_code", "words"),
    [
        # Read and refused before a lab starts, as iptables-restore refuses it.
        ("-A FORWARD -p tcp --dport smpt -j DROP", 2, "/bad/rules.v4:2: "),
        # Only the kernel knows that this match is for packets of the node's own.
        ("-A FORWARD -m owner --uid-owner 0 -j DROP", 1, "/bad/rules.v4:2: iptables-restore on edge says: "),
    ],
    ids=["by its reader", "by the kernel"],
)
def test_a_rule_that_is_refused_is_told_with_its_place(
    suite: Callable[..., Path], make_policy: Callable[..., str], rule: str, exit_code: int, words: str
) -> None:
    folder = suite()
    file = folder / "scenarios" / "mail.yaml"
    bad = make_policy("bad", v4=f"*filter\n{rule}\nCOMMIT\n")
    good = make_policy("deny", v4=DENY, v6=DENY)
    file.write_text(file.read_text().replace(good, bad))
    done = run_pytest(folder, "-k", "deny and ipv4")
    assert done.returncode == exit_code
    assert words in done.stdout
    _without_traceback(done.stdout)


FIXTURE = """
def test_sender_does_not_reach_the_mx(lab):
    street = lab({street!r}, policies={{"edge": {deny!r}}})
    street.expect("dropped", by="edge", source="sender", to="mx:example.net", ip_version=4)

def test_sender_reaches_the_mx(lab):
    street = lab({street!r}, policies={{"edge": {deny!r}}})
    street.expect("delivered", source="sender", to="mx:example.net", ip_version=4)

def test_another_rule_decides(lab):
    street = lab({street!r}, policies={{"edge": {deny!r}}})
    street.expect("dropped", by="far", source="sender", to="mx:example.net", ip_version=4)

def test_a_verdict_can_be_looked_at(lab):
    verdict = lab({street!r}).send(source="sender", to="mx:example.net", ip_version=6)
    assert verdict.outcome == "delivered" and verdict.ok and verdict.question.expected is None

def test_equal_labs_are_the_same(lab):
    assert lab({street!r}, policies={{}}) is lab({street!r})

def test_a_program_runs_in_a_node(lab):
    assert lab({street!r}).run("sender", "hostname", "-I")["returncode"] == 0

def test_a_name_is_misspelt(lab):
    lab({street!r}, policies={{"edge": "op25"}})
"""


def test_the_fixture_starts_labs_for_tests_in_python(
    street: str, make_policy: Callable[..., str], suite: Callable[..., Path]
) -> None:
    folder = suite()
    deny = make_policy("deny", v4=DENY, v6=DENY)
    (folder / "test_mail.py").write_text(FIXTURE.format(street=street, deny=deny))
    done = run_pytest(folder, "test_mail.py", "-n", "2")
    assert "3 failed, 4 passed" in done.stdout, done.stdout
    assert "expected delivered, found dropped" in done.stdout
    assert "expected a rule on far to decide, found edge" in done.stdout
    assert "no policy 'op25'; did you mean 'op25b'?" in done.stdout
    assert "port25lab/run.py" not in done.stdout


@pytest.mark.parametrize("statement", ["sys.exit()", "raise SystemExit(3)", "raise GeneratorExit", "1 / 0"])
def test_a_topology_that_ends_the_program_is_an_error_of_its_own_file_alone(
    suite: Callable[..., Path], statement: str
) -> None:
    folder = suite()
    (folder / "scenarios" / "bad.yaml").write_text(
        "title: T\ntopology: ./bad.py\nvariants: {x: {}}\npaths: [{from: a, to: b, expect: closed}]\n"
    )
    (folder / "scenarios" / "bad.py").write_text(f"import sys\n{statement}\n")
    done = run_pytest(folder, "--collect-only", "-q", "--continue-on-collection-errors")
    assert done.returncode in (1, 2), done.stdout
    assert "ERROR scenarios/bad.yaml" in done.stdout
    assert re.search(r"^(E +)?\S*scenarios/bad\.py:2: \w+", done.stdout, re.MULTILINE), done.stdout
    assert "6 tests collected, 1 error" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_topology_file_runs_once_in_a_session(suite: Callable[..., Path], street: str) -> None:
    folder = suite()
    topology, runs = folder / "counted.py", folder / "runs"
    topology.write_text(
        Path(street).read_text() + f"\nwith open({str(runs)!r}, 'a') as runs:\n    runs.write('run\\n')\n"
    )
    text = (folder / "scenarios/mail.yaml").read_text().replace(street, str(topology))
    (folder / "scenarios/mail.yaml").write_text(text)
    (folder / "scenarios/other.yaml").write_text(text)
    (folder / "test_mail.py").write_text(
        f"def test_mail(lab):\n    lab({str(topology)!r}).expect('delivered', source='sender', to='mx:example.net')\n"
    )
    done = run_pytest(folder)
    assert "13 passed" in done.stdout, done.stdout
    assert runs.read_text() == "run\n"


def test_a_report_of_the_paths_is_written(suite: Callable[..., Path]) -> None:
    folder = suite("delivered")
    done = run_pytest(folder, "--port25lab-html", "report.html", "--port25lab-json", "results.json")
    assert done.returncode == 1, done.stdout
    verdicts = json.loads((folder / "results.json").read_text())["verdicts"]
    assert len(verdicts) == 6
    wrong = [one for one in verdicts if one["ok"] is False]
    assert {one["outcome"] for one in wrong} == {"dropped"}
    assert f">6 paths, {len(wrong)} not as expected<" in (folder / "report.html").read_text()
