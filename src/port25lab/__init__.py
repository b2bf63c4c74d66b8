"""port25lab: an ISP in a box. Which mail-submission paths does a port-25 policy let through, and which rule decided?

The names in ``__all__`` are the interface for Python: docs/api.md shows how they are used. All other modules may change
without notice.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from port25lab.engine.engine import run
    from port25lab.engine.live import LiveLab
    from port25lab.errors import InputError, LabError, MachineError, Port25labError
    from port25lab.lab.handle import Lab
    from port25lab.model.path import PathSpec
    from port25lab.model.verdict import Report, Verdict
    from port25lab.scenario.questions import load_questions

    __version__: str

__all__ = (
    "InputError",
    "Lab",
    "LabError",
    "LiveLab",
    "MachineError",
    "PathSpec",
    "Port25labError",
    "Report",
    "Verdict",
    "load_questions",
    "run",
)

_MODULES = {
    "InputError": "errors",
    "Lab": "lab.handle",
    "LabError": "errors",
    "LiveLab": "engine.live",
    "MachineError": "errors",
    "PathSpec": "model.path",
    "Port25labError": "errors",
    "Report": "model.verdict",
    "Verdict": "model.verdict",
    "load_questions": "scenario.questions",
    "run": "engine.engine",
}
"""The module that each name comes from. Imported when the name is first used (PEP 562): the engine takes a third of a
second to import, and the command imports this package before it knows what the user wants."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = importlib.import_module("port25lab.machine.versions").own_version()
    elif name in _MODULES:
        value = getattr(importlib.import_module(f"port25lab.{_MODULES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
