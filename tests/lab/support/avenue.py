"""A long way to many servers, for the places of faults: each kind of place is one node, or one address.

    pc-1 … pc-N ── home ── access ── core ── border ── server-1 … server-M, other, dead (no host)
        0            1        2        3        4          5

`home` translates IPv4 addresses. Every node but the servers has a mail server of its own, which rules of that node can
put in the place of a server. The clients have two resolvers: `liar` answers with what a case puts into its zone file,
`dns` is right.
"""

from __future__ import annotations

from mininet.topo import Topo

USERS = {"alice": "alice-secret"}
DNS = ["192.0.2.253", "2001:db8:53::253"]


def server_address(number: int, version: int) -> str:
    return f"192.0.2.{4 * number + 1}" if version == 4 else f"2001:db8:{number:x}::1"


class Avenue(Topo):
    def build(self, clients: int = 2, servers: int = 12) -> None:
        self.sets: dict[str, list[str]] = {}
        links = {
            ("home", "access"): ("198.51.100.2/30", "2001:db8:f001::2/64", "198.51.100.1/30", "2001:db8:f001::1/64"),
            ("access", "core"): ("198.51.100.6/30", "2001:db8:f002::2/64", "198.51.100.5/30", "2001:db8:f002::1/64"),
            ("core", "border"): ("198.51.100.10/30", "2001:db8:f003::2/64", "198.51.100.9/30", "2001:db8:f003::1/64"),
        }
        up = {
            "home": ("198.51.100.1", "2001:db8:f001::1"),
            "access": ("198.51.100.5", "2001:db8:f002::1"),
            "core": ("198.51.100.9", "2001:db8:f003::1"),
        }
        down = {
            "access": ("198.51.100.2", "2001:db8:f001::2"),
            "core": ("198.51.100.6", "2001:db8:f002::2"),
            "border": ("198.51.100.10", "2001:db8:f003::2"),
        }
        for name in ("home", "access", "core", "border"):
            routes = [("default", via) for via in up.get(name, ())]
            if name in down:
                four, six = down[name]
                routes += [("198.51.100.0/30", four)] * (name != "access") + [("2001:db8:100::/48", six)]
                routes += [("198.51.100.4/30", four)] * (name == "border")
                routes += [("2001:db8:f001::/64", six)] * (name != "access")
                routes += [("2001:db8:f002::/64", six)] * (name == "border")
            more = {"bridges": self.lan(clients), "policies": ["cpe-nat"]} if name == "home" else {}
            self.addHost(
                name, forward=True, routes=routes, services=own_server(), names=[f"{name}.isp.example"], **more
            )
        for (lower, upper), (ip, ip6, upper_ip, upper_ip6) in links.items():
            first = "wan0" if lower == "home" else f"{upper}0"
            self.connect(upper, f"{lower}0", upper_ip, upper_ip6, lower, first, ip, ip6)
        for number in range(1, 1 + clients):
            name = f"pc-{number}"
            routes = [("default", "192.168.1.1"), ("default", "2001:db8:100::1")]
            self.addHost(name, names=[f"{name}.home.example"], routes=routes, resolvers=DNS, services=own_server())
            self.addLink(
                "home",
                name,
                intfName1=f"lan{number}",
                intfName2="eth0",
                params1={},
                params2={"ip": f"192.168.1.{10 + number}/24", "ip6": f"2001:db8:100::{10 + number}/64"},
            )
        for number in range(1, 1 + servers):
            domain = f"s{number}.example"
            mail = [
                {"kind": "mx", "domains": [domain]},
                {"kind": "submission", "users": USERS},
                {"kind": "submissions", "users": USERS},
            ]
            self.add_server(f"server-{number}", number, f"mx.{domain}", mail)
        self.add_server("dns", 63, "ns.example", [{"kind": "dns"}])

    def lan(self, clients: int) -> dict[str, dict[str, object]]:
        ports = [f"lan{number}" for number in range(1, 1 + clients)]
        return {"br0": {"ports": ports, "ip": "192.168.1.1/24", "ip6": "2001:db8:100::1/64"}}

    def add_server(self, name: str, number: int, host: str, services: list[dict[str, object]]) -> None:
        own, gateway = f"192.0.2.{4 * number + 1}", f"192.0.2.{4 * number + 2}"
        net6 = "2001:db8:53" if name == "dns" else f"2001:db8:{number:x}"
        own6, gateway6 = (f"{net6}::253", f"{net6}::254") if name == "dns" else (f"{net6}::1", f"{net6}::2")
        self.addHost(
            name, names=[host], routes=[("default", gateway), ("default", gateway6)], services=services, resolvers=DNS
        )
        self.connect(
            "border", f"{name}"[:14], f"{gateway}/30", f"{gateway6}/64", name, "eth0", f"{own}/30", f"{own6}/64"
        )

    def connect(
        self, upper: str, port: str, ip: str, ip6: str, lower: str, lower_port: str, lower_ip: str, lower_ip6: str
    ) -> None:
        self.addLink(
            upper,
            lower,
            intfName1=port,
            intfName2=lower_port,
            params1={"ip": ip, "ip6": ip6},
            params2={"ip": lower_ip, "ip6": lower_ip6},
        )


def own_server() -> list[dict[str, object]]:
    return [
        {"kind": "mx", "domains": ["isp.example"]},
        {"kind": "submission", "users": USERS},
        {"kind": "submissions", "users": USERS},
    ]


topos = {"avenue": Avenue}
