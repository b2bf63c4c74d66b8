"""The nursery of sandboxes: a process that has all of the engine imported, and forks a sandbox whenever it is asked.

Importing costs half a second, a fork two milliseconds, and the memory is shared. Run as
``python -m port25lab.zygote NAME``; it connects to the engine's socket, which has this abstract name, and lives
exactly as long as that connection: when the engine ends, however it ends, this ends, and with it every sandbox.

Each request is one JSON object with the control socket of the new sandbox attached (SCM_RIGHTS). The sandbox's first
line on its control socket says ``{"entered": PID}`` or ``{"failed": "…"}``.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import traceback
from functools import partial
from pathlib import Path

from port25lab.errors import LabError
from port25lab.sandbox import entering
from port25lab.topology import prefer_own_distutils


def main() -> None:
    """Serve until the engine hangs up."""
    os.setsid()  # Ctrl-C in the terminal is for the engine, which then tells its labs
    engine = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        engine.connect(f"\0{sys.argv[1]}")
    except ConnectionRefusedError:
        return  # the engine has ended meanwhile
    prefer_own_distutils()
    from port25lab import inside

    inside.rehearse()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, descriptors, _, _ = socket.recv_fds(engine, 1 << 16, 2)
        if not request:
            return
        control, wanted = socket.socket(fileno=descriptors[0]), json.loads(request)
        for module in wanted["imports"]:
            with contextlib.suppress(ImportError):  # the sandbox misses it again, and says so where it is needed
                importlib.import_module(module)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            engine.close()
            _become_sandbox(control, wanted, partial(inside.main, pcap=descriptors[1] if descriptors[1:] else None))
        control.close()
        for descriptor in descriptors[1:]:
            os.close(descriptor)


def _become_sandbox(control: socket.socket, request: dict[str, object], run: object) -> None:
    """Never returns. Whatever goes wrong is said on the control socket."""
    code = 1
    try:
        inner = entering.enter(bool(request["user_namespace"]))
        if inner:
            control.sendall(json.dumps({"entered": inner}).encode() + b"\n")
            control.close()
            _, status = os.waitpid(inner, 0)
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        keep = request["keep"]
        assert isinstance(keep, list)
        assert callable(run)
        entering.furnish(Path(path) for path in keep)
        run(control)
        code = 0
    except (OSError, LabError) as error:
        _say(control, f"{error}")
    except BaseException:
        _say(control, traceback.format_exc())
    finally:
        os._exit(code)


def _say(control: socket.socket, failure: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        control.sendall(json.dumps({"failed": failure}).encode() + b"\n")


if __name__ == "__main__":
    main()
