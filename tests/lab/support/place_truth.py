"""The ground truth of places: faults of every kind at every place of ``avenue``, as data.

Each fault is about one server, so that many are in one lab at the same time. ``Fault.rules`` has the lines for
iptables-restore; ``Fault.expected`` says what is true of each port over each IP version.
"""

from __future__ import annotations

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


@dataclass(frozen=True)
class Kind:
    """How a fault is made. ``rule``: a table, a chain and the rest of a rule, with its destination left open."""

    mechanism: Mechanism
    table: str
    chain: str
    target: str
    back: bool = False
    """Whether it is about the server's answers."""


DROP = Kind(Mechanism.SYN_DROP, "filter", "FORWARD", "-j DROP")
ENTRANCE = Kind(Mechanism.SYN_DROP, "raw", "PREROUTING", "-j DROP")
ICMP = Kind(Mechanism.REJECT_ICMP, "filter", "FORWARD", "-j REJECT")
RESET = Kind(Mechanism.REJECT_RESET, "filter", "FORWARD", "-j REJECT --reject-with tcp-reset")
TAKE = Kind(Mechanism.INTERCEPTION, "nat", "PREROUTING", "-j REDIRECT")
ANSWERS = Kind(Mechanism.ANSWER_DROP, "filter", "FORWARD", "-j DROP", back=True)

ON_ROUTERS = (DROP, ENTRANCE, ICMP, RESET, TAKE, ANSWERS)

OWN_DROP = Kind(Mechanism.SYN_DROP, "filter", "OUTPUT", "-j DROP")
OWN_RAW = Kind(Mechanism.SYN_DROP, "raw", "OUTPUT", "-j DROP")
OWN_ICMP = Kind(Mechanism.REJECT_ICMP, "filter", "OUTPUT", "-j REJECT")
OWN_RESET = Kind(Mechanism.REJECT_RESET, "filter", "OUTPUT", "-j REJECT --reject-with tcp-reset")
OWN_TAKE = Kind(Mechanism.INTERCEPTION, "nat", "OUTPUT", "-j REDIRECT")
OWN_ANSWERS = Kind(Mechanism.ANSWER_DROP, "filter", "INPUT", "-j DROP", back=True)
USERS_DROP = Kind(Mechanism.SYN_DROP, "filter", "OUTPUT", "-m owner --uid-owner {user} -j DROP")
USERS_RESET = Kind(
    Mechanism.REJECT_RESET, "filter", "OUTPUT", "-m owner --uid-owner {user} -j REJECT --reject-with tcp-reset"
)
USERS_TAKE = Kind(Mechanism.INTERCEPTION, "nat", "OUTPUT", "-m owner --uid-owner {user} -j REDIRECT")

ON_CLIENTS = (OWN_DROP, OWN_RAW, OWN_ICMP, OWN_RESET, OWN_TAKE, OWN_ANSWERS, USERS_DROP, USERS_RESET, USERS_TAKE)

SERVER_DROP = Kind(Mechanism.SYN_DROP, "filter", "INPUT", "-j DROP")
SERVER_RESET = Kind(Mechanism.NO_LISTENER, "filter", "INPUT", "-j REJECT --reject-with tcp-reset")
"""What a client can know of it: the destination itself resets."""

SERVER_ICMP = Kind(Mechanism.REJECT_ICMP, "filter", "INPUT", "-j REJECT")

ON_SERVERS = (SERVER_DROP, SERVER_RESET, SERVER_ICMP)

ONE, SEVERAL, ALL = (25,), SERVED, ()
"""Ports that a fault is about; empty: every one, those that are not probed too."""


@dataclass(frozen=True)
class Fault:
    """One kind at one node, about some ports over some IP versions."""

    node: str
    kind: Kind
    ports: tuple[int, ...]
    versions: tuple[int, ...]

    @property
    def place(self) -> Place:
        return PLACES[self.node]

    def __str__(self) -> str:
        ports = ",".join(map(str, self.ports)) or "all"
        versions = "+".join(f"IPv{version}" for version in self.versions)
        return f"{self.kind.mechanism} ({self.kind.table} {self.kind.chain}) at {self.node}, {ports}, {versions}"

    def rules(self, server: int, user: int) -> Iterator[tuple[int, str, str]]:
        """IP version, table and rule. ``server``: its number. ``user``: of the prober, or whom it acts for."""
        for version in self.versions:
            ends = "-s" if self.kind.back else "-d"
            side = "--sports" if self.kind.back else "--dports"
            ports = f"-m multiport {side} {','.join(map(str, self.ports))} " if self.ports else ""
            target = self.kind.target.format(user=user)
            about = f"{ends} {server_address(server, version)} -p tcp {ports}"
            yield version, self.kind.table, f"-A {self.kind.chain} {about}{target}"

    def affects(self, port: int, version: int) -> bool:
        return version in self.versions and (not self.ports or port in self.ports)

    def mechanism(self, port: int) -> Mechanism:
        """What is true of a port that it affects: a redirection to a port without a listener ends in a reset."""
        if self.kind.mechanism is Mechanism.INTERCEPTION and port not in SERVED:
            return Mechanism.REJECT_RESET
        return self.kind.mechanism


def on_the_way() -> list[Fault]:
    """Faults of routers and of servers: everything with everything."""
    routers = product(("home", "access", "core", "border"), ON_ROUTERS)
    pairs = [*routers, *product(("server",), ON_SERVERS)]
    wide = [Fault(node, kind, ports, (4, 6)) for node, kind in pairs for ports in (ONE, SEVERAL, ALL)]
    return wide + [Fault(node, kind, ONE, (version,)) for node, kind in pairs for version in (4, 6)]


def on_the_client() -> list[Fault]:
    """Faults of the client itself."""
    both = [Fault("pc", kind, ports, (4, 6)) for kind in ON_CLIENTS for ports in (ONE, SEVERAL, ALL)]
    return both + [Fault("pc", kind, ONE, (version,)) for kind in ON_CLIENTS for version in (4, 6)]
