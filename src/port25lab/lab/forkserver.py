"""The fork server: a process that has all of the engine imported, and forks a sandbox for each request.

Importing costs half a second, a fork two milliseconds, and the memory is shared. Its standard input is the engine's
socket, handed down when it was started, so that no other process can command it. It lives exactly as long as that
connection: when the engine ends, however it ends, the fork server ends, and with it every sandbox.

Its first message says that it is ready, or why it cannot make sandboxes. Each request comes with the control socket of
the new sandbox (SCM_RIGHTS), on which the sandbox then says whether it is ready. The messages are in ``protocol``.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import stat
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from port25lab.errors import LabError
from port25lab.kernel import namespaces, own_python, sandbox
from port25lab.lab import protocol
from port25lab.machine import capacity, sandbox_trial

NO_SOCKET = 77
"""Exit code where standard input is not the engine's socket: sudo puts a pipe there to log what it reads."""


def main(*, user_namespace: bool) -> None:
    """Serve until the engine closes its socket. ``user_namespace``: whether sandboxes get one; root needs none."""
    engine = _engine()
    _leave_the_terminal(engine)
    limit = capacity.raise_descriptors()
    # The engine has tried user namespaces already; what root may do, only root can try.
    problem = None if user_namespace else sandbox_trial.problem(user_namespace=False)
    if problem is not None:
        engine.send(protocol.ForkServerProblem(problem=problem.what, remedy=problem.remedy).encoded())
        return
    own_python.prefer_own_distutils()
    gc.disable()  # nothing that is imported is garbage, and to look for it takes a tenth of the time
    from port25lab.lab import server  # imports Mininet, so the line above has to come first

    server.rehearse()
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with suppress(BrokenPipeError):
        engine.send(protocol.ForkServerReady(descriptors=limit).encoded())
    while True:
        try:
            request, descriptors, _, _ = socket.recv_fds(engine, 1 << 16, 2)
        except ConnectionResetError:
            return
        if not request:
            return
        control, order = socket.socket(fileno=descriptors[0]), protocol.OpenSandbox.decoded(request)
        for module in order.imports:
            with suppress(ImportError):  # the sandbox will import it again, and report the error
                importlib.import_module(module)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            engine.close()
            pcap = descriptors[1] if descriptors[1:] else None
            _become_sandbox(control, user_namespace, order.keep, partial(server.main, pcap=pcap))
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

    A process that leads a group already cannot do so (setsid(2)), and under sudo with ``use_pty`` it leads one. Then a
    child goes on, and its parent waits for it, since sudo waits for the parent.
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


def _become_sandbox(
    control: socket.socket, user_namespace: bool, keep: Sequence[Path], run: Callable[[socket.socket], None]
) -> None:
    """Never returns. An error is reported on the control socket.

    ``keep``: folders below /tmp or /run that stay visible. ``run``: what the sandbox does with its control socket.
    """
    code = 1
    try:
        inner = sandbox.enter(user_namespace)
        if inner:
            control.sendall(protocol.SandboxEntered(pid=inner).as_line())
            control.close()
            _, status = os.waitpid(inner, 0)
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        sandbox.furnish(keep)
        run(control)
        code = 0
    except OSError as error:
        _report(control, f"{error}", error.errno)
    except LabError as error:
        _report(control, f"{error}")
    except BaseException:
        _report(control, traceback.format_exc())
    finally:
        os._exit(code)


def _report(control: socket.socket, failure: str, code: int | None = None) -> None:
    with suppress(OSError):  # the engine has ended
        control.sendall(protocol.SandboxFailed(failed=failure, errno=code).as_line())
