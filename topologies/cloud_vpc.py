"""A cloud: one customer's VPC with a public and a private subnet, behind the provider's edge with its policy.

    instance-1, … ─┐ public subnet
    exempt-1 ──────┤
    vpc-relay ─────┼── igw ── cloud-edge ── ix ── (internet.py)
    nat-gw ────────┘    │
      │  private subnet │           │ │
    private-1 ──────────┘  neighbour ┘ └ site

The platform's policy goes to `cloud-edge`. `igw` is the VPC's router and its internet gateway in one: it maps 10.0.1.x
to 203.0.113.x, one to one (policy cloud-igw), so cloud-edge sees public addresses, and no traffic inside the VPC.
IPv6 is global, without NAT.

    node         inside                 outside         IPv6
    instance-N   10.0.1.(30 + N)        203.0.113.same  2001:db8:200:1::(30 + N)  vmN.cloud.example, MX of the same
    exempt-1     10.0.1.20              203.0.113.20    2001:db8:200:1::20        mail.cloud.example, for cloud.example
    vpc-relay    10.0.1.25              203.0.113.25    2001:db8:200:1::25        relay.vpc.example (10.0.1.25)
    nat-gw       10.0.1.5, 10.0.2.5     203.0.113.5     none: IPv6 goes by igw
    private-1    10.0.2.11              203.0.113.5     2001:db8:200:2::11        private1.vpc.example
    igw          10.0.1.1, 10.0.2.1     (10.255.0.2)    2001:db8:200:1::1, 2001:db8:200:2::1
    cloud-edge   10.255.0.1, 192.0.2.134                2001:db8:2ff:1::1
    neighbour                           203.0.113.125   2001:db8:201::125         mail.neighbour.example, MX of the same
    site         10.20.0.25, 172.16.0.25, 192.168.0.25  fd00:db8:16::25           mail.site.example, MX of the same

`neighbour` is an instance of another customer: mail to it passes cloud-edge and stays inside the cloud. `site` is the
customer's own network, on a private line to cloud-edge, with private addresses of each range (RFC 1918, RFC 4193).

The set `exempt-instances` holds exempt-1 and vpc-relay, so that the relay can deliver on port 25 where a platform
has exemptions (aws, azure); where it has none (gcp, digitalocean, hetzner), messages stay in the relay's queue.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parent))  # mn gives no __file__

from internet import USERS, Internet, mx, nowhere, through, whole_number

PUBLIC = ["203.0.113.0/25", "2001:db8:200::/40"]
VPC = "10.0.0.0/16"
VPC6 = "2001:db8:200::/56"


class CloudVpc(Internet):
    """A VPC at a cloud provider: instances with 1:1 NAT, a private subnet, a relay, and an exempted instance."""

    def build(self, instances: int = 1) -> None:
        """`instances`: how many ordinary instances the public subnet has."""
        super().build()
        ordinary = range(1, 1 + whole_number("instances", instances, 1, 90))
        self.sets |= {
            "cloud-networks": [*PUBLIC, VPC],
            "exempt-instances": [
                f"{subnet}{host}" for host in (20, 25) for subnet in ("203.0.113.", "10.0.1.", "2001:db8:200:1::")
            ],
        }
        self.subnets: dict[str, dict[str, Any]] = {
            "public": {"ports": [], "ip": "10.0.1.1/25", "ip6": "2001:db8:200:1::1/64"},
            "private": {"ports": [], "ip": "10.0.2.1/24", "ip6": "2001:db8:200:2::1/64"},
        }
        self.add_router("cloud-edge")
        self.add_access_network("cloud-edge", 133, *PUBLIC)
        self.add_router(
            "igw", policies=["cloud-igw"], bridges={f"{name}0": bridge for name, bridge in self.subnets.items()}
        )
        edge, igw = ("10.255.0.1", "2001:db8:2ff:1::1"), ("10.255.0.2", "2001:db8:2ff:1::2")
        self.connect(("cloud-edge", "core0"), edge, ("igw", "core0"), igw)
        self.add_routes("cloud-edge", *through(igw, PUBLIC[0], VPC6), *nowhere(PUBLIC[1]))
        self.add_routes("igw", *through(edge, "default"), *nowhere(VPC, VPC6))

        for number in ordinary:
            name = f"vm{number}.cloud.example"
            self.add_public(f"instance-{number}", 30 + number, [name], mx(name))
        self.add_public("exempt-1", 20, ["mail.cloud.example"], mx("cloud.example"))
        relay = {"kind": "relay", "networks": [VPC, VPC6], "users": USERS}
        self.add_public("vpc-relay", 25, ["relay.vpc.example"], relay, outside="10.0.1.")
        self.add_private("private-1", 11, ["private1.vpc.example"])

        self.add_router("nat-gw", policies=["cloud-nat-gw"])
        self.add_routes("nat-gw", ("default", "10.0.1.1"))
        self.plug_in("public", "nat-gw", "public0", {"ip": "10.0.1.5/25"})
        self.plug_in("private", "nat-gw", "private0", {"ip": "10.0.2.5/24"})
        self.add_beside_the_vpc()

    def add_beside_the_vpc(self) -> None:
        """Another customer's instance, and a site on a private line: their traffic with the VPC passes cloud-edge."""
        gateway, own = ("203.0.113.126", "2001:db8:201::126"), ("203.0.113.125", "2001:db8:201::125")
        names, port = ["mail.neighbour.example"], ("cloud-edge", "neighbour0")
        self.add_server(port, gateway, "neighbour", own, names, mx("neighbour.example"))
        gateway, own = ("172.16.0.26", "fd00:db8:16::26"), ("172.16.0.25", "fd00:db8:16::25")
        names, port = ["mail.site.example"], ("cloud-edge", "site0")
        others = {"lan10": "10.20.0.25/24", "lan192": "192.168.0.25/24"}
        bridges = {name: {"ports": [], "ip": address, "ip6": None} for name, address in others.items()}
        self.add_server(port, gateway, "site", own, names, mx("site.example"), public=[*own], bridges=bridges)
        self.add_routes("cloud-edge", ("10.20.0.0/24", own[0]), ("192.168.0.0/24", own[0]))

    def add_public(
        self, name: str, host: int, names: list[str], *services: dict[str, Any], outside: str = "203.0.113."
    ) -> None:
        """An instance in the public subnet, known to the DNS by its address in `outside`."""
        public = [f"{outside}{host}", f"2001:db8:200:1::{host}"]
        routes = through(("10.0.1.1", "2001:db8:200:1::1"), "default")
        self.add_host(name, names, *services, public=public, routes=routes)
        self.plug_in("public", name, "eth0", {"ip": f"10.0.1.{host}/25", "ip6": f"2001:db8:200:1::{host}/64"})

    def add_private(self, name: str, host: int, names: list[str]) -> None:
        """An instance in the private subnet: IPv4 to the internet through nat-gw, all else through the VPC's router."""
        public = [f"10.0.2.{host}", f"2001:db8:200:2::{host}"]
        routes = [(VPC, "10.0.2.1"), *through(("10.0.2.5", "2001:db8:200:2::1"), "default")]
        self.add_host(name, names, public=public, routes=routes)
        self.plug_in("private", name, "eth0", {"ip": f"10.0.2.{host}/24", "ip6": f"2001:db8:200:2::{host}/64"})

    def plug_in(self, subnet: str, node: str, interface: str, own: dict[str, str]) -> None:
        """Connect a node to a subnet, which is a bridge in igw."""
        ports = self.subnets[subnet]["ports"]
        ports.append(f"{subnet}{len(ports) + 1}")
        self.addLink("igw", node, intfName1=ports[-1], intfName2=interface, params2=own)


topos = {"cloud_vpc": CloudVpc}
