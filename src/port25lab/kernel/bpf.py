"""Classic BPF: which packets or messages the kernel passes on to a socket.

Programs are written with labels (Linux Documentation/networking/filter.rst says what the codes do); ``assemble`` turns
labels into offsets, ``attach`` hands the program to the kernel.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence

ACCEPT, REFUSE = "accept", "refuse"
"""Labels that every program has."""

Step = tuple[int, int, str | None, str | None] | str
"""Code, operand, where to go if true and if false (None: on); or the label of the next step."""

_RETURN, _SO_ATTACH_FILTER = 0x06, 26


def assemble(steps: Sequence[Step], length: int = 0xFFFFFFFF) -> tuple[tuple[int, int, int, int], ...]:
    """The program: each instruction as code, jump if true, jump if false, operand.

    ``length``: bytes that are kept of a packet that is accepted.
    """
    places: dict[str, int] = {}
    real: list[tuple[int, int, str | None, str | None]] = []
    for step in steps:
        if isinstance(step, str):
            places[step] = len(real)
        else:
            real.append(step)
    places |= {ACCEPT: len(real), REFUSE: len(real) + 1}

    def jump(number: int, to: str | None) -> int:
        return 0 if to is None else places[to] - number - 1

    program = [
        (code, jump(number, true), jump(number, false), operand)
        for number, (code, operand, true, false) in enumerate(real)
    ]
    return (*program, (_RETURN, 0, 0, length), (_RETURN, 0, 0, 0))


def attach(sock: socket.socket, program: Sequence[tuple[int, int, int, int]]) -> None:
    """Let the kernel pass on to this socket only what the program accepts."""
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    memory = ctypes.create_string_buffer(code, len(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(memory)))
