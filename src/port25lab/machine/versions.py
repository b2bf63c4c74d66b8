"""Versions of port25lab, the kernel and the programs that a run uses, so that the run can be repeated elsewhere."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from port25lab.kernel.own_python import search_path

GIT_SECONDS = 5.0


def own_version() -> str:
    """The version of port25lab; ``0`` where it is not installed."""
    try:
        return version("port25lab")
    except PackageNotFoundError:
        return "0"


def describe_environment() -> dict[str, Any]:
    """Versions by name, for the ``environment`` of a report."""
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
    }


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
    """The first line that a program prints; ``not found`` where it is not installed."""
    program = shutil.which(name, path=search_path())
    if program is None:
        return "not found"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=5, check=False)
    return (done.stdout or done.stderr).split("\n", 1)[0].strip()
