"""The command as a user types it, run beside the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

MakePolicy = Callable[..., str]
"""The fixture ``make_policy``."""


def port25lab(*arguments: str, seconds: float = 60, **more: Any) -> subprocess.CompletedProcess[str]:
    """The command, as a user types it."""
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | more.pop("env", {})
    return subprocess.run(
        [sys.executable, "-m", "port25lab", *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env=environment,
        **more,
    )
