"""The engine's side of sandboxes: ask for one, get its control socket.

``Nursery`` starts one helper process (``zygote``) that has everything imported, and asks it for sandboxes. Nothing is
ever created in the host's own namespaces, so there is nothing to clean up there: a sandbox goes when its control socket
closes.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from port25lab import doctor
from port25lab.errors import LabError, MachineError

START_SECONDS = 60.0
"""How long the helper process may take to import the engine, or a person to type sudo's password."""


@dataclass
class Sandbox:
    """A running sandbox: its control socket and the process id of its PID 1, seen from outside."""

    control: socket.socket
    pid: int


class Nursery:
    """Where sandboxes come from. A context manager: leaving it ends every sandbox that came from it.

    Raises MachineError where neither user namespaces nor sudo can make one.
    """

    def __init__(self) -> None:
        self.user_namespace = True
        self.sudo: tuple[str, ...] = ()
        """The command that makes root of an ordinary user, where that is needed."""
        problem = doctor.user_namespaces_problem()
        if problem:
            self.user_namespace = False
            self.sudo = _sudo(problem)
        # An abstract name (unix(7)): no file is left behind, however this process ends.
        name = f"port25lab-{secrets.token_hex(16)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(f"\0{name}")
            listener.listen(1)
            self._process = subprocess.Popen(
                [*self.sudo, *_root_environment(self.sudo), sys.executable, "-m", "port25lab.zygote", name],
                stdin=subprocess.DEVNULL,
                env=_environment(),
            )
            try:
                self._zygote = self._accept(listener)
            except BaseException:
                self._kill()
                raise

    def _accept(self, listener: socket.socket) -> socket.socket:
        listener.settimeout(0.2)
        end = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                connection = listener.accept()[0]
                if _user_at_the_other_end(connection) in (0, os.geteuid()):
                    return connection
                connection.close()
        raise LabError(f"the sandbox helper did not start (exit {self._process.poll()})")

    def _kill(self) -> None:
        with contextlib.suppress(PermissionError):  # under sudo it is root's; it ends when it finds nobody to talk to
            self._process.kill()
            self._process.wait()

    def open(self, keep: Sequence[Path] = (), imports: Sequence[str] = (), pcap: BinaryIO | None = None) -> Sandbox:
        """A new sandbox. ``keep``: folders below /tmp or /run that must stay visible in it.

        ``imports``: modules that it will need beside the engine's. ``pcap``: a file for its packets.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        request = {
            "user_namespace": self.user_namespace,
            "keep": [str(path) for path in (*keep, *_engine_folders())],
            "imports": list(imports),
        }
        with theirs:
            try:
                socket.send_fds(
                    self._zygote, [json.dumps(request).encode()], [theirs.fileno(), *([pcap.fileno()] if pcap else [])]
                )
            except OSError as error:
                ours.close()
                raise LabError(f"the sandbox helper is gone: {error}") from error
        line = _first_line(ours)
        said = json.loads(line) if line else {"failed": "the sandbox process died while it was set up"}
        if "failed" in said:
            ours.close()
            raise LabError(f"no sandbox: {said['failed']}")
        return Sandbox(ours, int(said["entered"]))

    def close(self) -> None:
        """End the helper and, by that, every sandbox that is left."""
        self._zygote.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _user_at_the_other_end(connection: socket.socket) -> int:
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(user)


def _first_line(control: socket.socket) -> bytes:
    """Byte by byte: what follows the line is for whoever gets the socket."""
    line = b""
    while not line.endswith(b"\n"):
        byte = control.recv(1)
        if not byte:
            return b""
        line += byte
    return line


def _engine_folders() -> list[Path]:
    """Where the running Python finds its modules; visible in the sandbox even when somebody works below /tmp."""
    return [
        Path(entry).resolve()
        for entry in (sys.prefix, sys.base_prefix, str(Path(__file__).parents[0]), *sys.path)
        if entry
    ]


def _environment() -> dict[str, str]:
    """The helper must find the same modules as this process, and print nothing into the report."""
    modules = os.pathsep.join(entry for entry in sys.path if entry)
    return os.environ | {
        "PATH": doctor.search_path(),
        "PYTHONPATH": modules,
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _sudo(problem: str) -> tuple[str, ...]:
    """How to become root where user namespaces are forbidden; empty for root itself."""
    if os.geteuid() == 0:
        return ()
    if not doctor.sudo_works():
        raise MachineError(f"no sandbox without root: {problem}", "or give this user sudo without a password")
    return ("sudo", "--non-interactive")


def _root_environment(sudo: tuple[str, ...]) -> list[str]:
    """sudo clears the environment; what the helper needs of it goes as arguments."""
    kept = ("PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    return [f"{name}={value}" for name, value in _environment().items() if name in kept] if sudo else []
