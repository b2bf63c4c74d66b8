"""Where labs that stay up are met: a socket for each, in a folder that only its user can enter.

A lab is its keeper's connection, so after ``kill -9`` nothing is left but the file of a socket on which no process
listens. The next command that looks here removes it. Both ends check that the other one belongs to the same user.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import socket
import stat
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from port25lab.errors import InputError, MachineError, nearest

FOLDER = "port25lab"

SUFFIX = ".lab"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
"""Of a lab. A socket's path has at most 107 bytes (unix(7))."""

LONGEST_PATH = 107

WAITING = 64
"""Clients that may wait for the keeper to take their connection."""

_CREDENTIALS = struct.Struct("3i")


def folder() -> Path:
    """The folder of this user's labs, made where it is missing.

    In ``$XDG_RUNTIME_DIR``; where that is not set, beside other temporary files. Raises MachineError where it cannot be
    made, or where another user made it.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    place = Path(base, FOLDER) if base else Path(tempfile.gettempdir(), f"{FOLDER}-{os.getuid()}")
    remedy = "set XDG_RUNTIME_DIR to a folder of your own in which files can be made"
    try:
        with contextlib.suppress(FileExistsError):
            place.mkdir(mode=0o700)
        found = place.lstat()
    except OSError as error:
        raise MachineError(f"no folder for running labs: {place}: {error.strerror}", remedy) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise MachineError(f"{place} is no folder that only this user can enter", remedy)
    return place


def claim(name: str) -> socket.socket:
    """A socket that listens under the name of a new lab.

    Raises InputError where the name is bad, or that of a lab that is up; MachineError where no socket can be made.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"{name!r} is no name for a lab", allowed="1 to 40 letters, digits and _ . -")
    place = folder() / f"{name}{SUFFIX}"
    with _locked(place.parent):
        if _is_up(place):
            raise InputError(f"a lab {name!r} is up already", allowed=f"another --name, or port25lab down {name}")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(_address(place))
            place.chmod(0o600)
            listener.listen(WAITING)
        except OSError as error:
            listener.close()
            remedy = "make room there, or set XDG_RUNTIME_DIR to another folder of your own"
            raise MachineError(f"no socket for the lab: {place}: {error.strerror}", remedy) from None
    return listener


def release(name: str, inode: int) -> None:
    """Remove a lab's socket, where it is still the one with this inode."""
    place = folder() / f"{name}{SUFFIX}"
    with _locked(place.parent), contextlib.suppress(FileNotFoundError):
        if place.stat().st_ino == inode:
            place.unlink()


def inode(name: str) -> int | None:
    """The inode of a lab's socket; None where it is gone."""
    try:
        return (folder() / f"{name}{SUFFIX}").stat().st_ino
    except (FileNotFoundError, MachineError):
        return None


def names() -> list[str]:
    """The names of all labs of this user that are up. Sockets on which no process listens are removed."""
    place = folder()
    with _locked(place):
        return sorted(file.stem for file in place.glob(f"*{SUFFIX}") if _is_up(file))


def connect(name: str | None) -> tuple[str, socket.socket]:
    """A connection to a lab's keeper, and the lab's name. ``name``: None for the only lab that is up.

    Raises InputError where there is no such lab, or several to choose from.
    """
    up = names()
    if name is None:
        if len(up) != 1:
            allowed = f"--lab NAME: {', '.join(up)}" if up else "port25lab up TOPOLOGY starts one"
            raise InputError(f"{len(up)} labs are up" if up else "no lab is up", allowed=allowed)
        name = up[0]
    if name not in up:
        raise InputError(f"no lab {name!r} is up", allowed=nearest(name, up))
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.connect(_address(folder() / f"{name}{SUFFIX}"))
        require_same_user(client)
    except OSError:
        client.close()
        raise InputError(f"the lab {name!r} has just ended", allowed=nearest(name, names())) from None
    except BaseException:
        client.close()
        raise
    return name, client


def require_same_user(other: socket.socket) -> None:
    """Raise InputError where the other end of a connection belongs to another user."""
    data = other.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(data)
    if user != os.getuid():
        raise InputError("that lab belongs to another user", allowed="labs of your own: port25lab ps")


def _is_up(place: Path) -> bool:
    """Whether a process listens on a socket; where none does, its file is removed. The folder is locked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as client:
        try:
            client.connect(_address(place))
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno == errno.EAGAIN:  # so many clients wait that one more has to come later
                return True
            with contextlib.suppress(OSError):
                place.unlink()
            return False
    return True


def _address(place: Path) -> str:
    text = str(place)
    if len(os.fsencode(text)) > LONGEST_PATH:
        remedy = "set XDG_RUNTIME_DIR to a folder with a shorter path"
        raise MachineError(f"the path of a socket has at most {LONGEST_PATH} bytes: {text}", remedy)
    return text


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Let no other command change the folder meanwhile. The kernel ends the lock with the process."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
