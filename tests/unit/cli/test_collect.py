"""`port25lab collect`: the script in the shells of routers, with programs that only say what they were asked."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from port25lab.cli import collect, main
from port25lab.scenario.snapshot import read_snapshot

ROUTER = Path(__file__).parents[2] / "support/routers/isp_edge_sets.txt"
SHELLS = {"dash": ["dash"], "ash": ["busybox", "ash"], "bash": ["bash", "--posix"]}
PATH_LINE = "    PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin\n"


def sections(text: str) -> dict[str, str]:
    """Commands and what they print."""
    parts = text.split("#### port25lab snapshot 1: ")[1:]
    return dict(part.split("\n", 1) for part in parts)


class Machine:
    """A folder of programs, each of which prints what a router's prints, and notes that it ran."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.log = folder / "bin", folder / "log"
        self.bin.mkdir()
        for name in ("cat", "tr"):
            (self.bin / name).symlink_to(str(shutil.which(name)))
        for command, output in sections(ROUTER.read_text()).items():
            if command not in ("hostname", "sysctl", "end"):
                self.program(command, output)
        self.program("uname -n", "bng1\n")

    def program(self, command: str, output: str, *, code: int = 0, errors: str = "") -> None:
        """Add what a program does with some arguments."""
        name, *arguments = command.split()
        file = self.bin / name
        head = f'#!/bin/sh\necho "{name} $*" >> {self.log}\ncat >/dev/null\n'  # the script is its shell's input
        body = file.read_text() if file.exists() else head
        body += f'if [ "$*" = {shlex.quote(" ".join(arguments))} ]; then printf %s {shlex.quote(output)}; '
        body += f"printf %s {shlex.quote(errors)} >&2; exit {code}; fi\n"
        file.write_text(body)
        file.chmod(0o755)

    def lacks(self, *names: str) -> None:
        for name in names:
            (self.bin / name).unlink()

    def run(self, shell: str) -> str:
        """What the script prints, as ssh would run it."""
        program, *arguments = SHELLS[shell]
        found = shutil.which(program)
        if found is None:
            pytest.skip(f"no {program} on this machine")
        assert PATH_LINE in collect.script()
        script = collect.script().replace(PATH_LINE, "")
        done = subprocess.run(
            [found, *arguments], input=script, capture_output=True, text=True, check=False, env={"PATH": str(self.bin)}
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def without_sysctls(text: str) -> dict[str, str]:
    return {name: said for name, said in sections(text).items() if name != "sysctl"}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_prints_a_snapshot(machine: Machine, tmp_path: Path, shell: str) -> None:
    text = machine.run(shell)
    assert without_sysctls(text) == without_sysctls(ROUTER.read_text())
    (tmp_path / "router.txt").write_text(text)
    reading, expected = read_snapshot([str(tmp_path / "router.txt")]), read_snapshot([str(ROUTER)])
    assert not reading.errors
    found = reading.snapshot
    assert (found.interfaces, found.routes, found.sets) == (
        expected.snapshot.interfaces,
        expected.snapshot.routes,
        expected.snapshot.sets,
    )
    assert found.sysctls["net.ipv4.ip_forward"] == Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()
    assert (
        found.sysctls["net.ipv4.conf.lo.rp_filter"] == Path("/proc/sys/net/ipv4/conf/lo/rp_filter").read_text().strip()
    )


def test_the_script_runs_nothing_that_changes_anything(machine: Machine) -> None:
    machine.run("bash")
    assert set(machine.log.read_text().splitlines()) == {
        "uname -n",
        "uname -r",
        "ip addr",
        "ip -4 route",
        "ip -6 route",
        "ipset save",
        "iptables-save -c",
        "ip6tables-save -c",
        "nft list tables",
    }


def test_the_script_reads_no_file_but_those_of_sysctls() -> None:
    allowed = (
        "$net/",
        "net=/proc/sys/net",
        "${file#/proc/sys/}",
        "./",
        "/.",
        "PATH=$PATH:",
        "2>/dev/null",
        "/dev/null",
    )
    code = "\n".join(line for line in collect.script().split("\n") if not line.lstrip().startswith("#"))
    words = {word.strip('"`()<>;') for word in code.split() if "/" in word}
    assert words
    assert [word for word in sorted(words) if not word.startswith(allowed) and word.lstrip("12>") != "/dev/null"] == []


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_router_lacks_is_a_note(machine: Machine, tmp_path: Path, shell: str) -> None:
    machine.lacks("ipset", "nft", "iptables-save", "ip6tables-save")
    said = "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-A FORWARD -d 192.0.2.1/32 -j ACCEPT\n"
    machine.program("iptables -t filter -S", said)
    machine.program("iptables -t nat -S", "", code=3, errors="no such table\n")
    machine.program("iptables -t mangle -S", "", code=3)
    machine.program("iptables -t raw -S", "", code=3)
    (tmp_path / "router.txt").write_text(machine.run(shell))
    reading = read_snapshot([str(tmp_path / "router.txt")])
    assert not reading.errors
    assert [(note.kind, note.subject) for note in reading.snapshot.notes] == [
        ("not-installed", "ipset"),
        ("not-installed", "ip6tables-save"),
        ("not-installed", "nft"),
    ]
    (rules,) = reading.snapshot.rules
    assert rules.content.strip(b"\n").startswith(b"*filter\n:INPUT ACCEPT [0:0]\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_program_complains_of_is_a_comment(machine: Machine, tmp_path: Path, shell: str) -> None:
    machine.lacks("iptables-save", "ip6tables-save", "ipset")
    machine.program("iptables-save -c", "", code=4, errors="iptables-save: Permission denied\n(you must be root)\n")
    machine.program("ip6tables-save -c", "", errors="# Warning: ip6tables-legacy tables present\n")
    text = machine.run(shell)
    assert sections(text)["iptables-save -c"] == (
        "# port25lab: failed: iptables-save -c: exit code 4\n# iptables-save: Permission denied\n# (you must be root)\n"
    )
    (tmp_path / "router.txt").write_text(text)
    reading = read_snapshot([str(tmp_path / "router.txt")])
    assert "there are no rules: failed: iptables-save -c: exit code 4" in str(reading.errors[0])


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-c", "from port25lab.cli.main import main; main()", *arguments]
    return subprocess.run(argv, capture_output=True, check=False, env=os.environ)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["port25lab", "collect"])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert (end.value.code, capsys.readouterr().out) == (0, collect.script())
    assert collect.script().startswith("#!/bin/sh\n")
    chain = b"*filter\n:M\xfcll - [0:0]\n-A M\xfcll -s "
    (tmp_path / "bytes").write_bytes(chain + b'81.2.69.7 -m comment --comment "M\xfcll" -j DROP\nCOMMIT\n# \xfc\n')
    done = run("collect", "--anonymise", str(tmp_path / "bytes"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == chain + b'192.0.2.7 -m comment --comment "text-1" -j DROP\nCOMMIT\n#\n'
    done = run("collect", "--anonymise", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == f"port25lab: {tmp_path}: cannot be read: Is a directory\n"
