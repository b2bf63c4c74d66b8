"""Faults that are no rule about one server, as data: names, hosts that are off, missing routes, a server's resets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from avenue import server_address
from place_truth import PORTS
from port25lab.model.mechanism import Mechanism
from port25lab.probe.places import Place

FIRST = 13
"""The first server of scenes."""

LIAR = "198.51.100.1"
"""`access`, which runs a resolver that lies."""

HONEST = "192.0.2.253"

Truth = tuple[Mechanism, Place | None]

FINE: Truth = (Mechanism.NONE, None)


@dataclass(frozen=True)
class Scene:
    """One client, one server, and what is wrong there.

    ``steps``: a node (``pc``: the client, ``server``: the server) and a shell's command. ``truth``: by IP version.
    ``four`` and ``six`` in commands are the server's addresses, ``name`` its name.
    """

    name: str
    client: str
    server: int
    truth: Mapping[int, Truth]
    steps: tuple[tuple[str, str], ...] = ()
    ports: tuple[int, ...] = PORTS
    """Those that the truth is about."""
    lies: tuple[str, ...] = field(default=())
    """What the lying resolver says of the server."""
    single: bool = False
    """Whether a client can know it."""
    alias: str | None = None
    """Another name of the server, which its certificate does not have."""

    @property
    def host(self) -> str:
        return self.alias or f"mx.s{self.server}.example"

    def commands(self) -> list[tuple[str, str]]:
        words = {"four": server_address(self.server, 4), "six": server_address(self.server, 6), "name": self.host}
        nodes = {"pc": self.client, "server": f"server-{self.server}"}
        return [(nodes.get(node, node), command.format(**words)) for node, command in self.steps]


def both(mechanism: Mechanism, place: Place | None) -> dict[int, Truth]:
    return {4: (mechanism, place), 6: (mechanism, place)}


LIE = both(Mechanism.NAME_SERVICE, Place.RESOLVER)

OFF = both(Mechanism.NO_ANSWER, Place.SERVER)

BLACK_HOLE = "ip route add blackhole {four}/32; ip -6 route add blackhole {six}/128"
UNREACHABLE = "ip route add unreachable {four}/32; ip -6 route add unreachable {six}/128"
TO_ONE_PORT = (
    "for t in iptables ip6tables; do $t -t nat -A PREROUTING -p tcp -m multiport --dports 25,465,587 -j REDIRECT "
    "--to-ports 2525; done"
)
MASKED = (
    # port 10029: the proxy of the policy starttls-stripping
    "iptables -t nat -A PREROUTING -d {four} -p tcp --dport 25 -j REDIRECT --to-ports 10029; "
    "ip6tables -t nat -A PREROUTING -d {six} -p tcp --dport 25 -j REDIRECT --to-ports 10029"
)
ONLY_LIAR = f"echo nameserver {LIAR} > /etc/resolv.conf"
TWO_RESOLVERS = f"printf 'nameserver {LIAR}\\nnameserver {HONEST}\\n' > /etc/resolv.conf"
OFF_RESOLVER = "echo nameserver 198.51.100.99 > /etc/resolv.conf"
NO_ZONE = (
    f"iptables -I FORWARD -p udp --dport 53 -s 192.168.1.21 -d {HONEST} -j DROP; "
    "ip6tables -I FORWARD -p udp --dport 53 -s 2001:db8:100::21 -j DROP"
)

SCENES = (
    Scene("a host that is off", "pc-7", 13, OFF, (("server", "ip addr flush dev eth0"),)),
    Scene(
        "IPv6 that leads nowhere, beside a working IPv4",
        "pc-7",
        14,
        {4: FINE, 6: (Mechanism.NO_ANSWER, Place.SERVER)},
        (("server", "ip -6 addr flush dev eth0 scope global"),),
    ),
    Scene("a black hole", "pc-7", 15, both(Mechanism.NO_ROUTE, Place.ACCESS_NETWORK), (("core", BLACK_HOLE),)),
    Scene("no route", "pc-7", 16, both(Mechanism.NO_ROUTE, Place.ACCESS_NETWORK), (("core", UNREACHABLE),)),
    Scene(
        "a server without a way back",
        "pc-7",
        17,
        both(Mechanism.NO_ROUTE, Place.SERVER),
        (("server", "ip route del default; ip -6 route del default"),),
    ),
    Scene(
        "a server that resets at once",
        "pc-7",
        18,
        both(Mechanism.SERVER_REFUSAL, Place.SERVER),
        (("server", TO_ONE_PORT),),
    ),
    Scene(
        "a machine without IPv6",
        "pc-8",
        19,
        {4: FINE, 6: (Mechanism.NO_ROUTE, None)},
        (("pc", "ip -6 route del default"),),
    ),
    Scene(
        "a name in /etc/hosts",
        "pc-8",
        20,
        {4: (Mechanism.NAME_SERVICE, Place.OWN_MACHINE)},
        (("pc", "echo 127.0.1.1 {name} >> /etc/hosts"),),
        single=True,
    ),
    Scene("0.0.0.0, two resolvers", "pc-9", 13, LIE, (("pc", TWO_RESOLVERS),), lies=("0.0.0.0", "::"), single=True),
    Scene("127.0.0.1, two resolvers", "pc-9", 14, LIE, lies=("127.0.0.1", "::1"), single=True),
    Scene("the own address", "pc-9", 15, LIE, lies=("192.168.1.19", "2001:db8:100::19"), single=True),
    Scene("private addresses", "pc-9", 16, LIE, lies=("10.9.9.9", "fd00::9"), single=True),
    Scene("127.0.0.1, and the zone", "pc-10", 14, LIE, (("pc", ONLY_LIAR),), lies=("127.0.0.1", "::1"), single=True),
    Scene("a private address, and the zone", "pc-10", 16, LIE, lies=("10.9.9.9", "fd00::9"), single=True),
    Scene(
        "0.0.0.0, and no other answer", "pc-11", 13, LIE, (("pc", ONLY_LIAR), ("home", NO_ZONE)), lies=("0.0.0.0", "::")
    ),
    Scene("a private address, and no other answer", "pc-11", 16, LIE, lies=("10.9.9.9", "fd00::9")),
    Scene(
        "no resolver answers",
        "pc-13",
        13,
        both(Mechanism.NAME_SERVICE, Place.RESOLVER),
        (("pc", OFF_RESOLVER),),
    ),
    Scene(
        "another name than that of the certificate",
        "pc-7",
        22,
        both(*FINE),
        (("pc", "printf '{four} {name}\\n{six} {name}\\n' >> /etc/hosts"),),
        alias="mail.s22.example",
    ),
    Scene(
        "a firewall before the server that masks",
        "pc-7",
        21,
        both(Mechanism.STARTTLS_STRIPPING, Place.BEFORE_THE_SERVER),
        (("border", MASKED),),
        ports=(25,),
    ),
    Scene(
        "a gateway that is off",
        "pc-12",
        22,
        {4: FINE, 6: (Mechanism.NO_ROUTE, Place.OWN_ROUTER)},
        (("pc", "ip -6 route replace default via 2001:db8:100::dead"),),
    ),
)
