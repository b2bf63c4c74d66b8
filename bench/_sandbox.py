"""A new sandbox for each measurement: the benchmark starts itself as a new process, which enters namespaces first.

Works for root and for an ordinary user. No measurement touches the host's own network.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from port25lab.kernel import sandbox
from port25lab.kernel.own_python import search_path

REPOSITORY = Path(__file__).resolve().parent.parent


def start(script: str, *arguments: str, **options: int) -> subprocess.Popen[str]:
    """Start a script of this folder as a new process, which has to call ``enter`` first.

    ``arguments``: of the script. ``options``: of ``subprocess.Popen``.
    """
    environment = os.environ | {"PATH": search_path(), "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    return subprocess.Popen(argv, text=True, env=environment, **options)


def enter() -> None:
    """Become PID 1 of a sandbox. The outer process does not return: it ends with the sandbox."""
    inner = sandbox.enter(user_namespace=True)
    if inner:
        _, status = os.waitpid(inner, 0)
        os._exit(abs(os.waitstatus_to_exitcode(status)))
    keep = [Path(entry).resolve() for entry in (*sys.path, sys.prefix, REPOSITORY) if entry]
    sandbox.furnish(keep, confined=False)
