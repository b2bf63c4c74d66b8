"""Files of real routers become one snapshot; what is no router's is refused by name."""

from __future__ import annotations

import io
import sys
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from port25lab.model.snapshot import Snapshot
from port25lab.scenario.snapshot import Reading, read_snapshot
from port25lab.scenario.snapshot_parts import MARKER

ROUTERS = Path(__file__).parents[2] / "support/routers"

RULES = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -s 192.0.2.0/24 -p tcp -m tcp --dport 25 -j DROP\nCOMMIT\n"

SESSION = """\
root@OpenWrt:~# ip6tables -S
-P INPUT ACCEPT
-P FORWARD DROP
-P OUTPUT ACCEPT
-N smtp
-A FORWARD -p tcp -m tcp --dport 25 -j smtp
-A smtp -j REJECT
root@OpenWrt:~# ip addr
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
root@OpenWrt:~# ip -6 route
default dev eth0  metric 1024
root@OpenWrt:~# ip -6 route show table 7
2001:db8:7::/48 dev eth0  metric 1024
root@OpenWrt:~# cat /proc/sys/net/ipv4/ip_forward; sysctl net.ipv4.ip_forward
net.ipv4.ip_forward = 1
root@OpenWrt:~# ipset save
create blocked hash:net family inet6 hashsize 1024 maxelem 65536
add blocked 2001:db8::/32
"""


def read(tmp_path: Path, text: str | bytes, name: str = "router.txt") -> Reading:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_snapshot([str(tmp_path / name)])


def snapshot(tmp_path: Path, text: str, name: str = "router.txt") -> Snapshot:
    reading = read(tmp_path, text, name)
    assert not reading.errors
    return reading.snapshot


def refusal(tmp_path: Path, text: str | bytes) -> str:
    """The only error, without the folder of the file."""
    reading = read(tmp_path, text, "file")
    (error,) = reading.errors
    assert error.exit_code == 2
    assert reading.snapshot.files == ()
    return str(error).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize("file", sorted(ROUTERS.glob("*.txt")), ids=lambda file: file.stem)
def test_every_router_is_read_whole(file: Path) -> None:
    reading = read_snapshot([str(file)])
    found = reading.snapshot
    assert not reading.errors
    assert found.hostname
    lines = file.read_bytes().split(b"\n")
    for part in found.rules:
        kept = [(number, line) for number, line in enumerate(part.content.split(b"\n")) if line]
        assert kept
        assert all(lines[number] == line for number, line in kept)
    assert sum(line.startswith(b"*") for line in lines) == sum(
        line.startswith(b"*") for part in found.rules for line in part.content.split(b"\n")
    )
    assert sum(line.startswith(b"add ") for line in lines) == sum(len(part.members) for part in found.sets)
    defaults = [route for route in found.routes if route.to.prefixlen == 0]
    assert sum(line.startswith(b"default") for line in lines) == len(defaults)
    addresses = [address for interface in found.interfaces for address in interface.addresses]
    assert sum(line.startswith((b"    inet ", b"    inet6 ")) for line in lines) == len(addresses)
    assert found.sysctls["net.ipv4.ip_forward"] in "01"
    assert not [note for note in found.notes if note.kind in ("not-read", "cut-off")]


def test_a_router_in_full() -> None:
    found = read_snapshot([str(ROUTERS / "pppoe_cpe.txt")]).snapshot
    assert [interface.name for interface in found.interfaces] == ["lo", "eth0", "eth1", "eth0.7", "ppp0"]
    vlan, ppp = found.interfaces[3:]
    assert (vlan.kind, vlan.up, vlan.mtu) == ("vlan", True, 1500)
    assert (ppp.kind, ppp.peer, ppp.mtu) == ("ppp", ip_address("62.155.240.10"), 1492)
    assert ip_interface("84.133.12.57/32") in ppp.addresses
    assert [(str(route.to), route.interface) for route in found.routes if route.to.prefixlen == 0] == [
        ("0.0.0.0/0", "ppp0"),
        ("::/0", "ppp0"),
    ]
    assert [part.family for part in found.rules] == ["ip", "ip6"]
    assert [part.told_by for part in found.rules] == ["header", "header"]


def test_the_lines_of_a_terminal_are_read_as_well(tmp_path: Path) -> None:
    found = snapshot(tmp_path, SESSION)
    (rules,) = found.rules
    assert (rules.family, rules.told_by) == ("ip6", "command")
    lines = rules.content.decode().split("\n")
    assert lines[:3] == ["*filter", ":INPUT ACCEPT [0:0]", ":FORWARD DROP [0:0]"]
    assert lines[6:8] == ["-A smtp -j REJECT", "COMMIT"]
    assert [str(route.to) for route in found.routes] == ["::/0"]
    assert found.sysctls == {"net.ipv4.ip_forward": "1"}
    (blocked,) = found.sets
    assert (blocked.family, blocked.type, blocked.members) == ("ip6", "hash:net", ("2001:db8::/32",))
    assert blocked.create == "create blocked hash:net family inet6 hashsize 1024 maxelem 65536"


