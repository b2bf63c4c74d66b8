"""Where labs that stay up are met: names, dead sockets, other users' folders."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from port25lab.errors import InputError, MachineError
from port25lab.lab import registry


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / registry.FOLDER


def test_folder_and_socket_are_the_users_alone(runtime: Path) -> None:
    with registry.claim("one"):
        assert runtime.stat().st_mode & 0o777 == 0o700
        assert (runtime / "one.lab").stat().st_mode & 0o777 == 0o600


def test_a_name_is_claimed_once(runtime: Path) -> None:
    with registry.claim("one"), pytest.raises(InputError, match="'one' is up already; another --name"):
        registry.claim("one")


def test_a_socket_without_a_process_is_removed(runtime: Path) -> None:
    registry.claim("dead").close()
    assert (runtime / "dead.lab").exists()
    assert registry.names() == []
    assert not (runtime / "dead.lab").exists()


def test_the_name_of_a_dead_lab_is_free(runtime: Path) -> None:
    registry.claim("dead").close()
    with registry.claim("dead"):
        assert registry.names() == ["dead"]


def test_the_only_lab_needs_no_name(runtime: Path) -> None:
    with registry.claim("one"):
        name, client = registry.connect(None)
        client.close()
        assert name == "one"


def test_one_of_several_has_to_be_named(runtime: Path) -> None:
    with registry.claim("one"), registry.claim("two"), pytest.raises(InputError, match="--lab NAME: one, two"):
        registry.connect(None)


def test_a_lab_that_is_not_up_is_named_with_the_nearest(runtime: Path) -> None:
    with registry.claim("hotel"), pytest.raises(InputError, match="no lab 'hotl' is up; did you mean 'hotel'"):
        registry.connect("hotl")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x", "x" * 41])
def test_a_bad_name_is_refused(runtime: Path, name: str) -> None:
    with pytest.raises(InputError, match="is no name for a lab"):
        registry.claim(name)


def test_a_folder_that_others_can_enter_is_refused(runtime: Path) -> None:
    runtime.mkdir(mode=0o755)
    runtime.chmod(0o755)
    with pytest.raises(MachineError, match="no folder that only this user can enter"):
        registry.names()


def test_a_link_in_place_of_the_folder_is_refused(runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    runtime.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MachineError, match="no folder that only this user can enter"):
        registry.names()


def test_a_missing_runtime_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    with pytest.raises(MachineError, match="gone/port25lab: No such file"):
        registry.names()


def test_a_long_path_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with pytest.raises(MachineError, match="at most 107 bytes"):
        registry.claim("one")


def test_another_users_socket_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        registry.require_same_user(ours)
        another = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: another)
        with pytest.raises(InputError, match="belongs to another user"):
            registry.require_same_user(ours)


def test_a_socket_is_removed_by_its_own_lab_alone(runtime: Path) -> None:
    with registry.claim("one"):
        own = registry.inode("one")
        assert own is not None
        registry.release("one", own + 1)
        assert registry.inode("one") == own
        registry.release("one", own)
        assert registry.inode("one") is None
