"""TCP traceroute without privileges: connection attempts whose SYN may take 1, 2, 3 … hops.

A router on which a TTL runs out sends ICMP time exceeded, which ends the attempt at once. A SYN that a rule drops gets
no answer. A router checks the TTL before its rules (Linux's FORWARD chain), so the hop that blocks is the last one that
answers. A middlebox that takes connections itself (REDIRECT) does not forward: it accepts the SYN at its own hop.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress

from port25lab.model.addresses import IpVersion
from port25lab.model.evidence import IcmpError
from port25lab.probe.client_view import Answer, Step, Trace
from port25lab.probe.dial import Dialled, datagram_error, dial, drop, set_ttl

WAVE = 6
"""SYNs that are sent at once. A small number, so that few reach the destination."""

FURTHEST = 30

STEP_SECONDS = 1.25
"""How long an answer may take; the SYN is sent again after 1 s (RFC 6298 section 2)."""

LEAST_SECONDS = 0.5
"""Where less time is left, no more SYNs are sent: a missing answer would prove nothing."""

DATAGRAM_PORT = 33475
"""One of traceroute(8), so that firewalls know what it is; nothing listens there."""

_TIME_EXCEEDED = {4: 11, 6: 3}


async def trace(
    host: str, address: str, port: int, deadline: float, *, enough: Callable[[], int | None] = lambda: None
) -> Trace:
    """Send SYNs with growing TTLs until the destination answers, or a middlebox in its name.

    Without an answer, it ends behind the destination's known distance, or after a whole wave without answers.

    ``host``: the name, for the result. ``address``, ``port``: of the destination. ``deadline``: in the loop's time.
    ``enough``: returns the hops to the destination, once they are known.
    """
    return await _in_waves(
        host, address, port, deadline, lambda ttl, seconds: _step(address, port, ttl, seconds), enough
    )


async def _in_waves(
    host: str,
    address: str,
    port: int,
    deadline: float,
    step: Callable[[int, float], Awaitable[Step]],
    enough: Callable[[], int | None],
) -> Trace:
    """Make steps of growing TTLs, a wave at a time, until one of them is answered."""
    steps: list[Step] = []
    for first in range(1, FURTHEST + 1, WAVE):
        seconds = min(STEP_SECONDS, deadline - asyncio.get_running_loop().time())
        if seconds < LEAST_SECONDS:
            break
        wave = range(first, min(first + WAVE, FURTHEST + 1))
        steps += await asyncio.gather(*(step(ttl, seconds) for ttl in wave))
        silent = all(one.answer is Answer.SILENT for one in steps[-WAVE:])
        known = enough()
        if (known is not None and wave[-1] >= known) or (known is None and silent):
            break
        if any(one.answer not in (Answer.EXPIRED, Answer.SILENT) for one in steps):
            break
    return Trace(host=host, address=address, port=port, ip_version=_version(address), steps=tuple(steps))


async def trace_datagrams(
    host: str, address: str, deadline: float, *, enough: Callable[[], int | None] = lambda: None
) -> Trace:
    """As ``trace``, by UDP, about which rules for mail and proxies are not.

    The destination's own ICMP error (port unreachable) is the answer ``REFUSED`` with its address as the sender.
    """
    return await _in_waves(
        host,
        address,
        DATAGRAM_PORT,
        deadline,
        lambda ttl, seconds: _datagram_step(address, ttl, seconds),
        enough,
    )


async def _datagram_step(address: str, ttl: int, seconds: float) -> Step:
    icmp = await datagram_error(address, DATAGRAM_PORT, seconds, ttl)
    return _icmp_step(ttl, icmp) if icmp is not None else Step(ttl=ttl, answer=Answer.SILENT)


async def trace_cut(host: str, address: str, port: int, hops: int, seconds: float, data: bytes | None = None) -> Trace:
    """Find the hop that cuts a session: send the data at which it was cut with growing TTLs, in open connections.

    ``host``, ``address``, ``port``: of the destination. ``hops``: the greatest TTL. ``seconds``: the time limit.
    ``data``: that data, sent after the greeting; None: a TLS ClientHello with the server's name, sent at once.
    """
    sent = data or client_hello(host)
    steps = await asyncio.gather(
        *(_cut_step(address, port, ttl, sent, data is not None, seconds) for ttl in range(1, hops + 1))
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
    return _as_step(ttl, await dial(address, port, seconds, ttl=ttl))


def _as_step(ttl: int, dialled: Dialled) -> Step:
    if dialled.taken:
        if dialled.sock is not None:
            drop(dialled.sock)
        return Step(ttl=ttl, answer=Answer.ACCEPTED)
    if dialled.icmp is not None:
        return _icmp_step(ttl, dialled.icmp)
    return Step(ttl=ttl, answer=Answer.RESET if dialled.error == "ECONNREFUSED" else Answer.SILENT)


def _icmp_step(ttl: int, icmp: IcmpError) -> Step:
    answer = Answer.EXPIRED if icmp.type == _TIME_EXCEEDED[icmp.ip_version] else Answer.REFUSED
    return Step(ttl=ttl, answer=answer, sender=icmp.sender)


async def _cut_step(address: str, port: int, ttl: int, data: bytes, greeted: bool, seconds: float) -> Step:
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
            await loop.sock_sendall(sock, data)
            answer = await loop.sock_recv(sock, 1)
        return Step(ttl=ttl, answer=Answer.ACCEPTED if answer else Answer.RESET)
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
