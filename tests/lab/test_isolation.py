"""What a program in a lab cannot do to the machine that the lab runs on, whoever starts the lab; and what it can do."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from machine import COMMAND, NOBODY, running
from port25lab.kernel import confinement, namespaces
from port25lab.machine import sandbox_trial
from system_calls import CALLS

ROOT = os.geteuid() == 0
HERE = Path(__file__).parent
UP = r"shell in node \(empty: go on\) > "
MARK = "port25lab-was-here"

Program = Callable[..., "subprocess.CompletedProcess[str]"]


def _param(name: str, prefix: tuple[str, ...], kind: str, *, root: bool) -> Any:
    return pytest.param((prefix, kind), id=name, marks=pytest.mark.skipif(root and not ROOT, reason="not root"))


everybody = [
    _param("root", (), "user-namespace", root=True),
    _param("root without a user namespace", (), "no-user-namespace", root=True),
    _param("user", NOBODY if ROOT else (), "user-namespace", root=False),
]


@pytest.fixture(scope="module", params=everybody)
def inside(request: pytest.FixtureRequest) -> Iterator[Program]:
    """Runs a program in the router of a lab that root started, in either way, or an ordinary user."""
    prefix, kind = request.param
    if prefix or not ROOT:
        looked = subprocess.run([*prefix, *COMMAND, "doctor"], capture_output=True, text=True, check=False)
        if looked.returncode == 3:
            pytest.skip(f"an ordinary user gets no sandbox here: {looked.stdout}")
    helper = subprocess.Popen(
        [*prefix, sys.executable, str(HERE / "support/program_in_lab.py"), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert helper.stdin and helper.stdout
    assert helper.stdout.readline() == "up\n"

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        assert helper.stdin and helper.stdout
        print(json.dumps(["edge", *argv]), file=helper.stdin, flush=True)
        done = json.loads(helper.stdout.readline())
        return subprocess.CompletedProcess(argv, done["returncode"], done["stdout"], done["stderr"])

    yield run
    helper.communicate()
    assert helper.returncode == 0


def _shell(inside: Program, script: str) -> str:
    done = inside("sh", "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- files -------------------------------------------------------------------------------------------------------------

FOLDERS = ("/", "/root", "/home", "/etc", "/usr", "/usr/bin", "/var", "/var/lib", "/opt", "/srv", "/boot", str(HERE))


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if os.access(folder, os.X_OK)])
def test_no_folder_of_the_machine_can_be_written(inside: Program, folder: str) -> None:
    try:
        assert inside("touch", f"{folder}/{MARK}").returncode != 0
        assert not Path(folder, MARK).exists()
    finally:
        Path(folder, MARK).unlink(missing_ok=True)


def test_a_file_of_the_users_own_can_be_neither_changed_nor_removed(inside: Program) -> None:
    for program in (["sh", "-c", f"echo >>{__file__}"], ["chmod", "600", __file__], ["touch", __file__]):
        assert inside(*program).returncode != 0
    before = Path(__file__).stat()
    assert "Read-only file system" in inside("touch", "-c", __file__).stderr or before.st_uid != os.geteuid()


def test_the_only_mounts_that_can_be_written_are_the_labs_own(inside: Program) -> None:
    own = {"/run", "/tmp", "/var/tmp", "/dev/shm", "/dev/pts", "/proc/sys/net", "/etc/hosts", "/etc/resolv.conf"}
    own |= {str(Path("/etc", name).resolve()) for name in ("hosts", "resolv.conf")}
    mounts = [line.split() for line in inside("cat", "/proc/self/mountinfo").stdout.splitlines()]
    assert mounts
    assert {fields[4] for fields in mounts if "ro" not in fields[5].split(",")} - own == set()
    shared = [fields for fields in mounts if any(word.startswith(("shared:", "master:")) for word in fields[6:])]
    assert shared == [], "what is mounted here would be mounted there, or the other way round"


def test_a_way_back_to_writing_is_closed(inside: Program) -> None:
    for script in (
        "mount -o remount,rw /",
        "mount -o remount,bind,rw /",
        "mount -o remount,rw /proc",
        "umount /proc/sys/net",
        "umount -l /dev",
        "mount -t tmpfs none /mnt",
        "mount --bind /tmp /etc",
        "unshare --mount true",
        "unshare --user --map-root-user true",
        "unshare --user --mount true",
        "nsenter --target=1 --mount true",
        "ls -l /proc/1/root/ /proc/1/cwd/ /proc/1/fd/",
    ):
        assert inside("sh", "-c", script).returncode != 0, script


def test_nothing_of_the_machines_is_seen_in_the_labs_own_folders(inside: Program) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        place = Path("/tmp", f"port25lab-test-{os.getpid()}")
        listener.bind(str(place))
        try:
            place.chmod(0o777)
            assert inside("ls", str(place)).returncode != 0
        finally:
            place.unlink()
    sockets = _shell(inside, "find /run /tmp /var/tmp /dev -type s")
    assert sockets == ""


def test_the_working_folder_leads_to_nothing_that_is_hidden(inside: Program) -> None:
    done = inside("sh", "-c", f"pwd && [ $(stat -c %d:%i .) = $(stat -c %d:%i $(pwd)) ] && touch {MARK}")
    assert "Read-only file system" in done.stderr or "Permission denied" in done.stderr


@pytest.mark.parametrize(
    "user_namespace", [True, pytest.param(False, marks=pytest.mark.skipif(not ROOT, reason="not root"))]
)
def test_mounts_are_read_only_on_kernels_without_mount_setattr_too(
    monkeypatch: pytest.MonkeyPatch, user_namespace: bool
) -> None:
    monkeypatch.setattr(namespaces, "restrict_all_mounts", namespaces.restrict_each_mount)
    mounts = sandbox_trial.in_sandbox(Path("/proc/self/mountinfo").read_text, user_namespace=user_namespace)
    on_top = {fields[4]: set(fields[5].split(",")) for fields in map(str.split, mounts.splitlines())}
    own = {"/run", "/tmp", "/var/tmp", "/dev/shm", "/dev/pts", "/proc/sys/net"}
    assert {place for place, flags in on_top.items() if "ro" not in flags} <= own
    assert {"ro", "nosuid", "nodev"} <= on_top["/"]


# -- devices and the kernel --------------------------------------------------------------------------------------------


def test_there_are_no_devices_but_harmless_ones(inside: Program) -> None:
    devices = set(_shell(inside, "find /dev -type b -o -type c").split())
    assert devices <= {
        *(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")),
        "/dev/pts/ptmx",
    }
    assert _shell(inside, "echo x >/dev/null; head -c 1 /dev/zero | wc -c; head -c 1 /dev/urandom | wc -c") == "1\n1\n"
    assert inside("chmod", "600", "/dev/null").returncode != 0


def test_no_device_can_be_made(inside: Program) -> None:
    for kind, major, minor in (("b", 254, 0), ("c", 1, 1)):
        assert inside("mknod", f"/tmp/{kind}", kind, str(major), str(minor)).returncode != 0


def test_no_setting_of_the_kernel_can_be_changed_but_those_of_networks(inside: Program) -> None:
    writable = _shell(
        inside,
        "for file in $(find /proc/sys /proc/irq /proc/fs /proc/bus /proc/sysrq-trigger /sys -type f 2>/dev/null); do"
        " test -w $file && echo $file; done; true",
    )
    assert [file for file in writable.split() if not file.startswith("/proc/sys/net/")] == []
    assert inside("sysctl", "-w", "net.ipv4.ip_forward=1").returncode == 0
    assert inside("sh", "-c", "echo '|/bin/true' >/proc/sys/kernel/core_pattern").returncode != 0
    assert inside("sh", "-c", "echo h >/proc/sysrq-trigger").returncode != 0


def test_the_machines_memory_log_and_keys_cannot_be_read(inside: Program) -> None:
    for name in ("kcore", "kmsg", "keys", "kpageflags", "timer_list"):
        if Path("/proc", name).exists():
            assert inside("head", "-c", "1", f"/proc/{name}").stdout == ""
    assert inside("dmesg").returncode != 0


# -- privileges --------------------------------------------------------------------------------------------------------


def _status(text: str) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def _assert_confined(status: dict[str, str]) -> None:
    most = sum(1 << number for number in confinement.PROGRAM)
    for kind in ("CapEff", "CapPrm", "CapBnd"):
        assert int(status[kind], 16) & ~most == 0, kind
    assert (status["CapInh"].strip("0"), status["CapAmb"].strip("0")) == ("", "")
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == ("2" if platform.machine() in confinement.MACHINES else "0")


def test_a_program_has_the_capabilities_of_a_router_and_gets_no_others(inside: Program) -> None:
    _assert_confined(_status(inside("cat", "/proc/self/status").stdout))
    assert (
        int(_status(inside("cat", "/proc/1/status").stdout)["CapBnd"], 16) & ~sum(1 << n for n in confinement.LAB) == 0
    )


@pytest.mark.parametrize("call", sorted(CALLS))
def test_system_calls_that_reach_past_namespaces_are_refused(inside: Program, call: str) -> None:
    done = inside(sys.executable, str(HERE / "support/system_calls.py"), call)
    assert done.stdout == f"{'ENOSYS' if call == 'clone3' else 'EPERM'}\n", done.stderr


def test_a_modules_name_reaches_no_loader(inside: Program) -> None:
    assert inside("sh", "-c", "modprobe dummy || insmod /dev/null").returncode != 0


# -- what does work ----------------------------------------------------------------------------------------------------


def test_all_that_a_router_does_works(inside: Program) -> None:
    for script in (
        "iptables -A FORWARD -p tcp --dport 25 -j REJECT && iptables -S FORWARD | grep -q REJECT && iptables -F",
        "ip6tables -A FORWARD -p tcp --dport 25 -j DROP && ip6tables -F",
        "ipset create probe hash:net && ipset add probe 192.0.2.0/24 && ipset destroy probe",
        "nft add table inet probe && nft delete table inet probe",
        "tc qdisc add dev core0 root pfifo && tc qdisc del dev core0 root",
        "ip link add probe type bridge && ip link del probe",
        "ip route add 192.0.2.128/32 via 203.0.113.1 && ip route del 192.0.2.128/32",
        "sysctl -q -w net.ipv6.conf.all.forwarding=1",
    ):
        done = inside("sh", "-c", script)
        assert done.returncode == 0, (script, done.stderr)


def test_a_program_can_write_what_is_the_labs_own(inside: Program) -> None:
    _shell(inside, "for folder in /run /tmp /var/tmp /dev/shm; do echo >$folder/mine && rm $folder/mine; done")
    _shell(inside, "python3 -c 'import tempfile, pty; tempfile.TemporaryFile(); pty.openpty()'")
    _shell(inside, "bash -c 'cat <(echo) >/dev/stdout'")


@pytest.mark.parametrize(
    "prefix",
    [
        pytest.param((), id="root", marks=pytest.mark.skipif(not ROOT, reason="not root")),
        pytest.param(NOBODY if ROOT else (), id="user"),
    ],
)
def test_a_shell_in_a_node_has_the_same_limits(prefix: tuple[str, ...]) -> None:
    with running([*prefix, *COMMAND, "run", "hosting", "--pause", "-k", "op25b and vps-1"]) as run:
        run.wait_for(UP)
        run.type("vps-1")
        run.type(f"touch /{MARK} || cat /proc/self/status; ls /sys/class/net; echo done")
        said = run.wait_for(r"(?m)^done\r?$")
    assert "Read-only file system" in said or "Permission denied" in said
    assert "eth0" in said
    _assert_confined(_status(said.replace("\r", "")))
