"""The ground truth of places: faults of every kind at every place of ``avenue``, as data.

Each row is about one server, so that many are in one lab at the same time. ``Fault.rules`` has the lines for
iptables-restore; ``Row.truth`` says what is true of each port over each IP version.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from avenue import server_address
from port25lab.model.mechanism import Mechanism
from port25lab.probe.places import Place

PORTS = (25, 465, 587, 2525)

SERVED = (25, 465, 587)

PLACES = {
    "pc": Place.OWN_MACHINE,
    "home": Place.OWN_ROUTER,
    "access": Place.ACCESS_NETWORK,
    "core": Place.ACCESS_NETWORK,
    "border": Place.BEFORE_THE_SERVER,
    "server": Place.SERVER,
}
"""The nodes, the nearest to the client first."""


ALL = os.environ.get("PORT25LAB_GROUND_TRUTH") == "all"
"""Whether all rows are probed, and not every second one."""


@dataclass(frozen=True)
class Kind:
    """How a fault is made: a rule, with its destination left open."""

    name: str
    mechanism: Mechanism
    table: str
    chain: str
    target: str
    back: bool = False
    """Whether it is about the server's answers."""


SYN_DROP, ANSWER_DROP, INTERCEPTION = Mechanism.SYN_DROP, Mechanism.ANSWER_DROP, Mechanism.INTERCEPTION
WITH_RESET, AS_USER = "-j REJECT --reject-with tcp-reset", "-m owner --uid-owner {user}"

ON_ROUTERS = (
    Kind("drop", SYN_DROP, "filter", "FORWARD", "-j DROP"),
    Kind("drop at the entrance", SYN_DROP, "raw", "PREROUTING", "-j DROP"),
    Kind("ICMP error", Mechanism.REJECT_ICMP, "filter", "FORWARD", "-j REJECT"),
    Kind("reset", Mechanism.REJECT_RESET, "filter", "FORWARD", WITH_RESET),
    Kind("redirect", INTERCEPTION, "nat", "PREROUTING", "-j REDIRECT"),
    Kind("answers dropped", ANSWER_DROP, "filter", "FORWARD", "-j DROP", back=True),
)

ON_CLIENTS = (
    Kind("drop", SYN_DROP, "filter", "OUTPUT", "-j DROP"),
    Kind("drop in raw", SYN_DROP, "raw", "OUTPUT", "-j DROP"),
    Kind("ICMP error", Mechanism.REJECT_ICMP, "filter", "OUTPUT", "-j REJECT"),
    Kind("reset", Mechanism.REJECT_RESET, "filter", "OUTPUT", WITH_RESET),
    Kind("redirect", INTERCEPTION, "nat", "OUTPUT", "-j REDIRECT"),
    Kind("answers dropped", ANSWER_DROP, "filter", "INPUT", "-j DROP", back=True),
    Kind("user dropped", SYN_DROP, "filter", "OUTPUT", f"{AS_USER} -j DROP"),
    Kind("user reset", Mechanism.REJECT_RESET, "filter", "OUTPUT", f"{AS_USER} {WITH_RESET}"),
    Kind("user redirected", INTERCEPTION, "nat", "OUTPUT", f"{AS_USER} -j REDIRECT"),
)

ON_SERVERS = (
    Kind("drop (a ban)", SYN_DROP, "filter", "INPUT", "-j DROP"),
    Kind("reset", Mechanism.NO_LISTENER, "filter", "INPUT", WITH_RESET),
    Kind("ICMP error", Mechanism.REJECT_ICMP, "filter", "INPUT", "-j REJECT"),
)
"""A client cannot tell a server's rule that resets from a port without a listener, and need not."""

ONE, SEVERAL, ALL = (25,), SERVED, ()
"""Ports that a fault is about; empty: every one, those that are not probed too."""

PORT_CHOICES = (ONE, SEVERAL, ALL)

VERSIONS = ((4,), (6,), (4, 6))


