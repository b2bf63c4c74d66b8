"""Versions of port25lab, the kernel and the programs that a run uses, so that the run can be repeated elsewhere."""

from __future__ import annotations

import os
import platform
import shutil
import ssl
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from port25lab.kernel.own_python import search_path

GIT_SECONDS = 5.0

_CLIENTS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "swaks": (("swaks", "--version"), ("perl", "-MNet::SSLeay", "-e", "print Net::SSLeay::SSLeay_version()")),
    "curl": (("curl", "--version"),),
    "msmtp": (("msmtp", "--version"),),
    "postfix": (("postconf", "-d", "mail_version"),),
}
"""For each program the commands that say its version, and that of its TLS library where the first one does not."""

PROGRAM_SECONDS = 5.0


def own_version() -> str:
    """The version of port25lab; ``0`` where it is not installed."""
    try:
        return version("port25lab")
    except PackageNotFoundError:
        return "0"


def describe_environment(clients: Iterable[str] = ()) -> dict[str, Any]:
    """Versions by name, for the ``environment`` of a report. ``clients``: those that were used."""
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "host": platform.node(),
        "processors": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "mininet": version("mininet"),
        "iptables": _first_line("iptables", "--version"),
        "nft": _first_line("nft", "--version"),
        "ipset": _first_line("ipset", "--version"),
        "openssl": ssl.OPENSSL_VERSION,
        "clients": {name: client_version(name) for name in dict.fromkeys(clients)},
    }


def client_version(name: str) -> str:
    """The version of a client, a key of ``CLIENT_KINDS``, and of its TLS library."""
    if name in _CLIENTS:
        return ", ".join(_first_line(*command) for command in _CLIENTS[name])
    library = f"Python {platform.python_version()}" if name == "smtplib" else f"{name} {version(name)}"
    return f"{library}, {ssl.OPENSSL_VERSION}"


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit of a folder's repository, and whether tracked files differ from it; None: there is none, or no git."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "changed": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def _git(folder: Path, *arguments: str) -> str | None:
    program = shutil.which("git", path=search_path())
    if program is None:
        return None
    try:
        argv = [program, "-C", str(folder), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return None if done.returncode else done.stdout.strip()


def _first_line(name: str, *arguments: str) -> str:
    """The first line that a program prints; ``not found`` where it is not installed, ``no answer`` where it hangs."""
    program = shutil.which(name, path=search_path())
    if program is None:
        return "not found"
    try:
        argv = [program, *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "no answer"
    return (done.stdout or done.stderr).split("\n", 1)[0].strip()
