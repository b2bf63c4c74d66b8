"""Names that are published at another server's address: the server there is the one that was dialled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from port25lab.model.outcome import Outcome
from port25lab.pytest_plugin.labs import LabFactory

TOPOLOGY = '''
from mininet.topo import Topo


class Hosted(Topo):
    """A sender, a hoster's server with a customer's name, and a second name that the customer's own node publishes."""

    def build(self):
        self.sets = {}
        dns = ["192.0.2.25"]
        self.addHost("sender", routes=[("default", "198.51.100.1")], resolvers=dns)
        self.addHost("edge", forward=True)
        self.addHost("hoster", names=["mx.hoster.example"], aliases=["mail.customer.example"],
                     services=[{"kind": "mx", "domains": ["customer.example"]}, {"kind": "dns"}],
                     routes=[("default", "192.0.2.1")], resolvers=dns)
        self.addHost("customer", names=["smtp.customer.example"], public=["192.0.2.25"],
                     routes=[("default", "203.0.113.1")], resolvers=dns)
        ends = (("sender", "a0", "198.51.100"), ("hoster", "b0", "192.0.2"), ("customer", "c0", "203.0.113"))
        for node, port, network in ends:
            self.addLink("edge", node, intfName1=port, intfName2="eth0",
                         params1={"ip": f"{network}.1/24"}, params2={"ip": f"{network}.25/24"})


topos = {"hosted": Hosted}
'''


def test_a_name_at_another_servers_address_is_no_interception(lab: LabFactory, tmp_path: Path) -> None:
    file = tmp_path / "hosted.py"
    file.write_text(TOPOLOGY)
    hosted = lab(str(file))
    mail: dict[str, Any] = {"source": "sender", "recipient": "someone@customer.example", "ip_version": 4}
    for name in ("mail.customer.example", "smtp.customer.example", "mx.hoster.example"):
        verdict = hosted.send(to=name, **mail)
        assert (verdict.outcome, verdict.evidence.dialled) == (Outcome.DELIVERED, "hoster"), name
