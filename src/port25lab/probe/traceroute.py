"""TCP traceroute for everybody: connections whose SYN may come 1, 2, 3 … hops far.

A router on which the TTL runs out says so, and that ends the connection attempt at once; a SYN that a rule drops meets
silence. A router that forwards decides about the TTL before it asks its rules (Linux's FORWARD chain), so the hop that
blocks is the last one that answers. A box that takes connections itself (REDIRECT) does not count down: it answers
with the TTL of its own hop.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress

from port25lab.model.addresses import IpVersion
from port25lab.model.evidence import IcmpError
from port25lab.probe.client_view import Answer, Step, Trace
from port25lab.probe.dial import Dialled, dial, drop, set_ttl

WAVE = 6
"""So many SYNs at once: few come as far as the destination."""

FURTHEST = 30

STEP_SECONDS = 1.25
"""How long an answer may take; the SYN is sent again after 1 s (RFC 6298 section 2)."""

LEAST_SECONDS = 0.5
"""Less than that proves no silence."""

_TIME_EXCEEDED = {4: 11, 6: 3}


async def trace(
    host: str, address: str, port: int, deadline: float, *, enough: Callable[[], int | None] = lambda: None
) -> Trace:
    """Trace until somebody answers in the destination's name. ``enough``: how far the destination is known to be.

    Where nobody answers, it ends two hops after that distance, or when a whole wave has met silence. ``deadline`` is
    the loop's time.
    """
    steps: list[Step] = []
    for first in range(1, FURTHEST + 1, WAVE):
        seconds = min(STEP_SECONDS, deadline - asyncio.get_running_loop().time())
        if seconds < LEAST_SECONDS:
            break
        wave = range(first, min(first + WAVE, FURTHEST + 1))
        steps += await asyncio.gather(*(_step(address, port, ttl, seconds) for ttl in wave))
        silent = all(step.answer is Answer.SILENT for step in steps[-WAVE:])
        known = enough()
        if (known is not None and wave[-1] >= known) or (known is None and silent):
            break
        if any(step.answer not in (Answer.EXPIRED, Answer.SILENT) for step in steps):
            break
    return Trace(host=host, address=address, port=port, ip_version=_version(address), steps=tuple(steps))


async def trace_cut(host: str, address: str, port: int, hops: int, seconds: float, words: bytes | None = None) -> Trace:
    """The same inside of open connections, for one that is reset at the client's first words.

    ``words`` are said after the greeting; without any, a TLS ClientHello with the server's name is sent at once.
    """
    said = words or client_hello(host)
    steps = await asyncio.gather(
        *(_cut_step(address, port, ttl, said, words is not None, seconds) for ttl in range(1, hops + 1))
    )
    return Trace(host=host, address=address, port=port, ip_version=_version(address), steps=tuple(steps))


def client_hello(name: str) -> bytes:
    """The first bytes of a TLS session with a server of this name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


async def _step(address: str, port: int, ttl: int, seconds: float) -> Step:
    return _told(ttl, await dial(address, port, seconds, ttl=ttl))


def _told(ttl: int, dialled: Dialled) -> Step:
    if dialled.sock is not None:
        drop(dialled.sock)
        return Step(ttl=ttl, answer=Answer.ACCEPTED)
    if dialled.icmp is not None:
        return _icmp_step(ttl, dialled.icmp)
    return Step(ttl=ttl, answer=Answer.RESET if dialled.error == "ECONNREFUSED" else Answer.SILENT)


def _icmp_step(ttl: int, icmp: IcmpError) -> Step:
    answer = Answer.EXPIRED if icmp.type == _TIME_EXCEEDED[icmp.ip_version] else Answer.REFUSED
    return Step(ttl=ttl, answer=answer, sender=icmp.sender)


async def _cut_step(address: str, port: int, ttl: int, words: bytes, greeted: bool, seconds: float) -> Step:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    dialled = await dial(address, port, seconds)
    if dialled.sock is None:
        return Step(ttl=ttl, answer=Answer.SILENT)
    sock, version = dialled.sock, dialled.ip_version
    try:
        async with asyncio.timeout_at(end):
            if greeted:
                await loop.sock_recv(sock, 4096)
            set_ttl(sock, version, ttl)
            await loop.sock_sendall(sock, words)
            said = await loop.sock_recv(sock, 1)
        return Step(ttl=ttl, answer=Answer.ACCEPTED if said else Answer.RESET)
    except ConnectionError:
        return Step(ttl=ttl, answer=Answer.RESET)
    except TimeoutError:
        return Step(ttl=ttl, answer=Answer.SILENT)
    except OSError:  # EHOSTUNREACH: an open connection's ICMP errors have no sender
        return Step(ttl=ttl, answer=Answer.EXPIRED)
    finally:
        with suppress(OSError):
            set_ttl(sock, version, -1)  # so that the reset gets through
        drop(sock)


def _version(address: str) -> IpVersion:
    return 6 if ":" in address else 4
