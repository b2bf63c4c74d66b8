"""What the own machine tells an ordinary user of itself: its addresses, sockets, counters and ``/etc/hosts``.

Linux's /proc (proc(5)) has all of it. Where a file is missing (another system, a hardened one), the answer is
"unknown", and never a guess.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from port25lab.model.addresses import IpVersion

PROC = Path("/proc/net")

LISTEN = 10
"""The state of a listening socket (enum in linux/net/tcp_states.h)."""

OPEN = (1, 3, 4, 5, 8)
"""The states of the other end of a connection that this end has not closed. TIME_WAIT is one of an older connection."""

MOST_BYTES = 1 << 22
"""The most that is read of a table of sockets: some 25,000 connections."""


@dataclass(frozen=True)
class Socket:
    """One line of ``/proc/net/tcp`` or ``tcp6``. A mapped IPv4 address is an IPv4 address."""

    local: str
    local_port: int
    remote: str
    remote_port: int
    state: int


def sockets() -> list[Socket] | None:
    """All TCP sockets of this network namespace, of every user; None where the kernel does not show them."""
    try:
        texts = [_read(PROC / name) for name in ("tcp", "tcp6") if (PROC / name).exists()]
    except OSError:
        return None
    return [one for text in texts for one in parse_sockets(text)] if texts else None


def parse_sockets(text: str) -> Iterator[Socket]:
    """The sockets of a table; lines of another form are left out."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        with suppress(ValueError, IndexError, struct.error):
            (local, local_port), (remote, remote_port) = _end(fields[1]), _end(fields[2])
            yield Socket(local, local_port, remote, remote_port, int(fields[3], 16))


def _end(text: str) -> tuple[str, int]:
    """``0100007F:0019``: words of 32 bits in the machine's byte order, and the port."""
    words, _, port = text.partition(":")
    data = b"".join(
        struct.pack(">I", socket.htonl(int(words[at : at + 8], 16)) & 0xFFFFFFFF) for at in range(0, len(words), 8)
    )
    return str(plain(ip_address(data))), int(port, 16)


def plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4-mapped IPv6 address as IPv4."""
    return getattr(address, "ipv4_mapped", None) or address


def other_end(found: Iterable[Socket], source: str, source_port: int, own: Iterable[str]) -> bool:
    """Whether the peer of a connection from ``source`` is a socket of this machine: a rule redirected it here."""
    mine = {one for one in (source, *own) if (":" in one) == (":" in source)}
    return any(
        one.remote_port == source_port and one.state in OPEN and (one.remote in mine or _loops(one.remote))
        for one in found
        if (":" in one.remote) == (":" in source) and (one.local_port != source_port or one.local not in mine)
    )


def listening(found: Iterable[Socket], ports: Iterable[int]) -> tuple[int, ...]:
    """Which of these ports have a listener on this machine."""
    there = {one.local_port for one in found if one.state == LISTEN}
    return tuple(port for port in ports if port in there)


def addresses() -> tuple[str, ...]:
    """The addresses of this machine's interfaces, without loopback and without zones."""
    found: dict[str, None] = {}
    with suppress(OSError):
        found |= dict.fromkeys(parse_fib_trie(_read(PROC / "fib_trie")))
    with suppress(OSError, ValueError):
        for line in _read(PROC / "if_inet6").splitlines():
            found[str(IPv6Address(bytes.fromhex(line.split()[0])))] = None
    return tuple(address for address in found if not _loops(address))


def parse_fib_trie(text: str) -> Iterator[str]:
    """Addresses with ``/32 host LOCAL`` below them."""
    last = ""
    for line in text.splitlines():
        words = line.split()
        if "LOCAL" in words and "/32" in words and last:
            yield last
        elif len(words) > 1 and words[-2] in ("|--", "+--"):
            last = words[-1] if "/" not in words[-1] else ""


def in_hosts_file(name: str, file: Path = Path("/etc/hosts")) -> tuple[str, ...]:
    """The addresses that ``/etc/hosts`` has for a name (hosts(5))."""
    with suppress(OSError):
        lines = (line.partition("#")[0].split() for line in _read(file).splitlines())
        return tuple(words[0] for words in lines if name.lower() in (word.lower() for word in words[1:]))
    return ()


def loopback_packets() -> int | None:
    """How many packets have come in over ``lo`` so far."""
    with suppress(OSError, ValueError, IndexError):
        for line in _read(PROC / "dev").splitlines():
            name, _, numbers = line.partition(":")
            if name.strip() == "lo":
                return int(numbers.split()[1])
    return None


def discarded_packets(version: IpVersion) -> int | None:
    """How many packets have come in so far, and went neither to a socket nor on to another machine.

    Rules of ``INPUT`` and ``PREROUTING`` drop between these counters (RFC 4293: ipIfStatsInReceives, InDelivers).
    """
    with suppress(OSError, ValueError, KeyError):
        if version == 6:
            lines = (line.split() for line in _read(PROC / "snmp6").splitlines())
            six = {words[0]: int(words[1]) for words in lines if len(words) == 2}
            return six["Ip6InReceives"] - six["Ip6InDelivers"] - six["Ip6OutForwDatagrams"]
        names, values = (line.split()[1:] for line in _read(PROC / "snmp").splitlines() if line.startswith("Ip:"))
        four = dict(zip(names, map(int, values), strict=True))
        return four["InReceives"] - four["InDelivers"] - four["ForwDatagrams"]
    return None


VIRTUAL_DRIVERS = ("virtio_net", "xen_netfront", "vif", "hv_netvsc", "ena", "gve", "vmxnet3")
"""Drivers of network interfaces that virtual machines have."""


def is_physical(sys: Path = Path("/sys/class/net"), proc: Path = Path("/proc")) -> bool | None:
    """Whether this is a real machine with a network interface of its own; False: a virtual one; None: unknown.

    A container and a lab have no interface with a device, so that what the kernel says of the machine below them does
    not count.
    """
    try:
        route = [line.split() for line in _read(proc / "net" / "route").splitlines()[1:]]
        (interface,) = {fields[0] for fields in route if fields[1] == "00000000"}
        driver = (sys / interface / "device" / "driver").readlink().name
        flags = [line.split() for line in _read(proc / "cpuinfo").splitlines() if line.startswith("flags")]
    except (OSError, ValueError, IndexError):
        return None
    return driver not in VIRTUAL_DRIVERS and not any("hypervisor" in words for words in flags)


def _loops(address: str) -> bool:
    return ip_address(address.partition("%")[0]).is_loopback


def _read(file: Path) -> str:
    with file.open("rb") as stream:
        return stream.read(MOST_BYTES).decode("utf-8", "replace")
