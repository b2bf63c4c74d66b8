"""The residential ISP with customers of unusual kinds, to test policies for leaks.

    bridged-pc ─────────┐
    dnat-pc ── dnat-cpe ┴── isp-edge …    and all of residential_isp.py

A home router translates addresses; for that it reassembles fragments, and does not translate packets that it does not
recognise. Hand-made packets leave unchanged only from bridged-pc, whose modem is a bridge.

    node            IPv4                             IPv6                       pool
    bridged-pc      198.51.100.249                   2001:db8:110:60ff::2       dynamic; mail.bridged.example
    dnat-cpe        198.51.100.251                   2001:db8:110:6100::/56     dynamic; its NAT sends 25 to 587
      dnat-pc       192.168.1.10 behind dnat-cpe     2001:db8:110:6100::10
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parent))  # mn gives no __file__

from internet import mx
from residential_isp import RESOLVER, ResidentialIsp


class UnusualCustomers(ResidentialIsp):
    """A residential ISP, and customers without a home router, or with a router that translates port 25 to 587."""

    def build(self) -> None:
        """Mininet's hook: make all nodes and links."""
        super().build()
        names, services = ["mail.bridged.example"], [mx("bridged.example")]
        self.add_host("bridged-pc", names, *services, resolvers=RESOLVER, routes=[])
        self.plug_in("bridged-pc", 60)
        self.add_household("dnat-cpe", 61, {"dnat-pc": 10}, policies=["cpe-nat", "cpe-dnat-587"])


topos = {"unusual_customers": UnusualCustomers}
