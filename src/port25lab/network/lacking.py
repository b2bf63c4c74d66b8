"""Which match or target of a refused rule this machine lacks: the program iptables has none, or the kernel.

Such a rule may be right on the router that it comes from, so it is no mistake of the user's.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

from port25lab.kernel.netlink import NETLINK_NETFILTER, attribute, messages
from port25lab.model.policy import Family
from port25lab.rules.match_table import MATCHES
from port25lab.rules.words import split

Kind = Literal["match", "target"]

ELSEWHERE: dict[Kind, frozenset[str]] = {
    "match": frozenset({
        "account", "condition", "dhcpmac", "dscp2", "fuzzy", "geoip", "gradm", "iface", "ipp2p", "ipv4options",
        "layer7", "length2", "lscan", "ndpi", "pknock", "psd", "quota2", "timerange", "weburl", "webmon",
    }),
    "target": frozenset({
        "ACCOUNT", "ASN", "CHAOS", "DELUDE", "DHCPMAC", "DNETMAP", "ECHO", "FLOWOFFLOAD", "FULLCONENAT", "IMQ",
        "IPMARK", "IPTIMESTAMP", "LOGMARK", "NDPI", "NETFLOW", "PROTO", "ROUTE", "SYSRQ", "TARPIT", "WEBSTR",
    }),
}  # fmt: skip
"""Extensions that iptables itself does not bring: those of xtables-addons(8), nDPI, L7-filter, OpenWrt and Tomato."""

_PROGRAM: dict[Family, str] = {"ip": "iptables", "ip6": "ip6tables"}

_NAME, _REVISION, _TYPE = 1, 2, 3

_COMPAT_GET = 11 << 8

_REQUEST = 0x1

_ERROR = 2

_FAMILY: dict[Family, int] = {"ip": socket.AF_INET, "ip6": socket.AF_INET6}

_TYPES: dict[Kind, int] = {"match": 0, "target": 1}

_REVISIONS = range(6)
"""No extension has more."""

Runs = Callable[[list[str]], int]
"""Runs a program in the node, and returns its exit code."""


def lacking(line: str, words: str, family: Family, runs: Runs, has: Callable[[Kind, str], bool]) -> str | None:
    """What this machine lacks for a rule that was refused; None: it lacks nothing.

    ``line``: the rule. ``words``: what iptables said. ``has``: whether the kernel has a match or target. The kernel is
    asked only where the error is that of something missing: iptables runs some extensions without the kernel's part.
    """
    missing = os.strerror(errno.ENOENT) in words
    for kind, name in _extensions(line):
        if kind == "match" and _is_known(family, name) and runs([_PROGRAM[family], "-m", name, "-h"]):
            return f"this machine's {_PROGRAM[family]} has no match {name}"
        if kind == "target" and name in ELSEWHERE[kind] and not has(kind, name):
            return f"this machine's {_PROGRAM[family]} has no target {name}"
        if missing and not has(kind, name):
            return f"this machine's kernel has no {kind} {name}"
    return None


def _is_known(family: Family, match: str) -> bool:
    """Whether a match is one of some router's. Any other name is a mistake."""
    return (family, match) in MATCHES or match in ELSEWHERE["match"]


def kernel_has(family: Family, kind: Kind, name: str) -> bool:
    """Whether the kernel of this namespace has a match or target of xtables, loading its module if need be."""
    return any(map(partial(_has_revision, family, kind, name), _REVISIONS))


def _has_revision(family: Family, kind: Kind, name: str, revision: int) -> bool:
    body = struct.pack("=BBH", _FAMILY[family], 0, 0) + attribute(_NAME, name.encode()[:30] + b"\0")
    body += attribute(_REVISION, struct.pack(">I", revision)) + attribute(_TYPE, struct.pack(">I", _TYPES[kind]))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as kernel:
        kernel.bind((0, 0))
        kernel.send(struct.pack("=IHHII", 16 + len(body), _COMPAT_GET, _REQUEST, 1, 0) + body)
        answer, _, _ = next(iter(messages(kernel.recv(1 << 16))))
    return answer != _ERROR


def _extensions(line: str) -> Iterator[tuple[Kind, str]]:
    """The matches and the target that a rule loads by name."""
    kinds: dict[str, Kind] = {"-m": "match", "--match": "match", "-j": "target", "--jump": "target"}
    words = split(line)
    for option, name in itertools.pairwise(words):
        if option in kinds and not name.startswith("-"):
            yield kinds[option], name
