"""The kernel's word: which rule decided the fate of a packet, from nftables' own trace.

A table of ours (hook priority just before raw) sets ``nftrace`` on SYN and SYN-ACK, so the kernel reports every rule
that such a packet meets, whoever loaded the rule. The events come by netlink (nfnetlink group 9); nft's own monitor
prints text and no JSON in the versions that are around.

An attempt is known by its source port, which no other attempt in the lab has, and from the first node on by the
initial sequence number of its SYN, which survives NAT of addresses and ports (RFC 9293 section 3.4.1). A raw-packet
probe may be no TCP at all, or a fragment: its packets carry a mark, and a number of the probe's own.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal

from port25lab.errors import LabError
from port25lab.evidence import Blame, Decision, Effect
from port25lab.netfilter import FAMILY_NUMBER, LoadedRules, Place
from port25lab.netlink import attributes
from port25lab.network import SOURCE_PORTS, LabNode

TABLE = "port25lab_trace"

RULES = """
table inet {table} {{
    chain arriving {{
        type filter hook prerouting priority -350; policy accept;
        {wanted}
    }}
    chain leaving {{
        type filter hook output priority -350; policy accept;
        {wanted}
    }}
}}
"""
"""Raw stands at -300, connection tracking at -200: nothing of the user's runs before this."""

SYNS = "tcp flags & syn == syn meta nftrace set 1"

SESSIONS = f"tcp {{side}} {SOURCE_PORTS.start}-{SOURCE_PORTS.stop - 1} meta nftrace set 1"
"""All packets of attempts, for nodes whose rules act in mid-session."""

MARK = 0b101011
"""The DSCP of raw-packet probes, from the pool for local use (RFC 2474 section 6). Linux answers with it as well."""

PROBES = f"ip dscp {MARK} meta nftrace set 1", f"ip6 dscp {MARK} meta nftrace set 1"

RECEIVE_BUFFER = 8 << 20
"""Bytes of kernel memory for trace events of one node."""

_NETLINK_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP, _SO_RCVBUFFORCE = 12, 270, 1, 33
_GROUP_NFTRACE = 9
_TRACE_MESSAGE = (10 << 8) | 17
_TABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _ID, _NETWORK, _TRANSPORT, _POLICY = 1, 2, 3, 4, 5, 6, 8, 9, 16
_TYPE_POLICY, _TYPE_RULE = 1, 3
_DROP = 0
_SYN, _RST, _ACK = 0x02, 0x04, 0x10


@dataclass(frozen=True)
class Packet:
    """What a trace event tells of its packet."""

    source: str
    source_port: int
    destination: str
    destination_port: int
    initial_sequence: int
    """Of the attempt, where the packet tells: a SYN-ACK acknowledges it."""
    kind: Literal["SYN", "SYN-ACK", "segment"]

    def __str__(self) -> str:
        return (
            f"{self.kind} {_joined(self.source, self.source_port)} > {_joined(self.destination, self.destination_port)}"
        )


@dataclass(eq=False)
class Trail:
    """A raw-packet probe on its way: by what its packets are known, and those of them that a rule dropped."""

    what: str
    number: int
    """Identification of its IPv4 packets, flow label of its IPv6 packets."""
    sequence: int
    source_port: int
    drops: list[tuple[str, Place, str]] = field(default_factory=list)
    """Node, rule, and which packet it was."""
    dropped: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class _Probed:
    """What a trace event tells of a probe's packet, or of an answer to it."""

    trail: Trail
    words: str


