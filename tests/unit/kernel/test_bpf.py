"""Programs out of labels, and the kernel that runs them."""

from __future__ import annotations

import errno
import socket

import pytest

from bpf_interpreter import run
from port25lab.kernel.bpf import ACCEPT, IF_EQUAL, LOAD_BYTE, LOAD_HALF, REFUSE, Instruction, Step, assemble, attach

TWO_WAYS = assemble(
    [
        Step(LOAD_BYTE, 0),
        Step(IF_EQUAL, ord("a"), "long"),
        Step(IF_EQUAL, ord("b"), ACCEPT, REFUSE),
        "long",
        Step(LOAD_HALF, 1),
        Step(IF_EQUAL, 0x6263, None, REFUSE),
        Step(LOAD_BYTE, 3),
        Step(IF_EQUAL, ord("d"), ACCEPT, REFUSE),
    ],
    3,
)
PACKETS = (b"abcd", b"abce", b"abc", b"b", b"bbbb", b"c", b"abdd")
KEPT = [b"abc", b"b", b"bbb"]


def test_labels_become_numbers_of_instructions_to_skip() -> None:
    assert TWO_WAYS[1] == Instruction(IF_EQUAL, 1, 0, ord("a"))
    assert TWO_WAYS[2] == Instruction(IF_EQUAL, 4, 5, ord("b"))
    assert [instruction.operand for instruction in TWO_WAYS[-2:]] == [3, 0]


def test_a_program_without_instructions_accepts_everything() -> None:
    assert run(assemble([]), b"") == 0xFFFFFFFF


def test_a_label_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError):
        assemble([Step(IF_EQUAL, 0, "nowhere")])


def test_the_kernel_runs_a_program_as_the_interpreter_does() -> None:
    assert [packet[: run(TWO_WAYS, packet)] for packet in PACKETS if run(TWO_WAYS, packet)] == KEPT
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        attach(right, TWO_WAYS)
        right.setblocking(False)
        for packet in PACKETS:
            left.send(packet)
        assert [right.recv(100) for _ in KEPT] == KEPT
        with pytest.raises(BlockingIOError):
            right.recv(100)


def test_the_kernel_refuses_a_program_that_jumps_behind_its_end() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(OSError) as caught:
        attach(sock, (Instruction(IF_EQUAL, 7, 0, 0),))
    assert caught.value.errno == errno.EINVAL
