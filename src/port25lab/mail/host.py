"""The interface of a host to services and mail programs: its sockets, names, addresses and DNS servers.

``network.host.LabHost`` is the one in a lab. Services and clients use this interface alone, so that tests can run them
on loopback.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Protocol

from port25lab.model.addresses import IPInterface, IpVersion


class Host(Protocol):
    """Makes sockets in a host. All are non-blocking."""

    @property
    def name(self) -> str:
        """The node's name in its topology."""

    @property
    def hostname(self) -> str:
        """Its name in EHLO and in its banner."""

    @property
    def addresses(self) -> Sequence[IPInterface]:
        """All addresses of its interfaces."""

    @property
    def resolvers(self) -> Sequence[str]:
        """Addresses of the DNS servers that it asks."""

    def listen(self, address: str, port: int) -> socket.socket:
        """A listening TCP socket; ``::`` listens on IPv6 alone."""

    def bind_datagram(self, address: str, port: int) -> socket.socket:
        """A bound UDP socket."""

    def datagram(self, ip_version: IpVersion) -> socket.socket:
        """A UDP socket with an ephemeral port."""

    def netfilter(self) -> socket.socket:
        """A netlink socket to the host's own netfilter (nfnetlink)."""

    async def connect(self, address: str, port: int, source_port: int | None = None) -> socket.socket:
        """A connected TCP socket. Raises OSError with the kernel's errno; ETIMEDOUT after a bounded time."""

    async def connect_or_prove(self, address: str, port: int, source_port: int) -> socket.socket:
        """As ``connect``. Raises SilenceProvenError where a rule will drop every SYN, without waiting for that."""

    def source_port(self) -> int:
        """A source port that no other attempt in the lab has."""

    async def fed(self, argv: Sequence[str], channel: socket.socket) -> str:
        """Run a program in the host whose standard input is a socket, until it ends; what it said on stderr."""
