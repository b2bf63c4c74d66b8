"""Sandboxes on trial: which way is taken, what is to blame where there is none, and the one remedy that can work."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from port25lab.errors import MachineError
from port25lab.kernel import own_python, sandbox
from port25lab.machine import capacity, kernel_features, sandbox_trial

REFUSED = PermissionError(errno.EPERM, "Operation not permitted", "unshare")
USED_UP = OSError(errno.ENOSPC, "No space left on device", "unshare")
CAPABLE = "Name:\tpython\nNoNewPrivs:\t0\nCapBnd:\t000001ffffffffff\n"
INCAPABLE = "Name:\tpython\nNoNewPrivs:\t0\nCapBnd:\t00000000a80425fb\n"
"""What Docker leaves root of a container that is not privileged."""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc of a machine that forbids nothing."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self/status").write_text(CAPABLE)
    return tmp_path


def setting(proc: Path, name: str, value: str) -> None:
    file = proc / "sys" / name.replace(".", "/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{value}\n")


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0; "
            "or an AppArmor profile for port25lab alone: recipes/port25lab.apparmor",
        ),
        ("kernel.unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("user.max_user_namespaces", "0", "user.max_user_namespaces=10000"),
        ("user.max_net_namespaces", "0", "user.max_net_namespaces=10000"),
    ],
)
def test_the_setting_that_forbids_namespaces_is_named(proc: Path, name: str, value: str, remedy: str) -> None:
    setting(proc, name, value)
    problem = sandbox_trial.sandbox_problem(REFUSED, 1000, proc)
    assert problem.what == f"{name}={value} forbids namespaces"
    assert problem.remedy == f"sudo sysctl -w {remedy}"


def test_of_two_settings_one_command_allows_both(proc: Path) -> None:
    setting(proc, "user.max_user_namespaces", "0")
    setting(proc, "user.max_net_namespaces", "0")
    problem = sandbox_trial.sandbox_problem(USED_UP, 1000, proc)
    assert problem.remedy == "sudo sysctl -w user.max_user_namespaces=10000 user.max_net_namespaces=10000"
    as_root = sandbox_trial.sandbox_problem(USED_UP, 0, proc, user_namespace=False)
    assert as_root.remedy == "sudo sysctl -w user.max_net_namespaces=10000", "root needs no user namespace"


def test_settings_for_ordinary_users_are_not_blamed_by_root(proc: Path) -> None:
    setting(proc, "kernel.apparmor_restrict_unprivileged_userns", "1")
    problem = sandbox_trial.sandbox_problem(REFUSED, 0, proc)
    assert problem.what == "unshare: Operation not permitted: forbidden, as in a container or by seccomp"


def test_root_of_a_container_is_told_what_it_lacks(proc: Path) -> None:
    (proc / "self/status").write_text(INCAPABLE)
    problem = sandbox_trial.sandbox_problem(REFUSED, 0, proc)
    assert problem.what == "unshare: Operation not permitted: root has no CAP_SYS_ADMIN, as in a container"
    assert problem.remedy == sandbox_trial.CONTAINER_REMEDY


def test_a_limit_that_is_used_up_is_named_with_its_value(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_trial, "_used_up", lambda: "net")
    setting(proc, "user.max_net_namespaces", "5")
    problem = sandbox_trial.sandbox_problem(USED_UP, 1000, proc)
    assert problem.what == "a sandbox takes 1 net namespace, more than user.max_net_namespaces=5 leaves this user"
    assert problem.remedy == "sudo sysctl -w user.max_net_namespaces=10000"


def test_a_limit_that_is_not_seen_is_that_of_the_machine_around(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_trial, "_used_up", lambda: "net")
    setting(proc, "user.max_net_namespaces", "2147483647")
    problem = sandbox_trial.sandbox_problem(USED_UP, 1000, proc)
    assert problem.remedy == "outside of this container: sudo sysctl -w user.max_net_namespaces=10000"


def test_a_failing_step_of_a_sandbox_is_told_with_the_kernels_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(user_namespace: bool) -> int:
        raise PermissionError(1, "Operation not permitted", "mount /proc")

    monkeypatch.setattr(sandbox, "enter", refuse)
    monkeypatch.setattr(sandbox_trial, "SETTINGS", ())
    monkeypatch.setattr(sandbox_trial, "_may_ever", lambda proc: True)
    problem = sandbox_trial.problem(user_namespace=True)
    assert problem is not None
    assert problem.what.startswith("mount /proc: Operation not permitted: forbidden, as in a container")


def test_a_sandbox_that_dies_without_a_word_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "enter", lambda user_namespace: os._exit(1))
    monkeypatch.setattr(sandbox_trial, "SETTINGS", ())
    problem = sandbox_trial.problem(user_namespace=True)
    assert problem is not None
    assert problem.what.startswith("the sandbox process died")


# -- ways --------------------------------------------------------------------------------------------------------------

FORBIDDEN = MachineError("x=1 forbids namespaces", "sudo sysctl -w x=0")
IN_CONTAINER = MachineError("unshare: refused", sandbox_trial.CONTAINER_REMEDY)


@pytest.fixture
def bin_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no programs but those put into this folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(own_python, "SYSTEM_FOLDERS", ())
    return tmp_path


def _sudo(folder: Path, script: str) -> None:
    (folder / "sudo").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "sudo").chmod(0o755)


def _sandboxes(monkeypatch: pytest.MonkeyPatch, user: int, *, as_root: bool) -> None:
    problems = {True: FORBIDDEN, False: None if as_root else IN_CONTAINER}
    monkeypatch.setattr(sandbox_trial, "problem", lambda *, user_namespace: problems[user_namespace])
    monkeypatch.setattr("os.geteuid", lambda: user)


def test_root_needs_no_user_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    _sandboxes(monkeypatch, 0, as_root=True)
    assert str(sandbox_trial.find()) == "as root, without a user namespace, since x=1 forbids namespaces"


def test_root_that_may_not_unshare_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    _sandboxes(monkeypatch, 0, as_root=False)
    with pytest.raises(MachineError, match="unshare: refused; start the container with: docker run --security-opt "):
        sandbox_trial.find()


def test_without_sudo_the_remedy_is_to_allow_user_namespaces(bin_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _sandboxes(monkeypatch, 1000, as_root=False)
    with pytest.raises(MachineError) as caught:
        sandbox_trial.find()
    assert str(caught.value) == "x=1 forbids namespaces, and there is no sudo; sudo sysctl -w x=0"


def test_an_ordinary_user_goes_by_sudo(bin_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _sudo(bin_only, "exit 0")
    _sandboxes(monkeypatch, os.getuid() or 1000, as_root=False)
    way = sandbox_trial.find()
    assert way.sudo == (str(bin_only / "sudo"), "--non-interactive")
    assert str(way) == "by sudo, since x=1 forbids namespaces"


def _by(folder: Path, problem: MachineError) -> Any:
    way = sandbox_trial.Way(False, (str(folder / "sudo"), "-n"), problem)
    return sandbox_trial.by(way, capacity.raise_descriptors)


def test_what_sudo_refuses_is_our_own_command_and_its_words_are_told(bin_only: Path) -> None:
    """sudoers may allow other commands: that ``sudo true`` works says nothing."""
    _sudo(bin_only, '[ "$2" = true ] && exit 0; echo "sudo: a password is required" >&2; exit 1')
    with pytest.raises(MachineError) as caught:
        _by(bin_only, FORBIDDEN)
    assert str(caught.value) == "x=1 forbids namespaces, and sudo says: a password is required; sudo sysctl -w x=0"


def test_where_no_setting_is_to_blame_a_line_of_sudoers_helps(bin_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _sudo(bin_only, 'echo "sudo: a password is required" >&2; exit 1')
    monkeypatch.setattr(sandbox_trial, "_may_ever", lambda proc: True)
    monkeypatch.setattr(sandbox_trial, "user_name", lambda: "ann")
    with pytest.raises(MachineError) as caught:
        _by(bin_only, IN_CONTAINER)
    line = f"ann ALL=(root) NOPASSWD: {sys.executable}"
    assert caught.value.remedy == f"add a line to /etc/sudoers with visudo: {line}"


def test_where_root_could_not_either_no_line_of_sudoers_is_recommended(
    bin_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _sudo(bin_only, 'printf "sudo: The no new privileges flag is set\\nsudo: You may adjust it.\\n" >&2; exit 1')
    monkeypatch.setattr(sandbox_trial, "_may_ever", lambda proc: False)
    with pytest.raises(MachineError, match="flag is set; start the container with: docker run --security-opt "):
        _by(bin_only, IN_CONTAINER)


def test_what_runs_by_sudo_is_our_own_program(bin_only: Path) -> None:
    _sudo(bin_only, 'shift; exec "$@"')
    assert _by(bin_only, FORBIDDEN) > 0


@pytest.mark.parametrize("function", [capacity.make, capacity.raise_descriptors, kernel_features.try_kernel])
def test_another_process_finds_the_function_that_it_is_to_call(function: Callable[..., Any]) -> None:
    assert sandbox_trial._function(sandbox_trial._name(function)) is function


@pytest.mark.parametrize("function", [lambda: 1, sandbox_trial.Way.__str__])
def test_a_function_that_another_process_cannot_find_is_refused(bin_only: Path, function: Callable[..., Any]) -> None:
    _sudo(bin_only, "echo must not run; exit 1")
    with pytest.raises(ValueError, match="is no function of a module"):
        sandbox_trial.by(sandbox_trial.Way(False, (str(bin_only / "sudo"), "-n"), FORBIDDEN), function)