def test_a_file_that_is_refused_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "rules.v4").write_text(RULES)
    (tmp_path / "acl.txt").write_text("ip access-list extended A\n deny tcp any any eq 25\n")
    (tmp_path / "sets").write_text("create a hash:ip family inet\nadd a 192.0.2.1\n")
    names = [str(tmp_path / name) for name in ("rules.v4", "acl.txt", "none", "sets")]
    reading = read_snapshot(names)
    assert [str(file) for file in reading.snapshot.files] == [names[0], names[3]]
    assert [error.file for error in reading.errors] == names[1:3]
    assert reading.snapshot.rules[0].file == Path(names[0])
    assert reading.snapshot.sets[0].members == ("192.0.2.1",)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(RULES.encode())))
    found = read_snapshot(["-"]).snapshot
    assert found.rules[0].file == Path("-")
    assert found.rules[0].content.decode() == RULES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "file: the file is empty"),
        ("\n \n", "file: the file is empty"),
        ("# only\n# comments\n", "file: says nothing of a router"),
        (b"\x1f\x8b\x08\0\0\0", "file: looks like a file compressed by gzip"),
        (b"rules.v4".ljust(257, b"\0") + b"ustar  \0", "file: looks like a tar archive"),
        (b"PK\x03\x04\0\0", "file: looks like a zip archive"),
        (bytes(range(256)), "file: looks like a binary file"),
        (RULES.encode("utf-16"), "file: looks like text in UTF-16"),
        ("Dear all,\nthe rules are:\n", "file:1: 'Dear all,' is not understood"),
        (RULES + "no\n", "file:5: 'no' is not understood"),
        (RULES.replace("\n", "\r\n"), "file:1: the line ends with a carriage return"),
        ("add nowhere 192.0.2.1\n", "file:1: a member for the set 'nowhere', which is not created above"),
        ("create a hash:ip\ncreate a hash:ip\n", "file:2: the set 'a' is created a second time"),
        ('[{"ifname":"eth0",\n"mtu":', "file:2: is no whole JSON"),
        ('[{"ifname": null}]\n', "file:1: is other JSON than that of ip -j"),
        ('{"a":' * 100000, "file:1: is no whole JSON"),
        ('[{"pid": 1}]\n', "file:1: is other JSON than that of ip -j"),
        ("192.0.2.0/24 via 192.0.2.999 dev eth0\n", "file:1: the route to '192.0.2.0/24' is none"),
        ("0:\tfrom all lookup local \n", "file: says nothing of a router"),
        ("*.log\n", "file:1: '*.log' is not understood"),
        (f"{MARKER}2: hostname\nr\n", "file:1: a snapshot of version 2; version 1"),
    ],
)
def test_what_is_no_router(tmp_path: Path, text: str | bytes, said: str) -> None:
    assert refusal(tmp_path, text).startswith(said)


