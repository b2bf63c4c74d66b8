"""``port25lab collect``: the script that makes a snapshot, and snapshots made anonymous."""

from __future__ import annotations

import sys
from importlib import resources

from port25lab.scenario import anonymise


def run(file: str | None) -> None:
    """Print the script; or, where a file is given, that snapshot made anonymous.

    Raises: InputError where the file is no snapshot, and where its addresses do not fit into the documentation ranges.
    """
    text = script() if file is None else anonymise.anonymise_file(file)
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))  # names of chains may have any bytes
    sys.stdout.buffer.flush()


def script() -> str:
    """The text of the script."""
    return resources.files("port25lab.scenario").joinpath("collect.sh").read_text(encoding="ascii")
