"""nftables' rule trace, by netlink (nfnetlink group 9).

The rules that set ``nftrace`` on packets, the socket that receives the events, the attributes of an event, and the
filter that leaves out events that say nothing. `nft monitor trace` is no substitute: it prints text, and no JSON.
"""

from __future__ import annotations

import socket
import struct
import sys

from port25lab.kernel.bpf import (
    A_TO_X,
    ACCEPT,
    IF_ANY_BIT,
    IF_AT_LEAST,
    IF_EQUAL,
    LOAD_BYTE,
    LOAD_BYTE_AT_X,
    LOAD_WORD,
    LOAD_WORD_AT_X,
    REFUSE,
    SET_A,
    SET_X,
    Step,
    assemble,
    attach,
)
from port25lab.kernel.headers import SYN
from port25lab.kernel.netlink import NETLINK_NETFILTER, NFNETLINK_HEADER, SOL_NETLINK, attributes, messages

TABLE = "port25lab_trace"

RULES = """
table inet {table} {{
    chain arriving {{
        type filter hook prerouting priority -350; policy accept;
        {wanted}
    }}
    chain leaving {{
        type filter hook output priority -350; policy accept;
        {wanted}
    }}
}}
"""
"""``wanted``: rules that set ``nftrace``. Raw has priority -300, connection tracking -200: these rules run before all
rules of the user's."""

ARP_RULES = """
table arp {table} {{
    chain arriving {{
        type filter hook input priority -350; policy accept;
        meta nftrace set 1 accept
    }}
    chain leaving {{
        type filter hook output priority -350; policy accept;
        meta nftrace set 1 accept
    }}
}}
"""
"""The same for ARP. A kernel may lack it (CONFIG_NF_TABLES_ARP), and then has no rules for ARP to trace."""

LEAVING = "leaving"
"""The chain of packets that a node itself sends."""

SYNS = "tcp flags & (syn | rst) != 0 meta nftrace set 1 accept"
"""Traces SYNs, SYN-ACKs, and the RSTs that refuse a connection."""

OTHERS = """
        meta l4proto != tcp meta nftrace set 1 accept
        ip frag-off & 0x3fff != 0 meta nftrace set 1 accept
        exthdr frag exists meta nftrace set 1 accept
"""
"""Traces every other protocol (DNS, ICMP, neighbour discovery, what is made by hand), and fragments of TCP."""

RECEIVE_BUFFER = 212_992
"""Bytes of receive buffer that a node's trace socket asks for: the default of net.core.rmem_max (socket(7)). It never
asks for more, so that labs behave alike everywhere. The kernel doubles the number for its own overhead."""

EVENT_BYTES = 1280
"""Bytes of the doubled buffer that an event takes: a kernel buffer of 1024 for 300 to 500 bytes, and its header."""

_ADD_MEMBERSHIP = 1

_GROUP_NFTRACE = 9

TRACE_MESSAGE = (10 << 8) | 17

_NEW_GENERATION, _GET_GENERATION = (10 << 8) | 15, (10 << 8) | 16

_GENERATION_ID, _REQUEST = 1, 0x1

(
    ATTR_TABLE,
    ATTR_CHAIN,
    ATTR_HANDLE,
    ATTR_TYPE,
    ATTR_VERDICT,
    ATTR_ID,
    ATTR_NETWORK_HEADER,
    ATTR_TRANSPORT_HEADER,
    ATTR_IN,
    ATTR_OUT,
    ATTR_POLICY,
) = 1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 16

_TYPE_POLICY, _TYPE_RULE = 1, 3

_DROP, _ACCEPT, _QUEUE = 0, 1, 3

_VERDICT_MASK = 0xFF
"""The number of a queue is in the upper half."""

OWN_TABLE = TABLE.encode() + b"\0"

_MESSAGE_FAMILY, _FIRST_ATTRIBUTE = 16, 20
"""Offsets in a message: of the family, and of the first attribute behind the headers of netlink and nfnetlink."""

ARP = 3
"""The family of ARP in netfilter (NFPROTO_ARP)."""

_TCP, _ICMPV6 = 6, 58

_FIND, _NESTED = 0xFFFFF000 + 12, 0xFFFFF000 + 16
"""Loads that are BPF's extensions for netlink: A = the offset of the attribute of kind X, from offset A on, or inside
the attribute at A. 0: there is none."""


def is_drop(event: dict[int, bytes]) -> bool:
    """Whether a trace event says that its packet was dropped."""
    kind = struct.unpack(">I", event[ATTR_TYPE])[0]
    if kind == _TYPE_POLICY:
        return ATTR_POLICY in event and struct.unpack(">I", event[ATTR_POLICY])[0] == _DROP
    return kind == _TYPE_RULE and _verdict(event) == _DROP


