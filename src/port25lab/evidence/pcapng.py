"""pcapng files: blocks as bytes (draft-ietf-opsawg-pcapng). Interfaces with names, comments, directions, nanoseconds.

scapy's PcapNgWriter, the only maintained one, does not do: it writes microseconds from floats, and neither comments on
the section nor descriptions of interfaces. All integers are little-endian here.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

ETHERNET = 1
"""LINKTYPE_ETHERNET."""

LONGEST_COMMENT = 60_000
"""Bytes: an option's length has 16 bits."""

_SECTION, _INTERFACE, _NAMES, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 4, 5, 6

_MAGIC = 0x1A2B3C4D

_END, _COMMENT = 0, 1

_SHB_USERAPPL, _IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL, _EPB_FLAGS, _ISB_IFDROP = 4, 2, 3, 9, 2, 5

_NRB_IPV4, _NRB_IPV6 = 1, 2

_NANOSECONDS = 9

_EPB = struct.Struct("<IIIIIII")

_DIRECTIONS = {
    leaving: struct.pack("<HHI", _EPB_FLAGS, 4, 2 if leaving else 1) + struct.pack("<HH", _END, 0)
    for leaving in (False, True)
}

_U32 = struct.Struct("<I")

_PADS = (b"", b"\0\0\0", b"\0\0", b"\0")


def section(comment: str, application: str) -> bytes:
    """The block that a file begins with. ``comment`` is what Wireshark shows as the capture's comment."""
    options = _option(_COMMENT, _text(comment)) + _option(_SHB_USERAPPL, _text(application))
    return _block(_SECTION, struct.pack("<IHHq", _MAGIC, 1, 0, -1) + options + _option(_END, b""))


def interface(name: str, description: str, snaplen: int) -> bytes:
    """An observation point; they are numbered from 0 in the order in which they stand in the file."""
    options = _option(_IF_NAME, _text(name)) + _option(_IF_DESCRIPTION, _text(description))
    options += _option(_IF_TSRESOL, bytes([_NANOSECONDS])) + _option(_END, b"")
    return _block(_INTERFACE, struct.pack("<HHI", ETHERNET, 0, snaplen) + options)


def names(addresses: Mapping[bytes, str]) -> bytes:
    """The node of each address (4 or 16 bytes), for Wireshark to show."""
    records = b"".join(
        _option(_NRB_IPV4 if len(address) == 4 else _NRB_IPV6, address + _text(name) + b"\0")
        for address, name in addresses.items()
    )
    return _block(_NAMES, records + _option(_END, b""))


def packet(
    interface: int, nanoseconds: int, leaving: bool, data: bytes, length: int, comment: str | None = None
) -> bytes:
    """One packet.

    ``interface``: its number in the file. ``nanoseconds``: since 1970. ``leaving``: whether the packet left the node
    there. ``data``: the bytes that were captured. ``length``: bytes on the wire. ``comment``: shown by Wireshark.
    """
    kept = len(data)
    options = _DIRECTIONS[leaving]
    if comment is not None:
        options = _option(_COMMENT, _text(comment)) + options
    pad = _PADS[kept & 3]
    total = _EPB.size + kept + len(pad) + len(options) + 4
    head = _EPB.pack(_PACKET, total, interface, nanoseconds >> 32, nanoseconds & 0xFFFFFFFF, kept, length)
    return b"".join((head, data, pad, options, _U32.pack(total)))


def loss(interface: int, nanoseconds: int, lost: int, comment: str) -> bytes:
    """How many packets the capture itself ``lost`` at an interface until this time."""
    options = _option(_COMMENT, _text(comment)) + _option(_ISB_IFDROP, struct.pack("<Q", lost)) + _option(_END, b"")
    head = struct.pack("<III", interface, nanoseconds >> 32, nanoseconds & 0xFFFFFFFF)
    return _block(_STATISTICS, head + options)


def section_length(data: bytes) -> int:
    """Length of the section block that ``data`` begins with. Raises ValueError where there is none of ours."""
    if len(data) < 12 or struct.unpack_from("<I4xI", data) != (_SECTION, _MAGIC):
        raise ValueError("no little-endian pcapng section")
    return int(_U32.unpack_from(data, 4)[0])


def _block(kind: int, body: bytes) -> bytes:
    total = len(body) + 12
    return struct.pack("<II", kind, total) + body + _U32.pack(total)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + _PADS[len(value) & 3]


def _text(text: str) -> bytes:
    """UTF-8, cut between characters where it is too long for an option."""
    encoded = text.encode("utf-8", "backslashreplace")
    if len(encoded) <= LONGEST_COMMENT:
        return encoded
    return encoded[:LONGEST_COMMENT].decode("utf-8", "ignore").encode() + b"..."