class Tracer:
    """Collects the trace of a whole lab. ``watch`` a node, then ask for the ``decisions`` on a source port."""

    def __init__(self) -> None:
        self._sockets: dict[str, socket.socket] = {}
        self._rules: dict[str, LoadedRules] = {}
        self._packets: dict[tuple[str, int], Packet | _Probed] = {}
        self._trails: dict[tuple[str, int], Trail] = {}
        """By number, by sequence number and by source port."""
        self._sequences: dict[int, dict[int, None]] = defaultdict(dict)
        """Of each source port, one for each address that was dialled; in order of time."""
        self._dialled: dict[int, str] = {}
        """By source port, in order of time: where its first SYN went, before anybody could redirect it."""
        self._drops: dict[int, list[tuple[str, Place, Packet]]] = defaultdict(list)
        """By initial sequence number."""
        self._session_drops: dict[int, list[tuple[str, Place, Packet]]] = defaultdict(list)
        """By source port of the attempt."""
        self._diverted: dict[int, dict[Blame, Decision]] = defaultdict(dict)
        """By initial sequence number."""
        self.lost: str | None = None
        """Why the trace is incomplete, if it is: then no verdict can rest on it."""

    def watch(self, node: LabNode, rules: LoadedRules, *, sessions: bool = False) -> None:
        """Trace a node from now on: the packets that open a connection, or with ``sessions`` every one."""
        sides = [SESSIONS.format(side=side) for side in ("sport", "dport")] if sessions else []
        ruleset = RULES.format(table=TABLE, wanted="\n        ".join([SYNS, *PROBES, *sides]))
        done = node.run_inside(
            lambda: subprocess.run(
                ["nft", "-f", "-"], input=ruleset, capture_output=True, text=True, timeout=30, check=False
            )
        )
        if done.returncode:
            raise LabError(f"{node.name}: nft: {done.stderr.strip()}")
        self._rules[node.name] = rules
        self._sockets[node.name] = node.run_inside(_trace_socket)

    def learn(self, node: str, rules: LoadedRules) -> None:
        """The rules of a node that is watched already, after more of them were loaded."""
        self._rules[node] = rules

    def follow(self, trail: Trail) -> None:
        """Look out for the packets of a probe from now on."""
        self._trails["number", trail.number] = trail
        self._trails["sequence", trail.sequence] = trail
        if trail.source_port in SOURCE_PORTS:
            self._trails["port", trail.source_port] = trail

    def along(self, trail: Trail) -> list[Decision]:
        """Every rule that kept a packet of this probe, or an answer to it, from passing, each named once."""
        found: dict[tuple[str, Place], Decision] = {}
        for node, place, packet in trail.drops:
            blame, effect = self._rules[node].decided(place)
            found.setdefault((node, place), Decision(blame=blame, effect=effect, packet=packet))
        return list(found.values())

    def sockets(self) -> dict[str, socket.socket]:
        """The netlink socket of each node, for an event loop to wait on."""
        return self._sockets

    def drain(self) -> None:
        """Read all events that the kernel has queued. They are queued before the packet's sender hears of its fate."""
        for node, kernel in self._sockets.items():
            self.read(node, kernel)

    def read(self, node: str, kernel: socket.socket) -> None:
        """Read what one node's kernel has queued."""
        while True:
            try:
                data = kernel.recv(1 << 17)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.lost = f"the kernel lost trace events of {node} (ENOBUFS)"
                continue
            start = 0
            while start + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, start)
                if kind == _TRACE_MESSAGE:
                    self._event(node, data[start + 16], dict(attributes(data[start + 20 : start + length])))
                start += (length + 3) & ~3

    def decisions(self, source_port: int) -> list[Decision]:
        """Every rule that kept a packet of this attempt from passing, in order of time, each named once."""
        opening = [drop for sequence in self._sequences[source_port] for drop in self._drops[sequence]]
        found: dict[tuple[str, Place, bool], Decision] = {}
        for node, place, packet in [*opening, *self._session_drops[source_port]]:
            blame, effect = self._rules[node].decided(place)
            in_session = packet.kind == "segment"
            decision = Decision(blame=blame, effect=effect, packet=str(packet), in_session=in_session)
            found.setdefault((node, place, in_session), decision)
        return list(found.values())

    def diversions(self, source_port: int) -> list[Decision]:
        """Every rule that sent this attempt elsewhere, in order of time, each named once."""
        return [found for number in self._sequences[source_port] for found in self._diverted[number].values()]

    def dialled(self, source_ports: range) -> str | None:
        """The address that was dialled last from one of these ports, where a node that is watched saw its SYN."""
        return next((self._dialled[port] for port in reversed(self._dialled) if port in source_ports), None)

    def _event(self, node: str, family: int, event: dict[int, bytes]) -> None:
        trace_id = struct.unpack(">I", event[_ID])[0]
        # Ids are reused: headers open each new packet, and come once for each base chain that it enters.
        if _NETWORK in event and _TRANSPORT in event:
            packet = self._probed(event[_NETWORK], event[_TRANSPORT]) or _packet(event[_NETWORK], event[_TRANSPORT])
            if packet is None:
                self._packets.pop((node, trace_id), None)
                return
            self._packets[node, trace_id] = packet
            if isinstance(packet, Packet) and packet.kind == "SYN":
                self._sequences[packet.source_port][packet.initial_sequence] = None
                self._dialled.setdefault(packet.source_port, packet.destination)
        seen, diversions = self._packets.get((node, trace_id)), self._rules[node].diversions
        dropped = _is_drop(event)
        if seen is None or not (dropped or diversions):
            return
        handle = struct.unpack(">Q", event[_HANDLE])[0] if _HANDLE in event else None
        table, chain = (event[key].rstrip(b"\0").decode() for key in (_TABLE, _CHAIN))
        place = Place(FAMILY_NUMBER[family], table, chain, handle)
        if not dropped:
            if isinstance(seen, Packet) and seen.kind == "SYN" and (blame := diversions.get(place)):
                diverted = Decision(blame=blame, effect=Effect.DIVERT, packet=str(seen))
                self._diverted[seen.initial_sequence].setdefault(blame, diverted)
        elif isinstance(seen, _Probed):
            seen.trail.drops.append((node, place, seen.words))
            seen.trail.dropped.set()
        elif seen.kind == "segment":
            port = seen.source_port if seen.source_port in SOURCE_PORTS else seen.destination_port
            self._session_drops[port].append((node, place, seen))
        else:
            self._drops[seen.initial_sequence].append((node, place, seen))

    def _probed(self, network: bytes, transport: bytes) -> _Probed | None:
        """The probe that a marked packet belongs to. Fragments are known by its number, TCP by ports and sequence."""
        marked = _marked(network) if self._trails else None
        if marked is None:
            return None
        number, source, destination = marked
        what, keys = None, [("number", number)]
        if len(transport) >= 14:
            source_port, destination_port, sequence, acknowledged = struct.unpack_from(">HHII", transport)
            flags = transport[13] & (_SYN | _ACK | _RST)
            if flags == _SYN | _ACK:
                what, sequence = "SYN-ACK", acknowledged - 1
            elif flags & _RST:
                what, sequence = "RST", sequence - 1
            keys = [("sequence", sequence & 0xFFFFFFFF), ("port", source_port), ("port", destination_port), *keys]
        trail = next((self._trails[key] for key in keys if key in self._trails), None)
        return None if trail is None else _Probed(trail, f"{what or trail.what} {source} > {destination}")


