"""A hotel: guests behind one NAT gateway, on the access line of an ISP, whose policy applies to all of them.

    guest-1 ──┐
    guest-2 ──┼── hotel-gw ── isp-edge ── isp-cgn ── isp-border ── ix ── (internet.py)
    …         │                   (the ISP's core: residential_isp.py)
    hotel-relay (optional)

The hotel itself has no rule about mail (policy hotel-nat); put the ISP's policies on `isp-edge`.

    node         IPv4                               IPv6
    hotel-gw     198.51.100.131, 172.20.0.1         2001:db8:110:100::/56      a dynamic address of the ISP
    guest-N      172.20.0.(10 + N)                  2001:db8:110:100::(10 + N)
    hotel-relay  198.51.100.69                      2001:db8:120:200::25       relay.hotel.example; static pool

A hotel that relays for its guests has a static address for the relay, routed through hotel-gw and not translated: the
relay can deliver under `op25b`, which exempts static customers, and cannot under `op25b-all`.

If there is a portal (policy hotel-captive on hotel-gw), only guest-2 has logged in (set `logged-in-guests`).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parent))  # mn gives no __file__

from internet import through, whole_number
from residential_isp import ACCESS, RESOLVER, Isp

GUESTS = "172.20.0.0/24"
GUESTS6 = "2001:db8:110:100::/64"


class Hotel(Isp):
    """A hotel's guests behind its NAT gateway, at an ISP; with the hotel's own relay if wanted."""

    def build(self, rooms: int = 2, relay: bool = False) -> None:
        """`rooms`: the number of guests, one in each room. `relay`: whether the hotel has a relay of its own."""
        if relay not in (True, False):
            raise ValueError(f"relay is {relay!r}; allowed are true and false")
        super().build()
        self.sets |= {"logged-in-guests": ["172.20.0.12", "2001:db8:110:100::12"]}
        guests = range(1, 1 + whole_number("rooms", rooms, 1, 200))
        ports = [f"room{room}" for room in guests]
        bridge = {"ports": ports, "ip": "172.20.0.1/24", "ip6": "2001:db8:110:100::1/64"}
        self.add_router("hotel-gw", bridges={"rooms0": bridge}, policies=["hotel-nat"])
        self.plug_in("hotel-gw", 1)
        for room, port in zip(guests, ports, strict=True):
            name, routes = f"guest-{room}", through(("172.20.0.1", "2001:db8:110:100::1"), "default")
            self.add_host(name, [f"{name}.hotel.example"], resolvers=RESOLVER, routes=routes)
            own = {"ip": f"172.20.0.{10 + room}/24", "ip6": f"2001:db8:110:100::{10 + room}/64"}
            self.addLink("hotel-gw", name, intfName1=port, intfName2="eth0", params2=own)
        if relay:
            self.add_relay()

    def add_relay(self) -> None:
        """The hotel's relay, on a port of the gateway, with a static address that the ISP routes to the hotel."""
        service = {"kind": "relay", "networks": [GUESTS, GUESTS6]}
        gateway, own = ("198.51.100.68", "2001:db8:120:200::1"), ("198.51.100.69", "2001:db8:120:200::25")
        port, names = ("hotel-gw", "relay0"), ["relay.hotel.example"]
        self.add_server(port, gateway, "hotel-relay", own, names, service, lengths=ACCESS, resolvers=RESOLVER)
        hotel = "198.51.100.131", "2001:db8:110:1ff::2"
        self.add_routes("isp-edge", *through(hotel, "198.51.100.68/31", "2001:db8:120:200::/64"))


topos = {"hotel": Hotel}
