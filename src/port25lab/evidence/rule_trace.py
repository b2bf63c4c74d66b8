"""The kernel's word: which rule decided the fate of a packet, from nftables' own trace.

A table of ours (hook priority just before raw) sets ``nftrace`` on SYN and SYN-ACK, so the kernel reports every rule
that such a packet meets, whoever loaded the rule. The events come by netlink (nfnetlink group 9); nft's own monitor
prints text and no JSON in the versions that are around.

An attempt is known by the initial sequence numbers of its SYNs, which survive NAT of addresses and ports (RFC 9293
section 3.4.1); packets of an open session by the addresses and ports that they have at a node. ``capture`` tells both.
A raw-packet probe may be no TCP at all, or a fragment: its packets carry a mark, and a number of the probe's own.

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
from collections.abc import Iterable
from dataclasses import dataclass, field

from port25lab.errors import LabError
from port25lab.evidence.rule_map import LoadedRules, Place, place_of
from port25lab.evidence.syn_ways import SynWays
from port25lab.evidence.traced_packet import MARK, Ends, Key, Passage, TracedPacket, identity, marked, traced_packet
from port25lab.kernel.headers import ACK, RST, SYN, tcp_header
from port25lab.kernel.netlink import NFNETLINK_HEADER, attributes, messages
from port25lab.kernel.nftrace import (
    ATTR_CHAIN,
    ATTR_HANDLE,
    ATTR_ID,
    ATTR_IN,
    ATTR_NETWORK_HEADER,
    ATTR_OUT,
    ATTR_TABLE,
    ATTR_TRANSPORT_HEADER,
    EVENT_BYTES,
    LEAVING,
    OWN_TABLE,
    RULES,
    SYNS,
    TABLE,
    TRACE_MESSAGE,
    is_drop,
    is_queue,
    open_socket,
)
from port25lab.model.evidence import Decision, Effect, PacketSummary
from port25lab.network.builder import SOURCE_PORTS, LabNode

SESSIONS = "meta l4proto tcp meta nftrace set 1 accept"
"""All packets of TCP, for nodes whose rules act in mid-session: NAT may give a session any port."""

PROBES = f"ip dscp {MARK} meta nftrace set 1 accept", f"ip6 dscp {MARK} meta nftrace set 1 accept"

AT_ONCE = 2
"""Packets that open an attempt's connection and may come before the lab's process gets to read: a SYN, and a SYN-ACK or
the same SYN again."""


@dataclass(eq=False)
class PacketTrace:
    """A raw-packet probe on its way: by what its packets are known, and those of them that a rule dropped."""

    what: str
    number: int
    """Identification of its IPv4 packets, flow label of its IPv6 packets."""
    sequence: int
    source_port: int
    drops: list[_Met] = field(default_factory=list)
    dropped: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class _Probed:
    """What a trace event tells of a probe's packet, or of an answer to it."""

    trail: PacketTrace
    summary: PacketSummary


@dataclass
class _Known:
    """The packet that a trace id stands for at the moment."""

    packet: TracedPacket | _Probed
    """As the rules of the last base chain saw it."""
    passage: Passage
    hook: str = ""
    """The last base chain."""

    @property
    def in_session(self) -> bool:
        return isinstance(self.packet, TracedPacket) and self.packet.kind == "segment"


@dataclass(frozen=True)
class _Met:
    """A packet that met a rule which kept it from passing, or sent it elsewhere."""

    node: str
    place: Place
    packet: TracedPacket | _Probed
    passage: Passage
    effect: Effect | None = None
    """Of a rule that sent the packet elsewhere."""


