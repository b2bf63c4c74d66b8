"""What one run of the command leaves on this machine: network, mounts and processes.

As root, a test watches a network and mount namespace of its own, which nothing else uses. An ordinary user watches the
real ones.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

GONE_SECONDS = 2.0
"""After that time nothing of a run is left, however it ended."""

UP_SECONDS = 30.0
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
COMMAND = (sys.executable, "-m", "port25lab")


class Machine:
    """The namespaces in which the command runs, and what is in them."""

    def __init__(self, *, user_namespace: bool = False) -> None:
        """``user_namespace``: also a user namespace, whose root is not this machine's. Needs root."""
        self._holder: subprocess.Popen[bytes] | None = None
        self.prefix: tuple[str, ...] = ()
        if os.geteuid() == 0:
            kinds = ("--net", "--mount", *(("--user",) if user_namespace else ()))
            self._holder = subprocess.Popen(
                ["unshare", *kinds, "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert self._holder.stdout is not None
            self._holder.stdout.readline()
            if user_namespace:
                for ids in ("uid_map", "gid_map"):
                    Path("/proc", str(self._holder.pid), ids).write_text("0 0 65536")
            self.prefix = ("nsenter", f"--target={self._holder.pid}", *kinds)

    def close(self) -> None:
        if self._holder is not None:
            self._holder.communicate()

    def look(self) -> str:
        """Links, addresses, named namespaces, mounts and temporary files, as text to compare."""
        commands = (
            "ip -o link",
            "ip -o address",
            "ip netns",
            "ip -o link show type veth",
            "cut -d' ' -f 4- /proc/self/mountinfo",
            "ls -A /run /tmp | grep -e port25lab -e netns -e xtables",
            "nft list tables",
        )
        script = "; ".join(f"echo == {command!r}; {command} 2>/dev/null" for command in commands)
        done = subprocess.run([*self.prefix, "sh", "-c", script], capture_output=True, text=True, check=False)
        return re.sub(r"(?m)\b(shared|master):\d+ ?", "", done.stdout)


@dataclass
class Run:
    """One run of the command on a terminal, and everything that belongs to it."""

    process: subprocess.Popen[bytes]
    terminal: int
    begun: float
    text: str = ""
    pidfds: dict[int, int] = field(default_factory=dict)

    def wait_for(self, words: str, seconds: float = UP_SECONDS) -> str:
        """Everything on the terminal since the last wait, up to what matches ``words``."""
        end = time.monotonic() + seconds
        while not (found := re.search(words, self.text)):
            ready, _, _ = select.select([self.terminal], [], [], max(0.0, end - time.monotonic()))
            data = b""
            if ready:
                with suppress(OSError):  # EIO: no process has the terminal open any more
                    data = os.read(self.terminal, 1 << 16)
            if not data:
                raise AssertionError(f"{words!r} did not come; the terminal says:\n{self.text}")
            self.text += data.decode(errors="replace")
        before, self.text = self.text[: found.end()], self.text[found.end() :]
        return before

    def wait_for_program(self, argv: str, seconds: float = UP_SECONDS) -> None:
        """Return when a process of the run is this program, and no longer the shell that starts it."""
        end = time.monotonic() + seconds
        while not any(command_line(pid).strip() == argv for pid in descendants(self.process.pid)):
            assert time.monotonic() < end, f"{argv!r} was not started"
            time.sleep(0.01)

    def type(self, line: str) -> None:
        os.write(self.terminal, f"{line}\n".encode())

    def rest(self, seconds: float = UP_SECONDS) -> str:
        """What the terminal says until the command ends."""
        end = time.monotonic() + seconds
        while select.select([self.terminal], [], [], max(0.0, end - time.monotonic()))[0]:
            try:
                data = os.read(self.terminal, 1 << 16)
            except OSError:
                break
            if not data:
                break
            self.text += data.decode(errors="replace")
        return self.text

    def catch(self) -> None:
        """Open a pidfd of every process of the run, so that ``gone_within`` can wait for its end."""
        for pid in descendants(self.process.pid):
            if pid not in self.pidfds:
                with suppress(ProcessLookupError):
                    self.pidfds[pid] = os.pidfd_open(pid)

    def first(self, what: str) -> int:
        """A process of the run: the ``command``, its ``forkserver``, a lab's ``outer`` process or its ``inner`` one."""
        if what == "command":
            return self.process.pid
        forkservers = [pid for pid in descendants(self.process.pid) if "forkserver.main" in command_line(pid)]
        depth = {"forkserver": 0, "outer": 1, "inner": 2}[what]
        at_depth = [pid for pid in forkservers if sum(parent in forkservers for parent in ancestors(pid)) == depth]
        return at_depth[0]

    def gone_within(self, seconds: float = GONE_SECONDS) -> list[int]:
        """Wait for the end of the processes that ``catch`` found; returns those that are left."""
        end = time.monotonic() + seconds
        left = dict(self.pidfds)
        while left and (pause := end - time.monotonic()) > 0:
            for ready in select.select(list(left.values()), [], [], pause)[0]:
                left = {pid: fd for pid, fd in left.items() if fd != ready}
        return [pid for pid in left if state(pid) not in ("Z", "X", "")]

    def namespaces(self) -> set[str]:
        """The namespaces that processes of the run are in or hold open, and that are not the machine's own."""
        own = set(_links(Path("/proc/self/ns"))) | set(_links(Path("/proc", str(self.process.pid), "ns")))
        found: set[str] = set()
        for pid in descendants(self.process.pid):
            found |= set(_links(Path("/proc", str(pid), "ns"))) | set(_links(Path("/proc", str(pid), "fd")))
        return {name for name in found if re.fullmatch(r"(net|mnt|pid|user|uts|ipc):\[\d+\]", name)} - own


def in_use(namespaces: set[str], begun: float, ended: float) -> set[str]:
    """Those that a process is in, holds open or has mounted, of processes that started while a run was up.

    Numbers of namespaces are reused, so processes that started before or later may have another namespace of the same
    number. Zombies are in no namespace. ``begun``, ``ended``: as ``now`` returns them.
    """
    used: set[str] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        if state(int(folder.name)) in ("Z", "X", "") or not begun <= started(int(folder.name)) <= ended:
            continue
        used |= set(_links(folder / "ns")) | set(_links(folder / "fd"))
        with suppress(OSError):
            used |= set(re.findall(r"(?:net|mnt|pid|user|uts|ipc):\[\d+\]", (folder / "mountinfo").read_text()))
    return used & namespaces


def _links(folder: Path) -> Iterator[str]:
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                yield str(path.readlink())


def state(pid: int) -> str:
    """``R``, ``S``, ``Z`` …; empty for a process that does not exist."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def now() -> float:
    """Seconds since this machine came up, in the clock's ticks in which the kernel notes the start of a process."""
    ticks = os.sysconf("SC_CLK_TCK")
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * ticks) / ticks


def started(pid: int) -> float:
    try:
        fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _parent(pid: int) -> int:
    try:
        return int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def ancestors(pid: int) -> Iterator[int]:
    while (pid := _parent(pid)) > 0:
        yield pid


def descendants(pid: int) -> list[int]:
    """A process and all its descendants."""
    parents = {int(folder.name): _parent(int(folder.name)) for folder in Path("/proc").glob("[0-9]*")}
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def command_line(pid: int) -> str:
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


@contextmanager
def running(argv: Sequence[str], **environment: str) -> Iterator[Run]:
    """Run the command on a terminal of its own. Its processes are killed at the end, by process id."""
    terminal, theirs = pty.openpty()
    begun = now()
    process = subprocess.Popen(
        ["setsid", "--ctty", *argv],  # with the terminal in charge: Ctrl-C becomes a signal
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "160", "SHELL": shutil.which("sh") or "sh"} | environment,
    )
    os.close(theirs)
    run = Run(process, terminal, begun)
    try:
        yield run
    finally:
        run.catch()
        for pidfd in run.pidfds.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
        process.wait(10)
        os.close(terminal)
