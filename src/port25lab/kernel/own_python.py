"""How port25lab starts Python processes of its own, so that they run port25lab's code alone.

Such a process may run as root in a folder that another user can write. So it imports nothing from the working
directory, and looks for modules and programs only in folders that no other user can write.
"""

from __future__ import annotations

import grp
import importlib
import json
import os
import pwd
import shutil
import site
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import port25lab

SYSTEM_FOLDERS = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")
"""The folders of iptables, nft and ipset, which on Debian are not in an ordinary user's PATH, and of all others, which
may not be in the PATH of a service."""

KEPT_VARIABLES = ("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "TERM", "TZ")
"""The variables of the user's environment that such a process gets, beside PATH."""

NO_HOME = "/nonexistent"
"""HOME of such a process: Debian's path for users without a home folder.

In a home folder scapy would unpickle caches, and mail programs would read settings."""

_DISTRIBUTIONS_OWN_GROUPS = range(100)
"""Group ids that the distribution assigns, such as Debian's ``staff``, which may write /usr/local."""

_START = """\
import json, os, sys
start = json.loads(sys.argv[1])
os.environ.clear()
os.environ.update(start["environment"])
sys.path[:0] = [folder for folder in start["modules"] if folder not in sys.path]
"""


def command(program: str, **arguments: Any) -> list[str]:
    """The argv that runs Python source. ``-I`` ignores the working directory, PYTHONPATH and the user's own packages.

    ``program``: the source. ``arguments``: values that JSON can hold; the program has them in the dict ``start``.
    """
    start = {"modules": modules(), "environment": environment(), **arguments}
    return [sys.executable, "-I", "-B", "-c", _START + program, json.dumps(start)]


def modules() -> list[str]:
    """The folders that such processes import from, beside those of the Python installation."""
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep) if not sys.flags.ignore_environment else []
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    own = str(Path(port25lab.__file__).resolve().parents[1])
    return list(dict.fromkeys([*filter(_safe, folders), own]))


def environment() -> dict[str, str]:
    """The environment of such a process, and of the programs in a lab."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return kept | {"PATH": search_path(), "HOME": NO_HOME}


def search_path() -> str:
    """A PATH: the folders of the user's PATH that no other user can write, then those of system programs."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([*filter(_safe, folders), *SYSTEM_FOLDERS]))


def program(name: str) -> str:
    """The path of a program, which may run as root; its bare name where ``search_path`` does not have it."""
    return shutil.which(name, path=search_path()) or name


def _safe(folder: str) -> bool:
    """Whether this is the absolute path of a folder in which no other user can create or replace files."""
    try:
        return folder.startswith("/") and Path(folder).is_dir() and not others_can_write(Path(folder))
    except OSError:  # not readable for this user
        return False


def others_can_write(folder: Path) -> bool:
    """Whether a user other than root and this one can create files in a folder, or replace the folder itself."""
    folder = folder.resolve()
    if _open_to_others(folder.stat()):
        return True
    # In a sticky folder, such as /tmp, users can replace their own files alone (chmod(1)).
    above = (parent.stat() for parent in folder.parents)
    return any(_open_to_others(status) and not status.st_mode & stat.S_ISVTX for status in above)


def _open_to_others(status: os.stat_result) -> bool:
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _group_is_trusted(status.st_gid)


def _group_is_trusted(number: int) -> bool:
    """Whether a group is one of the distribution's, or this user's own: of the same name and without other members."""
    if number in _DISTRIBUTIONS_OWN_GROUPS:
        return True
    try:
        group, user = grp.getgrgid(number), pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
    return group.gr_name == user and set(group.gr_mem) <= {user}


def prefer_own_distutils() -> None:
    """Let Mininet import Python's own distutils (up to Python 3.11) and not setuptools', which takes 0.1 s more.

    Only for processes of port25lab's own: other programs may need setuptools.
    """
    if sys.version_info < (3, 12):
        with suppress(ImportError, AttributeError):  # a setuptools that does not do this
            importlib.import_module("_distutils_hack").remove_shim()
