"""The kernel's word: which rule decided the fate of a packet, from nftables' own trace.

A table of ours (hook priority just before raw) sets ``nftrace`` on SYN and SYN-ACK, so the kernel reports every rule
that such a packet meets, whoever loaded the rule. The events come by netlink (nfnetlink group 9); nft's own monitor
prints text and no JSON in the versions that are around.

An attempt is known by its source port, which no other attempt in the lab has, and from the first node on by the
initial sequence number of its SYN, which survives NAT of addresses and ports (RFC 9293 section 3.4.1). A raw-packet
probe may be no TCP at all, or a fragment: its packets carry a mark, and a number of the probe's own.

The kernel keeps events in a buffer until they are read, and drops what does not fit. Three things keep that from
happening with the buffer that every Linux distribution allows: the kernel leaves out events that say nothing, the
buffer is read before each SYN that the lab's own process sends, and ``admission`` lets no more attempts go on at once
than the buffer has room for, even if none of it were read. What is dropped all the same is counted, so that the
attempts that it can concern are known: ``run`` tries them once more.
"""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import struct
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from port25lab.errors import LabError
from port25lab.evidence.rule_map import LoadedRules, Place
from port25lab.kernel.headers import ACK, RST, SYN, fixed_header, tcp_header, text
from port25lab.kernel.netlink import NFNETLINK_HEADER, attributes, messages
from port25lab.kernel.nftrace import (
    ATTR_CHAIN,
    ATTR_HANDLE,
    ATTR_ID,
    ATTR_NETWORK_HEADER,
    ATTR_TABLE,
    ATTR_TRANSPORT_HEADER,
    EVENT_BYTES,
    OWN_TABLE,
    RULES,
    SYNS,
    TABLE,
    TRACE_MESSAGE,
    is_drop,
    open_socket,
)
from port25lab.model.evidence import Blame, Decision, Effect, PacketSummary
from port25lab.network.builder import SOURCE_PORTS, LabNode
from port25lab.network.firewall import FAMILY_NUMBER

SESSIONS = f"tcp {{side}} {SOURCE_PORTS.start}-{SOURCE_PORTS.stop - 1} meta nftrace set 1 accept"
"""All packets of attempts, for nodes whose rules act in mid-session."""

MARK = 0b101011
"""The DSCP of raw-packet probes, from the pool for local use (RFC 2474 section 6). Linux answers with it as well."""

PROBES = f"ip dscp {MARK} meta nftrace set 1 accept", f"ip6 dscp {MARK} meta nftrace set 1 accept"

AT_ONCE = 2
"""Packets that open an attempt's connection and may come before the lab's process gets to read: a SYN, and a SYN-ACK or
the same SYN again."""


@dataclass(frozen=True)
class TracedPacket:
    """What a trace event tells of its packet."""

    source: str
    source_port: int
    destination: str
    destination_port: int
    initial_sequence: int
    """Of the attempt, where the packet tells: a SYN-ACK acknowledges it."""
    kind: Literal["SYN", "SYN-ACK", "segment"]

    @property
    def summary(self) -> PacketSummary:
        return PacketSummary(
            kind=self.kind,
            source=self.source,
            source_port=self.source_port,
            destination=self.destination,
            destination_port=self.destination_port,
        )


@dataclass(eq=False)
class PacketTrace:
    """A raw-packet probe on its way: by what its packets are known, and those of them that a rule dropped."""

    what: str
    number: int
    """Identification of its IPv4 packets, flow label of its IPv6 packets."""
    sequence: int
    source_port: int
    drops: list[tuple[str, Place, PacketSummary]] = field(default_factory=list)
    """Node, rule, and packet."""
    dropped: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class _Probed:
    """What a trace event tells of a probe's packet, or of an answer to it."""

    trail: PacketTrace
    packet: PacketSummary


