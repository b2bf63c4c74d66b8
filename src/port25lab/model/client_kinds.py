"""Client programs as data: what each needs of the machine, and which source ports its attempts have.

A scenario names a client; reading one must not import SMTP libraries, so the programs themselves are in
``mail.clients``, under the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

ATTEMPTS_AT_ONCE = 200
"""Attempts that go on in a lab at the same time: more would be no faster, and take more memory."""

PROGRAMS_AT_ONCE = 8
"""Client programs that run at the same time. More would wait for the processor, as if servers were slow."""


class Ports(IntEnum):
    """How many source ports an attempt has, and how one of them is picked. A packet's source port names its attempt."""

    ONE = 1
    """The program binds the port that its command line names."""
    SOME = 16
    """The program binds a port of a range, several at a time where it dials several addresses at once."""
    KERNELS = 32
    """The program takes no port, so the kernel picks one from the node's ephemeral range. The range belongs to one
    attempt at a time: such attempts go one by one in a node. Other programs of the node use some of these ports."""


@dataclass(frozen=True)
class ClientKind:
    """What a client program needs."""

    program: str | None
    """The program on PATH; None: the client runs in the lab's own process."""
    ports: Ports
    """How its source port is picked."""


CLIENT_KINDS: Mapping[str, ClientKind] = {
    "aiosmtplib": ClientKind(None, Ports.ONE),
    "smtplib": ClientKind("python3", Ports.ONE),
    "swaks": ClientKind("swaks", Ports.ONE),
    "curl": ClientKind("curl", Ports.SOME),
    "msmtp": ClientKind("msmtp", Ports.KERNELS),
    "postfix": ClientKind("postfix", Ports.KERNELS),
}
