"""Classic BPF: which packets or messages the kernel passes on to a socket.

A program is a list of instructions and labels. ``assemble`` turns labels into offsets, ``attach`` hands the program to
the kernel. Linux Documentation/networking/filter.rst defines the instructions; a load outside of the packet refuses it.

``confinement`` has an assembler of its own: that file also runs as a program that cannot import port25lab.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30
"""A = the bytes at this offset of the packet."""

LOAD_WORD_AT_X, LOAD_BYTE_AT_X = 0x40, 0x50
"""A = the bytes at this offset behind X."""

IPV4_LENGTH_TO_X = 0xB1
"""X = the length of the IPv4 header that begins at this offset."""

SET_A, SET_X, A_TO_X = 0x00, 0x01, 0x07

AND = 0x54
"""A = A and this mask."""

IF_EQUAL, IF_GREATER, IF_AT_LEAST, IF_ANY_BIT = 0x15, 0x25, 0x35, 0x45
"""Compare A with the operand, and jump."""

ACCEPT, REFUSE = "accept", "refuse"
"""Labels that every program has."""

_RETURN, _SO_ATTACH_FILTER = 0x06, 26


class Step(NamedTuple):
    """One instruction."""

    code: int
    operand: int
    if_true: str | None = None
    """The label to jump to; None: the next instruction."""
    if_false: str | None = None


class Instruction(NamedTuple):
    """One instruction as the kernel reads it (struct sock_filter): jumps are numbers of instructions to skip."""

    code: int
    if_true: int
    if_false: int
    operand: int


Program = tuple[Instruction, ...]


def assemble(steps: Sequence[Step | str], length: int = 0xFFFFFFFF) -> Program:
    """Make a program of instructions and labels.

    ``steps``: instructions, and before an instruction the labels that name it. ACCEPT and REFUSE come after the last
    one, in this order: a program that runs to its end accepts.
    ``length``: bytes to keep of an accepted packet.
    """
    places: dict[str, int] = {}
    instructions: list[Step] = []
    for step in steps:
        if isinstance(step, str):
            places[step] = len(instructions)
        else:
            instructions.append(step)
    places |= {ACCEPT: len(instructions), REFUSE: len(instructions) + 1}

    def jump(number: int, label: str | None) -> int:
        return 0 if label is None else places[label] - number - 1

    program = (
        Instruction(step.code, jump(number, step.if_true), jump(number, step.if_false), step.operand)
        for number, step in enumerate(instructions)
    )
    return (*program, Instruction(_RETURN, 0, 0, length), Instruction(_RETURN, 0, 0, 0))


def attach(sock: socket.socket, program: Program) -> None:
    """Let the kernel pass on to this socket only what the program accepts. Raises OSError for an invalid program."""
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    memory = ctypes.create_string_buffer(code, len(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(memory)))
