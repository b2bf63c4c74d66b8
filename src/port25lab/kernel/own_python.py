"""How a process of port25lab's own is started in Python, so that it runs port25lab's code and no other.

Such a process may run as root while the user stands in a folder that another user can write. So nothing is imported
from the working directory, and neither modules nor programs are looked for where another user could have put them.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import site
import stat
import sys
from pathlib import Path
from typing import Any

import port25lab

SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")
"""Where iptables, nft and ipset live; Debian leaves them out of an ordinary user's PATH."""

KEPT_VARIABLES = ("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "TERM", "TZ")
"""What a process of port25lab's own is told of the user's environment, beside PATH."""

NO_HOME = "/nonexistent"
"""Debian's home for users without one. scapy unpickles caches below the home folder; mail programs read settings."""

_DISTRIBUTIONS_OWN_GROUPS = range(100)
"""Group ids that the distribution gives out, such as Debian's ``staff``, which may write /usr/local."""

_START = """\
import json, os, sys
start = json.loads(sys.argv[1])
os.environ.clear()
os.environ.update(start["environment"])
sys.path[:0] = [folder for folder in start["modules"] if folder not in sys.path]
"""


def command(program: str, **arguments: Any) -> list[str]:
    """The command that runs ``program``, which is Python source. It finds ``arguments`` in ``start``, as JSON has them.

    ``-I`` ignores the working directory, PYTHONPATH and the user's own packages; ``-B`` writes no byte code.
    """
    start = {"modules": modules(), "environment": environment(), **arguments}
    return [sys.executable, "-I", "-B", "-c", _START + program, json.dumps(start)]


def modules() -> list[str]:
    """The folders, beside those of the installation, that port25lab's own processes import from."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep) if not sys.flags.ignore_environment else []
    if site.ENABLE_USER_SITE:
        given.append(site.getusersitepackages())
    own = str(Path(port25lab.__file__).resolve().parents[1])
    return list(dict.fromkeys([*filter(_safe, given), own]))


def environment() -> dict[str, str]:
    """The whole environment of such a process, and of the programs in a lab."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return kept | {"PATH": search_path(), "HOME": NO_HOME}


def search_path() -> str:
    """The folders of PATH that no other user can write, and after them those of system programs."""
    given = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([*filter(_safe, given), *SYSTEM_FOLDERS]))


def program(name: str) -> str:
    """The path of a program that may run as root; its bare name where there is none on ``search_path``."""
    return shutil.which(name, path=search_path()) or name


def _safe(folder: str) -> bool:
    """Whether this is an absolute path of a folder in which no other user can put anything."""
    try:
        return folder.startswith("/") and Path(folder).is_dir() and not others_can_write(Path(folder))
    except OSError:  # this user may not look into it
        return False


def others_can_write(folder: Path) -> bool:
    """Whether a user that is neither root nor this one can put a file into a folder, or another one in its place."""
    folder = folder.resolve()
    if _open_to_others(folder.stat()):
        return True
    # In a sticky folder, such as /tmp, a user can replace only what is the user's own (chmod(1)).
    above = (parent.stat() for parent in folder.parents)
    return any(_open_to_others(status) and not status.st_mode & stat.S_ISVTX for status in above)


def _open_to_others(status: os.stat_result) -> bool:
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _group_is_trusted(status.st_gid)


def _group_is_trusted(number: int) -> bool:
    """Whether a group is the distribution's own, or has this user as its only member and its name."""
    if number in _DISTRIBUTIONS_OWN_GROUPS:
        return True
    try:
        group, user = grp.getgrgid(number), pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
    return group.gr_name == user and set(group.gr_mem) <= {user}
