"""Runs a program of the tests' own in new namespaces, as root there, without port25lab's sandbox."""

from __future__ import annotations

import os

from port25lab.kernel.own_python import search_path

UNSHARE = (
    "unshare",
    *(() if os.geteuid() == 0 else ("--user", "--map-root-user")),
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
)
"""What stands before the program in its argv."""

ENVIRONMENT = os.environ | {"PATH": search_path()}
"""Debian leaves the folders of system programs, such as ifconfig, out of an ordinary user's PATH."""
