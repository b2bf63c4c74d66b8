"""One TCP connection attempt, and everything that the kernel reports to an ordinary user about it.

With IP_RECVERR (ip(7)) a TCP socket has an error queue: the sender, type and code of each ICMP error, without any
privilege and at once, also where connect() itself retries. So an ordinary user can trace a route by SYNs with small
TTLs.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

from port25lab.model.addresses import IpVersion
from port25lab.model.evidence import IcmpError
from port25lab.probe.acting import Acting

_IP_RECVERR, _IPV6_RECVERR = 11, 25

_IPV6_2292PKTOPTIONS, _IPV6_2292HOPLIMIT = 6, 8

_HOP_LIMIT_CONTROL = 52

_EXTENDED_ERROR = struct.Struct("=IBBBxII")

_CONTROL = struct.Struct("@Nii")

_ORIGIN_ICMP = (2, 3)

_TCP_STATE = struct.Struct("=8B24I")
"""The beginning of struct tcp_info (tcp(7))."""

_SYN_SENT = 2

SAMPLE_SECONDS = 0.3
"""How often the kernel is asked whether it could send a SYN again: it forgets that when it gives up itself."""

LITTLE_MSS = 536
"""A segment size that every path carries (RFC 9293 section 3.7.1)."""


@dataclass
class Dialled:
    """A connection, or the error that came instead."""

    ip_version: IpVersion
    sock: socket.socket | None
    seconds: float
    error: str | None = None
    icmp: IcmpError | None = None
    source: str = ""
    """This machine's address of the connection."""
    source_port: int = 0
    ttl: int | None = None
    taken: bool = False
    """Whether the handshake was completed: also where a reset followed at once, so that ``sock`` is None."""
    unsent: bool | None = None
    """After silence: whether the kernel could not send the SYN's retransmissions; None: there were none."""


def open_socket(
    ip_version: IpVersion, ttl: int | None = None, mss: int | None = None, kind: int = socket.SOCK_STREAM
) -> socket.socket:
    """A TCP or UDP socket that has an error queue. Raises OSError where the machine has no such IP version."""
    family = socket.AF_INET6 if ip_version == 6 else socket.AF_INET
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    if ip_version == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_2292HOPLIMIT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    if ttl is not None:
        set_ttl(sock, ip_version, ttl)
    if mss is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
    return sock


def set_ttl(sock: socket.socket, ip_version: IpVersion, ttl: int) -> None:
    """Limit the hops of the packets that are sent from now on; -1: the machine's default."""
    if ip_version == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)


async def dial(
    address: str,
    port: int,
    seconds: float,
    *,
    ttl: int | None = None,
    mss: int | None = None,
    owner: int | None = None,
) -> Dialled:
    """Connect to an address.

    ``seconds``: the time limit. ``ttl``: hops that the SYN may take. ``mss``: bytes in a segment. None: the machine's
    defaults. ``owner``: the user whose socket it is; None: this process's. Returns the connection or its error; raises
    nothing for what the network does, and PermissionError where this process may not act as ``owner``.
    """
    version: IpVersion = 6 if ":" in address else 4
    started = time.monotonic()
    with Acting(owner):
        try:
            sock = open_socket(version, ttl, mss)
        except OSError as error:
            return Dialled(version, None, 0.0, _symbol(error.errno))
    result = Dialled(version, None, 0.0)
    try:
        with suppress(OSError):
            # A port of its own: the kernel gives connections to several ports the same one otherwise, and no table of
            # sockets could tell their other ends apart.
            sock.bind(("", 0))
        number = sock.connect_ex(_socket_address(address, port))
        result.source, result.source_port = sock.getsockname()[:2]
        if number not in (0, errno.EINPROGRESS):
            result.error = _symbol(number)
        else:
            await _connected(sock, seconds, result)
    finally:
        result.seconds = round(time.monotonic() - started, 6)
        if result.sock is None:
            sock.close()
    return result


