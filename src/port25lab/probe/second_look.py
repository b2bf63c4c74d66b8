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
from port25lab.probe import own_machine, resolver
from port25lab.probe.client_view import ClientView, Session
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

BANNER_NAMES = 4
"""How many names in greetings are looked up."""

LOOK_UP_SECONDS = 1.5

METADATA = "169.254.169.254"
"""The metadata service of cloud platforms; no other network has a server there."""

METADATA_SECONDS = 1.0

HTTP = 80


async def look_again(view: ClientView, left: Callable[[], float]) -> ClientView:
    """Find out what this machine itself does to the sessions: which answers it sends, and which it discards.

    ``view``: what was measured so far. ``left``: says how many seconds are left.
    """
    own = view.own.addresses
    found: list[Session] = []
    for one in view.sessions:
        trace = view.trace(one.address, one.port)
        near = trace is not None and trace.answered_at == 1 and not is_own(one.address, own)
        found.append(await _with_local_answer(one, own) if near and left() > 0 else one)
    users = []
    for one in view.as_user:
        refused = not one.connected and one.errno == "ECONNREFUSED" and not is_own(one.address, own)
        users.append(await _with_local_answer(one, own, ordinary_user()) if refused and left() > 0 else one)
    discarded = await asyncio.gather(
        *(_of_version(view, found, version) for version in (4, 6) if left() > 2 * MOST_WINDOW)
    )
    known = {where: what for some in discarded for where, what in some.items()}
    sessions = (one.model_copy(update={"discarded": known.get((one.address, one.port))}) for one in found)
    return view.model_copy(update={"sessions": tuple(sessions), "as_user": tuple(users)})


async def _with_local_answer(session: Session, own: Sequence[str], owner: int | None = None) -> Session:
    if session.local_peer or (session.icmp is not None and session.icmp.sender in own):
        here: bool | None = True
    else:
        here = await answers_from_here(session, owner)
    return session.model_copy(update={"local_answer": here})


async def _of_version(
    view: ClientView, found: Sequence[Session], version: IpVersion
) -> dict[tuple[str, int], bool | None]:
    """For sessions without an answer: whether answers came."""
    mine = [one for one in found if one.ip_version == version]
    silent = [one for one in mine if not one.connected and one.errno == "ETIMEDOUT" and not one.unsent]
    if not silent:
        return {}
    others = (*mine, *(one for one in view.neutral if one.ip_version == version))
    trips = [one.times.get(Stage.CONNECT.value, one.seconds) for one in others if one.errno != "ETIMEDOUT"]
    answers = await discards(silent, min(trips, default=None))
    return dict(zip(((one.address, one.port) for one in silent), answers, strict=True))


async def banner_names(view: ClientView, left: float) -> dict[str, tuple[str, ...]]:
    """Where the hosts are that greet under another name than the target's. ``left``: seconds."""
    greeted = (session.banner.split()[:1] for session in view.sessions if session.banner)
    others = dict.fromkeys(word.lower().rstrip(".") for words in greeted for word in words)
    wanted = [name for name in others if resolver.is_public(name) and name != view.target.lower()][:BANNER_NAMES]
    seconds = min(LOOK_UP_SECONDS, left)
    return await resolver.names_lead_to(wanted, (4, 6), seconds) if wanted and seconds > 0 else {}


def is_own(address: str, own: Sequence[str]) -> bool:
    """Whether connections to an address stay on this machine. ``own``: the addresses of its interfaces."""
    return resolver.misleads(address, own) in ("here", "nowhere")


def local_peer(dialled: Dialled, own: Sequence[str]) -> bool | None:
    """Whether the other end of a connection is a socket of this machine; None: unknown, or there is no connection."""
    if dialled.sock is None:
        return None
    found = own_machine.sockets()
    return None if found is None else own_machine.other_end(found, dialled.source, dialled.source_port, own)


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


async def discards(silent: Sequence[Session], round_trip: float | None) -> list[bool | None]:
    """For each of some ports of one address without an answer: whether answers come, and this machine drops them.

    ``round_trip``: in seconds, of another port of that address; None: nothing of it answers.
    """
    window = MOST_WINDOW if round_trip is None else min(MOST_WINDOW, max(LEAST_WINDOW, 3 * round_trip))
    together = await _dropped(silent, window)
    if together is None or together == (0, 0):
        return [None if together is None else False for _ in silent]
    if len(silent) == 1 or round_trip is None or together[0] - together[1] >= LEAST_DISCARDED * len(silent):
        return [_proven(together, len(silent)) for _ in silent]
    return [_proven(await _dropped([one], window), 1) for one in silent]


def _proven(dropped: tuple[int, int] | None, ports: int) -> bool | None:
    """Whether the answers to bursts were dropped. Other traffic that is dropped hides that none were."""
    if dropped is None:
        return None
    during, later = dropped
    if during - later >= LEAST_DISCARDED * ports:
        return True
    return False if dropped == (0, 0) else None


async def _dropped(silent: Sequence[Session], window: float) -> tuple[int, int] | None:
    """How many packets this machine dropped during bursts, and during as long a time afterwards."""
    version: IpVersion = silent[0].ip_version
    counts = [own_machine.discarded_packets(version)]
    await asyncio.gather(*(dial(one.address, one.port, window) for one in silent for _ in range(BURST)))
    counts.append(own_machine.discarded_packets(version))
    await asyncio.sleep(window)
    counts.append(own_machine.discarded_packets(version))
    before, after, later = counts
    return None if before is None or after is None or later is None else (after - before, later - after)


def ordinary_user() -> int | None:
    """The user for whom this process can dial as root: the one of sudo, or nobody; None: this process is not root."""
    if os.geteuid() != 0:
        return None
    given = os.environ.get("SUDO_UID", "")
    return int(given) if given.isdigit() and int(given) else NOBODY


async def as_user(host: str, address: str, port: int, owner: int, own: Sequence[str]) -> Session | None:
    """A port, dialled by another user; None: this process may not act as one.

    ``host``, ``address``, ``port``: of the destination. ``owner``: the user. ``own``: this machine's addresses.
    """
    try:
        dialled = await dial(address, port, USER_SECONDS, owner=owner)
    except PermissionError:
        return None
    peer = local_peer(dialled, own)
    if dialled.sock is not None:
        drop(dialled.sock)
    return Session(
        host=host,
        address=address,
        port=port,
        ip_version=dialled.ip_version,
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
