"""Which way to a sandbox works on this machine, tried with a throwaway sandbox, and what forbids the other ways.

There are three ways: a user namespace, root's own namespaces, and root's namespaces by sudo. ``find`` tries them in
this order. ``by`` calls a function with the rights of a way: in this process, or in a process of port25lab's own that
sudo starts with the same command as the fork server of a run, so that sudo allows both or neither.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import pwd
import resource
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
"""The program that sudo runs for ``by``."""

SUDO_SECONDS = 30.0

MANY = 10000
"""The value to which a remedy raises a limit on namespaces: far more than any run takes."""

_CAP_SYS_ADMIN = 21


@dataclass(frozen=True)
class Way:
    """How this user gets a sandbox."""

    user_namespace: bool
    sudo: tuple[str, ...] = ()
    """The command to put before a program so that it runs as root; empty where none is needed."""
    problem: MachineError | None = None
    """Why a sandbox with a user namespace cannot be made; None where it can."""

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
    instead: str = ""
    """What else helps, and allows less than the setting does."""

    def value(self, proc: Path) -> str | None:
        """The current value; None where this kernel has no such setting. ``proc`` is the folder /proc/sys."""
        try:
            return (proc / self.name.replace(".", "/")).read_text().strip()
        except OSError:
            return None

    def forbids(self, user: int, proc: Path) -> bool:
        """Whether the setting now forbids namespaces to the user with this id. ``proc`` is the folder /proc/sys."""
        return self.value(proc) == self.forbidding and (self.for_root_too or user != 0)

    @property
    def remedy(self) -> str:
        """The command that allows namespaces until the next boot."""
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
    Setting(
        "kernel.apparmor_restrict_unprivileged_userns",
        "1",
        "0",
        instead="an AppArmor profile for port25lab alone: recipes/port25lab.apparmor",
    ),
    LIMITS["user"],
)
"""Settings that forbid user namespaces, and no other namespaces."""

SETTINGS = (*USER_SETTINGS, *(limit for kind, limit in LIMITS.items() if kind != "user"))

CONTAINER_REMEDY = (
    "start the container with: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined"
)
"""What Docker must be told, so that a program may make namespaces and mount its own /proc. No capability is needed."""


def find() -> Way:
    """The first way that works, tried now. Whether sudo allows it, the fork server or ``by`` finds out.

    Raises MachineError where no way works.
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
    """Why this process cannot enter a sandbox; None where it just entered one.

    Every step is tried: AppArmor allows unshare(2), and then refuses to mount.
    """
    try:
        in_sandbox(str, user_namespace=user_namespace)
    except OSError as error:
        return sandbox_problem(error, os.geteuid(), user_namespace=user_namespace)
    return None


def process_problem(error: Exception) -> MachineError | None:
    """What to do where the kernel refused a process because of this user's limit; None: that is not the reason."""
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if not isinstance(error, BlockingIOError) or limit == resource.RLIM_INFINITY:
        return None
    what = f"this user may start no more processes: the limit (ulimit -u) is {limit}"
    return MachineError(what, "sudo prlimit --pid=$$ --nproc=4096")


def sandbox_problem(
    error: OSError, user: int, proc: Path = Path("/proc"), *, user_namespace: bool = True
) -> MachineError:
    """What forbids a sandbox to a user, and the command that allows it.

    ``error`` is what the kernel said, ``user`` the user's id, ``proc`` the folder /proc, and ``user_namespace`` says
    whether the sandbox has a user namespace.
    """
    settings = [setting for setting in SETTINGS if user_namespace or setting not in USER_SETTINGS]
    if forbidding := [setting for setting in settings if setting.forbids(user, proc / "sys")]:
        what = " and ".join(f"{setting.name}={setting.forbidding}" for setting in forbidding)
        allowed = " ".join(f"{setting.name}={setting.allowing}" for setting in forbidding)
        instead = forbidding[0].instead if len(forbidding) == 1 else ""
        return MachineError(
            f"{what} forbids namespaces", f"sudo sysctl -w {allowed}" + f"; or {instead}" * bool(instead)
        )
    if limited := process_problem(error):
        return limited
    if error.errno == errno.ENOSPC and (kind := _used_up()):
        return limit_problem("a sandbox takes", kind, proc)
    if user == 0 and not _may_ever(proc):
        return MachineError(f"{words(error)}: root has no CAP_SYS_ADMIN, as in a container", CONTAINER_REMEDY)
    return MachineError(f"{words(error)}: forbidden, as in a container or by seccomp", CONTAINER_REMEDY)


def limit_problem(what: str, kind: str, proc: Path = Path("/proc"), number: int = 1) -> MachineError:
    """The error that too few namespaces of a kind are left.

    ``what`` is the start of a sentence, such as "a sandbox takes"; ``kind`` is a key of ``KINDS``, ``proc`` the folder
    /proc, and ``number`` how many namespaces are needed.
    """
    limit = LIMITS[kind]
    value = limit.value(proc / "sys")
    namespaces = f"{number} {kind} namespace{'s' * (number > 1)}"
    if value is not None and int(value) < MANY:
        return MachineError(f"{what} {namespaces}, more than {limit.name}={value} leaves this user", limit.remedy)
    # The limit of an outer user namespace counts as well, and is not seen from within (namespaces(7)).
    return MachineError(f"{what} {namespaces}, more than this user gets", f"outside of this container: {limit.remedy}")


def refused_by_sudo(way: Way, said: str) -> MachineError:
    """The error that sudo does not run what makes sandboxes. ``said``: what sudo printed."""
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


def by(way: Way, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function with the rights of a way. Returns what the function returns.

    ``function`` is a module's own, and its ``arguments`` and its result are JSON: by sudo it runs in another process.
    Raises MachineError where sudo refuses, or where the function raises it.
    """
    if not way.sudo:
        return function(*arguments)
    argv = [*way.sudo, *own_python.command(PROGRAM, call=_name(function), arguments=arguments)]
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
    """The other end of ``by``: call the function, and print its result or its MachineError as JSON."""
    try:
        answer = {"said": _function(call)(*arguments)}
    except MachineError as error:
        answer = {"problem": [error.what, error.remedy]}
    sys.stdout.write(json.dumps(answer))


def in_sandbox(call: Callable[[], Any], *, user_namespace: bool) -> Any:
    """Call a function in a sandbox that is gone afterwards. Returns what the function returns, as JSON has it.

    Raises OSError where no sandbox can be made.
    """
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
    """``os.fork`` without Python's warning about other threads: the child takes no locks that they may hold."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def user_name() -> str:
    """This user's name as sudoers(5) writes it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"#{os.geteuid()}"


def words(error: Exception) -> str:
    """An error in a few words; of an OSError what was tried, and the kernel's answer."""
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


def _name(function: Callable[..., Any]) -> str:
    """The name by which another process finds a function: ``MODULE:FUNCTION``."""
    name = f"{function.__module__}:{function.__qualname__}"
    if "<" in name or "." in function.__qualname__:
        raise ValueError(f"{name} is no function of a module: another process cannot find it")
    return name


def _function(name: str) -> Callable[..., Any]:
    """The function that has this name."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def _used_up() -> str | None:
    """The kind of namespaces of which this user can make no more; None where there is no such kind."""
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
    """Whether a process that this one starts can have CAP_SYS_ADMIN: even root has no more than the bounding set."""
    try:
        status = (proc / "self/status").read_text()
    except OSError:
        return True
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return bool(int(fields.get("CapBnd", "0"), 16) >> _CAP_SYS_ADMIN & 1) and fields.get("NoNewPrivs", "0") != "1"
