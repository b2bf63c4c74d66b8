"""The kernel's rule trace, by netlink (nfnetlink group 9).

What sets ``nftrace`` on packets, the socket on which the events arrive, the attributes of an event, and the filter that
leaves out events which say nothing. nft's own monitor prints text and no JSON in the versions that are around.
"""

from __future__ import annotations

import socket
import struct
import sys

from port25lab.kernel import bpf
from port25lab.kernel.headers import SYN
from port25lab.kernel.netlink import attributes

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
"""Raw stands at -300, connection tracking at -200: nothing of the user's runs before this."""

LEAVING = "leaving"
"""The chain of packets that a node itself sends."""

SYNS = "tcp flags & (syn | rst) != 0 meta nftrace set 1 accept"
"""What opens connections, and the RST that refuses one."""

RECEIVE_BUFFER = 212_992
"""Bytes of buffer asked for, for the trace events of one node: the default of net.core.rmem_max (socket(7)). Never
more, so that labs behave alike where more is allowed. The kernel counts its own needs as well, and doubles it."""

EVENT_BYTES = 1280
"""What an event takes of the doubled buffer: a message of 300 to 500 bytes in a kernel buffer of 1024, and its head."""

_NETLINK_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP = 12, 270, 1

_GROUP_NFTRACE = 9

TRACE_MESSAGE = (10 << 8) | 17

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

_FIRST_ATTRIBUTE = 20
"""Offset in a message: after the headers of netlink and nfnetlink."""

_LOAD_WORD, _LOAD_BYTE, _LOAD_EXTENSION, _SET_A, _SET_X, _A_TO_X = 0x40, 0x50, 0x20, 0x00, 0x01, 0x07

_EQUAL, _AT_LEAST, _SET = 0x15, 0x35, 0x45

_FIND, _NESTED = 0xFFFFF000 + 12, 0xFFFFF000 + 16
"""BPF's extensions for netlink: the offset of an attribute of kind X, from offset A on or inside the one at A."""


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
    """The code of a rule's verdict; jumps and the like are above 2**31."""
    code = dict(attributes(event[ATTR_VERDICT])).get(1) if ATTR_VERDICT in event else None
    return None if code is None else int(struct.unpack(">I", code)[0])


def open_socket() -> socket.socket:
    """A netlink socket on which the trace events of this thread's network namespace arrive, without blocking."""
    kernel = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER
    )
    kernel.bind((0, 0))
    kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    bpf.attach(kernel, bpf.assemble(_silent_events()))
    kernel.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTRACE)
    return kernel


def _silent_events() -> list[bpf.Step]:
    """Leaves out events that say nothing: more than every second one, and in sessions nearly all.

    Left out is that a base chain's policy accepts; and of a packet that opens no connection, that the first rule that
    it matches in a base chain accepts it, ours among them. Either event is the last one in its chain. The first event
    that a packet brings in a base chain has its headers, so the events of one chain need none of another.
    """
    lower_byte = 0 if sys.byteorder == "little" else 1  # of an attribute's length, which is below 256 here
    return [
        *_attribute(ATTR_TYPE),
        (_LOAD_WORD, 4, None, None),
        (_EQUAL, _TYPE_RULE, "rule", None),
        (_EQUAL, _TYPE_POLICY, None, bpf.ACCEPT),
        *_attribute(ATTR_POLICY),
        (_LOAD_WORD, 4, None, None),
        (_EQUAL, _DROP, bpf.ACCEPT, bpf.REFUSE),
        "rule",
        *_attribute(ATTR_TRANSPORT_HEADER),
        (_LOAD_BYTE, lower_byte, None, None),
        (_AT_LEAST, 4 + 14, None, bpf.ACCEPT),
        (_LOAD_BYTE, 4 + 13, None, None),
        (_SET, SYN, bpf.ACCEPT, None),
        *_attribute(ATTR_VERDICT),
        (_SET_X, 1, None, None),
        (_LOAD_EXTENSION, _NESTED, None, None),
        (_EQUAL, 0, bpf.ACCEPT, None),
        (_A_TO_X, 0, None, None),
        (_LOAD_WORD, 4, None, None),
        (_EQUAL, _ACCEPT, bpf.REFUSE, bpf.ACCEPT),
    ]


def _attribute(kind: int) -> list[bpf.Step]:
    """A and X become the offset of an attribute. A message without it is kept."""
    return [
        (_SET_A, _FIRST_ATTRIBUTE, None, None),
        (_SET_X, kind, None, None),
        (_LOAD_EXTENSION, _FIND, None, None),
        (_EQUAL, 0, bpf.ACCEPT, None),
        (_A_TO_X, 0, None, None),
    ]
