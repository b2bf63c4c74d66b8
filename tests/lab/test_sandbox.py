"""Sandboxes: nothing of a lab is ever on this machine itself, and nothing is left of one, however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine import COMMAND, NOBODY, Machine, Run, in_use, now, running
from port25lab.lab.handle import Lab
from port25lab.lab.sandboxes import Sandboxes, _engine_folders
from port25lab.pytest_plugin.labs import LabFactory
from port25lab.scenario.questions import lab_config

ROOT = os.geteuid() == 0
PATHS = ("run", "hosting", "--pause", "-k", "op25b and vps-1")
UP = r"shell in node \(empty: go on\) > "


@pytest.fixture
def machine() -> Iterator[Machine]:
    own = Machine()
    yield own
    own.close()


def _user_of(machine: Machine, ordinary: bool) -> tuple[str, ...]:
    """The way to a process of root's, or of an ordinary user's, on this machine."""
    if not ordinary:
        return machine.prefix
    command = (*machine.prefix, *(NOBODY if ROOT else ()))
    doctor = subprocess.run([*command, *COMMAND, "doctor"], capture_output=True, text=True, check=False)
    if doctor.returncode == 3:
        pytest.skip(f"an ordinary user gets no sandbox here: {doctor.stdout}")
    return command


everybody = pytest.mark.parametrize(
    "ordinary",
    [
        pytest.param(False, id="root", marks=pytest.mark.skipif(not ROOT, reason="not root")),
        pytest.param(True, id="user"),
    ],
)


@everybody
def test_nothing_on_this_machine_changes_while_a_lab_is_up(machine: Machine, ordinary: bool) -> None:
    before = machine.look()
    with running([*_user_of(machine, ordinary), *COMMAND, *PATHS]) as run:
        run.wait_for(UP)
        run.catch()
        assert len(run.namespaces()) > 10
        during = machine.look()
        run.type("")
        run.wait_for(UP)
        run.type("")
        assert run.process.wait(20) == 0
        left = run.gone_within()
    assert during == before
    assert not left
    assert machine.look() == before


@everybody
@pytest.mark.parametrize("victim", ["command", "forkserver", "outer", "inner"])
def test_kill_9_leaves_nothing(machine: Machine, ordinary: bool, victim: str) -> None:
    before = machine.look()
    with running([*_user_of(machine, ordinary), *COMMAND, *PATHS]) as run:
        run.wait_for(UP)
        run.catch()
        namespaces, ended = run.namespaces(), now()
        if victim in ("command", "forkserver"):
            os.kill(run.first(victim), signal.SIGKILL)
        else:  # the lab goes; the rest of the run goes on, and is ended like any other
            pair = (run.first("outer"), run.first("inner"))
            lab = Run(run.process, run.terminal, run.begun, pidfds={pid: run.pidfds[pid] for pid in pair})
            os.kill(run.first(victim), signal.SIGKILL)
            assert not lab.gone_within(), "the lab outlived one of its processes"
        if victim != "command":
            run.process.send_signal(signal.SIGTERM)
        left = run.gone_within()
        assert not left, [Path("/proc", str(pid), "cmdline").read_bytes() for pid in left]
        assert not in_use(namespaces, run.begun, ended)
        assert machine.look() == before


def test_kill_9_in_the_middle_of_attempts_leaves_nothing(machine: Machine) -> None:
    """Not while it waits for a person: with labs being built, and attempts under way."""
    before = machine.look()
    with running([*_user_of(machine, True), *COMMAND, "run", "residential", "hotel"]) as run:
        run.wait_for(r"[1-9][0-9]*/[0-9]+ paths")
        run.catch()
        namespaces, ended = run.namespaces(), now()
        os.kill(run.process.pid, signal.SIGKILL)
        assert not run.gone_within()
        assert not in_use(namespaces, run.begun, ended)
        assert machine.look() == before


INTERRUPTED_SECONDS = 10.0
"""In which an interrupted command ends, also beside much other work: 2 s were too few at a load of 20."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("words", [r"0/2 labs", r"[1-9][0-9]*/[0-9]+ paths"], ids=["at its start", "in its middle"])
def test_an_interrupted_run_ends_at_once_says_so_and_leaves_nothing(
    machine: Machine, number: signal.Signals, words: str
) -> None:
    before = machine.look()
    with running([*machine.prefix, *COMMAND, "run", "residential"]) as run:
        run.wait_for(words)
        run.catch()
        run.process.send_signal(number)
        assert run.process.wait(INTERRUPTED_SECONDS) == 128 + number
        said = run.rest()
        left = run.gone_within(0.5)
    assert "port25lab: interrupted; nothing is left behind" in said
    assert "Traceback" not in said
    assert not left
    assert machine.look() == before


