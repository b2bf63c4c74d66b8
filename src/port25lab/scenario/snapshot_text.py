"""The bytes of a user's file become text, or are refused by name: what it looks like, and what is accepted.

In: a file or standard input. Out: its text. An InputError for what no router of this kind prints: archives, captures,
the configurations of other vendors, and outputs from which rules cannot be read back.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

from port25lab.errors import InputError
from port25lab.rules import decode

MOST_BYTES = 32 << 20
"""What is read of a file, at most: a set of a million members has about 25 MB."""

ACCEPTED = (
    "accepted: output of iptables-save, iptables -S, ipset save, ip addr, ip route, sysctl, "
    "or of the script that `port25lab collect` prints"
)

STDIN = "-"


class _Magic(NamedTuple):
    start: int
    bytes: bytes
    name: str


_MAGIC = (
    _Magic(0, b"\x1f\x8b", "a file compressed by gzip"),
    _Magic(0, b"BZh", "a file compressed by bzip2"),
    _Magic(0, b"\xfd7zXZ\x00", "a file compressed by xz"),
    _Magic(0, b"\x28\xb5\x2f\xfd", "a file compressed by zstd"),
    _Magic(0, b"PK\x03\x04", "a zip archive"),
    _Magic(257, b"ustar", "a tar archive"),
    _Magic(0, b"\x0a\x0d\x0d\x0a", "a capture (pcapng)"),
    _Magic(0, b"\xd4\xc3\xb2\xa1", "a capture (pcap)"),
    _Magic(0, b"\xa1\xb2\xc3\xd4", "a capture (pcap)"),
    _Magic(0, b"\x7fELF", "a program"),
    _Magic(0, b"%PDF-", "a PDF file"),
    _Magic(0, b"\xff\xfe", "text in UTF-16"),
    _Magic(0, b"\xfe\xff", "text in UTF-16"),
    _Magic(0, b"\xef\xbb\xbf", "text with a byte order mark, which iptables-restore refuses"),
)


def read_text(name: str) -> str:
    """The text of a file; ``-`` is standard input. Raises InputError."""
    data = _read(name)
    for magic in _MAGIC:
        if data[magic.start : magic.start + len(magic.bytes)] == magic.bytes:
            raise InputError(f"looks like {magic.name}", allowed=ACCEPTED, file=name)
    if b"\0" in data:
        raise InputError("looks like a binary file", allowed=ACCEPTED, file=name)
    text = decode(data)
    if not text.strip():
        raise InputError("the file is empty", allowed=ACCEPTED, file=name)
    return text


def _read(name: str) -> bytes:
    try:
        if name == STDIN:
            data = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=name) from None
    for magic in _MAGIC:
        if len(data) > MOST_BYTES and data[magic.start : magic.start + len(magic.bytes)] == magic.bytes:
            return data[:512]  # the name says more than the size
    if len(data) > MOST_BYTES:
        raise InputError(f"has more than {MOST_BYTES >> 20} MiB", allowed=ACCEPTED, file=name)
    return data


class _Foreign(NamedTuple):
    """Text that is recognised and not read."""

    name: str
    sign: re.Pattern[str]
    use: str


def _foreign(name: str, sign: str, use: str) -> _Foreign:
    return _Foreign(name, re.compile(sign, re.MULTILINE), use)


_SAVE = "use the output of `iptables-save` (and `ip6tables-save`)"
_OTHER = ACCEPTED

_FOREIGN = (
    _foreign(
        "the output of iptables -L, which leaves out parts of the rules",
        r"^Chain \S+ \((?:policy (?:ACCEPT|DROP|REJECT)\b|\d+ references)",
        _SAVE,
    ),
    _foreign(
        "a ruleset of nftables",
        r'^\s*table (?:ip|ip6|inet|arp|bridge|netdev) \S+ ?\{|^\{"nftables"|^#!\S*/nft\b|^\s+type \w+ hook ',
        f"rules of nft are not read; where iptables-nft loaded them, {_SAVE}",
    ),
    _foreign(
        "a configuration of Cisco ASA",
        r"^(?:: Saved|ASA Version |access-list \S+ extended |access-group \S+ (?:in|out) interface "
        r"| nameif |\s*security-level \d|object network )",
        _OTHER,
    ),
    _foreign(
        "a configuration of Cisco IOS",
        r"^(?:Building configuration|Current configuration|version 1[0-9]\.\d|service timestamps "
        r"|interface (?:Gigabit|Fast|TenGig|TwentyFive|Hundred|Ethernet|Vlan|Loopback|Serial|Dialer|Port-channel)"
        r"|ip(?:v[46])? access-list |access-list \d+ |\s+ip(?:v6)? (?:access-group|traffic-filter) "
        r"|\s+ip nat (?:in|out)side|ip nat inside |ip route \d+\.\d+\.\d+\.\d+ \d+\.\d+\.\d+\.\d+|line vty |!! IOS XR)",
        _OTHER,
    ),
    _foreign(
        "a configuration of Juniper Junos",
        r"^(?:set (?:version|groups|system|chassis|security|policy-options|routing-options|protocols"
        r"|firewall (?:family|filter|policer)|interfaces \S+-\d+/\S+) ?"
        r"|## Last (?:commit|changed):|version \d\d\.\d\S*;|\s+(?:family (?:inet6?|mpls|ethernet-switching)|term \S+"
        r"|filter \S+|unit \d+) \{\s*$|\s+(?:then (?:accept|discard|reject)|host-name \S+|destination-port \S+);\s*$)",
        _OTHER,
    ),
    _foreign(
        "a configuration of VyOS or EdgeOS",
        r"^(?:set (?:interfaces (?:ethernet|pppoe|bridge|bonding|switch) "
        r"|firewall (?:name|ipv6-name|ipv4|ipv6|all-ping) |service |nat source )"
        r"|\s+(?:all-ping|default-action) [\w./:]+\s*$)",
        f"on such a router, {_SAVE}",
    ),
    _foreign(
        "an export of MikroTik RouterOS",
        r"^(?:# .* by RouterOS |/(?:ip|ipv6|interface|system|routing|queue|ppp)(?: [\w-]+)*(?: (?:add|set) .*)?\s*$)",
        _OTHER,
    ),
    _foreign(
        "a ruleset of pf",
        r"^(?:(?:pass|block)(?: (?:in|out|return|drop|log|quick|all|on|inet6?|proto|from)\b)+|set skip on |scrub "
        r"|(?:nat|rdr|binat)(?: pass)? on |match (?:in|out) |anchor \"|antispoof )",
        _OTHER,
    ),
    _foreign("the output of ipfw", r"^\d{5} +(?:\d+ +\d+ +)?(?:allow|deny|count|skipto|nat) ", _OTHER),
    _foreign("the output of ufw", r"^Status: (?:in)?active", _SAVE),
    _foreign("the output of firewall-cmd", r"^\S+(?: \(active\))?\n  target: ", _SAVE),
    _foreign(
        "a file of OpenWrt's UCI",
        r"^config (?:rule|zone|defaults|redirect|forwarding|include|interface|device)\b",
        _SAVE,
    ),
    _foreign(
        "a configuration of ferm",
        r"^\s*(?:table \(?[\w ]+\)? (?:\{|chain)|chain \(?[A-Z_ ]+\)? (?:\{|policy)|@def |domain \(?ip)",
        _SAVE,
    ),
    _foreign("Debian's /etc/network/interfaces", r"^(?:iface \S+ inet6?|auto \S+$)", "use the output of `ip addr`"),
    _foreign("the output of ipset list", r"^Name: \S+\nType: (?:hash|bitmap|list):", "use the output of `ipset save`"),
    _foreign("the output of ifconfig", r"^\S+ +Link encap:|^\S+: flags=\d", "use the output of `ip addr`"),
    _foreign("a table of routes by route or netstat", r"^Kernel IP(?:v6)? rout", "use the output of `ip route`"),
    _foreign("the output of iptables-xml", r"^<iptables-rules\b", _SAVE),
    _foreign("a web page", r"(?i)^\s*<(?:!doctype html|html)\b", ACCEPTED),
    _foreign(
        "a script of iptables commands",
        r'^\s*(?:sudo +)?(?:/\S+/)?(?:ip6?tables|"?\$\{?(?:IPT\w*|ip6?t\w*)\}?"?)'
        r"(?: +-w)?(?: +-t +\w+)? +-{1,2}[A-Za-z]",
        f"run it, and {_SAVE}",
    ),
)


def look_alike(text: str) -> tuple[str, str] | None:
    """What a text looks like that is not read, with what to use instead; None if that is not known."""
    found = [(len(foreign.sign.findall(text, 0, 1 << 20)), foreign) for foreign in _FOREIGN]
    signs, likeliest = max(found, key=lambda pair: pair[0])
    return (f"looks like {likeliest.name}", likeliest.use) if signs else None