def is_queue(event: dict[int, bytes]) -> bool:
    """Whether a trace event says that its packet was put into a queue for a program."""
    code = _verdict(event)
    return code is not None and code & _VERDICT_MASK == _QUEUE


def _verdict(event: dict[int, bytes]) -> int | None:
    """The code of a rule's verdict."""
    code = dict(attributes(event[ATTR_VERDICT])).get(1) if ATTR_VERDICT in event else None
    return None if code is None else int(struct.unpack(">I", code)[0])


def generation() -> int | None:
    """The number of the ruleset of this thread's network namespace: every change makes another one. None: not known."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as kernel:
        kernel.bind((0, 0))
        kernel.send(struct.pack("=IHHII4x", 20, _GET_GENERATION, _REQUEST, 1, 0))
        for kind, _, body in messages(kernel.recv(1 << 14)):
            if kind == _NEW_GENERATION:
                found = dict(attributes(body, NFNETLINK_HEADER)).get(_GENERATION_ID)
                return None if found is None else int(struct.unpack(">I", found)[0])
    return None


def open_socket() -> socket.socket:
    """A non-blocking netlink socket that receives the trace events of this thread's network namespace."""
    kernel = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETLINK_NETFILTER
    )
    kernel.bind((0, 0))
    kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    attach(kernel, assemble(_silent_events()))
    kernel.setsockopt(SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTRACE)
    return kernel


def _silent_events() -> list[Step | str]:
    """Leave out events that say nothing: more than every second one, and in sessions nearly all.

    Left out are that a base chain's policy accepts; and for a packet that opens no connection, that the first rule that
    it matches in a base chain accepts it, our own rules among them. Either event is the last one in its chain. The
    first event of a packet in a base chain has the packet's headers, so that no chain's events depend on another's.
    Of ARP and ICMPv6 every event is left out in which a rule accepts. Other protocols have no flags either, but any
    packet may open an exchange, such as a lookup that a rule sends elsewhere: theirs are kept.
    """
    lower_byte = 0 if sys.byteorder == "little" else 1  # of an attribute's length, which is below 256 here
    return [
        *_attribute(ATTR_TYPE),
        Step(LOAD_WORD_AT_X, 4),
        Step(IF_EQUAL, _TYPE_RULE, "rule"),
        Step(IF_EQUAL, _TYPE_POLICY, None, ACCEPT),
        *_attribute(ATTR_POLICY),
        Step(LOAD_WORD_AT_X, 4),
        Step(IF_EQUAL, _DROP, ACCEPT, REFUSE),
        "rule",
        Step(LOAD_BYTE, _MESSAGE_FAMILY),
        Step(IF_EQUAL, ARP, "verdict"),
        *_attribute(ATTR_NETWORK_HEADER),
        Step(LOAD_BYTE_AT_X, 4),
        Step(IF_AT_LEAST, 0x60, None, "IPv4"),
        Step(LOAD_BYTE_AT_X, 4 + 6),
        Step(IF_EQUAL, _ICMPV6, "verdict"),
        Step(IF_EQUAL, _TCP, "flags", ACCEPT),
        "IPv4",
        Step(LOAD_BYTE_AT_X, 4 + 9),
        Step(IF_EQUAL, _TCP, None, ACCEPT),
        "flags",
        *_attribute(ATTR_TRANSPORT_HEADER),
        Step(LOAD_BYTE_AT_X, lower_byte),
        Step(IF_AT_LEAST, 4 + 14, None, ACCEPT),
        Step(LOAD_BYTE_AT_X, 4 + 13),
        Step(IF_ANY_BIT, SYN, ACCEPT),
        "verdict",
        *_attribute(ATTR_VERDICT),
        Step(SET_X, 1),
        Step(LOAD_WORD, _NESTED),
        Step(IF_EQUAL, 0, ACCEPT),
        Step(A_TO_X, 0),
        Step(LOAD_WORD_AT_X, 4),
        Step(IF_EQUAL, _ACCEPT, REFUSE, ACCEPT),
    ]


def _attribute(kind: int) -> list[Step | str]:
    """A and X become the offset of an attribute. A message without the attribute is kept."""
    return [
        Step(SET_A, _FIRST_ATTRIBUTE),
        Step(SET_X, kind),
        Step(LOAD_WORD, _FIND),
        Step(IF_EQUAL, 0, ACCEPT),
        Step(A_TO_X, 0),
    ]