def test_two_runs_side_by_side_have_the_same_node_names_and_nothing_to_do_with_one_another() -> None:
    plan = lab_config("hosting", {}, {"servers": 2}).plan
    with Sandboxes() as one, Sandboxes() as two, Lab(one, plan, {}) as first, Lab(two, plan, {}) as second:
        assert first.run("vps-1", ["ip", "link", "set", "eth0", "down"]).returncode == 0
        assert "state DOWN" in first.run("vps-1", ["ip", "link", "show", "eth0"]).stdout
        assert "state UP" in second.run("vps-1", ["ip", "link", "show", "eth0"]).stdout
        first.run("vps-1", ["touch", "/run/mine", "/tmp/mine"])
        assert first.run("vps-2", ["ls", "/run/mine", "/tmp/mine"]).returncode == 0
        assert second.run("vps-2", ["ls", "/run/mine", "/tmp/mine"]).returncode != 0


def test_two_commands_at_the_same_time_both_meet_every_expectation() -> None:
    runs = [subprocess.Popen([*COMMAND, "run", "hosting"], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert all("20 as expected" in text for text in said)


def test_a_node_sees_its_own_interfaces_names_and_resolver_and_private_folders(lab: LabFactory, street: str) -> None:
    small = lab(street)

    def said(node: str, *argv: str) -> list[str]:
        done = small.run(node, *argv)
        assert done["returncode"] == 0, done["stderr"]
        return sorted(done["stdout"].split())

    assert said("sender", "ls", "/sys/class/net") == ["eth0", "lo"]
    assert said("edge", "ls", "/sys/class/net") == ["access0", "core0", "lo"]
    engine = {folder.parts[2] for folder in _engine_folders() if folder.is_relative_to("/tmp")}
    assert set(said("sender", "ls", "/tmp")) <= engine, "only what the engine itself runs from is seen"
    assert set(said("sender", "ls", "/run")) <= {"port25lab", "xtables.lock", "netns", "lock", "mount"}
    resolvers = small.run("sender", "cat", "/etc/resolv.conf")["stdout"]
    assert "nameserver 192.0.2.25\nnameserver 2001:db8:25::25\n" in resolvers
    assert "sender.example" in small.run("sender", "cat", "/etc/hosts")["stdout"]
    assert said("sender", "sh", "-c", "ls -d /proc/[0-9]* | wc -l") < ["9"], "other processes of this machine are seen"


def test_a_lab_with_its_services_needs_less_than_120_megabytes(lab: LabFactory) -> None:
    isp = lab("residential_isp")
    isp.expect("delivered", source="pc", to="provider", port=465, security="implicit", auth="alice", ip_version=4)
    status = Path("/proc", str(isp.up.pid), "status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident < 120 * 1000


# -- where user namespaces are forbidden -------------------------------------------------------------------------------

needs_root = pytest.mark.skipif(not ROOT, reason="only root can have such a machine to itself")


@pytest.fixture
def forbidding() -> Iterator[Machine]:
    """A machine whose root has forbidden user namespaces to all."""
    own = Machine(user_namespace=True)
    subprocess.run([*own.prefix, "sh", "-c", "echo 0 >/proc/sys/user/max_user_namespaces"], check=True)
    yield own
    own.close()


def _run_on(machine: Machine, *before: str) -> subprocess.CompletedProcess[str]:
    argv = [*machine.prefix, *before, *COMMAND, "run", "hosting"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@needs_root
def test_root_needs_no_user_namespaces(forbidding: Machine) -> None:
    before = forbidding.look()
    done = _run_on(forbidding)
    assert done.returncode == 0, done.stderr
    assert "20 as expected" in done.stdout
    assert forbidding.look() == before


@needs_root
def test_an_ordinary_user_is_told_which_setting_forbids_sandboxes(forbidding: Machine) -> None:
    done = _run_on(forbidding, *NOBODY)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("port25lab: user.max_user_namespaces=0 forbids namespaces, and ")
    assert done.stderr.endswith("; sudo sysctl -w user.max_user_namespaces=10000\n")
    assert done.stderr.count("\n") == 1


@needs_root
@pytest.mark.skipif(not shutil.which("sudo"), reason="no sudo on this machine")
def test_an_ordinary_user_with_sudo_runs_labs_by_it(forbidding: Machine) -> None:
    allow = (
        "mount -t tmpfs -o mode=0750 tmpfs /etc/sudoers.d && echo 'nobody ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/lab"
    )
    subprocess.run([*forbidding.prefix, "sh", "-c", allow], check=True)
    done = _run_on(forbidding, *NOBODY)
    assert done.returncode == 0, done.stderr
    assert "20 as expected" in done.stdout
