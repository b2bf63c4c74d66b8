"""Runs a classic BPF program as the kernel does (Linux Documentation/networking/filter.rst), and compiles tcpdump's."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from typing import Literal

Instruction = Sequence[int]
"""Code, instructions to skip if true and if false, operand."""

FIND_ATTRIBUTE, FIND_NESTED = 0xFFFFF00C, 0xFFFFF010
"""Offsets of loads that are extensions for netlink: A = the offset of the attribute of kind X."""

NO_TCPDUMP = None if shutil.which("tcpdump") else "tcpdump is not installed"


def run(program: Iterable[Instruction], data: bytes, byte_order: Literal["big", "little"] = "big") -> int:
    """What the program returns: of a socket filter, how many bytes to keep, 0 for none; of seccomp, an action.

    ``byte_order``: of loaded words. Packets are big-endian; seccomp's ``struct seccomp_data`` is as the machine.
    """
    instructions = [tuple(instruction) for instruction in program]
    a = x = at = 0
    while True:
        code, if_true, if_false, k = instructions[at]
        at += 1
        match code:
            case 0x06:
                return k
            case 0x00:
                a = k
            case 0x01:
                x = k
            case 0x07:
                x = a
            case 0x54:
                a &= k
            case 0x20 if k in (FIND_ATTRIBUTE, FIND_NESTED):
                a = _attribute(data, a, x, nested=k == FIND_NESTED)
            case 0x20 | 0x28 | 0x30 | 0x40 | 0x48 | 0x50:
                begin = k + (x if code >= 0x40 else 0)
                loaded = data[begin : begin + {0x00: 4, 0x08: 2, 0x10: 1}[code & 0x18]]
                if len(loaded) < {0x00: 4, 0x08: 2, 0x10: 1}[code & 0x18]:
                    return 0  # outside of the packet
                a = int.from_bytes(loaded, byte_order)
            case 0xB1:
                if k >= len(data):
                    return 0
                x = 4 * (data[k] & 0x0F)
            case 0x05:
                at += k
            case 0x15 | 0x25 | 0x35 | 0x45:
                holds = {0x15: a == k, 0x25: a > k, 0x35: a >= k, 0x45: bool(a & k)}[code]
                at += if_true if holds else if_false
            case _:
                raise AssertionError(f"this interpreter does not know code {code:#x}")


def compiled(expression: str, link: Literal["EN10MB", "RAW"], snaplen: int = 262_144) -> list[tuple[int, ...]]:
    """tcpdump's program for an expression. ``link``: what packets begin with, an Ethernet header or an IP header."""
    command = ["tcpdump", "-y", link, "-s", str(snaplen), "-ddd", expression]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [tuple(map(int, line.split())) for line in done.stdout.splitlines()[1:]]


def _attribute(data: bytes, start: int, kind: int, *, nested: bool) -> int:
    """Offset of a netlink attribute, from ``start`` on, or inside of the attribute at ``start``; 0: there is none."""
    end = len(data)
    if nested:
        start, end = start + 4, start + struct.unpack_from("=H", data, start)[0]
    while start + 4 <= end:
        length, found = struct.unpack_from("=HH", data, start)
        if found & 0x3FFF == kind:
            return start
        start += (length + 3) & ~3
    return 0
