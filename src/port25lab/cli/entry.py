"""Where the command begins: it imports nothing but ``signal`` before Ctrl-C is handled.

The rest takes some tenths of a second to import, and a Ctrl-C in that time would print a traceback.
"""

from __future__ import annotations

import os
import signal
from typing import NoReturn


def main() -> NoReturn:
    """Entry point of the ``port25lab`` command."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted_early)
    from port25lab.cli.main import main as run_main

    run_main()


def _interrupted_early(number: int, _: object) -> None:
    """End at once: no lab was started, and nothing was written."""
    os.write(2, b"port25lab: interrupted; nothing is left behind\n")
    os._exit(128 + number)