class Tracer:
    """Collects the trace of a whole lab. ``watch`` a node, then ask for the ``decisions`` on a source port."""

    def __init__(self) -> None:
        self._sockets: dict[int, tuple[str, socket.socket]] = {}
        """By descriptor: the node, and its end of the trace."""
        self._readable = select.epoll()
        self._buffers: dict[str, int] = {}
        """Bytes, by node."""
        self._sessions: set[str] = set()
        """Nodes at which every packet is traced."""
        self._events: dict[tuple[str, int], int] = {}
        """Of the packet that has this id now: how many events it has brought so far."""
        self._most_events: dict[tuple[str, bool], int] = {}
        """By node, and whether for packets of a session: the most events that one packet has brought so far."""
        self._losses: list[str] = []
        """The node of each loss, in order of time."""
        self._rules: dict[str, LoadedRules] = {}
        self._packets: dict[tuple[str, int], TracedPacket | _Probed] = {}
        self._trails: dict[tuple[str, int], PacketTrace] = {}
        """By number, by sequence number and by source port."""
        self._sequences: dict[int, dict[int, None]] = defaultdict(dict)
        """Of each source port, one for each address that was dialled; in order of time."""
        self._dialled: dict[int, str] = {}
        """By source port, in order of time: where its first SYN went, before anybody could redirect it."""
        self._drops: dict[int, list[tuple[str, Place, TracedPacket]]] = defaultdict(list)
        """By initial sequence number."""
        self._session_drops: dict[int, list[tuple[str, Place, TracedPacket]]] = defaultdict(list)
        """By source port of the attempt."""
        self._diverted: dict[int, dict[Blame, Decision]] = defaultdict(dict)
        """By initial sequence number."""

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
        kernel: socket.socket = node.run_inside(open_socket)
        self._sockets[kernel.fileno()] = node.name, kernel
        self._readable.register(kernel, select.EPOLLIN)
        self._buffers[node.name] = kernel.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        if sessions:
            self._sessions.add(node.name)

    def update_rules(self, node: str, rules: LoadedRules) -> None:
        """The rules of a node that is watched already, after more of them were loaded."""
        self._rules[node] = rules

    def track(self, trail: PacketTrace) -> None:
        """Look out for the packets of a probe from now on."""
        self._trails["number", trail.number] = trail
        self._trails["sequence", trail.sequence] = trail
        if trail.source_port in SOURCE_PORTS:
            self._trails["port", trail.source_port] = trail

    def drops_of(self, trail: PacketTrace) -> list[Decision]:
        """Every rule that kept a packet of this probe, or an answer to it, from passing, each named once."""
        found: dict[tuple[str, Place], Decision] = {}
        for node, place, packet in trail.drops:
            rules = self._rules[node]
            decision = Decision(blame=rules.blame(place), effect=rules.effect(place), traced=packet)
            found.setdefault((node, place), decision)
        return list(found.values())

    def fileno(self) -> int:
        """The descriptor that is readable while events of any node wait: for an event loop, which then drains."""
        return self._readable.fileno()

    def drain(self) -> None:
        """Read all events that the kernel has queued. They are queued before the packet's sender hears of its fate."""
        for descriptor, _ in self._readable.poll(0):
            self._read(*self._sockets[descriptor])

    def has_room(self, attempts: int, segments: int) -> bool:
        """Whether the events of so many attempts fit into the buffers if none of them is read.

        ``segments``: the packets that may come at once from the sessions of all these attempts, beside those that open
        them. Each packet is taken to bring as many events as the one that has brought most so far.
        """
        return all(
            EVENT_BYTES * (AT_ONCE * attempts * self._most(node, False) + segments * self._most(node, True)) <= buffer
            for node, buffer in self._buffers.items()
        )

    def _most(self, node: str, in_session: bool) -> int:
        if in_session and node not in self._sessions:
            return 0
        return self._most_events.get((node, in_session), 1)

    def losses(self) -> int:
        """How many times so far the kernel has dropped events. Drains first, so that a loss counts from when it was."""
        self.drain()
        return len(self._losses)

    def lost_since(self, losses: int) -> str | None:
        """Why the trace is incomplete since there were so many ``losses``, in words; None where it is complete.

        A loss can concern every attempt that went on at some time between the last complete reading before it and the
        one that found it, and no other: before the former nothing was dropped, after the latter there was room again.
        """
        self.drain()
        nodes = " and ".join(dict.fromkeys(self._losses[losses:]))
        return f"the kernel lost trace events of {nodes} (ENOBUFS)" if nodes else None

    def _read(self, node: str, kernel: socket.socket) -> None:
        """Read until nothing is left: the kernel goes on dropping until then."""
        while True:
            try:
                data = kernel.recv(1 << 17)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._losses.append(node)
                continue
            for kind, _, body in messages(data):
                if kind == TRACE_MESSAGE:
                    self._event(node, body[0], dict(attributes(body, NFNETLINK_HEADER)))

    def decisions(self, source_port: int) -> list[Decision]:
        """Every rule that kept a packet of this attempt from passing, in order of time, each named once."""
        opening = [drop for sequence in self._sequences[source_port] for drop in self._drops[sequence]]
        found: dict[tuple[str, Place, bool], Decision] = {}
        for node, place, packet in [*opening, *self._session_drops[source_port]]:
            rules = self._rules[node]
            blame, effect = rules.blame(place), rules.effect(place)
            in_session = packet.kind == "segment"
            decision = Decision(blame=blame, effect=effect, traced=packet.summary, in_session=in_session)
            found.setdefault((node, place, in_session), decision)
        return list(found.values())

    def diversions(self, source_port: int) -> list[Decision]:
        """Every rule that sent this attempt elsewhere, in order of time, each named once."""
        return [found for number in self._sequences[source_port] for found in self._diverted[number].values()]

    def dialled(self, source_ports: Sequence[int]) -> str | None:
        """The address that was dialled last from one of these ports, where a node that is watched saw its SYN."""
        return next((self._dialled[port] for port in reversed(self._dialled) if port in source_ports), None)

    def _event(self, node: str, family: int, event: dict[int, bytes]) -> None:
        trace_id = struct.unpack(">I", event[ATTR_ID])[0]
        # Ids are reused: headers open each new packet, and come once for each base chain that it enters.
        if ATTR_NETWORK_HEADER in event and ATTR_TRANSPORT_HEADER in event:
            packet = self._probed(event[ATTR_NETWORK_HEADER], event[ATTR_TRANSPORT_HEADER]) or _packet(
                event[ATTR_NETWORK_HEADER], event[ATTR_TRANSPORT_HEADER]
            )
            if packet is None:
                self._packets.pop((node, trace_id), None)
                return
            self._packets[node, trace_id] = packet
            if isinstance(packet, TracedPacket) and packet.kind == "SYN":
                self._sequences[packet.source_port][packet.initial_sequence] = None
                self._dialled.setdefault(packet.source_port, packet.destination)
        seen, diversions = self._packets.get((node, trace_id)), self._rules[node].has_diversions
        in_session = isinstance(seen, TracedPacket) and seen.kind == "segment"
        self._count(
            (node, trace_id),
            in_session,
            new=ATTR_NETWORK_HEADER in event and (in_session or event[ATTR_TABLE] == OWN_TABLE),
        )
        dropped = is_drop(event)
        if seen is None or not (dropped or diversions):
            return
        handle = struct.unpack(">Q", event[ATTR_HANDLE])[0] if ATTR_HANDLE in event else None
        table, chain = (event[key].rstrip(b"\0").decode() for key in (ATTR_TABLE, ATTR_CHAIN))
        place = Place(FAMILY_NUMBER[family], table, chain, handle)
        if not dropped:
            if isinstance(seen, TracedPacket) and seen.kind == "SYN" and self._rules[node].diverts(place):
                blame = self._rules[node].blame(place)
                diverted = Decision(blame=blame, effect=Effect.DIVERT, traced=seen.summary)
                self._diverted[seen.initial_sequence].setdefault(blame, diverted)
        elif isinstance(seen, _Probed):
            seen.trail.drops.append((node, place, seen.packet))
            seen.trail.dropped.set()
        elif seen.kind == "segment":
            port = seen.source_port if seen.source_port in SOURCE_PORTS else seen.destination_port
            self._session_drops[port].append((node, place, seen))
        else:
            self._drops[seen.initial_sequence].append((node, place, seen))

    def _count(self, packet: tuple[str, int], in_session: bool, *, new: bool) -> None:
        """Count the events of a packet. ``new``: its id belonged to another one before."""
        events = self._events[packet] = 1 if new else self._events.get(packet, 0) + 1
        kind = packet[0], in_session
        self._most_events[kind] = max(events, self._most_events.get(kind, 1))

    def _probed(self, network: bytes, transport: bytes) -> _Probed | None:
        """The probe that a marked packet belongs to. Fragments are known by its number, TCP by ports and sequence."""
        marked = _marked(network) if self._trails else None
        if marked is None:
            return None
        number, source, destination = marked
        what, keys = None, [("number", number)]
        tcp = tcp_header(transport)
        if tcp is not None:
            source_port, destination_port, sequence = tcp.source_port, tcp.destination_port, tcp.sequence
            flags = tcp.flags & (SYN | ACK | RST)
            if flags == SYN | ACK:
                what, sequence = "SYN-ACK", tcp.acknowledged - 1
            elif flags & RST:
                what, sequence = "RST", sequence - 1
            keys = [("sequence", sequence & 0xFFFFFFFF), ("port", source_port), ("port", destination_port), *keys]
        trail = next((self._trails[key] for key in keys if key in self._trails), None)
        if trail is None:
            return None
        return _Probed(trail, PacketSummary(kind=what or trail.what, source=source, destination=destination))


def _marked(network: bytes) -> tuple[int, str, str] | None:
    """A probe's number and the addresses in the header of a marked packet; None for every other packet."""
    ip = fixed_header(network)
    if ip is None or ip.dscp != MARK:
        return None
    return ip.number, text(ip.source), text(ip.destination)


def _packet(network: bytes, transport: bytes) -> TracedPacket | None:
    """Addresses, ports and the attempt's sequence number; None for what is not a whole IP and TCP header."""
    ip, tcp = fixed_header(network), tcp_header(transport)
    if ip is None or tcp is None:
        return None
    syn, ack = tcp.flags & SYN, tcp.flags & ACK
    return TracedPacket(
        text(ip.source),
        tcp.source_port,
        text(ip.destination),
        tcp.destination_port,
        (tcp.acknowledged - 1) & 0xFFFFFFFF if syn and ack else tcp.sequence,
        ("SYN-ACK" if ack else "SYN") if syn else "segment",
    )
