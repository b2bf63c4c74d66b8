"""A short street: a sender, a router that may have policies, and servers. Small, so that a lab of it is up at once.

    sender ── (access0) edge (core0) ── far ── server      mail for example.net on 25, submission, DNS
                                          └─── other       mail for example.org on 25

`broken6`: the server's IPv6 address is in the DNS and leads nowhere. `home`: an edge with NAT for IPv4.
"""

from __future__ import annotations

from mininet.topo import Topo

USERS = {"alice": "alice-secret"}


class Street(Topo):
    def build(self, broken6: bool = False, home: bool = False) -> None:
        self.sets = {"customers": ["198.51.100.0/24", "2001:db8:1::/64"]}
        gateway = [("default", "198.51.100.1"), ("default", "2001:db8:1::1")]
        dns = ["192.0.2.25", "2001:db8:25::25"]
        self.addHost("sender", names=["sender.example"], routes=gateway, resolvers=dns)
        self.addHost(
            "edge",
            forward=True,
            routes=[("default", "203.0.113.1"), ("default", "2001:db8:ff::1")],
            policies=["cpe-nat"] if home else [],
        )
        lost6 = [("2001:db8:25::25/128", "2001:db8:29::bad")] if broken6 else []
        back = [("198.51.100.0/24", "203.0.113.2"), ("2001:db8:1::/64", "2001:db8:ff::2")]
        self.addHost("far", forward=True, routes=[*back, *lost6])
        self.addHost(
            "server",
            names=["mx.example.net"],
            routes=[("default", "192.0.2.26"), ("default", "2001:db8:25::26")],
            services=[
                {"kind": "mx", "domains": ["example.net"], "users": USERS},
                {"kind": "submission", "users": USERS},
                {"kind": "dns"},
            ],
            resolvers=dns,
        )
        self.addHost(
            "other",
            names=["mx.example.org"],
            routes=[("default", "192.0.2.30"), ("default", "2001:db8:29::30")],
            services=[{"kind": "mx", "domains": ["example.org"]}],
            resolvers=dns,
        )
        self.connect(
            "edge", "access0", "198.51.100.1/24", "2001:db8:1::1/64", "sender", "198.51.100.10/24", "2001:db8:1::10/64"
        )
        outside = "wan0" if home else "core0"
        self.connect(
            "edge", outside, "203.0.113.2/30", "2001:db8:ff::2/64", "far", "203.0.113.1/30", "2001:db8:ff::1/64"
        )
        self.connect(
            "far", "server0", "192.0.2.26/30", "2001:db8:25::26/64", "server", "192.0.2.25/30", "2001:db8:25::25/64"
        )
        self.connect(
            "far", "other0", "192.0.2.30/30", "2001:db8:29::30/64", "other", "192.0.2.29/30", "2001:db8:29::29/64"
        )

    def connect(self, upper: str, port: str, ip: str, ip6: str, lower: str, lower_ip: str, lower_ip6: str) -> None:
        self.addLink(
            upper,
            lower,
            intfName1=port,
            intfName2="eth0",
            params1={"ip": ip, "ip6": ip6},
            params2={"ip": lower_ip, "ip6": lower_ip6},
        )


topos = {"street": Street}
