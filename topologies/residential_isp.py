"""A residential ISP: homes with dynamic addresses, homes behind CGN, an office with a static one, and the ISP's core.

    pc, home-server ── cpe ─────┐                        isp-relay   isp-resolver
    infected-pc ───── cpe-2 ────┤                                │   │
    cgn-pc ───────── cgn-cpe ───┼── isp-edge ── isp-cgn ── isp-border ── ix ── (internet.py)
    office ─────────────────────┤
    pc-3 ──────────── cpe-3 ────┘ …

Policies for outbound mail go to `isp-edge` (customers on `access0`, `access1`, …; the core on `core0`), where packets
still have their customer's address, before CGN; policies for inbound mail may also go to `isp-border`.

    node            IPv4                             IPv6                       pool
    isp-border      198.51.100.1, 26, 54             2001:db8:100:1::1          infrastructure
    isp-cgn         198.51.100.2, 5                  2001:db8:100:1::2          infrastructure; NAT to 198.51.100.32/30
    isp-edge        198.51.100.6                     2001:db8:100:2::2          infrastructure
    isp-relay       198.51.100.25                    2001:db8:100:25::25        infrastructure; relay.isp.example
    isp-resolver    198.51.100.53                    2001:db8:100:53::53        infrastructure; dns.isp.example
    office          198.51.100.67                    2001:db8:120:100::25       static; mail.office.example
    cpe             198.51.100.131                   2001:db8:110:100::/56      dynamic
      pc            192.168.1.10 behind cpe          2001:db8:110:100::10
      home-server   192.168.1.25 behind cpe          2001:db8:110:100::25       mail.home.example, port 25 forwarded
    cpe-2           198.51.100.133                   2001:db8:110:200::/56      dynamic
      infected-pc   192.168.1.10 behind cpe-2        2001:db8:110:200::10
    cgn-cpe         100.64.0.3                       2001:db8:130:100::/56      CGN
      cgn-pc        192.168.1.10 behind cgn-cpe      2001:db8:130:100::10
    cpe-N, pc-N     198.51.100.(129 + 2 N)           2001:db8:110:N00::/56      dynamic; N from 3, one per `customers`
                    198.18.0.1 + 2 (N - 63)          2001:db8:111:…::/56        dynamic; N from 63

From the 61st of the additional households on, the dynamic pool also has a block of the benchmarking range (RFC 2544):
198.18.0.0/19, two addresses for each link. Their IPv6 /56s follow one another in 2001:db8:111::/48 … 2001:db8:11f::/48.

Pools: dynamic 198.51.100.128/25 and 2001:db8:110::/44, static 198.51.100.64/26 and 2001:db8:120::/44, CGN 100.64.0.0/10
and 2001:db8:130::/44. CGN customers count as dynamic, before (100.64.0.0/10) and after (198.51.100.32/30) translation.

The set `suspected-spammers` holds the household of infected-pc; `cpe-allowed`, the mail servers on the list of a home
router: isp-relay and provider.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parent))  # mn gives no __file__

from internet import DNS, USERS, Internet, Pair, Service, mx, nowhere, through, whole_number

RELAY: Pair = ("198.51.100.25", "2001:db8:100:25::25")
RESOLVER: Pair = ("198.51.100.53", "2001:db8:100:53::53")
BORDER_OUTSIDE: Pair = ("192.0.2.130", "2001:db8:ff:129::2")
CGN_OUTER: Pair = ("198.51.100.2", "2001:db8:100:1::2")
EDGE: Pair = ("198.51.100.6", "2001:db8:100:2::2")

DYNAMIC_POOL = ["198.51.100.128/25", "2001:db8:110::/44"]
STATIC_POOL = ["198.51.100.64/26", "2001:db8:120::/44"]
MORE_DYNAMIC = "198.18.0.0/19"
"""A part of the benchmarking range (RFC 2544), for links of households that the dynamic pool has no room for."""

CGN_POOL = ["100.64.0.0/10", "2001:db8:130::/44"]
CGN_OUTSIDE = ["198.51.100.32/30"]
CUSTOMERS = [*DYNAMIC_POOL, *STATIC_POOL, *CGN_POOL]
PUBLIC = ["198.51.100.0/24", "2001:db8:100::/40"]

FIRST_OF_MORE = 63
"""The first household outside of 198.51.100.128/25, which has room for two addresses each of 63."""

MOST_CUSTOMERS = 60 + 15 * 256
"""As many as there are /56s in the /48s from 2001:db8:111:: to 2001:db8:11f::, and those before FIRST_OF_MORE."""

ACCESS = (31, 64)
"""Prefix lengths of a customer's link (RFC 3021 for IPv4)."""


