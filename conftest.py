"""Tests run with the socket buffers of an ordinary machine, whatever this one allows.

Debian, Ubuntu and others grant a socket 212,992 bytes. A machine that grants more would hide what overflows there.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

ORDINARY = "212992"
SETTINGS = [Path("/proc/sys/net/core", name) for name in ("rmem_max", "wmem_max")]

_BEFORE = pytest.StashKey[dict[Path, str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Set them where this user may: once, not in each worker of pytest-xdist."""
    before = config.stash[_BEFORE] = {}
    if hasattr(config, "workerinput"):
        return
    for setting in SETTINGS:
        with contextlib.suppress(OSError):  # not root, or a container that must not
            value = setting.read_text()
            if value.strip() != ORDINARY:
                setting.write_text(ORDINARY)
                before[setting] = value


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the machine as it was."""
    for setting, value in config.stash.get(_BEFORE, {}).items():
        with contextlib.suppress(OSError):
            setting.write_text(value)
