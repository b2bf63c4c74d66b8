"""One thing that labs need or can use: how it is checked, and the command that provides it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from port25lab.errors import MachineError
from port25lab.kernel.own_python import search_path
from port25lab.machine import sandbox_trial

PROGRAM_SECONDS = 10.0


@dataclass(frozen=True)
class Check:
    """What was found when one feature of this machine was checked."""

    name: str
    required: bool
    purpose: str
    text: str
    """What was found, or the problem again."""
    problem: str | None = None
    remedy: str | None = None
    """A command to paste, where there is a problem."""
    packages: tuple[str, ...] = ()
    """Debian packages that solve the problem; empty where it takes something else."""

    @property
    def ok(self) -> bool:
        """Whether labs can use it."""
        return self.problem is None


class PackagesError(MachineError):
    """This machine lacks programs that Debian packages have."""

    def __init__(self, what: str, packages: Sequence[str]) -> None:
        self.packages = tuple(packages)
        super().__init__(what, apt(*packages))


@dataclass(frozen=True)
class Feature:
    """One thing that labs need or can use."""

    name: str
    purpose: str
    check: Callable[[], str]
    """Returns what it found. Raises OSError if the feature is missing; MachineError if it knows a better remedy."""
    remedy: str = ""
    """The command that helps; empty where ``packages`` or ``modules`` help."""
    required: bool = True
    modules: tuple[str, ...] = ()
    """Kernel modules that provide it."""
    packages: tuple[str, ...] = ()
    """Debian packages that provide it."""
    programs: tuple[str, ...] = ()
    """Programs by which a feature of the kernel is tried."""

    def find(self) -> str:
        """What was found. Raises MachineError where the feature is missing."""
        try:
            return self.check()
        except (OSError, subprocess.SubprocessError) as error:
            if limited := sandbox_trial.process_problem(error):
                raise limited from error
            if self.packages:
                raise PackagesError(sandbox_trial.words(error), self.packages) from error
            raise MachineError(sandbox_trial.words(error), self.remedy or modules_remedy(self.modules)) from error

    def examine(self) -> Check:
        """The check of this feature, whether it is there or not."""
        try:
            return Check(self.name, self.required, self.purpose, self.find())
        except MachineError as error:
            packages = error.packages if isinstance(error, PackagesError) else ()
            return Check(self.name, self.required, self.purpose, error.what, error.what, error.remedy, packages)


def apt(*packages: str) -> str:
    """The command that installs Debian packages, each once."""
    return f"sudo apt-get install --no-install-recommends {' '.join(dict.fromkeys(packages))}"


MODULES_DISABLED = Path("/proc/sys/kernel/modules_disabled")


def modules_remedy(names: Sequence[str]) -> str:
    """The command that loads kernel modules; where the kernel refuses to load any, the one that does so at boot."""
    try:
        disabled = MODULES_DISABLED.read_text().strip()
    except OSError:
        return f"boot a kernel with {' '.join(names)}: this one has no loadable modules"
    if disabled == "0":
        return f"sudo modprobe --all {' '.join(names)}"
    # systemd loads what is listed there before it sets sysctls such as kernel.modules_disabled=1.
    listed = f"printf '%s\\n' {' '.join(names)} | sudo tee /etc/modules-load.d/port25lab.conf"
    return f"kernel.modules_disabled=1 lasts until the next boot: {listed} && sudo reboot"


def run(*argv: str, text: str = "") -> str:
    """Run a program with ``text`` as its input. Returns what it prints. Raises OSError with its message if it fails."""
    done = subprocess.run(
        argv,
        input=text,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
        env=os.environ | {"PATH": search_path()},
    )
    if done.returncode:
        raise OSError(f"{argv[0]}: {' '.join(done.stderr.split())}")
    return done.stdout.strip()
