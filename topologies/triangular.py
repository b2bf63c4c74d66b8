"""Triangular spamming: a spoofer, a relaying bot and the server to which they send, at three separate ISPs.

    spoofer ── spoofer-edge ─┐
                             ix ── mx and all of internet.py
    bot ────── bot-edge ─────┘

The spoofer sends its SYN with the bot's address; the server answers the bot, which forwards the answers. Policies
go to `bot-edge`, the relaying bot's ISP, and to `spoofer-edge` (customers on `access0`, the internet on `transit0`).
The sets of the OP25B policies are those of the bot's ISP.

    node            IPv4             IPv6
    spoofer         198.51.100.131   2001:db8:400:100::25   198.51.100.128/25, 2001:db8:400::/40 are its ISP's
    bot             198.51.100.3     2001:db8:500:100::25   198.51.100.0/25, 2001:db8:500::/40 are its ISP's

Qian, Mao et al., Investigation of Triangular Spamming: a Stealthy and Efficient Spamming Technique, IEEE S&P 2010.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parent))  # mn gives no __file__

from internet import Internet, nowhere

ACCESS = (31, 64)
BOT_POOL = ["198.51.100.0/25", "2001:db8:500::/40"]
SPOOFER_POOL = ["198.51.100.128/25", "2001:db8:400::/40"]


class Triangular(Internet):
    """Spoofer, relaying bot and mail server, each at an ISP of its own."""

    def build(self) -> None:
        """Mininet's hook: make all nodes and links."""
        super().build()
        self.sets |= {
            "dynamic-customers": BOT_POOL,
            "static-customers": [],
            "isp-networks": BOT_POOL,
            "isp-relays": [],
        }
        self.add_isp("spoofer", 145, "198.51.100.130", "2001:db8:400:100", SPOOFER_POOL)
        self.add_isp("bot", 149, "198.51.100.2", "2001:db8:500:100", BOT_POOL)

    def add_isp(self, customer: str, number: int, first: str, subnet: str, pool: list[str]) -> None:
        """An ISP with one router and one customer, whose gateway has the address `first`."""
        edge, network = f"{customer}-edge", first.rsplit(".", 1)[0]
        self.add_router(edge)
        self.add_access_network(edge, number, *pool)
        self.add_routes(edge, *nowhere(*pool))
        gateway, own = (first, f"{subnet}::1"), (f"{network}.{int(first.rsplit('.', 1)[1]) + 1}", f"{subnet}::25")
        self.add_server((edge, "access0"), gateway, customer, own, [f"{customer}.example"], lengths=ACCESS)


topos = {"triangular": Triangular}