@dataclass(frozen=True)
class Fault:
    """One kind at one node, about some ports over some IP versions."""

    node: str
    kind: Kind
    ports: tuple[int, ...]
    versions: tuple[int, ...] = (4, 6)

    @property
    def place(self) -> Place:
        return PLACES[self.node]

    def __str__(self) -> str:
        ports = ",".join(map(str, self.ports)) or "all"
        return f"{self.kind.name} at {self.node}, {ports}, {'+'.join(f'IPv{version}' for version in self.versions)}"

    def rules(self, server: int, user: int) -> Iterator[tuple[int, str, str]]:
        """IP version, table and rule. ``server``: its number. ``user``: whom rules about users are about."""
        for version in self.versions:
            end, side = ("-s", "--sports") if self.kind.back else ("-d", "--dports")
            ports = f"-m multiport {side} {','.join(map(str, self.ports))} " if self.ports else ""
            about = f"{end} {server_address(server, version)} -p tcp {ports}"
            yield version, self.kind.table, f"-A {self.kind.chain} {about}{self.kind.target.format(user=user)}"

    def affects(self, port: int, version: int) -> bool:
        return version in self.versions and (not self.ports or port in self.ports)

    def mechanism(self, port: int) -> Mechanism:
        """What is true of a port that it affects: a redirection to a port without a listener ends in a reset."""
        return (
            Mechanism.REJECT_RESET
            if self.kind.mechanism is INTERCEPTION and port not in SERVED
            else self.kind.mechanism
        )


@dataclass(frozen=True)
class Row:
    """Faults about one server, and the rights of the prober."""

    faults: tuple[Fault, ...]
    privileged: bool = False

    def __str__(self) -> str:
        return f"{' and '.join(map(str, self.faults))} [{'root' if self.privileged else 'unprivileged'}]"

    @property
    def of_client(self) -> bool:
        """Whether its rules are on the client: then that has to be a client of its own."""
        return any(fault.node == "pc" for fault in self.faults)

    def truth(self, port: int, version: int) -> Fault | None:
        """The fault that is at work: the one that packets meet first. None: none."""
        order = list(PLACES)
        mine = [fault for fault in self.faults if fault.affects(port, version)]
        return min(mine, key=lambda fault: order.index(fault.node), default=None)


def rows() -> list[Row]:
    """Each kind at each place: about one port, several and all; over IPv4, IPv6 and both; with and without rights.

    Not each of these with each of the others: every kind at every place has each number of ports, each choice of IP
    versions, and both rights, in turn. Of these, every second one; ``PORT25LAB_GROUND_TRUTH=all`` takes all.
    """
    pairs = [
        *product(("home", "access", "core", "border"), ON_ROUTERS),
        *product(("server",), ON_SERVERS),
        *product(("pc",), ON_CLIENTS),
    ]
    found = []
    for number, (node, kind) in enumerate(pairs):
        turned = [*VERSIONS[number % 3 :], *VERSIONS[: number % 3]]
        mine = [Row((Fault(node, kind, ports, which),)) for ports, which in zip(PORT_CHOICES, turned, strict=True)]
        mine.append(Row((Fault(node, kind, PORT_CHOICES[number % 3]),), privileged=True))
        found += mine if ALL else mine[number % 2 :: 2]
    return [*found, *two_faults()]


def two_faults() -> list[Row]:
    """Faults of two places at once, on different ports."""
    own = {kind.name: kind for kind in ON_CLIENTS}
    way = {kind.name: kind for kind in ON_ROUTERS}
    return [
        Row((Fault("pc", own["drop"], (25,)), Fault("access", way["redirect"], (587,)))),
        Row((Fault("pc", own["redirect"], (465, 587)), Fault("access", way["drop"], (25,)))),
        Row((Fault("pc", own["reset"], (25,)), Fault("home", way["ICMP error"], (25, 587)))),
        Row((Fault("home", way["drop"], (25, 587)), Fault("border", way["redirect"], (465,)))),
        Row((Fault("access", way["reset"], (465, 587, 2525)), Fault("border", way["answers dropped"], (25,)))),
        Row((Fault("access", way["drop"], (25,), (4,)), Fault("core", way["redirect"], (25,), (6,)))),
        Row((Fault("access", way["reset"], (465, 587, 2525)),), privileged=True),
    ]
