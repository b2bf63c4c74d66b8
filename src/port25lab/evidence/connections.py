"""Which packets belong to which attempt, whatever NAT made of their addresses and ports.

A connection is known by the initial sequence number (ISN) of its SYN, which NAT leaves alone (RFC 9293 section 3.4.1),
and at each node by the addresses and ports that this SYN had there. An attempt has the connections whose SYNs its
client sent from its own source ports, and those that a proxy made for it: a proxy dials on from the source port that
it sees. What has no SYN, such as some raw-packet probes, is known by its source port.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from port25lab.evidence.deciding_packets import PASSING, Sighting
from port25lab.evidence.error_packets import Quoted, errors_about
from port25lab.evidence.traced_packet import Ends
from port25lab.kernel.headers import Packet, text
from port25lab.network.builder import SOURCE_PORTS

LONGEST_SESSION = 1 << 20
"""Bytes that are kept of a connection for comparison, both directions together."""

_Raw = tuple[bytes, int | None, bytes, int | None]

_Connection = tuple[str, int]
"""``("syn", ISN)``, or ``("port", source port)`` of what has no SYN."""

Made = Callable[[str, int], Iterable[int]]
"""ISNs of the SYNs that a node sent from a source port, as its own kernel says, before NAT of that node."""


@dataclass(frozen=True)
class Connections:
    """The connections of one attempt."""

    sequences: tuple[int, ...] = ()
    """ISNs, in order of time."""
    ends: frozenset[tuple[str, Ends]] = frozenset()
    """Nodes, with the addresses and ports that packets of the attempt have there, in both directions."""
    arrivals: frozenset[tuple[str, str, int]] = frozenset()
    """Node, source address and port of each SYN that arrived there: what a server sees of its client."""
    dialled: str | None = None
    """The address that the client dialled last."""
    errors: tuple[Quoted, ...] = ()
    """By what ICMP errors about the SYNs are found in the trace."""

    @property
    def opening(self) -> tuple[int | Quoted, ...]:
        """By what the packets that open or refuse the connections are found in the trace."""
        return (*self.sequences, *self.errors)


class Sightings:
    """All packets that were seen, by the connections that they belong to."""

    def __init__(self) -> None:
        self._sightings: dict[_Connection, list[Sighting]] = defaultdict(list)
        self._kept: defaultdict[_Connection, int] = defaultdict(int)
        """Bytes kept of each connection."""
        self._over: set[_Connection] = set()
        self._here: dict[tuple[str, _Raw], _Connection] = {}
        """By node, addresses and ports."""
        self._anywhere: dict[_Raw, _Connection] = {}
        self._senders: dict[tuple[str, int], dict[_Connection, None]] = defaultdict(dict)
        """By node and source port: the connections whose SYN was first seen as it left the node."""
        self._known: set[_Connection] = set()

    def note(self, seen: Sighting) -> None:
        """Keep a sighting, if its attempt is not over. A server may say more than memory holds."""
        connection = self._connection(seen)
        if connection is None or connection in self._over:
            return
        if seen.packet.kind in PASSING:
            if not seen.packet.length or self._kept[connection] > LONGEST_SESSION:
                return
            self._kept[connection] += len(seen.data)
        self._sightings[connection].append(seen)

    def sent(self, node: str, port: int) -> list[int]:
        """ISNs of the SYNs that a node has sent from a port, behind its own NAT, in order of time."""
        return [sequence for _, sequence in self._sent(node, port, None)]

    def take(
        self, ports: Iterable[int], client: str, proxies: Collection[str] = (), made: Made | None = None
    ) -> tuple[list[Sighting], Connections]:
        """The sightings and the connections of an attempt, which is over.

        Args:
            ports: The client's source ports.
            client: The node of the client.
            proxies: Nodes with programs that pass sessions on.
            made: Tells which SYNs a node sent, where the node's NAT changes them before they can be seen.
        """
        ports = tuple(ports)
        own = dict.fromkeys(name for port in ports for name in self._sent(client, port, made))
        waiting = list(own)
        while waiting:
            for node, port in self._arrivals_at(waiting.pop(), proxies):
                more = [name for name in self._sent(node, port, made) if name not in own]
                own |= dict.fromkeys(more)
                waiting += more
        others: list[_Connection] = [("port", port) for port in ports]
        sightings = sorted(
            (seen for name in [*own, *others] for seen in self._sightings.get(name, ())),
            key=lambda seen: seen.nanoseconds,
        )
        for name in [*own, *others]:
            self._over.add(name)
            self._kept.pop(name, None)
            self._sightings.pop(name, None)
        return sightings, _connections(sightings, client, [number for kind, number in own if kind == "syn"])

    def _sent(self, node: str, port: int, made: Made | None) -> list[_Connection]:
        told: list[_Connection] = [("syn", sequence) for sequence in made(node, port)] if made else []
        if told:  # what the kernel says is from before the node's own NAT
            return told
        return list(self._senders.get((node, port), ()))

    def _arrivals_at(self, name: _Connection, nodes: Collection[str]) -> Iterator[tuple[str, int]]:
        for seen in self._sightings.get(name, ()):
            port = seen.packet.source_port
            if seen.node in nodes and not seen.leaving and seen.packet.kind == "SYN" and port is not None:
                yield seen.node, port

    def _connection(self, seen: Sighting) -> _Connection | None:
        packet = seen.packet
        if packet.about is not None:
            return self._quoted(packet)
        ends = (packet.source, packet.source_port, packet.destination, packet.destination_port)
        if packet.kind == "SYN" and packet.sequence is not None:
            return self._opened(seen, ("syn", packet.sequence), ends)
        if packet.acknowledged is not None and packet.kind in ("SYN-ACK", "RST"):
            answered: _Connection = "syn", (packet.acknowledged - 1) & 0xFFFFFFFF
            if answered in self._known:
                return answered
        found = self._here.get((seen.node, ends)) or self._anywhere.get(ends)
        return found or _by_port(packet.source_port, packet.destination_port)

    def _opened(self, seen: Sighting, name: _Connection, ends: _Raw) -> _Connection:
        """A SYN: from now on, its addresses and ports at this node mean its connection."""
        if name not in self._known:
            self._known.add(name)
            if seen.leaving and seen.packet.source_port is not None:
                self._senders[seen.node, seen.packet.source_port][name] = None
        back = (*ends[2:], *ends[:2])
        for way in (ends, back):
            self._here[seen.node, way] = self._anywhere[way] = name
        return name

    def _quoted(self, packet: Packet) -> _Connection | None:
        """The connection that an ICMP error is about."""
        about = packet.about
        if about is None:
            return None
        if about.sequence is not None and ("syn", about.sequence) in self._known:
            return "syn", about.sequence
        port = next((port for port in (about.source_port, about.destination_port) if port in SOURCE_PORTS), None)
        if port is None:
            return None
        newest = [name for (_, sent), names in self._senders.items() if sent == port for name in names]
        return newest[-1] if newest else ("port", port)


def _by_port(source: int | None, destination: int | None) -> _Connection | None:
    for port in (source, destination):
        if port is not None and port in SOURCE_PORTS:
            return "port", port
    return None


def _connections(sightings: Iterable[Sighting], client: str, own: Iterable[int]) -> Connections:
    """``own``: initial sequence numbers of the SYNs; a rule may have dropped one before it left its node."""
    sequences = dict.fromkeys(own)
    left: set[int] = set()
    arrivals: set[tuple[str, str, int]] = set()
    dialled: bytes | None = None
    passed: dict[tuple[int, str], list[Sighting]] = defaultdict(list)
    answered: dict[tuple[int, str], list[Sighting]] = defaultdict(list)
    """A router on the way back alone never sees the SYN."""
    for seen in sightings:
        packet = seen.packet
        if packet.kind == "SYN-ACK" and packet.acknowledged is not None:
            answered[packet.acknowledged, seen.node].append(seen)
        if packet.kind != "SYN" or packet.sequence is None or packet.source_port is None:
            continue
        if seen.node == client and seen.leaving and packet.sequence not in left:
            left.add(packet.sequence)
            dialled = packet.destination
        sequences[packet.sequence] = None
        passed[packet.sequence, seen.node].append(seen)
        if not seen.leaving:
            arrivals.add((seen.node, text(packet.source), packet.source_port))
    there_and_back = (*passed.items(), *answered.items())
    ends = frozenset(end for (_, node), seen in there_and_back for end in _ends_at(node, seen))
    return Connections(
        tuple(sequences),
        ends,
        frozenset(arrivals),
        text(dialled) if dialled is not None else None,
        tuple(dict.fromkeys(error for sequence in sequences for error in _errors(sequence, passed))),
    )


def _errors(sequence: int, passed: Mapping[tuple[int, str], Sequence[Sighting]]) -> Iterator[Quoted]:
    """By what the errors about the SYNs with a sequence number are found."""
    here = {node: syns for (number, node), syns in passed.items() if number == sequence}
    numbers = {seen.packet.number for syns in here.values() for seen in syns}
    ends = {(end[0], end[2]) for node, syns in here.items() for _, end in _ends_at(node, syns)}
    return errors_about(sorted(numbers), sorted(ends))


def _ends_at(node: str, syns: Iterable[Sighting]) -> Iterator[tuple[str, Ends]]:
    """The addresses and ports at a node: as they come, as they leave, and between NAT of destination and of source."""
    sides = {
        (
            (text(seen.packet.source), seen.packet.source_port),
            (text(seen.packet.destination), seen.packet.destination_port),
        )
        for seen in syns
    }
    for source, _ in sides:
        for _, destination in sides:
            if source[1] is not None and destination[1] is not None:
                yield node, (source[0], source[1], destination[0], destination[1])
                yield node, (destination[0], destination[1], source[0], source[1])
