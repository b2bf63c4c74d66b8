"""A triangle of routers: what the outer ones answer comes back another way than the questions went.

                      ┌── out ──┐
    client ── cpe ────┤         ├── far ── server      mail for example.net on 25
                      └── back ─┘

`out` sees only what goes to the server, `back` only what comes from it. In the DNS, and not there: `hole`, whose
address has a blackhole route on `far`; `gone`, whose address is on the server's network; `gateway`, behind a
gateway that does not exist; `lost`, to which `far` has no route; `quiet`, which has no route back. With the parameter
`lost`, `back` throws all answers away.
"""

from __future__ import annotations

from mininet.topo import Topo

BACK = [
    ("203.0.113.0/30", "203.0.113.10"),
    ("192.168.1.0/24", "203.0.113.10"),
    ("2001:db8:1::/64", "2001:db8:b::2"),
]
"""The way back to the client, or to the address that its router gives it."""


class Roundabout(Topo):
    def build(self, lost: bool = False) -> None:
        self.sets = {}
        dns = ["192.168.2.2"]
        self.addHost("client", routes=[("default", "192.168.1.1"), ("default", "2001:db8:1::1")], resolvers=dns)
        self.addHost("cpe", forward=True, routes=[("default", "203.0.113.1"), ("default", "2001:db8:a::1")])
        self.addHost("out", forward=True, routes=[("default", "203.0.113.5"), ("default", "2001:db8:c::1")])
        self.addHost(
            "back",
            forward=True,
            routes=[(to, "blackhole" if lost else via) for to, via in BACK],
        )
        self.addHost(
            "far",
            forward=True,
            routes=[
                ("203.0.113.0/30", "203.0.113.14"),
                ("192.168.1.0/24", "203.0.113.14"),
                ("2001:db8:1::/64", "2001:db8:d::2"),
                ("192.0.2.96/28", "blackhole"),
                ("2001:db8:99::/64", "blackhole"),
                ("192.0.2.112/28", "192.0.2.61"),
                ("2001:db8:98::/64", "2001:db8:25::67"),
            ],
        )
        self.addHost(
            "server",
            names=["mx.example.net"],
            routes=[("default", "192.0.2.1"), ("default", "2001:db8:25::1")],
            services=[{"kind": "mx", "domains": ["example.net"]}],
        )
        self.addHost("dns", services=[{"kind": "dns"}], routes=[("default", "192.168.2.1")])
        self.addHost("quiet", names=["quiet.example.net"])
        self.connect(
            "dns", "eth0", "192.168.2.2/24", "2001:db8:2::2/64", "cpe", "dns0", "192.168.2.1/24", "2001:db8:2::1/64"
        )
        for name, ip, ip6 in (
            ("hole", "192.0.2.97", "2001:db8:99::1"),
            ("gone", "192.0.2.60", "2001:db8:25::66"),
            ("gateway", "192.0.2.113", "2001:db8:98::1"),
            ("lost", "10.9.9.9", "2001:db8:97::1"),
        ):
            self.addHost(name, names=[f"{name}.example.net"], public=[ip, ip6])
        self.connect(
            "client", "eth0", "192.168.1.2/24", "2001:db8:1::2/64", "cpe", "lan0", "192.168.1.1/24", "2001:db8:1::1/64"
        )
        self.connect(
            "cpe", "wan0", "203.0.113.2/30", "2001:db8:a::2/64", "out", "in0", "203.0.113.1/30", "2001:db8:a::1/64"
        )
        self.connect(
            "out", "out0", "203.0.113.6/30", "2001:db8:c::2/64", "far", "in0", "203.0.113.5/30", "2001:db8:c::1/64"
        )
        self.connect(
            "cpe", "wan1", "203.0.113.10/30", "2001:db8:b::2/64", "back", "in0", "203.0.113.9/30", "2001:db8:b::1/64"
        )
        self.connect(
            "back", "out0", "203.0.113.14/30", "2001:db8:d::2/64", "far", "in1", "203.0.113.13/30", "2001:db8:d::1/64"
        )
        self.connect(
            "server",
            "eth0",
            "192.0.2.25/26",
            "2001:db8:25::25/64",
            "far",
            "server0",
            "192.0.2.1/26",
            "2001:db8:25::1/64",
        )
        self.connect(
            "quiet",
            "eth0",
            "192.0.2.130/28",
            "2001:db8:96::2/64",
            "far",
            "quiet0",
            "192.0.2.129/28",
            "2001:db8:96::1/64",
        )

    def connect(
        self, one: str, port: str, ip: str, ip6: str, other: str, end: str, other_ip: str, other_ip6: str
    ) -> None:
        self.addLink(
            one,
            other,
            intfName1=port,
            intfName2=end,
            params1={"ip": ip, "ip6": ip6},
            params2={"ip": other_ip, "ip6": other_ip6},
        )


topos = {"roundabout": Roundabout}
