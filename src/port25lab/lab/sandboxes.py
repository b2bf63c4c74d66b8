"""The engine's side of sandboxes: ask for one, get its control socket.

``Sandboxes`` starts one process, the ``forkserver``, and asks it for sandboxes. Nothing is ever created in the host's
own namespaces, so there is nothing to clean up there: a sandbox ends when its control socket closes.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Self

from port25lab.errors import LabError, MachineError
from port25lab.kernel import namespaces, own_python
from port25lab.lab import forkserver, protocol
from port25lab.machine import capacity, sandbox_trial

PROGRAM = 'from port25lab.lab import forkserver\nforkserver.main(user_namespace=start["user_namespace"])\n'
"""What the fork server's process runs."""

START_SECONDS = 600.0
"""How long the fork server may take to import the engine, or a person to type sudo's password. Its end ends the wait.

In an emulated machine with other work, four of them took more than a minute."""


@dataclass
class Sandbox:
    """A running sandbox: its control socket and the process id of its PID 1, seen from outside."""

    control: socket.socket
    pid: int


class Sandboxes:
    """Makes sandboxes. A context manager: leaving it ends every sandbox that it made.

    Raises MachineError where neither user namespaces nor root nor sudo can make one.
    """

    def __init__(self) -> None:
        self.own_descriptors = capacity.raise_descriptors()
        """How many open files this process may have."""
        self.descriptors = self.own_descriptors
        """How many a lab may have."""
        self.way = sandbox_trial.find()
        # The fork server inherits its end. A socket with a name could be bound, or reached, by another user.
        self._forkserver, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [*self.sudo, *own_python.command(PROGRAM, user_namespace=self.user_namespace)],
                stdin=theirs.fileno(),
                stderr=subprocess.PIPE if self.sudo else None,  # where sudo says why it refuses
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self._forkserver.close()
            self._kill()
            raise
        if self._process.stderr is not None:
            threading.Thread(target=_pass_on, args=(self._process.stderr,), daemon=True).start()

    @property
    def user_namespace(self) -> bool:
        """Whether each sandbox has one."""
        return self.way.user_namespace

    @property
    def sudo(self) -> tuple[str, ...]:
        """The command that makes root of an ordinary user, where that is needed."""
        return self.way.sudo

    def _wait_until_ready(self) -> None:
        """Return when the fork server is ready.

        Raises LabError where it does not start, MachineError where sudo refuses to start it or where it cannot make a
        sandbox.
        """
        self._forkserver.settimeout(START_SECONDS)
        try:
            message = self._forkserver.recv(1 << 14)
        except TimeoutError:
            raise LabError(f"the sandbox helper did not start within {START_SECONDS:.0f} s") from None
        self._forkserver.settimeout(None)
        if message:
            state = protocol.from_fork_server(message)
            if isinstance(state, protocol.ForkServerProblem):
                raise MachineError(state.problem, state.remedy)
            self.descriptors = state.descriptors
            return
        code = self._process.wait(START_SECONDS)
        if code == forkserver.NO_SOCKET:
            raise MachineError(
                "sudo puts a pipe of its own in place of the helper's standard input, to log what is read from it",
                f"add a line to /etc/sudoers with visudo: Defaults:{sandbox_trial.user_name()} !log_input",
            )
        if self._process.stderr is not None:
            raise sandbox_trial.refused_by_sudo(self.way, self._process.stderr.read().decode(errors="replace"))
        raise LabError(f"the sandbox helper did not start (exit {code})")

    def _kill(self) -> None:
        with contextlib.suppress(PermissionError):  # under sudo it is root's; it ends when the engine's socket closes
            self._process.kill()
            self._process.wait()

    def open(self, keep: Sequence[Path] = (), imports: Sequence[str] = (), pcap: BinaryIO | None = None) -> Sandbox:
        """Make a sandbox.

        ``keep``: folders below /tmp or /run that must stay visible in it. ``imports``: modules that it will need beside
        the engine's. ``pcap``: a file for its packets. Returns its control socket and process id. Raises LabError.
        """
        end = time.monotonic() + namespaces.FREED_SECONDS
        while True:
            try:
                return self._open(keep, imports, pcap)
            except _FullError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def _open(self, keep: Sequence[Path], imports: Sequence[str], pcap: BinaryIO | None) -> Sandbox:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        request = protocol.OpenSandbox(keep=[*keep, *_engine_folders()], imports=list(imports))
        with theirs:
            try:
                socket.send_fds(
                    self._forkserver,
                    [request.encoded()],
                    [theirs.fileno(), *([pcap.fileno()] if pcap else [])],
                )
            except OSError as error:
                ours.close()
                raise LabError(f"the sandbox helper is gone: {error}") from error
        line = _first_line(ours)
        died = protocol.SandboxFailed(failed="the sandbox process died while it was set up")
        state = protocol.from_sandbox(line) if line else died
        if isinstance(state, protocol.SandboxFailed):
            ours.close()
            full = state.errno == errno.ENOSPC
            raise (_FullError if full else LabError)(f"no sandbox: {state.failed}")
        return Sandbox(ours, state.pid)

    def close(self) -> None:
        """End the fork server and, by that, every sandbox that is left."""
        self._forkserver.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _FullError(LabError):
    """The user's namespaces are all in use; those of a lab that has just ended are about to be freed."""


def _pass_on(messages: IO[bytes]) -> None:
    """Show the user what the fork server writes to standard error."""
    with contextlib.suppress(OSError, ValueError):  # one of the two files is closed
        shutil.copyfileobj(messages, sys.stderr.buffer, 1)


def _first_line(control: socket.socket) -> bytes:
    """Read byte by byte: the bytes after the line are for the lab's handle."""
    line = b""
    while not line.endswith(b"\n"):
        byte = control.recv(1)
        if not byte:
            return b""
        line += byte
    return line


def _engine_folders() -> list[Path]:
    """Folders in which the running Python finds its modules: they stay visible even where they are below /tmp."""
    return [
        Path(entry).resolve()
        for entry in (sys.prefix, sys.base_prefix, str(Path(__file__).parents[1]), *sys.path)
        if entry
    ]
