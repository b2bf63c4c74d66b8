"""What a machine must have to run labs: programs and settings, and features of the kernel, tried in a sandbox.

``require`` precedes each run and checks what takes no time; ``examine`` checks everything, for ``port25lab doctor``.
Sandboxes are made as a run makes them: with a user namespace, as root, or by sudo (``sandbox_trial``).
Each feature is a row of a table: its name, what it is for, how it is checked, and the command that helps.
"""

from __future__ import annotations

import shutil
from functools import cache

from port25lab.errors import MachineError
from port25lab.kernel import ipv6
from port25lab.kernel.own_python import search_path
from port25lab.machine import capacity, sandbox_trial
from port25lab.machine.feature import Check, PackagesError, apt
from port25lab.machine.features import EXTRAS, MACHINE, ROOM, SANDBOX, room_for_largest_lab
from port25lab.machine.kernel_features import KERNEL, examine_kernel, not_tried


def require() -> None:
    """Raise MachineError with the first required thing that this machine lacks. Takes a few milliseconds.

    Of Debian packages, it names all that are missing, in one command.
    """
    missing: list[PackagesError] = []
    for feature in MACHINE:
        try:
            feature.find()
        except PackagesError as error:
            missing.append(error)
    if missing:
        what = ", ".join(error.what for error in missing)
        raise PackagesError(what, [package for error in missing for package in error.packages])
    if (limit := capacity.raise_descriptors()) < capacity.LEAST:
        raise capacity.descriptors_problem(f"port25lab takes {capacity.LEAST}", limit, capacity.LEAST)


def require_program(name: str | None, purpose: str) -> None:
    """Raise MachineError where a program is not installed, or cannot work on this machine.

    ``name``: the program; None where none is needed. ``purpose``: the start of the message, such as "client swaks".
    """
    if not name:
        return
    extra = next((extra for extra in EXTRAS if extra.name == name), None)
    if not shutil.which(name, path=search_path()):
        what = f"{purpose} needs the program {name}, which is not on this machine"
        raise MachineError(what, (extra.remedy or apt(*extra.packages)) if extra else apt(name))
    if extra:
        extra.find()


@cache
def require_kernel(name: str, purpose: str) -> None:
    """Raise MachineError where the kernel lacks a feature. It is tried once in a process, in a sandbox.

    ``name``: the feature's, in ``KERNEL``. ``purpose``: the start of the message: what needs it.
    """
    (check,) = examine_kernel(sandbox_trial.find(), name)
    if check.problem is not None:
        raise MachineError(f"{purpose} needs {name} of the kernel: {check.problem}", check.remedy or "")


@cache
def require_lab(way: sandbox_trial.Way) -> None:
    """Raise MachineError where the kernel lacks something that every lab needs. Called after a lab failed to start."""
    for check in examine_kernel(way):
        if check.required and check.problem is not None:
            raise MachineError(f"labs need {check.name} of the kernel: {check.problem}", check.remedy or "")


def require_ip(version: int | None, what: str) -> None:
    """Raise MachineError where ``what`` is asked over IPv6 and the kernel has none."""
    if version == 6 and not ipv6.works():
        raise MachineError(
            f"this kernel has no IPv6, and {what} over it", f"leave IPv6 out: -k 'not ipv6'; or get it: {ipv6.remedy()}"
        )


def examine() -> list[Check]:
    """Check everything. Takes some hundred milliseconds."""
    return [
        *(feature.examine() for feature in MACHINE),
        *_examine_sandboxes(),
        *(feature.examine() for feature in EXTRAS),
    ]


def _examine_sandboxes() -> list[Check]:
    """Check a sandbox, room for the largest lab, and the kernel's features. What cannot be tried is not ok."""
    try:
        way = sandbox_trial.find()
        kernel = examine_kernel(way)
    except MachineError as error:
        nothing = "there is no sandbox to try it in"
        lacking = Check(SANDBOX.name, SANDBOX.required, SANDBOX.purpose, error.what, error.what, error.remedy)
        return [lacking, *(not_tried(feature, nothing) for feature in (*ROOM, *KERNEL))]
    sandbox = Check(SANDBOX.name, SANDBOX.required, SANDBOX.purpose, f"made {way}")
    return [sandbox, *(feature.examine() for feature in room_for_largest_lab(way)), *kernel]