def test_not_more_than_so_many_bytes_are_read(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(1 << 40)
    reading = read_snapshot([str(tmp_path / "file")])
    assert reading.errors[0].what == "has more than 32 MiB"


DUMP = f"# Generated by iptables-save v1.8.9 on Mon\n{RULES}# Completed on Mon\n"


def test_two_routers_in_one_file(tmp_path: Path) -> None:
    both = "".join((ROUTERS / name).read_text() for name in ("hotel_portal.txt", "proxmox.txt"))
    assert "the second 'hostname', after that of line 1: two snapshots in one file; a file for each router" in refusal(
        tmp_path, both
    )
    assert refusal(tmp_path, DUMP + DUMP).startswith("file:8: the second table 'filter' of iptables-save, after that")
    other = "2: eth0: <UP> mtu 1500\n    link/ether 02:00:00:00:00:0{}\n"
    assert "another interface eth0" in refusal(tmp_path, other.format(1) + "default dev eth0\n" + other.format(2))


def test_two_routers_in_two_files() -> None:
    names = [str(ROUTERS / name) for name in ("hotel_portal.txt", "proxmox.txt")]
    reading = read_snapshot(names)
    assert [str(file) for file in reading.snapshot.files] == names[:1]
    assert f"is of the router 'pve1'; {names[0]} is of 'portal'" in str(reading.errors[0])


def test_what_a_program_printed_may_have_the_line_ends_of_windows(tmp_path: Path) -> None:
    found = snapshot(tmp_path, DUMP.replace("\n", "\r\n"))
    assert found.rules[0].content.decode() == f"\n{RULES}"
    assert [(note.kind, note.line) for note in found.notes] == [("line-ends", 2)]
    assert b"\r" not in snapshot(tmp_path, "-P FORWARD DROP\r\n-A FORWARD -s 10.0.0.0/8 -j DROP\r\n").rules[0].content


def test_an_address_of_which_somebody_hid_a_part_is_noted(tmp_path: Path) -> None:
    found = snapshot(
        tmp_path, "1: e0: <UP> mtu 1500\n    inet6 2001:db8:20XX::1/64 scope global\n    inet 10.0.0.1/8\n"
    )
    assert [str(address) for address in found.interfaces[0].addresses] == ["10.0.0.1/8"]
    assert [(note.kind, note.line, note.subject[:14]) for note in found.notes] == [("not-read", 2, "2001:db8:20XX:")]


def test_restore_input_may_name_a_table_twice(tmp_path: Path) -> None:
    (rules,) = snapshot(tmp_path, RULES + RULES).rules
    assert rules.content.decode() == RULES + RULES


def test_what_a_snapshot_lacks_is_noted(tmp_path: Path) -> None:
    text = (ROUTERS / "rate_limits.txt").read_text()
    found = snapshot(tmp_path, text.replace(f"{MARKER}1: end\n", f"{MARKER}1: ip rule\n0: from all lookup local\n"))
    assert [(note.kind, note.subject) for note in found.notes] == [
        ("failed", "ip6tables-save -c: exit code 3"),
        ("not-read", "0: from all lookup local"),
        ("cut-off", "ip rule"),
    ]


def test_a_snapshot_that_a_terminal_changed_is_read(tmp_path: Path) -> None:
    text = (ROUTERS / "docker_host.txt").read_text()
    changed = snapshot(tmp_path, f"Welcome to docker1\r\n{text}".replace("\n", "\r\n").replace("\r\r", "\r"))
    assert changed.interfaces == snapshot(tmp_path, text).interfaces
    assert [note.kind for note in changed.notes] == ["not-read", "not-installed"]
    assert changed.rules[0].content[1:] == snapshot(tmp_path, text).rules[0].content


def test_a_router_whose_rules_are_those_of_nft(tmp_path: Path) -> None:
    text = "".join(
        f"{MARKER}1: {section}\n{lines}"
        for section, lines in {
            "ip addr": "2: eth0: <UP> mtu 1500\n",
            "iptables-save -c": "# port25lab: not installed: iptables-save\n",
            "nft list tables": "table ip filter\ntable inet fw4\n",
            "end": "",
        }.items()
    )
    reading = read(tmp_path, text)
    assert "rules are those of nft (table inet fw4), which are not read" in str(reading.errors[0])
    both = text.replace("# port25lab: not installed: iptables-save\n", RULES)
    assert [note.subject for note in snapshot(tmp_path, both).notes] == ["inet fw4"]
    without = read(tmp_path, text.replace("table inet fw4\n", ""))
    assert "there are no rules: not installed: iptables-save" in str(without.errors[0])


def test_the_same_interface_in_two_outputs_is_one(tmp_path: Path) -> None:
    found = snapshot(
        tmp_path,
        "2: eth0    inet 192.0.2.1/24 brd 192.0.2.255 scope global eth0\\       valid_lft forever\n"
        "2: eth0    inet6 2001:db8::1/64 scope global \\       valid_lft forever\n"
        "$ ip link\n"
        "2: eth0: <BROADCAST,UP> mtu 9000 qdisc mq master br7 state UP\n    link/ether 02:00:00:00:00:01\n"
        "3: br7: <BROADCAST,UP> mtu 9000 qdisc mq state UP\n",
    )
    eth0, br7 = found.interfaces
    assert eth0.addresses == (ip_interface("192.0.2.1/24"), ip_interface("2001:db8::1/64"))
    assert (eth0.mtu, eth0.master, eth0.up, br7.kind) == (9000, "br7", True, "bridge")


def test_routes_of_sysctl_and_hostname(tmp_path: Path) -> None:
    found = snapshot(
        tmp_path, "; sysctl.conf\nkernel.hostname = gw\nkernel.pid_max = 1\nnet.ipv4.conf.eth0/7.rp_filter=2\n"
    )
    assert (found.hostname, found.sysctls) == ("gw", {"net.ipv4.conf.eth0/7.rp_filter": "2"})
    assert snapshot(tmp_path, "192.0.2.0/24\n").routes[0].to == ip_network("192.0.2.0/24")
