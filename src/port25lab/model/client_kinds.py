"""Client programs as data: what each needs of the machine, and which source ports its attempts have.

A scenario names a client; reading one must not import SMTP libraries, so the programs themselves are in
``mail.clients``, under the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

PROGRAMS_AT_ONCE = 8
"""Client programs that run side by side: more would only wait for the processor, and look like slow servers."""


class Ports(IntEnum):
    """How many source ports an attempt has, by which it is known all over the lab, and who picks one of them."""

    ONE = 1
    """The program binds the one that it is told."""
    SOME = 16
    """It tries those of a range, several at a time where it dials several addresses at once."""
    KERNELS = 32
    """It cannot be told: the kernel picks from the node's ephemeral range, which is the attempt's own meanwhile. So
    these attempts go one by one in a node. Some are for whatever else runs there and leaves its port to the kernel."""


@dataclass(frozen=True)
class ClientKind:
    """What is known of a client program before it runs."""

    program: str | None
    """The program on PATH that it needs; None where it runs in the lab's own process."""
    ports: Ports
    """Which source ports it dials from."""


CLIENT_KINDS: Mapping[str, ClientKind] = {
    "aiosmtplib": ClientKind(None, Ports.ONE),
    "smtplib": ClientKind("python3", Ports.ONE),
    "swaks": ClientKind("swaks", Ports.ONE),
    "curl": ClientKind("curl", Ports.SOME),
    "msmtp": ClientKind("msmtp", Ports.KERNELS),
    "postfix": ClientKind("postfix", Ports.KERNELS),
}
