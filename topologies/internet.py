"""The internet outside: one exchange, and around it the servers to which mail is sent.

The part that all topologies share. Each network hangs on the exchange `ix` by one link and has prefixes of its own:

    node           name                     IPv4          IPv6                what it offers
    mx             mx.example.net           192.0.2.25    2001:db8:25::25     MX of example.net
    mx-org         mx.example.org           192.0.2.29    2001:db8:29::29     MX of example.org
    mx-com         mx.example.com           192.0.2.33    2001:db8:33::33     MX of example.com, greylisting.example and
                                                                              blocklisting.example
    dns            ns.example               192.0.2.53    2001:db8:53::53     the DNS of the whole lab
    company        mail.company.example     192.0.2.65    2001:db8:65::65     MX, submission, submissions
    rental         mail.rental.example      192.0.2.73    2001:db8:73::73     the same, on a rented server
    provider       mail.provider.example    192.0.2.81    2001:db8:81::81     the same, at another mail provider
    relay-service  smtp.relay.example       192.0.2.89    2001:db8:89::89     mail relay service: 587, 465, 2525
    outside        open.outside.example     192.0.2.97    2001:db8:97::97     an open relay; also sends spam
    foreign-pc     dyn-61.foreign.example   192.0.2.61    2001:db8:61::61     customer of another ISP, dynamic address

mx-com treats clients in three ways, depending on the recipient's domain. example.com accepts mail from all clients.
greylisting.example replies 450 4.7.1 to an unknown client, and accepts the mail at a retry after 0.2 s (RFC 6647).
blocklisting.example replies 554 5.7.1 to addresses that are listed in the zone dnsbl.example of the lab's DNS
(RFC 5782): dynamic customers of an access ISP or a hosting provider; a cloud lists no addresses. All three are domains
of one node, because separate nodes would make each lab slower.

A host has the odd address N of a /30, and the exchange has N + 1; the same numbers are in the host's IPv6 /48.
Further allocations (RFC 5737, RFC 3849, RFC 6598; names by RFC 2606), each explained in its topology:

    192.0.2.128/25, 2001:db8:ff::/48         links between the exchange and access networks
    198.51.100.0/24, 2001:db8:100::/40       the access ISP (residential_isp.py, hotel.py); 100.64.0.0/10 behind its CGN
    203.0.113.0/25, 2001:db8:200::/40        the cloud (cloud_vpc.py)
    203.0.113.128/25, 2001:db8:300::/40      the hosting provider (hosting.py)

Sets that every topology has: `mobile-carriers`, the MXs of mobile phones' mail (represented by mx-com), and
`foreign-dynamic`, the ranges that other ISPs give to dynamic customers (that of foreign-pc).

`Box`, the class of every node, makes a node's parameters work under stock Mininet; port25lab's own engine reads the
same parameters and builds faster. Parameters of a node, all optional:

    forward    bool                it routes packets
    routes     [(prefix, via)]     ("default", "192.0.2.26"); via "blackhole" drops
    bridges    {name: {...}}       {"lan0": {"ports": ["lan1"], "ip": "192.168.1.1/24", "ip6": "2001:db8::1/64"}}
    services   [{"kind": ...}]     servers on the node (port25lab starts them; stock Mininet does not)
    names      [name]              its DNS names, first its hostname
    aliases    [name]              more names that DNS has for its addresses
    public     [address]           addresses that the DNS publishes for it instead of its own
    resolvers  [address]           its DNS servers, for resolv.conf
    policies   [folder]            rules that belong to the network itself, such as NAT; folders of policies/
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

from mininet.node import Node
from mininet.topo import Topo

POLICIES = Path(sys._getframe().f_code.co_filename).resolve().parent.parent / "policies"  # mn gives no __file__

Pair = tuple[str, str]
"""An IPv4 address and an IPv6 address of the same interface."""

Port = tuple[str, str]
"""A node and one of its interfaces."""

Route = tuple[str, str]
Service = dict[str, Any]

USERS = {"alice": "alice-secret", "bob": "bob-secret"}
"""The users, with their passwords, of every server of a lab."""

DNS: Pair = ("192.0.2.53", "2001:db8:53::53")

if "mininet.cli" in sys.modules:  # started by mn: its prompt takes node names with a hyphen, as in `isp-edge ip route`
    sys.modules["mininet.cli"].CLI.identchars += "-"


class Box(Node):  # type: ignore[misc]  # Mininet has no types
    """A node of the lab: host or router, as its parameters say (see the module's docstring)."""

    def __init__(self, name: str, **params: Any) -> None:
        """Start the node and switch duplicate address detection off, so that addresses can be used at once."""
        super().__init__(name, **params)
        self.cmd("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0")

    def config(self, **_mininet_defaults: Any) -> dict[str, Any]:
        """Set up the node. Mininet's default address (10.0.0.0/8) is ignored: links have the addresses."""
        result: dict[str, Any] = super().config(lo="up")
        if self.params.get("forward"):
            self.cmd("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        self.feed(["ip", "-batch", "-"], "\n".join(self.ip_commands()) + "\n")
        for policy in self.params.get("policies", ()):
            for program, rules in (("iptables-restore", "rules.v4"), ("ip6tables-restore", "rules.v6")):
                if (POLICIES / policy / rules).exists():
                    self.feed([program, "--noflush"], (POLICIES / policy / rules).read_text())
        return result

    def ip_commands(self) -> list[str]:
        """Bridges, then addresses, then routes, as `ip -batch` reads them."""
        commands, addressed = [], {intf.name: {"ip6": intf.params.get("ip6")} for intf in self.intfList()}
        for bridge, details in self.params.get("bridges", {}).items():
            commands += [f"link add {bridge} type bridge", f"link set {bridge} up"]
            commands += [f"link set {port} master {bridge}" for port in details["ports"]]
            addressed[bridge] = details
        for interface, addresses in addressed.items():
            if addresses.get("ip"):  # that of a link is set by Mininet's Intf already
                commands.append(f"address add {addresses['ip']} dev {interface}")
            if addresses.get("ip6"):
                commands.append(f"address add {addresses['ip6']} dev {interface} nodad")
        for prefix, via in self.params.get("routes", ()):
            commands.append(f"route add blackhole {prefix}" if via == "blackhole" else f"route add {prefix} via {via}")
        return commands

    def feed(self, command: list[str], text: str) -> None:
        """Run `command` in the node with `text` as its input; an error ends the set-up."""
        process = self.popen(command, stdin=PIPE, stdout=PIPE, stderr=STDOUT)
        output, _ = process.communicate(text.encode())
        if process.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(command)}: {output.decode().strip()}")


class Internet(Topo):  # type: ignore[misc]
    """The internet outside: recipients' MXs, mail providers, a relay service, DNS, and an open relay."""

    def build(self) -> None:
        """Mininet's hook: make all nodes and links."""
        self.sets: dict[str, list[str]] = {
            "mobile-carriers": ["192.0.2.33", "2001:db8:33::33"],
            "foreign-dynamic": ["192.0.2.60/30", "2001:db8:61::/48"],
        }
        self.add_router("ix")
        self.add_network("mx", 25, ["mx.example.net"], mx("example.net"))
        self.add_network("mx-org", 29, ["mx.example.org"], mx("example.org"))
        self.add_network("mx-com", 33, ["mx.example.com"], careful_mx())
        self.add_network("dns", 53, ["ns.example"], {"kind": "dns"})
        self.add_network("company", 65, ["mail.company.example"], *mail_server("company.example"))
        self.add_network("rental", 73, ["mail.rental.example"], *mail_server("rental.example"))
        self.add_network("provider", 81, ["mail.provider.example"], *mail_server("provider.example"))
        self.add_network("relay-service", 89, ["smtp.relay.example"], {"kind": "relay-service", "users": USERS})
        self.add_network("outside", 97, ["open.outside.example", "outside.example"], {"kind": "open-relay"})
        self.add_network("foreign-pc", 61, ["dyn-61.foreign.example"])

    def publish_blocklist(self, members: str) -> None:
        """Let the DNS list the addresses of a set in `dnsbl.example`."""
        (service,) = self.nodeInfo("dns")["services"]
        service["blocklists"] = {"dnsbl.example": members}

    def add_network(self, name: str, number: int, names: list[str], *services: Service) -> None:
        """Add a host with its own prefixes, linked to the exchange."""
        gateway = f"192.0.2.{number + 1}", f"2001:db8:{number}::{number + 1}"
        own = f"192.0.2.{number}", f"2001:db8:{number}::{number}"
        self.add_server(("ix", f"{name}0"), gateway, name, own, names, *services)

    def add_access_network(self, border: str, number: int, *prefixes: str) -> None:
        """Link the router `border` to the exchange, and route `prefixes` to it there."""
        gateway = f"192.0.2.{number}", f"2001:db8:ff:{number}::1"
        own = f"192.0.2.{number + 1}", f"2001:db8:ff:{number}::2"
        self.connect(("ix", f"{border}0"), gateway, (border, "transit0"), own)
        self.add_routes(border, *through(gateway, "default"))
        self.add_routes("ix", *through(own, *prefixes))

    def add_server(
        self,
        router_port: Port,
        gateway: Pair,
        name: str,
        own: Pair,
        names: list[str],
        *services: Service,
        lengths: tuple[int, int] = (30, 64),
        **params: Any,
    ) -> None:
        """Add a host on a separate port of a router."""
        self.add_host(name, names, *services, routes=through(gateway, "default"), **params)
        self.connect(router_port, gateway, (name, "eth0"), own, lengths)

    def add_host(
        self, name: str, names: list[str], *services: Service, resolvers: Sequence[str] = DNS, **params: Any
    ) -> None:
        """A node that sends and serves mail, and does not route."""
        self.addHost(name, cls=Box, names=names, services=list(services), resolvers=list(resolvers), **params)

    def add_router(self, name: str, **params: Any) -> None:
        """Add a node that routes packets; `add_routes` adds its routes."""
        self.addHost(name, cls=Box, forward=True, routes=[], resolvers=list(DNS), **params)

    def add_routes(self, router: str, *routes: Route) -> None:
        """Add routes to `router`."""
        self.nodeInfo(router)["routes"].extend(routes)

    def connect(
        self, upper: Port, upper_at: Pair, lower: Port, lower_at: Pair, lengths: tuple[int, int] = (30, 64)
    ) -> None:
        """Link two nodes' ports, with the addresses of both ends."""
        (node1, port1), (node2, port2) = upper, lower
        self.addLink(
            node1,
            node2,
            intfName1=port1,
            intfName2=port2,
            params1=at(upper_at, lengths),
            params2=at(lower_at, lengths),
        )


def at(addresses: Pair, lengths: tuple[int, int]) -> dict[str, str]:
    """The parameters of an interface that has these two addresses, with these prefix lengths."""
    return {"ip": f"{addresses[0]}/{lengths[0]}", "ip6": f"{addresses[1]}/{lengths[1]}"}


def through(gateway: Pair, *prefixes: str) -> list[Route]:
    """Routes to `prefixes` through `gateway`; "default" means both families."""
    routes = []
    for prefix in prefixes:
        families = (0, 1) if prefix == "default" else (":" in prefix,)
        routes += [(prefix, gateway[family]) for family in families]
    return routes


def nowhere(*prefixes: str) -> list[Route]:
    """Routes that drop packets to `prefixes`: without them, packets to unused addresses of a pool would loop."""
    return [(prefix, "blackhole") for prefix in prefixes]


def mx(domain: str, **more: Any) -> Service:
    """The service that accepts mail for `domain` on port 25."""
    return {"kind": "mx", "domains": [domain], **more}


def careful_mx() -> Service:
    """An MX that greylists for one of its domains, and uses a blocklist for another."""
    return {
        "kind": "mx",
        "domains": ["example.com", "greylisting.example", "blocklisting.example"],
        "greylist": {"greylisting.example": 0.2},
        "dnsbl": {"blocklisting.example": "dnsbl.example"},
    }


def mail_server(domain: str) -> list[Service]:
    """All that a mail provider offers: port 25 for the world and its own users, and both kinds of submission."""
    return [
        mx(domain, users=USERS),
        {"kind": "submission", "users": USERS},
        {"kind": "submissions", "users": USERS},
    ]


def whole_number(name: str, value: object, least: int, most: int) -> int:
    """Check a topology's parameter."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}; allowed is a whole number from {least} to {most}")
    return value


topos = {"internet": Internet}
