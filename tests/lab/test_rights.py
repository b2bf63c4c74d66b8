"""What a process of port25lab that runs as root obeys and trusts: nothing that another user can reach."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine import COMMAND, NOBODY, Machine, command_line, descendants, running
from port25lab.errors import MachineError
from port25lab.kernel import own_python
from port25lab.lab import forkserver, protocol, sandboxes
from port25lab.lab.sandboxes import Sandboxes

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root can act as two users")
SCRIPT = Path(sysconfig.get_path("scripts"), "port25lab")
UP = r"shell in node \(empty: go on\) > "

PLANTED = ("trustme", "aiosmtpd", "aiosmtplib", "lzma", "mininet", "scapy", "dns", "sitecustomize", "usercustomize")
"""Modules that are imported late, or that Python itself looks for at its start."""


@pytest.fixture
def machine() -> Iterator[Machine]:
    own = Machine()
    yield own
    own.close()


@pytest.fixture
def strangers_folder(tmp_path: Path) -> Path:
    """A folder of another user's, full of modules and programs that leave a mark when they run."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    mark = folder / "RAN"
    for name in PLANTED:
        code = f"import sys\nopen({str(mark)!r}, 'a').write(f'{name}: {{sys.orig_argv}}\\n')\n"
        (folder / f"{name}.py").write_text(code)
    for name in ("iptables-restore", "ip6tables-restore", "nft", "ipset", "swaks", "nsenter", "sudo"):
        (folder / name).write_text(f"#!/bin/sh\necho {name} $(id -u) >>{mark}\nexit 1\n")
        (folder / name).chmod(0o755)
    for path in (folder, *folder.iterdir()):
        os.chown(path, 65534, 65534)
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(0o755)
    return folder


