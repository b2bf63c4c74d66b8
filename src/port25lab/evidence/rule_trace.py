"""The kernel's word: which rule decided the fate of a packet, from nftables' own trace.

A table of ours (hook priority just before raw) sets ``nftrace`` on SYN and SYN-ACK, so the kernel reports every rule
that such a packet meets, whoever loaded the rule. The events come by netlink (nfnetlink group 9); nft's own monitor
prints text and no JSON in the versions that are around.

An attempt is known by the initial sequence numbers of its SYNs, which survive NAT of addresses and ports (RFC 9293
section 3.4.1); packets of an open session by the addresses and ports that they have at a node. ``capture`` tells both.
A hand-made packet may be no TCP at all, or a fragment: ``packet_trace`` knows it.

The kernel keeps events in a buffer until they are read, and drops what does not fit. Three things keep that from
happening with the buffer that every Linux distribution allows: the kernel leaves out events that say nothing, the
buffer is read before each SYN that the lab's own process sends, and ``admission`` lets no more attempts go on at once
than the buffer has room for, even if none of it were read. What is dropped all the same is counted, so that the
attempts that it can concern are known: ``run`` tries them once more.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from port25lab.errors import LabError
from port25lab.evidence.error_packets import ErrorPacket, error_packet
from port25lab.evidence.name_packets import NamePacket, name_packet
from port25lab.evidence.neighbour_packets import NeighbourPacket, arp_packet, discovery_packet
from port25lab.evidence.neighbours import TRIES, Resolution
from port25lab.evidence.packet_trace import Made, MadePackets, PacketTrace
from port25lab.evidence.rule_map import LoadedRules, Place, place_of
from port25lab.evidence.syn_ways import SynWays
from port25lab.evidence.traced_packet import Ends, Key, Passage, TracedPacket, identity, traced_packet
from port25lab.kernel.netlink import NFNETLINK_HEADER, attributes, messages
from port25lab.kernel.nftrace import (
    ARP,
    ARP_RULES,
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
    OTHERS,
    OWN_TABLE,
    RULES,
    SYNS,
    TABLE,
    TRACE_MESSAGE,
    is_drop,
    is_queue,
    open_socket,
)
from port25lab.model.evidence import Decision, Effect
from port25lab.network.builder import LabNode

SESSIONS = "meta l4proto tcp meta nftrace set 1 accept"
"""All packets of TCP, for nodes whose rules act in mid-session: NAT may give a session any port."""

AT_ONCE = 2
"""Packets that open an attempt's connection and may come before the lab's process gets to read: a SYN, and a SYN-ACK or
the same SYN again."""

NEIGHBOURS_AT_ONCE = 2 * TRIES
"""Requests for neighbours that an attempt can cause at a node before the lab's process gets to read, answers counted:
one neighbour on either side of the node."""

_Packet = TracedPacket | NeighbourPacket | NamePacket | ErrorPacket | Made

_Counted = Literal["opening", "segment", "neighbour"]
"""Packets that open or refuse a connection, those of a session, and those that resolve a neighbour."""


@dataclass
class _Known:
    """The packet that a trace id stands for at the moment."""

    packet: _Packet
    """As the rules of the last base chain saw it."""
    passage: Passage
    hook: str = ""
    """The last base chain."""

    @property
    def counts_as(self) -> _Counted:
        """The kind of packets whose events are counted together."""
        if isinstance(self.packet, NeighbourPacket):
            return "neighbour"
        return "segment" if isinstance(self.packet, TracedPacket) and self.packet.kind == "segment" else "opening"


@dataclass(frozen=True)
class _Met:
    """A packet that met a rule which kept it from passing, or sent it elsewhere."""

    node: str
    place: Place
    packet: _Packet
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
        self._neighbours: dict[str, int] = {}
        """By node: how many neighbours it may ask for."""
        self._events: dict[tuple[str, int], int] = {}
        """Of the packet that has this id now: how many events it has brought so far."""
        self._most_events: dict[tuple[str, _Counted], int] = {}
        """By node and kind of packet: the most events that one packet has brought so far."""
        self._losses: list[str] = []
        """The node of each loss, in order of time."""
        self._rules: dict[str, LoadedRules] = {}
        self._packets: dict[tuple[str, int], _Known] = {}
        self._made_by_hand = MadePackets()
        self._made: dict[tuple[str, int], dict[int, None]] = defaultdict(dict)
        """By node and source port: initial sequence numbers of the SYNs that the node itself sent, before its NAT."""
        self._drops: dict[Key, list[_Met]] = defaultdict(list)
        self.neighbours_dropped = False
        """Whether a rule has dropped a packet of ARP or neighbour discovery so far."""
        self.syns = SynWays()
        self._diverted: dict[Key, dict[tuple[str, Place], _Met]] = defaultdict(dict)

    def watch(self, node: LabNode, rules: LoadedRules, *, sessions: bool = False, neighbours: int = 0) -> None:
        """Trace a node from now on: the packets that open a connection, or with ``sessions`` every one.

        ``neighbours``: how many neighbours the node may ask for, by packets that are traced as well.
        """
        _set_traces(node, sessions)
        self._rules[node.name] = rules
        kernel: socket.socket = node.run_inside(open_socket)
        self._sockets[kernel.fileno()] = node.name, kernel
        self._readable.register(kernel, select.EPOLLIN)
        self._buffers[node.name] = kernel.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._neighbours[node.name] = neighbours
        if sessions:
            self._sessions.add(node.name)

    def renew(self, node: LabNode, rules: LoadedRules, *, sessions: bool) -> None:
        """The rules of a node that is watched already were replaced, and perhaps those that set ``nftrace`` removed."""
        sessions = sessions or node.name in self._sessions
        _set_traces(node, sessions)
        self._rules[node.name] = rules
        if sessions:
            self._sessions.add(node.name)

    def watches(self, node: str) -> bool:
        """Whether a node is watched."""
        return node in self._rules

    def update_rules(self, node: str, rules: LoadedRules) -> None:
        """The rules of a node that is watched already, after more of them were loaded."""
        self._rules[node] = rules

    def refill_seconds(self) -> float | None:
        """The shortest time in which a limit of any node's rules lets one more packet pass; None: no limit."""
        return min((s for rules in self._rules.values() if (s := rules.refill_seconds) is not None), default=None)

    def rules_of(self, node: str) -> LoadedRules:
        """The rules of a node that is watched."""
        return self._rules[node]

    def track(self, trail: PacketTrace) -> None:
        """Look out for a hand-made packet from now on."""
        self._made_by_hand.track(trail)

    def drops_of(self, trail: PacketTrace) -> list[Decision]:
        """Every rule that kept a hand-made packet, or an answer to it, from passing, each named once. It is over."""
        self._made_by_hand.forget(trail)
        found: dict[tuple[str, Place], Decision] = {}
        for drop in self._drops.pop(trail, ()):
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
        for node, buffer in self._buffers.items():
            # Attempts that wait for the same neighbour wait for the same requests.
            requests = NEIGHBOURS_AT_ONCE * min(attempts, self._neighbours[node])
            at_once: dict[_Counted, int] = {
                "opening": AT_ONCE * attempts,
                "segment": segments if node in self._sessions else 0,
                "neighbour": requests if self._rules[node].sees_neighbours else 0,
            }
            events = sum(number * self._most_events.get((node, kind), 1) for kind, number in at_once.items() if number)
            if EVENT_BYTES * events > buffer:
                return False
        return True

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

    def decisions(self, sequences: Iterable[Key], ends: Iterable[tuple[str, Ends]] = ()) -> list[Decision]:
        """Every rule that kept a packet of an attempt from passing, in order of time, each named once.

        Args:
            sequences: Initial sequence numbers of the attempt's SYNs, in order of time; or its lookups.
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

    def unresolved(self, resolutions: Iterable[Resolution]) -> list[Decision]:
        """Every rule that kept a node from resolving a neighbour, each named once."""
        found: dict[tuple[str, Place], Decision] = {}
        for resolution in resolutions:
            for drop in (drop for key in resolution.keys for drop in self._drops.get(key, ())):
                known = self._decision(drop)
                summary = known.traced.model_copy(update={"neighbour": str(resolution.address)})
                found.setdefault((drop.node, drop.place), known.model_copy(update={"traced": summary}))
        return list(found.values())

    def diversions(self, sequences: Iterable[Key], ends: Iterable[tuple[str, Ends]] = ()) -> list[Decision]:
        """Every rule that changed where or how an attempt's packets went, in order of time, each named once.

        The parameters are those of ``decisions``.
        """
        found: dict[tuple[str, Place], Decision] = {}
        keys: tuple[Key, ...] = (*sequences, *ends)
        for key in keys:
            for met in self._diverted.get(key, {}).values():
                if met.effect is not None and (met.node, met.place) not in found:
                    found[met.node, met.place] = self._diversion(met, met.effect)
        return list(found.values())

    def _diversion(self, met: _Met, effect: Effect) -> Decision:
        in_session = isinstance(met.packet, TracedPacket) and met.packet.kind == "segment"
        rules = self._rules[met.node]
        return rules.diversion(met.place, effect, met.passage, met.packet.summary, in_session=in_session)

    def made(self, node: str, source_port: int) -> list[int]:
        """Initial sequence numbers of the SYNs that a watched node itself sent from a port, before its own NAT."""
        return list(self._made.get((node, source_port), ()))

    def _event(self, node: str, family: int, event: dict[int, bytes]) -> None:
        key = node, struct.unpack(">I", event[ATTR_ID])[0]
        table, chain = event[ATTR_TABLE], event[ATTR_CHAIN]
        # Ids are reused: headers open each new packet, and come once for each base chain that it enters.
        if ATTR_NETWORK_HEADER in event and (ATTR_TRANSPORT_HEADER in event or family == ARP):
            self._headers(key, family, event)
        known = self._packets.get(key)
        # The event of our own rule, which comes first, is left out by the kernel for all but opening packets.
        kind = "opening" if known is None else known.counts_as
        self._count(key, kind, new=ATTR_NETWORK_HEADER in event and (kind != "opening" or table == OWN_TABLE))
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
        elif rules.steers and isinstance(known.packet, (TracedPacket, NamePacket, Made)):
            place = place_of(family, table, chain, handle)
            effect = rules.steering(place, known.hook)
            # Where it goes is decided by the packet that opens; how far it comes, by each.
            if effect is not None and (known.packet.opens or effect is Effect.CHANGE):
                met = _Met(node, place, known.packet, known.passage, effect)
                self._diverted[known.packet.key(node)].setdefault((node, place), met)

    def _headers(self, key: tuple[str, int], family: int, event: dict[int, bytes]) -> None:
        """Take the headers of a packet at its first rule in a base chain."""
        network, transport = event[ATTR_NETWORK_HEADER], event.get(ATTR_TRANSPORT_HEADER, b"")
        packet: _Packet | None
        if family == ARP:
            packet = arp_packet(network)
        else:
            packet = self._made_by_hand.find(network, transport)
            if packet is None:
                packet = discovery_packet(network, transport) or name_packet(network, transport)
            packet = packet or error_packet(network, transport) or traced_packet(network, transport)
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
        self._drops[packet.key(drop.node)].append(drop)
        if isinstance(packet, Made):
            packet.trail.dropped.set()
        elif isinstance(packet, TracedPacket):
            self.syns.drops(drop.node, drop.place, packet)
        self.neighbours_dropped |= isinstance(packet, NeighbourPacket)

    def _count(self, packet: tuple[str, int], kind: _Counted, *, new: bool) -> None:
        """Count the events of a packet. ``new``: its id belonged to another one before."""
        events = self._events[packet] = 1 if new else self._events.get(packet, 0) + 1
        most = packet[0], kind
        self._most_events[most] = max(events, self._most_events.get(most, 1))


def _set_traces(node: LabNode, sessions: bool) -> None:
    """Load the rules that set ``nftrace``, in place of those that may be there."""
    wanted = "\n        ".join([SYNS, OTHERS, *[SESSIONS] * sessions])
    ruleset = _anew("inet") + RULES.format(table=TABLE, wanted=wanted)
    done = _load(node, _anew("arp") + ARP_RULES.format(table=TABLE) + ruleset)
    if done.returncode:
        done = _load(node, ruleset)
    if done.returncode:
        raise LabError(f"{node.name}: nft: {done.stderr.strip()}")


def _anew(family: str) -> str:
    """Remove a table that may be missing: it is made first, in the same transaction."""
    return f"table {family} {TABLE}\ndelete table {family} {TABLE}\n"


def _load(node: LabNode, ruleset: str) -> subprocess.CompletedProcess[str]:
    argv = ["nft", "-f", "-"]
    return node.run_inside(  # type: ignore[no-any-return]
        lambda: subprocess.run(argv, input=ruleset, capture_output=True, text=True, timeout=30, check=False)
    )
