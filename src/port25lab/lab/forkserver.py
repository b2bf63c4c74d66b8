"""The fork server: a process that has all of the engine imported, and forks a sandbox for each request.

Importing costs half a second, a fork two milliseconds, and the memory is shared. Its standard input is the engine's
socket, handed down when it was started, so that no other process can command it. It lives exactly as long as that
connection: when the engine ends, however it ends, the fork server ends, and with it every sandbox.

Its first message is ``{"descriptors": N}``, the open files that a lab may have, or ``{"problem": [WHAT, REMEDY]}``
where it cannot make sandboxes. Each request is one JSON object with the control socket of the new sandbox
attached (SCM_RIGHTS). The sandbox's first line on its control socket says ``{"entered": PID}`` or ``{"failed": "…"}``.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import stat
import sys
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path

from port25lab.errors import LabError
from port25lab.kernel import namespaces, sandbox
from port25lab.machine import capacity, sandbox_trial


def prefer_own_distutils() -> None:
    """Mininet imports distutils. Up to Python 3.11 there is one, but setuptools' comes before it and takes 0.1 s more.

    For processes of port25lab's own: elsewhere somebody else may need setuptools.
    """
    if sys.version_info < (3, 12):
        with suppress(ImportError, AttributeError):  # a setuptools that does not do this
            importlib.import_module("_distutils_hack").remove_shim()


NO_SOCKET = 77
"""Exit code where standard input is not the engine's socket: sudo puts a pipe there to log what it reads."""


def main(*, user_namespace: bool) -> None:
    """Serve until the engine hangs up. ``user_namespace``: whether sandboxes get one; root can do without."""
    engine = _engine()
    _leave_the_terminal(engine)
    limit = capacity.raise_descriptors()
    # With user namespaces the engine has tried; what root may do, only root finds out.
    problem = None if user_namespace else sandbox_trial.problem(user_namespace=False)
    if problem is not None:
        engine.send(json.dumps({"problem": [problem.what, problem.remedy]}).encode())
        return
    prefer_own_distutils()
    from port25lab.lab import server  # after the line above: this imports Mininet

    server.rehearse()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        engine.send(json.dumps({"descriptors": limit}).encode())
    while True:
        try:
            request, descriptors, _, _ = socket.recv_fds(engine, 1 << 16, 2)
        except ConnectionResetError:
            return
        if not request:
            return
        control, wanted = socket.socket(fileno=descriptors[0]), json.loads(request)
        for module in wanted["imports"]:
            with contextlib.suppress(ImportError):  # the sandbox misses it again, and says so where it is needed
                importlib.import_module(module)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            engine.close()
            pcap = descriptors[1] if descriptors[1:] else None
            _become_sandbox(control, user_namespace, wanted["keep"], partial(server.main, pcap=pcap))
        control.close()
        for descriptor in descriptors[1:]:
            os.close(descriptor)


def _engine() -> socket.socket:
    """The engine's socket, moved away from standard input to where no program inherits it."""
    if not stat.S_ISSOCK(os.fstat(0).st_mode):
        sys.exit(NO_SOCKET)
    engine = socket.socket(fileno=os.dup(0))  # os.dup sets close-on-exec
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    if (engine.family, engine.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        sys.exit(NO_SOCKET)
    return engine


def _leave_the_terminal(engine: socket.socket) -> None:
    """Begin a session of its own: Ctrl-C in the terminal is for the engine, which then ends its labs.

    A process that leads a group already cannot (setsid(2)); sudo with ``use_pty`` makes one of it. Then a child goes
    on, and its parent waits for it, since sudo waits for the parent.
    """
    if os.getpgid(0) == os.getpid():
        child = os.fork()
        if child:
            engine.close()
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # the child ends when the engine does
            _, status = os.waitpid(child, 0)
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        namespaces.die_with_parent(signal.SIGKILL)
    os.setsid()


def _become_sandbox(control: socket.socket, user_namespace: bool, keep: list[str], run: object) -> None:
    """Never returns. Whatever goes wrong is said on the control socket."""
    code = 1
    try:
        inner = sandbox.enter(user_namespace)
        if inner:
            control.sendall(json.dumps({"entered": inner}).encode() + b"\n")
            control.close()
            _, status = os.waitpid(inner, 0)
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        assert callable(run)
        sandbox.furnish(Path(path) for path in keep)
        run(control)
        code = 0
    except OSError as error:
        _say(control, f"{error}", error.errno)
    except LabError as error:
        _say(control, f"{error}")
    except BaseException:
        _say(control, traceback.format_exc())
    finally:
        os._exit(code)


def _say(control: socket.socket, failure: str, code: int | None = None) -> None:
    with contextlib.suppress(OSError):  # the engine has ended
        control.sendall(json.dumps({"failed": failure, "errno": code}).encode() + b"\n")
