"""Measurements that follow the first answers: what this machine itself does to connections.

Rules of the own machine stand nearer than its first router, and no traceroute shows them. The kernel's counters do, to
every user: what comes back over ``lo`` was sent by this machine; packets that came in, and went to no socket, were
dropped by it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

from port25lab.model.addresses import IpVersion
from port25lab.model.evidence import Stage
from port25lab.probe import own_machine
from port25lab.probe.client_view import Session
from port25lab.probe.dial import Dialled, dial, drop

ROUNDS = 3
"""How often an answer has to come over ``lo``."""

ROUND_SECONDS = 0.6

BURST = 6
"""SYNs that are sent at once, to see whether as many answers are discarded."""

LEAST_DISCARDED = 5

LEAST_WINDOW, MOST_WINDOW = 0.15, 0.5
"""Seconds in which the answers to a burst are counted."""

USER_SECONDS = 1.3
"""How long an ordinary user's connection may take: the SYN is sent again after 1 s."""

NOBODY = 65534

METADATA = "169.254.169.254"
"""The metadata service of cloud platforms; no other network has a server there."""

METADATA_SECONDS = 1.0

HTTP = 80


async def answers_from_here(session: Session, owner: int | None = None) -> bool | None:
    """Whether the answer to connection attempts comes from this machine; None: its other traffic hides that.

    ``session``: an attempt that was answered. ``owner``: the user as whom to try; None: the prober's own.
    """
    for _ in range(ROUNDS):
        loop = asyncio.get_running_loop()
        counts, begun = [own_machine.loopback_packets()], loop.time()
        dialled = await dial(session.address, session.port, ROUND_SECONDS, owner=owner)
        if dialled.sock is not None:
            drop(dialled.sock)
        counts.append(own_machine.loopback_packets())
        await asyncio.sleep(max(0.01, loop.time() - begun))
        counts.append(own_machine.loopback_packets())
        before, after, later = counts
        if before is None or after is None or later is None:
            return None
        if after == before:
            return False
        if later != after:
            return None
    return True


async def discards(silent: Sequence[Session], round_trip: float) -> list[bool | None]:
    """For each of some ports of one address without an answer: whether answers come, and this machine drops them.

    ``round_trip``: in seconds, of another port of that address.
    """
    window = min(MOST_WINDOW, max(LEAST_WINDOW, 3 * round_trip))
    together = await _discarded(silent, window)
    if together is None or together < LEAST_DISCARDED:
        return [None if together is None else False for _ in silent]
    if together >= LEAST_DISCARDED * len(silent):
        return [True for _ in silent]
    counts = [await _discarded([one], window) for one in silent]
    return [None if count is None else count >= LEAST_DISCARDED for count in counts]


async def _discarded(silent: Sequence[Session], window: float) -> int | None:
    """How many more packets were dropped during bursts than during as long a time without them."""
    version: IpVersion = silent[0].ip_version
    counts = [own_machine.discarded_packets(version)]
    await asyncio.gather(*(dial(one.address, one.port, window) for one in silent for _ in range(BURST)))
    counts.append(own_machine.discarded_packets(version))
    await asyncio.sleep(window)
    counts.append(own_machine.discarded_packets(version))
    before, after, later = counts
    if before is None or after is None or later is None:
        return None
    return (after - before) - (later - after)


def ordinary_user() -> int | None:
    """The user for whom this process can dial as root: the one of sudo, or nobody; None: this process is not root."""
    if os.geteuid() != 0:
        return None
    given = os.environ.get("SUDO_UID", "")
    return int(given) if given.isdigit() and int(given) else NOBODY


async def as_user(session: Session, owner: int, local_peer: Callable[[Dialled], bool | None]) -> Session | None:
    """The same port, dialled by another user; None: this process may not act as one.

    ``local_peer``: says whether the other end of a connection is on this machine.
    """
    try:
        dialled = await dial(session.address, session.port, USER_SECONDS, owner=owner)
    except PermissionError:
        return None
    peer = local_peer(dialled)
    if dialled.sock is not None:
        drop(dialled.sock)
    return Session(
        host=session.host,
        address=session.address,
        port=session.port,
        ip_version=session.ip_version,
        stage=Stage.BANNER if dialled.taken else Stage.CONNECT,
        errno=dialled.error,
        icmp=dialled.icmp,
        unsent=dialled.unsent,
        local_peer=peer,
        seconds=dialled.seconds,
    )


async def metadata_service(neutral_port: int) -> bool:
    """Whether a cloud's metadata service answers, and not a box that takes every connection."""
    there, everywhere = await asyncio.gather(
        dial(METADATA, HTTP, METADATA_SECONDS), dial(METADATA, neutral_port, METADATA_SECONDS)
    )
    for one in (there, everywhere):
        if one.sock is not None:
            drop(one.sock)
    return there.taken and not everywhere.taken
