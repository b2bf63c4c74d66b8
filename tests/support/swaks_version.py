"""The version of swaks on this machine: what it does differs between Debian 12 and 13."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

from port25lab.mail.clients.swaks import VERIFIES_NAMES, read_version


@cache
def is_new() -> bool:
    """Whether swaks dials all addresses of a server, and verifies the name in its certificate."""
    if not shutil.which("swaks"):
        return False
    done = subprocess.run(["swaks", "--version"], capture_output=True, text=True, timeout=30, check=True)
    return read_version(done.stdout) >= VERIFIES_NAMES
