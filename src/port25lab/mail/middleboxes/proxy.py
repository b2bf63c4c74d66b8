"""A transparent proxy: REDIRECT rules send connections to it, it dials their original destination, and alters the data.

It dials from its own node, with the client's source port, by which an attempt is known all over the lab. Where it
cannot connect, it resets the client's connection.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

from port25lab.mail.host import Host
from port25lab.mail.middleboxes.smtp_inspection import Alteration

_SO_ORIGINAL_DST = 80
"""The same number for IPv4 (linux/netfilter_ipv4.h) and IPv6 (IP6T_SO_ORIGINAL_DST)."""

_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Serves one port."""

    def __init__(self, host: Host, what: str, port: int, alter: Callable[[], Alteration]) -> None:
        self.what = what
        self._host, self._port, self._alter = host, port, alter

    async def serve(self, client: socket.socket, peer: tuple[str, int]) -> None:
        """Pass one session on, and close it."""
        with client:
            try:
                address, port = original_destination(client)
                if port == self._port:  # not redirected, so that there is no other destination
                    return
                server = await self._host.connect(address, port, peer[1])
            except OSError:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return
            await self._pass_session(client, server)

    async def _pass_session(self, client: socket.socket, server: socket.socket) -> None:
        alteration = self._alter()
        from_client, to_client = await asyncio.open_connection(sock=client)
        from_server, to_server = await asyncio.open_connection(sock=server)
        directions = (
            _pass_on(from_client, to_server, alteration.from_client),
            _pass_on(from_server, to_client, alteration.from_server),
        )
        try:
            # Each direction ends by itself: a client that has sent QUIT still waits for the reply.
            await asyncio.gather(*directions)
        finally:
            to_client.close()
            to_server.close()


def original_destination(connection: socket.socket) -> tuple[str, int]:
    """The original destination of a redirected connection. Raises OSError where it was not redirected."""
    if connection.family == socket.AF_INET6:
        answer = connection.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28)
        port, packed = struct.unpack_from(">2xH4x16s", answer)
        return socket.inet_ntop(socket.AF_INET6, packed), port
    answer = connection.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, 16)
    port, packed = struct.unpack_from(">2xH4s", answer)
    return socket.inet_ntop(socket.AF_INET, packed), port


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, alter: Callable[[bytes], bytes]) -> None:
    """Pass on one direction of a session line by line, and a very long line in pieces."""
    with suppress(OSError):
        while data := await _line(reader):
            writer.write(alter(data))
            await writer.drain()
        writer.write_eof()


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as end:
        return end.partial
    except asyncio.LimitOverrunError as piece:
        return await reader.readexactly(piece.consumed)