class Line(NamedTuple):
    """The addresses of a customer's line."""

    ipv4: str
    """The edge's address, an even one; the customer's router has the next one."""
    ipv6: str
    """The customer's /56 without the last two digits: `2001:db8:110:1` of 2001:db8:110:100::/56."""


def dynamic_line(number: int) -> Line:
    """The line of the customer with this number, whose address is dynamic."""
    if number < FIRST_OF_MORE:
        return Line(str(IPv4Address("198.51.100.128") + 2 * number), f"2001:db8:110:{number}")
    block, subnet = divmod(number - FIRST_OF_MORE, 256)
    first = IPv4Address(MORE_DYNAMIC.split("/")[0]) + 2 * (number - FIRST_OF_MORE)
    return Line(str(first), f"2001:db8:{0x111 + block:x}:{subnet:x}")


class Isp(Internet):
    """The core of an access ISP, without customers: border, CGN, edge, relay and resolver."""

    def build(self) -> None:
        """Mininet's hook: make all nodes and links."""
        super().build()
        networks = [*PUBLIC, "100.64.0.0/10"]
        self.sets |= {
            "dynamic-customers": [*DYNAMIC_POOL, *CGN_POOL, *CGN_OUTSIDE],
            "static-customers": STATIC_POOL,
            "cgn-customers": CGN_POOL,
            "isp-relays": [*RELAY],
            "isp-networks": networks,
        }
        self.publish_blocklist("dynamic-customers")
        self.add_router("isp-border")
        self.add_router("isp-cgn", policies=["cgn-nat"])
        self.add_router("isp-edge")
        self.access_ports = 0

        self.add_access_network("isp-border", 129, *PUBLIC)
        border, cgn_down = ("198.51.100.1", "2001:db8:100:1::1"), ("198.51.100.5", "2001:db8:100:2::1")
        self.connect(("isp-border", "core0"), border, ("isp-cgn", "core0"), CGN_OUTER)
        self.connect(("isp-cgn", "edge0"), cgn_down, ("isp-edge", "core0"), EDGE)

        beyond_cgn = [pool for pool in CUSTOMERS if pool != "100.64.0.0/10"]
        own_links = ["198.51.100.4/30", "2001:db8:100:2::/64"]  # for connections from isp-edge itself, as proxies make
        self.add_routes("isp-border", *through(CGN_OUTER, *beyond_cgn, *CGN_OUTSIDE, *own_links), *nowhere(*networks))
        self.add_routes("isp-cgn", *through(border, "default"), *through(EDGE, *CUSTOMERS), *nowhere(*CGN_OUTSIDE))
        self.add_routes("isp-edge", *through(cgn_down, "default"), *nowhere(*CUSTOMERS))

        relay = {"kind": "relay", "networks": networks, "domains": ["isp.example"], "users": USERS}
        self.add_core_server("isp-relay", 25, RELAY, "relay.isp.example", relay)
        resolver = {"kind": "resolver", "upstream": DNS[0]}
        self.add_core_server("isp-resolver", 53, RESOLVER, "dns.isp.example", resolver)

    def add_core_server(self, name: str, number: int, own: Pair, dns_name: str, service: Service) -> None:
        """One of the ISP's own servers: next to the border, so that its mail does not pass the edge."""
        gateway = f"198.51.100.{number + 1}", f"2001:db8:100:{number}::1"
        port = name.replace("isp-", "") + "0"
        self.add_server(("isp-border", port), gateway, name, own, [dns_name], service, resolvers=RESOLVER)

    def next_access_port(self) -> Pair:
        """The edge's next free port for a customer: access0, access1, …"""
        self.access_ports += 1
        return "isp-edge", f"access{self.access_ports - 1}"

    def plug_in(self, router: str, line: Line | int) -> None:
        """Connect a customer's router to the edge: the last /64 of its /56 is for the link.

        `line`: its addresses, or the number of a customer whose address is dynamic.
        """
        line = line if isinstance(line, Line) else dynamic_line(line)
        first = IPv4Address(line.ipv4)
        gateway, own = (str(first), f"{line.ipv6}ff::1"), (str(first + 1), f"{line.ipv6}ff::2")
        self.connect(self.next_access_port(), gateway, (router, "wan0"), own, ACCESS)
        self.add_routes(router, *through(gateway, "default"))
        self.add_routes("isp-edge", *through(own, f"{line.ipv6}00::/56"))


