"""The rules package beside iptables itself: what it reads, refuses and prints, for the catalogue and for odd files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_listing import Kernel, missing
from port25lab.errors import InputError
from port25lab.rules import Differing, Family, Ruleset, Source, join, parse, parse_listing, stack

CATALOGUE = Path(__file__).parents[2] / "policies"
FILES = sorted(CATALOGUE.glob("*/rules.v[46]"))


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    if reason := missing():
        pytest.skip(f"iptables cannot be asked on this machine: {reason}")
    one = Kernel()
    yield one
    one.close()


def sets_of(ruleset: Ruleset) -> str:
    """Empty sets for all that a ruleset names."""
    kind = "hash:net" if ruleset.family == "ip" else "hash:net family inet6"
    return "".join(f"create {name} {kind}\n" for name in ruleset.set_names())


def lines(saved: str) -> dict[str, list[str]]:
    """Chains and rules of each table of a listing; tables that say nothing are left out."""
    found: dict[str, list[str]] = {}
    table = ""
    for line in saved.split("\n"):
        if line.startswith("*"):
            table = line
        elif line and line[0] != "#" and line != "COMMIT":
            found.setdefault(table, []).append(line)
    return {
        table: rules
        for table, rules in found.items()
        if any(not rule.startswith(":") or " ACCEPT " not in rule for rule in rules)
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.suffix[1:]}")
def test_the_catalogue_is_printed_as_the_kernel_lists_it(kernel: Kernel, file: Path) -> None:
    family: Family = "ip6" if file.suffix == ".v6" else "ip"
    text = file.read_text(encoding="utf-8")
    expected = parse(text, family, file=str(file))
    listing = kernel.load(family, text, sets=sets_of(expected))
    assert not listing.refused
    assert lines(expected.save()) == lines(listing.saved)
    joined = join(parse_listing(listing.saved, family), expected)
    assert not joined.differences
    assert {rule.place.file for rule in joined.ruleset.rules()} <= {str(file)}


TAKEN: dict[str, str] = {
    "indentation": "*filter\n  -A FORWARD -j DROP\n\t-A\tFORWARD\t-j\tACCEPT\nCOMMIT\n",
    "insertion": "*filter\n-A FORWARD -j ACCEPT\n-I FORWARD -s 1.1.1.1 -j DROP\n-I FORWARD 2 -j LOG\nCOMMIT\n",
    "insertion of several": "*filter\n-A FORWARD\n-I FORWARD -s 1.1.1.1,2.2.2.2 -d 3.3.3.3,4.4.4.4 -j DROP\nCOMMIT\n",
    "address lists": "*filter\n-A FORWARD -s 1.1.1.1,2.2.2.0/24 -d 3.3.3.3,4.4.4.4/255.255.0.0 -j DROP\nCOMMIT\n",
    "address list with blanks": '*filter\n-A FORWARD -s "1.1.1.1, 2.2.2.2"\nCOMMIT\n',
    "masks with gaps": "*filter\n-A FORWARD -s 10.11.12.13/255.0.255.0 ! -d 0.0.0.0\nCOMMIT\n",
    "short addresses": "*filter\n-A FORWARD -s 10 -d 10.1/16\n-A FORWARD -s 010.0x10.1.1\n-A FORWARD -s any/0\n"
    "COMMIT\n",
    "host names": "*filter\n-A FORWARD -s localhost -j DROP\nCOMMIT\n",
    "new chain": "*filter\n-N MAIL\n-A MAIL -j DROP\n-A FORWARD -g MAIL\nCOMMIT\n",
    "chain twice": "*filter\n:X - [0:0]\n-A X -j DROP\n:X - [0:0]\n-A X -j LOG\nCOMMIT\n",
    "table twice": "*filter\n-A FORWARD -j DROP\nCOMMIT\n*filter\n-A FORWARD -j ACCEPT\nCOMMIT\n",
    "deletion by number": "*filter\n-A FORWARD -j DROP\n-A FORWARD -j LOG\n-D FORWARD 1\nCOMMIT\n",
    "deletion by rule": "*filter\n-A FORWARD -p 6 --dport 25 -j DROP\n-A FORWARD -j LOG\n"
    "-D FORWARD -p tcp -m tcp --dport 25:25 -j DROP\nCOMMIT\n",
    "flush of a chain": "*filter\n-A FORWARD -j DROP\n-A INPUT -j LOG\n-F FORWARD\nCOMMIT\n",
    "policy by command": "*filter\n-P FORWARD DROP\n-A FORWARD -j ACCEPT\nCOMMIT\n",
    "policy left as it is": "*filter\n:FORWARD - [0:0]\n:INPUT DROP\n-A FORWARD\nCOMMIT\n",
    "chain deleted": "*filter\n:A - [0:0]\n:B - [0:0]\n-X A\n-A FORWARD -j B\nCOMMIT\n",
    "chains in any order": "*filter\n:b - [0:0]\n:a - [0:0]\n-A b -j a\n-A a -j LOG\n-A b -j LOG\nCOMMIT\n",
    "counters": "*filter\n[12:34] -A FORWARD -j DROP\n-A FORWARD -c 5 6 -j LOG\n-A FORWARD -c 5,6\nCOMMIT\n",
    "abbreviated options": "*filter\n-A FORWARD --prot tcp --destination-p 25 --tcp-f SYN SYN --ju DROP\nCOMMIT\n",
    "abbreviated base option": "*filter\n"
    "-A FORWARD --dest 192.0.2.0/25,203.0.113.0/24 -p tcp --dport 25 -j DROP\nCOMMIT\n",
    "multiport by its shorter name": "*filter\n-A FORWARD -p tcp -m multiport --dport 25,465:587\nCOMMIT\n",
    "service names": "*filter\n-A FORWARD -p tcp --dport smtp\n-A FORWARD -p udp --sport domain:ntp\n"
    "-A FORWARD -p tcp -m multiport --ports smtp,submission\nCOMMIT\n",
    "protocol names": "*filter\n-A FORWARD -p 0\n-A FORWARD -p ICMP\n-A FORWARD -p 51\n-A FORWARD -p 253\n"
    "-A FORWARD ! -p UDP\nCOMMIT\n",
    "options of a protocol": "*filter\n-A FORWARD -p 6 -j LOG --dport 25\n"
    "-A FORWARD -p icmp --icmp-type ping -j DROP\nCOMMIT\n",
    "options with equals": "*filter\n--append=FORWARD -m comment --comment=abc -p tcp --dport=25 -j DROP\nCOMMIT\n",
    "clustered options": "*filter\n-AFORWARD -fj DROP\nCOMMIT\n",
    "quotations": '*filter\n-A FORWARD -m comment --comment "a \\"b\\" \\\\ c" -j LOG --log-prefix "it\'s "\n'
    '-A FORWARD -m comment --comment ""\n-A FORWARD -m comment --comment a"b c"\nCOMMIT\n',
    "quotation not closed": '*filter\n-A FORWARD -m comment --comment "abc\n-A FORWARD -j ACCEPT\nCOMMIT\n',
    "text of a comment": '*filter\n-A FORWARD -m comment --comment "-m limit -j REJECT" -j DROP\nCOMMIT\n',
    "letters of any kind in a comment": "*filter\n-A FORWARD -m comment --comment höflich\n# -j DROP\nCOMMIT\n",
    "tests of ports put together": "*filter\n-A FORWARD -p tcp --dport 25 -m limit --limit 5/min -m tcp --sport 9\n"
    "-A FORWARD -p tcp -m tcp --dport 25 -m tcp --dport 26\nCOMMIT\n",
    "wildcards": "*filter\n-A FORWARD -i eth+ ! -o wg0\n-A FORWARD -i +\nCOMMIT\n",
    "limits": "*filter\n-A FORWARD -m limit\n-A FORWARD -m limit --limit 90/m --limit-burst 9\n"
    "-A FORWARD -m limit --limit 3000/min\n"
    "-A FORWARD -m hashlimit --hashlimit 90/h --hashlimit-name a --hashlimit-mode dstip,srcip\n"
    "-A FORWARD -m hashlimit ! --hashlimit-upto 3/h --hashlimit-name b --hashlimit-htable-expire 10000\n"
    "-A FORWARD -m hashlimit --hashlimit-above 100kb/s --hashlimit-burst 1m --hashlimit-name c\n"
    "-A FORWARD -m connlimit ! --connlimit-upto 3\nCOMMIT\n",
    "marks": "*mangle\n-A FORWARD -j MARK --set-mark 5/6\n-A FORWARD -j MARK --and-mark 7\n"
    "-A FORWARD -j MARK --or-mark 0x10\n"
    "-A FORWARD -j CONNMARK --save-mark --mask 0xff\n-A FORWARD -m mark ! --mark 1/3 -j CONNMARK --set-mark 9\n"
    "-A FORWARD -j CONNMARK --restore-mark\nCOMMIT\n",
    "nat": "*nat\n-A PREROUTING -p tcp --dport 25 -j DNAT --to-destination 10.0.0.1-10.0.0.9:2525-2530\n"
    "-A PREROUTING -p tcp -j DNAT --to-destination :587\n-A PREROUTING -p tcp -j REDIRECT --to-port smtp\n"
    "-A POSTROUTING -j SNAT --to-source 1.2.3.4 --persistent --random\n-A POSTROUTING -j NETMAP --to 1.2.3.9/24\n"
    "-A POSTROUTING -p tcp -j MASQUERADE --to-ports 1024-2048 --random\nCOMMIT\n",
    "rejections": "*filter\n-A FORWARD -j REJECT\n-A FORWARD -j REJECT --reject-with host-prohib\n"
    "-A FORWARD -p tcp -j REJECT --reject-with tcp-rst\n-A FORWARD -j REJECT --reject-with icmp-ad\nCOMMIT\n",
    "states": "*filter\n-A FORWARD -m state --state established,rel\n"
    "-A FORWARD -m conntrack ! --ctstate NEW,INVALID --ctdir reply\n"
    "-A FORWARD -m conntrack --ctstatus none --ctorigsrc 10.1.2.3/8\nCOMMIT\n",
    "odds and ends": "*filter\n-A FORWARD -m time --weekdays 6,7 --timestart 10:00\n"
    "-A FORWARD -m time ! --weekdays Mon --utc\n"
    "-A FORWARD -m statistic --mode random --probability 0.3\n-A FORWARD -m mac --mac-source 02:AB:00:00:00:01\n"
    '-A FORWARD -m string --algo kmp --hex-string "a|20|b"\n-A FORWARD -m u32 --u32 "0 >> 22 & 0x3C @ 12 = 1, 3:5"\n'
    "-A FORWARD -m recent --update --seconds 60 --rdest\n"
    "-A FORWARD -m addrtype --src-type local,multicast\n-A FORWARD -p tcp ! --syn\n"
    "-A FORWARD -p tcp --tcp-flags ALL NONE\nCOMMIT\n",
}
REFUSED: dict[str, str] = {
    "dos line ends": "*filter\r\n-A FORWARD -j DROP\r\nCOMMIT\r\n",
    "dos line ends in rules": "*filter\n-A FORWARD -j DROP\r\nCOMMIT\n",
    "byte order mark": "\ufeff# rules\n*filter\nCOMMIT\n",
    "blanks outside of a table": "  \n*filter\nCOMMIT\n",
    "blanks inside of a table": "*filter\n  \nCOMMIT\n",
    "indented comment": "*filter\n  # comment\nCOMMIT\n",
    "indented COMMIT": "*filter\n COMMIT\n",
    "no COMMIT": "*filter\n-A FORWARD -j DROP\n",
    "table before COMMIT": "*filter\n*nat\nCOMMIT\n",
    "rule outside of a table": "-A FORWARD -j DROP\n",
    "unknown table": "*filtre\nCOMMIT\n",
    "unknown chain": "*filter\n-A FOO -j DROP\nCOMMIT\n",
    "chain of another table": "*filter\n-A PREROUTING -j DROP\nCOMMIT\n",
    "unknown target": "*filter\n-A FORWARD -j NOSUCH\nCOMMIT\n",
    "chain declared later": "*filter\n-A FORWARD -j LATER\n:LATER - [0:0]\nCOMMIT\n",
    "unknown option": "*filter\n-A FORWARD --bogus\nCOMMIT\n",
    "ambiguous option": "*filter\n-A FORWARD -p tcp -m tcp --dest 1.2.3.4\nCOMMIT\n",
    "option without its value": "*filter\n-A FORWARD --jump\nCOMMIT\n",
    "word without an option": "*filter\n-A FORWARD -j DROP now\nCOMMIT\n",
    "option of no module": "*filter\n-A FORWARD --dport 25 -j DROP\nCOMMIT\n",
    "tcp without -p": "*filter\n-A FORWARD -m tcp --dport 25\nCOMMIT\n",
    "multiport without -p": "*filter\n-A FORWARD -m multiport --dports 25\nCOMMIT\n",
    "bad port": "*filter\n-A FORWARD -p tcp --dport nosuch\nCOMMIT\n",
    "bad address": "*filter\n-A FORWARD -s 1.2.3.4/33\nCOMMIT\n",
    "unknown host": "*filter\n-A FORWARD -s nosuch.invalid\nCOMMIT\n",
    "several addresses turned round": "*filter\n-A FORWARD ! -s 1.1.1.1,2.2.2.2\nCOMMIT\n",
    "option twice": "*filter\n-A FORWARD -p tcp -p udp\nCOMMIT\n",
    "module option twice": "*filter\n-A FORWARD -p tcp --dport 1 --dport 2\nCOMMIT\n",
    "! twice": "*filter\n-A FORWARD ! ! -s 1.1.1.1\nCOMMIT\n",
    "! at the end": "*filter\n-A FORWARD -j DROP !\nCOMMIT\n",
    "! in the middle": "*filter\n-A FORWARD -s ! 1.1.1.1\nCOMMIT\n",
    "-t": "*filter\n-A FORWARD -t filter -j DROP\nCOMMIT\n",
    "-o in INPUT": "*filter\n-A INPUT -o eth0\nCOMMIT\n",
    "-i in POSTROUTING": "*nat\n-A POSTROUTING -i eth0\nCOMMIT\n",
    "bad policy": "*filter\n:FORWARD REJECT [0:0]\nCOMMIT\n",
    "DROP in nat": "*nat\n-A POSTROUTING -j DROP\nCOMMIT\n",
    "insertion beyond the end": "*filter\n-I FORWARD 3 -j DROP\nCOMMIT\n",
    "insertion at 0": "*filter\n-I FORWARD 0 -j DROP\nCOMMIT\n",
    "replacement by several": "*filter\n-A FORWARD -j LOG\n-R FORWARD 1 -s 1.1.1.1,2.2.2.2\nCOMMIT\n",
    "deletion of what is not there": "*filter\n-D FORWARD -j DROP\nCOMMIT\n",
    "deletion of a chain in use": "*filter\n:U - [0:0]\n-A FORWARD -j U\n-X U\nCOMMIT\n",
    "new chain that is there": "*filter\n-N FORWARD\nCOMMIT\n",
    "chain with a target's name": "*filter\n-N LOG\nCOMMIT\n",
    "chain with a long name": "*filter\n-N abcdefghijklmnopqrstuvwxyz012\nCOMMIT\n",
    "DNAT in filter": "*filter\n-A FORWARD -j DNAT --to-destination 1.2.3.4\nCOMMIT\n",
    "REJECT in nat": "*nat\n-A PREROUTING -j REJECT\nCOMMIT\n",
    "comment without text": "*filter\n-A FORWARD -m comment\nCOMMIT\n",
    "goto a target": "*filter\n-A FORWARD -g DROP\nCOMMIT\n",
}


@pytest.mark.parametrize("name", TAKEN)
def test_an_odd_file_is_read_as_iptables_reads_it(kernel: Kernel, name: str) -> None:
    listing = kernel.load("ip", TAKEN[name])
    assert not listing.refused
    assert lines(parse(TAKEN[name], "ip").save()) == lines(listing.saved)


@pytest.mark.parametrize("name", REFUSED)
def test_what_iptables_refuses_is_refused(kernel: Kernel, name: str) -> None:
    assert kernel.load("ip", REFUSED[name]).refused
    with pytest.raises(InputError):
        parse(REFUSED[name], "ip", file="rules.v4")


def test_files_are_stacked_as_noflush_does(kernel: Kernel) -> None:
    texts = (
        "*filter\n:FORWARD DROP [0:0]\n:Q - [0:0]\n-A Q -j ACCEPT\n-A FORWARD -j Q\nCOMMIT\n",
        "*filter\n:FORWARD ACCEPT [0:0]\n:Q - [0:0]\n-I FORWARD -s 1.1.1.1,2.2.2.2 -j LOG\nCOMMIT\n*nat\n"
        "-A OUTPUT\nCOMMIT\n",
        "*filter\n-A FORWARD -j DROP\n-A Q -j DROP\n-D FORWARD -j Q\nCOMMIT\n",
        "*filter\n-R FORWARD 2 -j ACCEPT\nCOMMIT\n",
    )
    listing = kernel.load("ip", *texts, noflush=True)
    assert not listing.refused
    expected = stack([Source(text, f"{number}") for number, text in enumerate(texts)], "ip")
    assert lines(expected.save()) == lines(listing.saved)
    joined = join(parse_listing(listing.saved, "ip"), expected)
    assert not joined.differences
    assert [str(rule.place) for rule in joined.ruleset.tables["filter"].chains["FORWARD"].rules] == [
        "1:4",
        "3:2",
        "2:2",
    ]


@pytest.mark.parametrize("rule", ["-p tcp -m tcp ! --sport :", "-p gre"])
def test_what_versions_of_iptables_list_differently_is_joined(kernel: Kernel, rule: str) -> None:
    text = f"*filter\n-A FORWARD {rule} -j DROP\nCOMMIT\n"
    joined = join(parse_listing(kernel.load("ip", text).saved, "ip"), parse(text, "ip", file="rules.v4"))
    assert {difference.how for difference in joined.differences} <= {Differing.FORM}
    assert [str(rule.place) for rule in joined.ruleset.rules()] == ["rules.v4:2"]


def test_the_listing_reads_back_as_itself(kernel: Kernel) -> None:
    for text in TAKEN.values():
        saved = kernel.load("ip", text).saved
        assert lines(parse_listing(saved, "ip").save()) == lines(saved)
