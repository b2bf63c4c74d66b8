"""What a file looks like that is not read."""

from __future__ import annotations

import pytest

from port25lab.scenario.snapshot_text import look_alike

LOOKS = {
    "the output of iptables -L": "Chain INPUT (policy ACCEPT)\ntarget     prot opt source               destination\n",
    "the output of iptables -L, which leaves": "Chain f2b-sshd (1 references)\n pkts bytes target     prot opt in     "
    "out     source\n 0 0 DROP 6 -- * * 0.0.0.0/0 0.0.0.0/0 tcp dpt:25\n",
    "a ruleset of nftables": "table inet fw4 {\n\tchain forward {\n\t\ttype filter hook forward priority 0;\n\t}\n}\n",
    "a ruleset of nft": '{"nftables": [{"metainfo": {"version": "1.0.6"}}]}\n',
    "a configuration of Cisco IOS": "!\nversion 15.2\nhostname R1\ninterface GigabitEthernet0/1\n"
    " ip access-group 101 in\nip route 0.0.0.0 0.0.0.0 192.0.2.254\naccess-list 101 deny tcp any any eq smtp\n",
    "a configuration of Cisco I": "ip access-list extended OP25B\n deny tcp any any eq smtp\n permit ip any any\n",
    "a configuration of Cisco ASA": ": Saved\n:\nASA Version 9.8(2)\ninterface GigabitEthernet0/0\n nameif outside\n"
    " security-level 0\naccess-list out extended deny tcp any any eq smtp\naccess-group out in interface inside\n",
    "a configuration of Juniper": "set version 18.1R3\nset system host-name r1\n"
    "set firewall family inet filter op25b term 1 from destination-port smtp\n",
    "a configuration of Juniper Junos": "firewall {\n    family inet {\n        filter op25b {\n            term 1 {\n"
    "                from {\n                    protocol tcp;\n                }\n                then discard;\n",
    "a configuration of VyOS": "set firewall name OUT rule 10 action drop\nset interfaces ethernet eth0 address dhcp\n",
    "an export of MikroTik": "# jan/02/1970 00:00:01 by RouterOS 6.48.6\n/ip firewall filter\n"
    "add action=drop chain=forward dst-port=25 protocol=tcp\n",
    "an export of MikroTik RouterOS": "/ip firewall filter add chain=forward protocol=tcp dst-port=25 action=drop\n",
    "a ruleset of pf": 'ext_if = "em0"\nset skip on lo\nblock in all\npass out on $ext_if proto tcp to any port smtp\n',
    "the output of ipfw": "00100 allow ip from any to any via lo0\n00200 deny tcp from any to any 25\n",
    "the output of ufw": "Status: active\n\nTo                         Action      From\n",
    "the output of firewall-cmd": "public (active)\n  target: default\n  interfaces: eth0\n",
    "a ruleset": "\ntable inet f {\n\tchain i {\n\t\t"
    "type filter hook input priority 0;\n\t\ttcp dport 25 drop;\n\t}\n}\n",
    "a configuration of ferm": "@def $DEV = eth0;\n"
    "table filter {\n    chain FORWARD {\n        policy DROP;\n    }\n}\n",
    "Debian's /etc/network/interfaces": "auto eth0\niface eth0 inet static\n    address 192.0.2.1\n",
    "a file of OpenWrt's UCI": "config defaults\n\toption input 'ACCEPT'\nconfig zone\n\toption name 'lan'\n",
    "the output of ipset list": "Name: a\nType: hash:net\nRevision: 7\nMembers:\n",
    "the output of ifconfig": "eth0      Link encap:Ethernet  HWaddr 00:11:22:33:44:55\n",
    "a table of routes by route": "Kernel IP routing table\nDestination     Gateway         Genmask\n",
    "a script of iptables commands": "#!/bin/sh\nIPT=/sbin/iptables\n$IPT -F\n$IPT -t nat -A POSTROUTING -j SNAT\n",
    "a script of iptables": "sudo iptables -A FORWARD -p tcp --dport 25 -j DROP\n",
    "a web page": "<!DOCTYPE html>\n<html></html>\n",
}


@pytest.mark.parametrize(("name", "text"), LOOKS.items(), ids=LOOKS)
def test_each_is_recognised_and_named(name: str, text: str) -> None:
    found = look_alike(text)
    assert found
    what, use = found
    assert what.startswith(f"looks like {name}")
    assert use


def test_who_has_iptables_is_told_to_use_iptables_save() -> None:
    for name, text in LOOKS.items():
        found = look_alike(text)
        assert found
        assert "iptables-save" in found[1] or name.startswith(("the output of i", "a table", "Debian")), name


def test_prose_looks_like_nothing() -> None:
    assert look_alike("  THE SOFTWARE IS PROVIDED AS IS;\n  without any warranty;\n") is None
    assert look_alike("Dear all,\nplease pass in the address of the block.\n") is None
