"""Machines that lack something: the doctor says so, and a run ends with exit 3 and the remedy before any lab.

Each machine is made for the test: a user namespace with limits of its own, a sudoers file of its own, a process
without capabilities or with few open files, a seccomp filter.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from machine import COMMAND, NOBODY, Machine
from port25lab.pytest_plugin.labs import LabFactory

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root can make such a machine")
needs_sudo = pytest.mark.skipif(not shutil.which("sudo") or not ROOT, reason="takes root and sudo")
NO_IPV6 = (sys.executable, str(Path(__file__).parent / "support/no_ipv6.py"))


@pytest.fixture
def machine() -> Iterator[Machine]:
    own = Machine(user_namespace=ROOT)
    yield own
    own.close()


def _set(machine: Machine, script: str) -> None:
    subprocess.run([*machine.prefix, "sh", "-c", script], check=True)


def _limit(machine: Machine, kind: str, number: int) -> None:
    _set(machine, f"echo {number} >/proc/sys/user/max_{kind}_namespaces")


def _done(machine: Machine, *argv: str) -> subprocess.CompletedProcess[str]:
    wide = os.environ | {"COLUMNS": "1000"}
    return subprocess.run([*machine.prefix, *argv], capture_output=True, text=True, timeout=120, check=False, env=wide)


def _refused(machine: Machine, *argv: str) -> str:
    """What the command says that is refused: one line, and nothing was left behind."""
    before = machine.look()
    done = _done(machine, *argv)
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert machine.look() == before
    return done.stderr.removeprefix("port25lab: ").rstrip()


def _row(machine: Machine, name: str, *before: str, code: int = 3) -> str:
    """What the doctor says in one row: its mark and what it found."""
    done = _done(machine, *before, *COMMAND, "doctor")
    assert done.returncode == code, done.stdout + done.stderr
    row = next(line for line in done.stdout.splitlines() if re.match(rf"(ok|--?|\S+)\s+{name}\s", line))
    return re.sub(r"\s\s+", "  ", row)


# -- namespaces --------------------------------------------------------------------------------------------------------

each_user = pytest.mark.parametrize("user", [pytest.param((), id="root"), pytest.param(NOBODY, id="user")])


@needs_root
@each_user
def test_no_network_namespaces(machine: Machine, user: tuple[str, ...]) -> None:
    _limit(machine, "net", 0)
    said = _refused(machine, *user, *COMMAND, "run", "hosting")
    assert said.startswith("user.max_net_namespaces=0 forbids namespaces")
    assert said.endswith("; sudo sysctl -w user.max_net_namespaces=10000")
    assert "not tried: there is no sandbox to try it in" in _row(machine, "links", *user)


@needs_root
@each_user
def test_fewer_network_namespaces_than_one_lab_takes(machine: Machine, user: tuple[str, ...]) -> None:
    _limit(machine, "net", 5)
    assert _refused(machine, *user, *COMMAND, "run", "hosting") == (
        "a lab of hosting takes 17 net namespaces, more than user.max_net_namespaces=5 leaves this user; "
        "sudo sysctl -w user.max_net_namespaces=10000"
    )
    assert "28 net namespaces, more than user.max_net_namespaces=5 leaves this user" in _row(
        machine, "namespaces", *user
    )


@needs_root
@each_user
def test_room_for_one_lab_and_not_for_two(machine: Machine, user: tuple[str, ...]) -> None:
    _limit(machine, "net", 25)
    done = _done(machine, *user, *COMMAND, "run", "hosting")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 paths in 2 labs" in done.stdout


@needs_root
@pytest.mark.parametrize("kind", ["mnt", "pid", "ipc", "uts"])
def test_no_namespaces_of_another_kind(machine: Machine, kind: str) -> None:
    _limit(machine, kind, 0)
    said = _refused(machine, *COMMAND, "run", "hosting")
    assert said == (f"user.max_{kind}_namespaces=0 forbids namespaces; sudo sysctl -w user.max_{kind}_namespaces=10000")


@needs_root
def test_a_mount_namespace_for_each_program_that_runs(machine: Machine) -> None:
    _limit(machine, "mnt", 2)
    assert _refused(machine, *COMMAND, "run", "clients", "-k", "smtplib") == (
        "a lab of residential_isp takes 9 mnt namespaces, more than user.max_mnt_namespaces=2 leaves this user; "
        "sudo sysctl -w user.max_mnt_namespaces=10000"
    )
    assert _done(machine, *COMMAND, "run", "hosting").returncode == 0, "no program runs there"


# -- sudo --------------------------------------------------------------------------------------------------------------


def _sudoers(machine: Machine, line: str) -> None:
    _limit(machine, "user", 0)
    _set(machine, "mount -t tmpfs -o mode=0750 tmpfs /etc/sudoers.d && mount -t tmpfs tmpfs /var/log")
    _set(machine, f"echo '{line}' >/etc/sudoers.d/lab")


@needs_sudo
def test_sudoers_that_allow_other_commands_alone(machine: Machine) -> None:
    _sudoers(machine, f"nobody ALL=(ALL) NOPASSWD: {shutil.which('true')}")
    assert _refused(machine, *NOBODY, *COMMAND, "run", "hosting") == (
        "user.max_user_namespaces=0 forbids namespaces, and sudo says: a password is required; "
        "sudo sysctl -w user.max_user_namespaces=10000"
    )
    assert "and sudo says: a password is required" in _row(machine, "sandbox", *NOBODY)


@needs_sudo
def test_sudoers_that_allow_this_python_alone(machine: Machine) -> None:
    """The line that the remedy gives where no setting is to blame."""
    _sudoers(machine, f"nobody ALL=(root) NOPASSWD: {sys.executable}")
    done = _done(machine, *NOBODY, *COMMAND, "run", "hosting")
    assert done.returncode == 0, done.stdout + done.stderr
    assert _row(machine, "sandbox", *NOBODY, code=0).startswith(
        "ok  sandbox  made by sudo, since user.max_user_namespaces=0 forbids namespaces"
    )
    assert _row(machine, "rule trace", *NOBODY, code=0).startswith("ok  rule trace  nftrace events arrive")


@needs_sudo
def test_sudo_gives_no_sandbox_where_root_gets_none_either(machine: Machine) -> None:
    _sudoers(machine, "nobody ALL=(ALL) NOPASSWD: ALL")
    _limit(machine, "net", 0)
    said = _refused(machine, *NOBODY, *COMMAND, "run", "hosting")
    assert said == "user.max_net_namespaces=0 forbids namespaces; sudo sysctl -w user.max_net_namespaces=10000"
    assert "user.max_net_namespaces=0" in _row(machine, "sandbox", *NOBODY)


@needs_sudo
def test_by_sudo_too_there_may_be_room_for_one_lab_and_not_for_two(machine: Machine) -> None:
    _sudoers(machine, "nobody ALL=(ALL) NOPASSWD: ALL")
    _limit(machine, "net", 25)
    done = _done(machine, *NOBODY, *COMMAND, "run", "hosting")
    assert done.returncode == 0, done.stdout + done.stderr
    _limit(machine, "net", 5)
    assert "a lab of hosting takes 17 net namespaces" in _refused(machine, *NOBODY, *COMMAND, "run", "hosting")


# -- root without rights -----------------------------------------------------------------------------------------------


@needs_root
def test_root_that_may_not_unshare_as_in_a_container(machine: Machine) -> None:
    no_rights = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    assert _refused(machine, *no_rights, *COMMAND, "run", "hosting") == (
        "unshare: Operation not permitted: root has no CAP_SYS_ADMIN, as in a container; "
        "start the container with: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
        "--security-opt systempaths=unconfined"
    )
    assert "root has no CAP_SYS_ADMIN" in _row(machine, "sandbox", *no_rights)


# -- where it is installed, and from where it is started ---------------------------------------------------------------


@needs_root
def test_an_environment_on_a_file_system_without_programs(machine: Machine) -> None:
    where = Path(sys.prefix)
    _set(machine, f"mount --bind {where} {where} && mount -o remount,bind,noexec {where}")
    done = _done(machine, *COMMAND, "run", "hosting")
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
    assert "is on a file system that forbids programs (noexec)" in done.stderr
    assert '; install port25lab elsewhere, or: sudo mount -o remount,exec "$(findmnt -no TARGET -T ' in done.stderr


def test_neither_a_home_nor_a_path_is_needed(machine: Machine) -> None:
    done = _done(machine, "env", "-u", "HOME", "PATH=/nonexistent", *COMMAND, "run", "hosting")
    assert done.returncode == 0, done.stdout + done.stderr
    done = _done(machine, "env", "HOME=/proc/self", *COMMAND, "run", "hosting", "-k", "ipv4")
    assert done.returncode == 0, done.stdout + done.stderr


# -- open files --------------------------------------------------------------------------------------------------------


def _files(number: int, *argv: str, soft: bool = False) -> tuple[str, ...]:
    return ("sh", "-c", f'ulimit {"-S" * soft} -n {number}; exec "$@"', "sh", *argv)


def test_few_open_files_at_first_are_made_more(machine: Machine) -> None:
    done = _done(machine, *_files(64, *COMMAND, "run", "hosting", soft=True))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("number", [20, 64, 256])
def test_few_open_files_for_good(machine: Machine, number: int) -> None:
    said = _refused(machine, *_files(number, *COMMAND, "run", "hosting"))
    assert f"open files, and the limit (ulimit -n) is {number}; sudo prlimit --pid=$$ --nofile=4096" in said
    if number >= 64:
        row = _row(machine, "open files", *_files(number))
        assert f"open files, and the limit (ulimit -n) is {number}; sudo prlimit --pid=$$ --nofile=4096" in row


def _may_raise_limits() -> bool:
    capabilities = re.search(r"CapEff:\s+(\w+)", Path("/proc/self/status").read_text())
    return bool(capabilities and int(capabilities[1], 16) >> 24 & 1)


@pytest.mark.skipif(not _may_raise_limits(), reason="takes CAP_SYS_RESOURCE")
def test_root_of_the_machine_raises_the_limit_itself() -> None:
    few = _files(64, *COMMAND, "run", "hosting")
    done = subprocess.run(few, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# -- IPv6 --------------------------------------------------------------------------------------------------------------


def test_without_ipv6_paths_over_it_are_refused(machine: Machine) -> None:
    said = _refused(machine, *NO_IPV6, *COMMAND, "run", "hosting")
    assert said.startswith(
        "this kernel has no IPv6, and 10 of 20 paths are asked over it; leave IPv6 out: -k 'not ipv6'; "
    )
    assert "this kernel has none" in _row(machine, "IPv6", *NO_IPV6, code=0)


def test_without_ipv6_paths_over_ipv4_are_tried(machine: Machine) -> None:
    done = _done(machine, *NO_IPV6, *COMMAND, "run", "residential", "middleboxes", "-k", "not ipv6")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error" not in done.stdout


def test_where_namespaces_start_without_ipv6_a_lab_allows_it_again(
    own_lab: LabFactory, faulty: Callable[[str], None], street: str
) -> None:
    """As with ``ipv6.disable_ipv6=1`` at boot: no interface of a new namespace has it, the loopback one included."""
    faulty(
        "from port25lab.kernel import namespaces\n"
        "real = namespaces.unshare\n"
        "def unshare(flags, *more):\n"
        "    real(flags, *more)\n"
        "    if flags == namespaces.NEWNET:\n"
        "        for name in ('default', 'lo'):\n"
        "            with open(f'/proc/sys/net/ipv6/conf/{name}/disable_ipv6', 'w') as file:\n"
        "                file.write('1')\n"
        "namespaces.unshare = unshare\n"
    )
    small = own_lab(street)
    assert small.run("sender", "cat", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6")["stdout"] == "0\n"
    small.expect("delivered", source="sender", to="mx:example.net", ip_version=6)