def _run_in(folder: Path, *command: str, **environment: str) -> str:
    """What of the stranger's was executed while root ran a few paths in this folder."""
    done = subprocess.run(
        [*command, "run", "hosting", "-k", "vps-1 and ipv4"],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ran = folder / "RAN"
    return ran.read_text() if ran.exists() else ""


@needs_root
@pytest.mark.parametrize("command", [(str(SCRIPT),), COMMAND], ids=["script", "module"])
def test_root_runs_nothing_of_another_users_folder_that_it_stands_in(
    strangers_folder: Path, command: tuple[str, ...]
) -> None:
    path = f"{strangers_folder}:.:{os.environ['PATH']}:"
    assert _run_in(strangers_folder, *command, PATH=path, HOME=str(strangers_folder)) == ""


@needs_root
def test_the_helper_imports_nothing_from_a_pythonpath_that_another_user_can_write(strangers_folder: Path) -> None:
    """The engine's own Python has read it before any line of ours runs, so only the helper's modules are planted."""
    for name in set(PLANTED) - {"sitecustomize", "trustme"}:
        (strangers_folder / f"{name}.py").unlink()
    ran = _run_in(strangers_folder, str(SCRIPT), PYTHONPATH=str(strangers_folder))
    assert [line for line in ran.splitlines() if "forkserver" in line or not line.startswith("sitecustomize")] == []
    assert "sitecustomize" in ran, "what runs is seen"


@needs_root
def test_smtplib_and_swaks_in_a_lab_run_nothing_of_the_working_directory(strangers_folder: Path) -> None:
    (strangers_folder / "smtplib.py").write_text((strangers_folder / "lzma.py").read_text())
    scenario = strangers_folder / "one.yaml"
    scenario.write_text(
        "title: T\ntopology: hosting\nvariants: {open: {}}\npaths:\n"
        "  - {from: vps-1, to: 'mx:example.net', client: [smtplib, swaks], expect: delivered}\n"
    )
    done = subprocess.run(
        [str(SCRIPT), "run", str(scenario)],
        cwd=strangers_folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (strangers_folder / "RAN").exists()


@needs_root
def test_no_socket_of_a_run_has_a_name(machine: Machine) -> None:
    """A name could be bound by another user, or connected to."""
    with running([*machine.prefix, *COMMAND, "run", "hosting", "--pause", "-k", "op25b and vps-1"]) as run:
        run.wait_for(UP)
        named = [entry for pid in descendants(run.process.pid) for entry in _named_sockets(pid)]
        arguments = [command_line(pid) for pid in descendants(run.process.pid)]
    assert named == []
    assert not any("port25lab-" in line for line in arguments)


def _named_sockets(pid: int) -> list[str]:
    names = {}
    for line in Path("/proc", str(pid), "net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[7:]:
            names[f"socket:[{fields[6]}]"] = fields[7]
    links = [str(link.readlink()) for link in Path("/proc", str(pid), "fd").iterdir()]
    return [names[link] for link in links if link in names]


def test_a_helper_without_the_engines_socket_does_nothing() -> None:
    stranger, other_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with stranger, other_end:
        for stdin in (subprocess.DEVNULL, subprocess.PIPE, other_end.fileno()):
            argv = own_python.command(sandboxes.PROGRAM, user_namespace=True)
            helper = subprocess.Popen(argv, stdin=stdin, stdout=subprocess.DEVNULL)
            helper.communicate(timeout=30)
            assert helper.returncode == forkserver.NO_SOCKET


@needs_root
def test_a_helper_makes_root_sandboxes_only_where_its_own_command_line_said_so() -> None:
    """A request cannot ask for one: the helper of an ordinary run under sudo is root."""
    with Sandboxes() as one:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        request = protocol.OpenSandbox(keep=[], imports=[])
        assert set(protocol.OpenSandbox.model_fields) == {"keep", "imports"}
        socket.send_fds(one._forkserver, [request.encoded()], [theirs.fileno()])
        theirs.close()
        entered = protocol.from_sandbox(ours.recv(1 << 10))
        assert isinstance(entered, protocol.SandboxEntered)
        inner = entered.pid
        assert Path(f"/proc/{inner}/ns/user").readlink() != Path("/proc/self/ns/user").readlink()
        ours.close()


def test_folders_in_which_another_user_can_plant_something(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir(mode=0o755)
    assert not own_python.others_can_write(own)
    own.chmod(0o777)
    assert own_python.others_can_write(own)
    own.chmod(0o1777)
    assert own_python.others_can_write(own), "sticky: files cannot be replaced, and can be added"
    (own / "below").mkdir(mode=0o755)
    assert not own_python.others_can_write(own / "below"), "as below /tmp"
    own.chmod(0o777)
    assert own_python.others_can_write(own / "below"), "it can be replaced as a whole"


# -- sudo --------------------------------------------------------------------------------------------------------------

needs_sudo = pytest.mark.skipif(not shutil.which("sudo") or not ROOT, reason="takes root and sudo")


@pytest.fixture
def by_sudo() -> Iterator[Machine]:
    """A machine where sandboxes take sudo: user namespaces are forbidden, and ``nobody`` may do everything."""
    own = Machine(user_namespace=True)
    _sh(own, "echo 0 >/proc/sys/user/max_user_namespaces")
    _sh(own, "mount -t tmpfs -o mode=0750 tmpfs /etc/sudoers.d && mount -t tmpfs tmpfs /var/log")
    _sh(own, "echo 'nobody ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/lab")
    yield own
    own.close()


def _sh(machine: Machine, script: str) -> None:
    subprocess.run([*machine.prefix, "sh", "-c", script], check=True)


@needs_sudo
@pytest.mark.parametrize("pty", ["use_pty", "!use_pty"])
@pytest.mark.parametrize("end", ["by itself", "Ctrl-C"])
def test_sudo_is_used_from_a_terminal(by_sudo: Machine, pty: str, end: str) -> None:
    """With use_pty, Debian's default, sudo makes the helper lead a process group."""
    _sh(by_sudo, f"echo 'Defaults {pty}' >>/etc/sudoers.d/lab")
    argv = [
        *by_sudo.prefix,
        *NOBODY,
        sys.executable,
        "-P",
        "-m",
        "port25lab",
        "run",
        "hosting" if end == "by itself" else "residential",
    ]
    with running(argv) as run:
        if end == "Ctrl-C":
            run.wait_for(r"[1-9][0-9]*/[0-9]+ paths")
            run.catch()
            os.write(run.terminal, b"\x03")
            assert run.process.wait(10) == 130
            assert "interrupted; nothing is left behind" in run.rest()
            assert not run.gone_within()
        else:
            assert "as expected" in run.rest(120)
            assert run.process.wait(10) == 0, run.text
        assert "Traceback" not in run.text


@needs_sudo
def test_sudo_that_logs_its_input_is_named_with_the_remedy(by_sudo: Machine) -> None:
    _sh(by_sudo, "echo 'Defaults log_input' >>/etc/sudoers.d/lab")
    argv = [*by_sudo.prefix, *NOBODY, *COMMAND, "run", "hosting"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == MachineError.exit_code
    assert done.stderr.startswith("port25lab: sudo puts a pipe of its own in place of the helper's standard input")
    assert done.stderr.endswith("Defaults:nobody !log_input\n")