class Tracer:
    """Collects the trace of a whole lab. ``watch`` a node, then ask for the ``decisions`` on an attempt's packets."""

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
        self._packets: dict[tuple[str, int], _Known] = {}
        self._trails: dict[tuple[str, int], PacketTrace] = {}
        """By number, by sequence number and by source port."""
        self._made: dict[tuple[str, int], dict[int, None]] = defaultdict(dict)
        """By node and source port: initial sequence numbers of the SYNs that the node itself sent, before its NAT."""
        self._drops: dict[Key, list[_Met]] = defaultdict(list)
        self.syns = SynWays()
        self._diverted: dict[int, dict[tuple[str, Place], _Met]] = defaultdict(dict)
        """By initial sequence number."""

    def watch(self, node: LabNode, rules: LoadedRules, *, sessions: bool = False) -> None:
        """Trace a node from now on: the packets that open a connection, or with ``sessions`` every one."""
        ruleset = RULES.format(table=TABLE, wanted="\n        ".join([SYNS, *PROBES, *[SESSIONS] * sessions]))
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

    def rules_of(self, node: str) -> LoadedRules:
        """The rules of a node that is watched."""
        return self._rules[node]

    def track(self, trail: PacketTrace) -> None:
        """Look out for the packets of a probe from now on."""
        self._trails["number", trail.number] = trail
        self._trails["sequence", trail.sequence] = trail
        if trail.source_port in SOURCE_PORTS:
            self._trails["port", trail.source_port] = trail

    def drops_of(self, trail: PacketTrace) -> list[Decision]:
        """Every rule that kept a packet of this probe, or an answer to it, from passing, each named once."""
        found: dict[tuple[str, Place], Decision] = {}
        for drop in trail.drops:
            if (drop.node, drop.place) not in found:
                found[drop.node, drop.place] = self._decision(drop)
        return list(found.values())

    def _decision(self, drop: _Met) -> Decision:
        packet = drop.packet
        in_session = isinstance(packet, TracedPacket) and packet.kind == "segment"
        rules = self._rules[drop.node]
        return rules.decision(drop.place, drop.passage, packet.summary, in_session=in_session)

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

    def decisions(self, sequences: Iterable[int], ends: Iterable[tuple[str, Ends]] = ()) -> list[Decision]:
        """Every rule that kept a packet of an attempt from passing, in order of time, each named once.

        Args:
            sequences: Initial sequence numbers of the attempt's SYNs, in order of time.
            ends: Nodes that its sessions passed, with the addresses and ports that its packets had there.
        """
        keys: list[Key] = [*sequences, *ends]
        drops = [drop for key in keys for drop in self._drops.get(key, ())]
        found: dict[tuple[str, Place, bool], Decision] = {}
        for drop in drops:
            key = drop.node, drop.place, isinstance(drop.packet, TracedPacket) and drop.packet.kind == "segment"
            if key not in found:
                found[key] = self._decision(drop)
        return list(found.values())

    def diversions(self, sequences: Iterable[int]) -> list[Decision]:
        """Every rule that changed where or how an attempt's SYNs went, in order of time, each named once."""
        found: dict[tuple[str, Place], Decision] = {}
        for sequence in sequences:
            for met in self._diverted.get(sequence, {}).values():
                if met.effect is not None and (met.node, met.place) not in found:
                    rules = self._rules[met.node]
                    found[met.node, met.place] = rules.diversion(met.place, met.effect, met.passage, met.packet.summary)
        return list(found.values())

    def made(self, node: str, source_port: int) -> list[int]:
        """Initial sequence numbers of the SYNs that a watched node itself sent from a port, before its own NAT."""
        return list(self._made.get((node, source_port), ()))

    def _event(self, node: str, family: int, event: dict[int, bytes]) -> None:
        key = node, struct.unpack(">I", event[ATTR_ID])[0]
        table, chain = event[ATTR_TABLE], event[ATTR_CHAIN]
        # Ids are reused: headers open each new packet, and come once for each base chain that it enters.
        if ATTR_NETWORK_HEADER in event and ATTR_TRANSPORT_HEADER in event:
            self._headers(key, event)
        known = self._packets.get(key)
        in_session = known is not None and known.in_session
        self._count(key, in_session, new=ATTR_NETWORK_HEADER in event and (in_session or table == OWN_TABLE))
        if known is None or table == OWN_TABLE:
            return
        handle = struct.unpack(">Q", event[ATTR_HANDLE])[0] if ATTR_HANDLE in event else None
        dropped = is_drop(event)
        if handle is None and not dropped:
            return
        known.passage.matched.append((family, table, chain, handle))
        rules = self._rules[node]
        if dropped or (is_queue(event) and rules.takes(place_of(family, table, chain, handle))):
            self._dropped(_Met(node, place_of(family, table, chain, handle), known.packet, known.passage))
        elif rules.steers and isinstance(known.packet, TracedPacket) and known.packet.kind == "SYN":
            place = place_of(family, table, chain, handle)
            if effect := rules.steering(place, known.hook):
                met = _Met(node, place, known.packet, known.passage, effect)
                self._diverted[known.packet.initial_sequence].setdefault((node, place), met)

    def _headers(self, key: tuple[str, int], event: dict[int, bytes]) -> None:
        """Take the headers of a packet at its first rule in a base chain."""
        network, transport = event[ATTR_NETWORK_HEADER], event[ATTR_TRANSPORT_HEADER]
        packet = self._probed(network, transport) or traced_packet(network, transport)
        if packet is None:
            self._packets.pop(key, None)
            return
        known, itself, own = self._packets.get(key), identity(network, transport), event[ATTR_TABLE] == OWN_TABLE
        if known is None or own or known.passage.identity != itself:
            known = self._packets[key] = _Known(packet, Passage((network, transport), itself))
            if isinstance(packet, TracedPacket):
                self.syns.enters(key[0], packet, known.passage)
        known.packet, known.hook = packet, event[ATTR_CHAIN].rstrip(b"\0").decode()
        known.passage.enters(event[ATTR_CHAIN], event.get(ATTR_IN), event.get(ATTR_OUT))
        if own and known.hook == LEAVING and isinstance(packet, TracedPacket) and packet.kind == "SYN":
            self._made[key[0], packet.source_port][packet.initial_sequence] = None

    def _dropped(self, drop: _Met) -> None:
        packet = drop.packet
        if isinstance(packet, _Probed):
            packet.trail.drops.append(drop)
            packet.trail.dropped.set()
        else:
            self._drops[packet.key(drop.node)].append(drop)
            if isinstance(packet, TracedPacket):
                self.syns.drops(drop.node, drop.place, packet)

    def _count(self, packet: tuple[str, int], in_session: bool, *, new: bool) -> None:
        """Count the events of a packet. ``new``: its id belonged to another one before."""
        events = self._events[packet] = 1 if new else self._events.get(packet, 0) + 1
        kind = packet[0], in_session
        self._most_events[kind] = max(events, self._most_events.get(kind, 1))

    def _probed(self, network: bytes, transport: bytes) -> _Probed | None:
        """The probe that a marked packet belongs to. Fragments are known by its number, TCP by ports and sequence."""
        tag = marked(network) if self._trails else None
        if tag is None:
            return None
        number, source, destination = tag
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
