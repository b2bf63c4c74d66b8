"""pcapng files, read block by block."""

from __future__ import annotations

import struct
from collections.abc import Iterable


def blocks(data: bytes) -> Iterable[tuple[int, bytes]]:
    """Type and body of each block of a little-endian file. Raises ValueError where the file is cut short."""
    place = 0
    while place < len(data):
        if place + 12 > len(data):
            raise ValueError("cut short")
        kind, total = struct.unpack_from("<II", data, place)
        if (
            total % 4
            or total < 12
            or place + total > len(data)
            or data[place + total - 4 : place + total] != data[place + 4 : place + 8]
        ):
            raise ValueError("not a pcapng block")
        yield kind, data[place + 8 : place + total - 4]
        place += total
