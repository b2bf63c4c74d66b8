"""A hosting provider: rented servers with public addresses, some unblocked on request, and the provider's relay.

    vps-1, … ──────┐
    vps-unblocked ─┼── hosting-edge ── ix ── (internet.py)
    hosting-relay ─┘

The provider's policy goes to `hosting-edge` (servers on `access0`, `access1`, …; the internet on `transit0`). In the
sets of the OP25B policies, a server is "dynamic" until it is unblocked, then "static". The sets of the cloud platforms'
policies are filled, too.

    node            IPv4                    IPv6                   pool
    hosting-relay   203.0.113.131           2001:db8:300:25::25    infrastructure; relay.hosting.example
    vps-unblocked   203.0.113.147           2001:db8:310:100::25   203.0.113.144/28; mail.unblocked.example
    vps-1           203.0.113.163           2001:db8:320:100::25   203.0.113.160/27; mail.vps.example, MX of vps.example
    vps-N           203.0.113.(161 + 2 N)   2001:db8:320:N00::25   203.0.113.160/27 and 192/26; vpsN.vps.example
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parent))  # mn gives no __file__

from internet import USERS, Internet, mx, nowhere, whole_number

NETWORKS = ["203.0.113.128/25", "2001:db8:300::/40"]
BLOCKED = ["203.0.113.160/27", "203.0.113.192/26", "2001:db8:320::/44"]
UNBLOCKED = ["203.0.113.144/28", "2001:db8:310::/44"]


class Hosting(Internet):
    """A hosting provider that rents servers and blocks their port 25 by default."""

    def build(self, servers: int = 1) -> None:
        """`servers`: the number of rented servers without the unblocked one."""
        super().build()
        rented = range(1, 1 + whole_number("servers", servers, 1, 40))
        self.sets |= {
            "dynamic-customers": BLOCKED,
            "static-customers": UNBLOCKED,
            "isp-relays": ["203.0.113.131", "2001:db8:300:25::25"],
            "isp-networks": NETWORKS,
            "cloud-networks": NETWORKS,
            "exempt-instances": UNBLOCKED,
        }
        self.publish_blocklist("dynamic-customers")
        self.add_router("hosting-edge")
        self.add_access_network("hosting-edge", 137, *NETWORKS)
        self.add_routes("hosting-edge", *nowhere(*NETWORKS))
        self.access_ports = 0

        relay = {"kind": "relay", "networks": NETWORKS, "users": USERS}
        self.add_rented("hosting-relay", 131, "2001:db8:300:25", "relay.hosting.example", relay)
        self.add_rented("vps-unblocked", 147, "2001:db8:310:100", "mail.unblocked.example", mx("unblocked.example"))
        self.add_rented("vps-1", 163, "2001:db8:320:100", "mail.vps.example", mx("vps.example"))
        for number in rented[1:]:
            name = f"vps{number}.vps.example"
            self.add_rented(f"vps-{number}", 161 + 2 * number, f"2001:db8:320:{number}00", name, mx(name))

    def add_rented(self, name: str, number: int, subnet: str, dns_name: str, service: dict[str, Any]) -> None:
        """A server on the edge's next port."""
        gateway, own = (f"203.0.113.{number - 1}", f"{subnet}::1"), (f"203.0.113.{number}", f"{subnet}::25")
        port = "hosting-edge", f"access{self.access_ports}"
        self.access_ports += 1
        self.add_server(port, gateway, name, own, [dns_name], service, lengths=(31, 64))


topos = {"hosting": Hosting}
