"""Many access ISPs beside one another, each with customers, bots among them, and a relay.

    isp-1-pc-1, isp-1-bot-2, … ── isp-1-edge ── ix ── (internet.py)
                  isp-1-relay ──┘               │
    isp-2-pc-1, …              ── isp-2-edge ───┘
    …

Policies go to the edges: `isp-*-edge` are those of all ISPs. A customer's machine has a public address of its own, as
behind a modem without NAT.

    node          IPv4                                  IPv6
    isp-I-edge    198.18.128.1 + 2 (I - 1)              2001:db8:4000 + I:ffff::2, on the link to the exchange
    isp-I-relay   198.18.160.1 + 2 (I - 1)              2001:db8:8000 + I:25::25
    isp-I-pc-J    198.19.0.0/16, see below              2001:db8:4000 + I:100 + J::10
    isp-I-bot-J   the same; the last `bots` customers of each ISP are bots

The benchmarking range 198.18.0.0/15 (RFC 2544) stands for public addresses: each ISP has a block of a power of two in
198.19.0.0/16, two addresses for each customer; the links to the exchange are in 198.18.128.0/20, the relays in
198.18.160.0/20.
The set `dynamic-customers` has the customers of all ISPs, `isp-relays` all relays, `isp-networks` the relays' networks.
No customer has an address of `static-customers`, 198.18.64.0/24.
"""

from __future__ import annotations

import sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parent))  # mn gives no __file__

from internet import USERS, Internet, through, whole_number

CUSTOMERS = IPv4Network("198.19.0.0/16")
LINKS = IPv4Network("198.18.128.0/20")
RELAYS = IPv4Network("198.18.160.0/20")
STATIC = ["198.18.64.0/24", "2001:db8:3fff::/48"]
FIRST6 = 0x4000
"""The third group of the first ISP's /48 is one more."""

RELAYS6 = 0x8000
"""The same of the relays' prefixes."""

ALL6 = "2001:db8:4000::/34"
MOST_ISPS = LINKS.num_addresses // 2
MOST_CUSTOMERS = CUSTOMERS.num_addresses // 2
"""Of all ISPs together."""

ACCESS = (31, 64)
"""Prefix lengths of links (RFC 3021 for IPv4)."""


class AccessIsps(Internet):
    """Many access ISPs with customers, bots and relays: for sweeps over the share of networks that filter."""

    def build(self, isps: int = 3, customers: int = 2, bots: int = 1, relays: bool = True) -> None:
        """`isps`: how many. `customers`: of each; `bots`: so many of these. `relays`: whether each ISP has one."""
        super().build()
        whole_number("isps", isps, 1, MOST_ISPS)
        whole_number("customers", customers, 1, MOST_CUSTOMERS)
        whole_number("bots", bots, 0, customers)
        size = 1 << (2 * customers - 1).bit_length()
        if isps * size > CUSTOMERS.num_addresses:
            most = CUSTOMERS.num_addresses // size
            raise ValueError(
                f"isps is {isps}; allowed is a whole number from 1 to {most} with {customers} customers each"
            )
        self.sets |= {
            "dynamic-customers": [str(CUSTOMERS), ALL6],
            "static-customers": STATIC,
            "isp-relays": [],
            "isp-networks": [],
        }
        self.publish_blocklist("dynamic-customers")
        for number in range(1, 1 + isps):
            block = IPv4Network((int(CUSTOMERS.network_address) + (number - 1) * size, 33 - size.bit_length()))
            self.add_isp(number, block, customers, bots)
            if relays:
                self.add_relay(number, block)
        if not relays:  # a set cannot be empty
            self.sets["isp-relays"] = self.sets["isp-networks"] = STATIC

    def add_isp(self, number: int, block: IPv4Network, customers: int, bots: int) -> None:
        """Add the edge of an ISP, its link to the exchange, and its customers.

        `number`: of the ISP, from 1. `block`: its addresses.
        """
        edge, prefix = f"isp-{number}-edge", f"2001:db8:{FIRST6 + number:x}"
        self.add_router(edge)
        first = LINKS.network_address + 2 * (number - 1)
        gateway, own = (str(first), f"{prefix}:ffff::1"), (str(first + 1), f"{prefix}:ffff::2")
        self.connect(("ix", f"isp{number}"), gateway, (edge, "transit0"), own, ACCESS)
        self.add_routes(edge, *through(gateway, "default"))
        self.add_routes("ix", *through(own, str(block), f"{prefix}::/48"))
        for customer in range(1, 1 + customers):
            kind = "bot" if customer > customers - bots else "pc"
            self.add_customer(number, customer, f"isp-{number}-{kind}-{customer}", block.network_address)

    def add_customer(self, number: int, customer: int, name: str, first: IPv4Address) -> None:
        """Add the machine of a customer on a port of its own. `first`: the first address of the ISP's block."""
        prefix = f"2001:db8:{FIRST6 + number:x}:{0x100 + customer:x}"
        gateway, own = (
            (str(first + 2 * (customer - 1)), f"{prefix}::1"),
            (str(first + 2 * customer - 1), f"{prefix}::10"),
        )
        port = (f"isp-{number}-edge", f"access{customer}")
        self.add_server(port, gateway, name, own, [f"c{customer}.isp{number}.example"], lengths=ACCESS)

    def add_relay(self, number: int, block: IPv4Network) -> None:
        """Add an ISP's relay, which takes mail from the ISP's customers alone."""
        edge, name, prefix = f"isp-{number}-edge", f"isp-{number}-relay", f"2001:db8:{RELAYS6 + number:x}"
        first = RELAYS.network_address + 2 * (number - 1)
        gateway, own = (str(first), f"{prefix}:25::1"), (str(first + 1), f"{prefix}:25::25")
        relay = {
            "kind": "relay",
            "networks": [str(block), f"2001:db8:{FIRST6 + number:x}::/48"],
            "domains": [f"isp{number}.example"],
            "users": USERS,
        }
        self.add_server((edge, "relay0"), gateway, name, own, [f"relay.isp{number}.example"], relay, lengths=ACCESS)
        uplink = str(LINKS.network_address + 2 * number - 1), f"2001:db8:{FIRST6 + number:x}:ffff::2"
        self.add_routes("ix", *through(uplink, f"{first}/31", f"{prefix}::/48"))
        self.sets["isp-relays"] += own
        self.sets["isp-networks"] += [f"{first}/31", f"{prefix}::/48"]


topos = {"access_isps": AccessIsps}
