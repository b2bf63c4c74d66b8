"""One thing that labs need or can use: how it is checked, and the command that brings it."""

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
    """What is known of one feature of this machine."""

    name: str
    required: bool
    purpose: str
    text: str
    """What was found, or the problem again."""
    problem: str | None = None
    remedy: str | None = None
    """A command to paste, where there is a problem."""

    @property
    def ok(self) -> bool:
        """Whether labs can use it."""
        return self.problem is None


@dataclass(frozen=True)
class Feature:
    """One thing that labs need or can use."""

    name: str
    purpose: str
    check: Callable[[], str]
    """Says what it found. Raises OSError if there is none, or MachineError where it knows a better remedy."""
    remedy: str = ""
    """The command that helps, where it is not to load ``modules``."""
    required: bool = True
    modules: tuple[str, ...] = ()
    """Kernel modules that bring it."""

    def find(self) -> str:
        """What was found. Raises MachineError."""
        try:
            return self.check()
        except (OSError, subprocess.SubprocessError) as error:
            raise MachineError(sandbox_trial.words(error), self.remedy or modules_remedy(self.modules)) from error

    def examine(self) -> Check:
        """The same as a finding."""
        try:
            return Check(self.name, self.required, self.purpose, self.find())
        except MachineError as error:
            return Check(self.name, self.required, self.purpose, error.what, error.what, error.remedy)


MODULES_DISABLED = Path("/proc/sys/kernel/modules_disabled")


def modules_remedy(names: Sequence[str]) -> str:
    """The command that loads kernel modules; where the kernel takes none any more, it takes a reboot."""
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
    """What a program says. Raises OSError with its own words if it fails."""
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