class ResidentialIsp(Isp):
    """A residential ISP with its customers: households with dynamic addresses, one behind CGN, a static office."""

    def build(self, customers: int = 0) -> None:
        """`customers`: the number of additional households (cpe-3 with pc-3, …), each with a dynamic address."""
        super().build()
        self.sets |= {
            "suspected-spammers": ["198.51.100.133", "2001:db8:110:200::/56"],
            "cpe-allowed": [*RELAY, "192.0.2.81", "2001:db8:81::81"],
        }
        self.add_household("cpe", 1, {"pc": 10, "home-server": 25}, policies=["cpe-nat", "cpe-forward-25"])
        self.add_household("cpe-2", 2, {"infected-pc": 10})
        self.add_household("cgn-cpe", Line("100.64.0.2", "2001:db8:130:1"), {"cgn-pc": 10})
        last = 2 + whole_number("customers", customers, 0, MOST_CUSTOMERS)
        if last >= FIRST_OF_MORE:
            self.add_more_dynamic()
        for number in range(3, 1 + last):
            self.add_household(f"cpe-{number}", number, {f"pc-{number}": 10})
        self.nodeInfo("home-server").update(
            names=["mail.home.example"],
            public=["198.51.100.131", "2001:db8:110:100::25"],
            services=[mx("home.example")],
        )
        gateway, own = ("198.51.100.66", "2001:db8:120:100::1"), ("198.51.100.67", "2001:db8:120:100::25")
        names, port = ["mail.office.example"], self.next_access_port()
        self.add_server(port, gateway, "office", own, names, mx("office.example"), lengths=ACCESS, resolvers=RESOLVER)

    def add_more_dynamic(self) -> None:
        """Give the ISP the block MORE_DYNAMIC, for dynamic customers."""
        for name in ("dynamic-customers", "isp-networks"):
            self.sets[name] = [*self.sets[name], MORE_DYNAMIC]
        relay = next(service for service in self.nodeInfo("isp-relay")["services"] if service["kind"] == "relay")
        relay["networks"] = [*relay["networks"], MORE_DYNAMIC]
        for router, gateway in (("ix", BORDER_OUTSIDE), ("isp-border", CGN_OUTER), ("isp-cgn", EDGE)):
            self.add_routes(router, *through(gateway, MORE_DYNAMIC))
        self.add_routes("isp-edge", *nowhere(MORE_DYNAMIC))

    def add_household(
        self, cpe: str, line: Line | int, members: dict[str, int], policies: Sequence[str] = ("cpe-nat",)
    ) -> None:
        """Add a home router with NAT, and the machines behind it.

        `line`: as in `plug_in`. `members`: the machines, with the last number of their LAN address. `policies`: the
        network's own rules on the router.
        """
        line = line if isinstance(line, Line) else dynamic_line(line)
        lan = f"{line.ipv6}00::"
        ports = [f"lan{port}" for port in range(1, 1 + len(members))]
        bridge = {"ports": ports, "ip": "192.168.1.1/24", "ip6": f"{lan}1/64"}
        self.add_router(cpe, bridges={"lan0": bridge}, policies=list(policies))
        self.plug_in(cpe, line)
        for port, (name, host) in zip(ports, members.items(), strict=True):
            routes = through(("192.168.1.1", f"{lan}1"), "default")
            self.add_host(name, [f"{name}.customer.isp.example"], resolvers=RESOLVER, routes=routes)
            own = {"ip": f"192.168.1.{host}/24", "ip6": f"{lan}{host}/64"}
            self.addLink(cpe, name, intfName1=port, intfName2="eth0", params2=own)


topos = {"residential_isp": ResidentialIsp}
