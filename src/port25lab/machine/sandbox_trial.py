"""Sandboxes on trial: which way to one works on this machine, tried in a throwaway one, and what forbids the others.

There are three ways: a user namespace, root's own namespaces, and root's by sudo. ``find`` tries them in this order.
A function that needs the rights of the way (``by``) runs in this process, or by sudo in one of port25lab's own that is
started exactly as the helper of a run is: what sudo refuses to the one, it refuses to the other.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import pwd
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from port25lab.errors import MachineError
from port25lab.kernel import namespaces as namespaces_module
from port25lab.kernel import own_python, sandbox

PROGRAM = 'from port25lab.machine import sandbox_trial\nsandbox_trial.main(start["call"], start["arguments"])\n'
"""What sudo runs for ``by``."""

SUDO_SECONDS = 30.0

MANY = 10000
"""To what a limit on namespaces is to be raised: far more than any run takes."""

_CAP_SYS_ADMIN = 21


@dataclass(frozen=True)
class Way:
    """How this user gets a sandbox."""

    user_namespace: bool
    sudo: tuple[str, ...] = ()
    """The command that makes root of an ordinary user, where that is needed."""
    problem: MachineError | None = None
    """Why there is none with a user namespace."""

    def __str__(self) -> str:
        if self.user_namespace:
            return "with a user namespace, without root"
        how = "by sudo" if self.sudo else "as root, without a user namespace"
        return f"{how}, since {self.problem.what}" if self.problem else how


@dataclass(frozen=True)
class Setting:
    """A sysctl that can forbid namespaces."""

    name: str
    forbidding: str
    allowing: str
    for_root_too: bool = False

    def value(self, proc: Path) -> str | None:
        """What it is now; None where this kernel has no such setting."""
        try:
            return (proc / self.name.replace(".", "/")).read_text().strip()
        except OSError:
            return None

    def forbids(self, user: int, proc: Path) -> bool:
        """Whether it does so now, to this user."""
        return self.value(proc) == self.forbidding and (self.for_root_too or user != 0)

    @property
    def remedy(self) -> str:
        """Until the next boot."""
        return f"sudo sysctl -w {self.name}={self.allowing}"


KINDS = {
    "user": namespaces_module.NEWUSER,
    "net": namespaces_module.NEWNET,
    "mnt": namespaces_module.NEWNS,
    "pid": namespaces_module.NEWPID,
    "ipc": namespaces_module.NEWIPC,
    "uts": namespaces_module.NEWUTS,
}
"""Kinds of namespaces that a sandbox has, as the settings call them."""

LIMITS = {kind: Setting(f"user.max_{kind}_namespaces", "0", str(MANY), for_root_too=True) for kind in KINDS}
"""How many namespaces each user may have (namespaces(7)). Root is a user as well."""

USER_SETTINGS = (
    Setting("kernel.unprivileged_userns_clone", "0", "1"),
    Setting("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    LIMITS["user"],
)
"""Those that forbid user namespaces alone."""

SETTINGS = (*USER_SETTINGS, *(limit for kind, limit in LIMITS.items() if kind != "user"))

CONTAINER_REMEDY = "start the container with: docker run --privileged"


def find() -> Way:
    """The way to a sandbox: tried just now, but for sudo, which the helper or ``by`` tries.

    Raises MachineError where there is none.
    """
    refused = problem(user_namespace=True)
    if refused is None:
        return Way(user_namespace=True)
    if os.geteuid() == 0:
        if (as_root := problem(user_namespace=False)) is not None:
            raise as_root
        return Way(user_namespace=False, problem=refused)
    sudo = own_python.program("sudo")
    if not sudo.startswith("/"):
        raise MachineError(f"{refused.what}, and there is no sudo", refused.remedy)
    return Way(user_namespace=False, sudo=(sudo, "--non-interactive"), problem=refused)


def problem(*, user_namespace: bool) -> MachineError | None:
    """Why this process gets no sandbox; None where it entered one just now.

    Every step of it is tried: AppArmor lets one unshare, and then refuses to mount.
    """
    try:
        in_sandbox(str, user_namespace=user_namespace)
    except OSError as error:
        return sandbox_problem(error, os.geteuid(), user_namespace=user_namespace)
    return None


def sandbox_problem(
    error: OSError, user: int, proc: Path = Path("/proc"), *, user_namespace: bool = True
) -> MachineError:
    """What forbids a sandbox to a user, and the command that allows it. ``user_namespace``: whether it has one."""
    settings = [setting for setting in SETTINGS if user_namespace or setting not in USER_SETTINGS]
    if forbidding := [setting for setting in settings if setting.forbids(user, proc / "sys")]:
        what = " and ".join(f"{setting.name}={setting.forbidding}" for setting in forbidding)
        allowed = " ".join(f"{setting.name}={setting.allowing}" for setting in forbidding)
        return MachineError(f"{what} forbids namespaces", f"sudo sysctl -w {allowed}")
    if error.errno == errno.ENOSPC and (kind := _used_up()):
        return limit_problem("a sandbox takes", kind, proc)
    if user == 0 and not _may_ever(proc):
        return MachineError(f"{words(error)}: root has no CAP_SYS_ADMIN, as in a container", CONTAINER_REMEDY)
    return MachineError(f"{words(error)}: forbidden, as in a container or by seccomp", CONTAINER_REMEDY)


def limit_problem(what: str, kind: str, proc: Path = Path("/proc"), number: int = 1) -> MachineError:
    """Too few namespaces of a kind are left. ``what`` wants this ``number`` of them."""
    limit = LIMITS[kind]
    value = limit.value(proc / "sys")
    namespaces = f"{number} {kind} namespace{'s' * (number > 1)}"
    if value is not None and int(value) < MANY:
        return MachineError(f"{what} {namespaces}, more than {limit.name}={value} leaves this user", limit.remedy)
    # The limit of an outer user namespace counts as well, and is not seen from within (namespaces(7)).
    return MachineError(f"{what} {namespaces}, more than this user gets", f"outside of this container: {limit.remedy}")


def refused_by_sudo(way: Way, said: str) -> MachineError:
    """sudo does not run what makes sandboxes. ``said``: what it printed."""
    assert way.problem is not None
    lines = [line for line in said.strip().splitlines() if line.strip()]
    # The first of sudo's own lines says why; of a program of ours that failed, the last one does.
    own = [line.removeprefix("sudo: ") for line in lines if line.startswith("sudo: ")]
    words = own[0] if own else lines[-1] if lines else "nothing, and fails"
    what = f"{way.problem.what}, and sudo says: {words}"
    if way.problem.remedy != CONTAINER_REMEDY or not _may_ever(Path("/proc")):
        return MachineError(what, way.problem.remedy)
    line = f"{user_name()} ALL=(root) NOPASSWD: {sys.executable}"
    return MachineError(what, f"add a line to /etc/sudoers with visudo: {line}")


def by(way: Way, call: str, *arguments: Any) -> Any:
    """What a function says that needs the rights of this way. ``call``: MODULE:FUNCTION; what it returns is JSON.

    Raises MachineError where sudo refuses, or where the function says so.
    """
    if not way.sudo:
        return _function(call)(*arguments)
    argv = [*way.sudo, *own_python.command(PROGRAM, call=call, arguments=arguments)]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SUDO_SECONDS, check=False
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise refused_by_sudo(way, done.stderr) from None
    if "problem" in answer:
        raise MachineError(*answer["problem"])
    return answer["said"]


def main(call: str, arguments: list[Any]) -> None:
    """The other end of ``by``."""
    try:
        answer = {"said": _function(call)(*arguments)}
    except MachineError as error:
        answer = {"problem": [error.what, error.remedy]}
    sys.stdout.write(json.dumps(answer))


def in_sandbox(call: Callable[[], Any], *, user_namespace: bool) -> Any:
    """What ``call`` returns in a sandbox that is gone afterwards. Raises OSError if there is none to be had."""
    reading, writing = os.pipe()
    child = fork()
    if child == 0:
        _answer_from_sandbox(writing, call, user_namespace)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = json.loads(pipe.read() or '{"failed": [null, "the sandbox process died"]}')
    os.waitpid(child, 0)
    if "failed" in answer:
        raise OSError(*answer["failed"])
    return answer["said"]


def fork() -> int:
    """``os.fork``. Threads are no matter: the child takes no locks of theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def user_name() -> str:
    """This user's name, as sudoers has it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"#{os.geteuid()}"


def words(error: Exception) -> str:
    """An error in a few words: of an OSError what was tried and the kernel's answer."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _answer_from_sandbox(writing: int, call: Callable[[], Any], user_namespace: bool) -> NoReturn:
    answer: dict[str, Any] | None = None
    try:
        inner = sandbox.enter(user_namespace)
        if inner:
            os.waitpid(inner, 0)
        else:
            sandbox.furnish(())
            answer = {"said": call()}
    except Exception as error:
        answer = {"failed": [error.errno if isinstance(error, OSError) else None, words(error)]}
    finally:
        if answer is not None:
            os.write(writing, json.dumps(answer).encode())
        os._exit(0)


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def _used_up() -> str | None:
    """The kind of namespaces of which this user has all that it may have."""
    for kind, flag in KINDS.items():
        child = fork()
        if child == 0:
            code = 0
            try:
                namespaces_module.unshare(flag if os.geteuid() == 0 else flag | namespaces_module.NEWUSER)
            except OSError as error:
                code = 1 if error.errno == errno.ENOSPC else 0
            finally:
                os._exit(code)
        if os.waitpid(child, 0)[1]:
            return kind
    return None


def _may_ever(proc: Path) -> bool:
    """Whether any process from here on can have CAP_SYS_ADMIN: root by sudo gets no more than the bounding set."""
    try:
        status = (proc / "self/status").read_text()
    except OSError:
        return True
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return bool(int(fields.get("CapBnd", "0"), 16) >> _CAP_SYS_ADMIN & 1) and fields.get("NoNewPrivs", "0") != "1"