def _socket_address(address: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """What connect() takes. A zone (RFC 4007 section 11) is a number there: Python drops the text."""
    host, _, zone = address.partition("%")
    if not zone:
        return address, port
    try:
        return host, port, 0, int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
    except OSError:
        return address, port


async def _connected(sock: socket.socket, seconds: float, result: Dialled) -> None:
    """Wait for the first answer, and fill in the result."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def look() -> None:
        result.icmp = result.icmp or icmp_error(sock)
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if result.icmp is not None or number:
            result.error = _symbol(number) if number else "EHOSTUNREACH"
            result.taken = number == errno.ECONNRESET  # RFC 9293 3.10.7.3: a SYN is refused with ECONNREFUSED
        elif not _has_peer(sock):
            return  # woken by an error that is not one of this connection
        else:
            result.sock, result.taken = sock, True
            result.ttl = hop_limit(sock) if result.ip_version == 6 else None
        if not ended.done():
            ended.set_result(None)

    loop.add_writer(sock, look)
    try:
        async with asyncio.timeout(seconds):
            while not ended.done():
                await asyncio.wait([ended], timeout=SAMPLE_SECONDS)
                kept_back = unsent(sock)
                result.unsent = kept_back if kept_back is not None else result.unsent
    except TimeoutError:
        result.error = "ETIMEDOUT"
    finally:
        loop.remove_writer(sock)


async def datagram_error(address: str, port: int, seconds: float, ttl: int) -> IcmpError | None:
    """The ICMP error that an empty UDP datagram meets; None: none within ``seconds``.

    ``ttl``: hops that it may take. The destination itself answers "port unreachable" where nothing listens.
    """
    version: IpVersion = 6 if ":" in address else 4
    try:
        sock = open_socket(version, ttl, kind=socket.SOCK_DGRAM)
    except OSError:
        return None
    loop = asyncio.get_running_loop()
    came: asyncio.Future[IcmpError | None] = loop.create_future()

    def look() -> None:
        found = icmp_error(sock)
        if found is not None and not came.done():
            came.set_result(found)

    try:
        if sock.connect_ex(_socket_address(address, port)):
            return None
        loop.add_reader(sock, look)
        sock.send(b"")
        async with asyncio.timeout(seconds):
            return await came
    except (TimeoutError, OSError):
        return icmp_error(sock)
    finally:
        loop.remove_reader(sock)
        sock.close()


def icmp_error(sock: socket.socket) -> IcmpError | None:
    """The first ICMP error in a socket's error queue. Empties the queue."""
    found = None
    while True:
        try:
            _, controls, _, _ = sock.recvmsg(512, 512, socket.MSG_ERRQUEUE)
        except OSError:
            return found
        for level, kind, data in controls:
            if (level, kind) in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
                found = found or _extended_error(data)


def _extended_error(data: bytes) -> IcmpError | None:
    _, origin, kind, code, _, _ = _EXTENDED_ERROR.unpack_from(data)
    offender = data[_EXTENDED_ERROR.size :]
    if origin not in _ORIGIN_ICMP or len(offender) < 8:
        return None
    if origin == 2:
        return IcmpError(sender=str(ip_address(offender[4:8])), ip_version=4, type=kind, code=code)
    return IcmpError(sender=str(ip_address(offender[8:24])), ip_version=6, type=kind, code=code)


def hop_limit(sock: socket.socket) -> int | None:
    """The hop limit of the last packet of an IPv6 connection, which Linux keeps (RFC 2292 section 4.1)."""
    try:
        data = sock.getsockopt(socket.IPPROTO_IPV6, _IPV6_2292PKTOPTIONS, 512)
    except OSError:
        return None
    while len(data) >= _CONTROL.size + 4:
        length, level, kind = _CONTROL.unpack_from(data)
        if level == socket.IPPROTO_IPV6 and kind in (_IPV6_2292HOPLIMIT, _HOP_LIMIT_CONTROL):
            return int.from_bytes(data[_CONTROL.size : _CONTROL.size + 4], "little" if _LITTLE else "big")
        if length < _CONTROL.size:
            break
        data = data[-(-length // 8) * 8 :]
    return None


_LITTLE = struct.pack("=H", 1)[0] == 1


def unacknowledged(sock: socket.socket) -> bool | None:
    """Whether the peer has acknowledged neither packets nor their retransmissions; None: the kernel does not say."""
    try:
        values = _TCP_STATE.unpack_from(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_STATE.size))
    except (OSError, struct.error):
        return None
    retransmits, unacked = values[2], values[8 + 4]
    return bool(retransmits and unacked)


def unsent(sock: socket.socket) -> bool | None:
    """Whether this machine itself kept back the SYN, by a rule or a filter of its own; None: the kernel does not say.

    The kernel counts a retransmission as outstanding (``tcpi_retrans``) only if it could hand it on. It counts each
    try in ``tcpi_total_retrans``.
    """
    try:
        values = _TCP_STATE.unpack_from(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_STATE.size))
    except (OSError, struct.error):
        return None
    state, outstanding, tried = values[0], values[8 + 7], values[8 + 23]
    return outstanding == 0 if tried and state == _SYN_SENT else None


def drop(sock: socket.socket) -> None:
    """End a connection with a reset, so that neither side keeps any state of it."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _has_peer(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _symbol(number: int | None) -> str:
    return errno.errorcode.get(number or 0, os.strerror(number or 0))