def _marked(network: bytes) -> tuple[int, str, str] | None:
    """A probe's number and the addresses in the header of a marked packet; None for every other packet."""
    if len(network) >= 20 and network[0] >> 4 == 4 and network[1] >> 2 == MARK:
        number = int(struct.unpack_from(">H", network, 4)[0])
        return number, str(ip_address(network[12:16])), str(ip_address(network[16:20]))
    if len(network) >= 40 and network[0] >> 4 == 6 and (network[0] << 8 | network[1]) >> 6 & 0x3F == MARK:
        number = int(struct.unpack_from(">I", network)[0]) & 0xFFFFF
        return number, str(ip_address(network[8:24])), str(ip_address(network[24:40]))
    return None


def _is_drop(event: dict[int, bytes]) -> bool:
    kind = struct.unpack(">I", event[_TYPE])[0]
    if kind == _TYPE_POLICY:
        return _POLICY in event and struct.unpack(">I", event[_POLICY])[0] == _DROP
    if kind != _TYPE_RULE or _VERDICT not in event:
        return False
    code = dict(attributes(event[_VERDICT])).get(1)
    return code is not None and struct.unpack(">I", code)[0] == _DROP


def _packet(network: bytes, transport: bytes) -> Packet | None:
    """Addresses, ports and the attempt's sequence number; None for what is not a whole IP and TCP header."""
    version = network[0] >> 4 if network else None
    if len(transport) < 14 or version not in (4, 6) or len(network) < (20 if version == 4 else 40):
        return None
    if version == 4:
        source, destination = network[12:16], network[16:20]
    else:
        source, destination = network[8:24], network[24:40]
    source_port, destination_port, sequence, acknowledged = struct.unpack_from(">HHII", transport)
    syn, ack = transport[13] & _SYN, transport[13] & _ACK
    return Packet(
        str(ip_address(source)),
        source_port,
        str(ip_address(destination)),
        destination_port,
        (acknowledged - 1) & 0xFFFFFFFF if syn and ack else sequence,
        ("SYN-ACK" if ack else "SYN") if syn else "segment",
    )


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _trace_socket() -> socket.socket:
    kernel = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER
    )
    kernel.bind((0, 0))
    kernel.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTRACE)
    try:
        kernel.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:  # the kernel wants root of the whole machine for more than rmem_max
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    return kernel
