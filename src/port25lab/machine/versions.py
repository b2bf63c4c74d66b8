"""Versions of port25lab, the kernel and the programs that a run uses: what repeats it elsewhere."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from port25lab.kernel.own_python import search_path


def own_version() -> str:
    """The version of port25lab; ``0`` where it is not installed."""
    try:
        return version("port25lab")
    except PackageNotFoundError:
        return "0"


def describe_environment() -> dict[str, Any]:
    """What a reader needs to know to repeat the run elsewhere."""
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "mininet": _mininet(),
        "iptables": _says("iptables", "--version"),
        "nft": _says("nft", "--version"),
        "ipset": _says("ipset", "--version"),
    }


def _mininet() -> str:
    from mininet.net import VERSION

    return str(VERSION)


def _says(name: str, *arguments: str) -> str:
    program = shutil.which(name, path=search_path())
    if program is None:
        return "not found"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=5, check=False)
    return (done.stdout or done.stderr).split("\n", 1)[0].strip()
