"""The engine's BPF programs beside those that tcpdump compiles: which packets are kept, and how much of each."""

from __future__ import annotations

from typing import Literal

from bpf_interpreter import compiled, run
from packet_factory import frames
from port25lab.kernel.bpf import Program

LONGEST_PACKET = 65_549
"""Bytes of the longest IPv4 packet in an Ethernet frame: to keep more than that is to keep all."""


def differences(
    program: Program, expression: str, link: Literal["EN10MB", "RAW"], snaplen: int = LONGEST_PACKET
) -> list[str]:
    """Every packet of which the two programs do not keep the same number of bytes, in words.

    ``link``: what the socket's packets begin with, an Ethernet header or an IP header.
    """
    theirs, found = compiled(expression, link, snaplen), []
    for name, frame in frames().items():
        packet = frame if link == "EN10MB" else frame[14:]
        for length in (len(packet), *range(0, len(packet), 7)):
            kept, expected = (min(run(one, packet[:length]), LONGEST_PACKET) for one in (program, theirs))
            if kept != expected:
                found.append(f"{name}, first {length} bytes: kept {kept}, and tcpdump {expected}")
    return found
